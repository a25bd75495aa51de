"""Inputs written from public bug reports, each through `jibe-sqs explain` as an operator would run it.

They are not part of the repository; without them, these tests skip. Inputs of the same kinds, written for this
repository, are in `tests/bad_input/` and `tests/core/`.
"""

import json
from pathlib import Path

import pytest

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside this checkout")


@pytest.fixture
def explained(jibe):
    """The exit code, the records and the errors that `explain` gives for a case."""

    def of(name: str, *options: str):
        result = jibe("explain", "--json", *options, str(CASES / name))
        assert result.stderr == ""
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        return (
            result.returncode,
            [line for line in lines if "error" not in line],
            [line for line in lines if "error" in line],
        )

    return of


def objects(records):
    return [(each["kind"], f"{each['bucket']}/{each['key']}") for each in records if each.get("decision") == "refresh"]


BOTH_OBJECTS = [("written", "photos/2026/a.jpg"), ("written", "photos/good/b.jpg")]


@pytest.mark.parametrize("name", ["identity-hidden.json", "event-id-null.json"])
def test_a_field_that_identifies_no_object_costs_no_record(explained, name):
    code, records, errors = explained(name)
    assert (code, errors) == (0, [])
    assert objects(records) == BOTH_OBJECTS


def test_an_access_point_of_another_account_is_skipped(explained):
    code, records, errors = explained("access-point-of-another-account.json")
    assert (code, errors) == (0, [])
    assert [each["reason"] for each in records] == ["not-mapped", None]
    assert objects(records) == [("written", "photos/good/b.jpg")]


def test_a_record_that_identifies_nothing_is_reported_with_its_position(explained):
    code, records, [error] = explained("parameters-omitted.json")
    assert code == 1
    assert objects(records) == [("written", "photos/good/b.jpg")]
    assert (error["error"], error["index"]) == ("RecordMalformed", 0)
    assert error["offset"] is not None


def test_another_services_record_never_matters(explained):
    code, records, errors = explained("other-service-lone-surrogate.json")
    assert (code, errors) == (0, [])
    assert objects(records) == [("written", "photos/good/b.jpg")]


@pytest.mark.parametrize("name", ["body-storagegrid.json", "body-eventbridge-cloudtrail-put.json"])
def test_another_stores_and_another_services_notification_is_an_event(explained, name):
    code, records, errors = explained(name, "--body")
    assert (code, errors) == (0, [])
    assert objects(records) == [("written", "photos/2026/a.jpg")]


def test_one_undecodable_key_costs_no_other(explained):
    code, records, [error] = explained("body-one-undecodable-key-of-two.json", "--body")
    assert code == 1
    assert ("written", "photos/good/b.jpg") in objects(records)
    assert ("written-unlisted", "photos/") in objects(records)
    assert error["error"] == "AnnouncementMalformed"
    assert error["index"] == 0


def test_a_plus_in_an_access_log_is_a_space(explained):
    code, records, errors = explained("access-log-plus.log", "--key", "2026-03-04-05-06-07-0123456789ABCDEF")
    assert (code, errors) == (0, [])
    assert objects(records) == [
        ("deleted", "b1/My Folder/Screen Shot 1.png"),
        ("deleted", "b1/My Folder/a+b.png"),
        ("written", "b1/plain/x.txt"),
    ]


def test_an_audit_log_is_a_stream_of_objects(explained):
    code, records, errors = explained("S3-bucket-1-2026-01-22-10-49-33.gz")
    assert (code, errors) == (0, [])
    assert objects(records) == [("written", "bucket-1/values-v2.yaml"), ("written", "bucket-1/dir/second.yaml")]
