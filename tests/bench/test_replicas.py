"""Two processes share a queue and a ledger in DynamoDB."""

import sys

import pytest
from bench.__main__ import main
from bench.replicas import shared
from bench.stub.dynamodb import holds

FILES = 200


def test_two_replicas_share_the_files_and_read_none_twice(stub):
    stub.events("tiny", FILES)
    found = shared(stub, "tiny", FILES, 2)
    assert sum(found.done) == FILES
    assert min(found.done) > 0
    assert found.files_read == FILES
    assert found.counts["dynamodb written f"] == FILES


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (None, True),
        ({"pk": {"S": "w#/a"}, "began": {"N": "1"}, "expires": {"N": "9"}}, True),
        ({"pk": {"S": "w#/a"}, "began": {"N": "3"}, "expires": {"N": "9"}}, False),
        ({"pk": {"S": "w#/a"}, "began": {"N": "3"}, "expires": {"N": "4"}}, True),
    ],
)
def test_the_stub_evaluates_the_conditions_of_the_ledger(item, expected):
    values = {":began": {"N": "2"}, ":now": {"N": "5"}}
    assert holds("attribute_not_exists(pk) OR began < :began OR expires <= :now", item, values) is expected


@pytest.mark.parametrize("scale", ["nan", "-1", "0", "inf"])
def test_a_scale_that_leaves_nothing_to_measure_is_refused(scale, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "replicas", "--scale", scale])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "argument --scale: above 0" in capsys.readouterr().err
