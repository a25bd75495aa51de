"""What an operator asks for, and what the command shows."""

import io
import json

import pytest

from jibe_sqs.commands.comparison_requests import request
from jibe_sqs.commands.comparison_text import as_json_object, as_text
from jibe_sqs.commands.comparison_totals import MAX_EXAMPLES, MAX_FOLDERS, MAX_NAMES, FolderCounts, Totals
from jibe_sqs.core.comparison import SAME, Difference, Kind


def totals_of(*folders):
    totals = Totals()
    for path, outcomes in folders:
        found = FolderCounts()
        for outcome in outcomes:
            found.add(outcome)
        totals.add("media", f"{path}/", f"/S3/media/{path}", found)
    return totals


def text_of(totals, sample=1.0):
    out = io.StringIO()
    as_text(totals, out, sample=sample)
    return out.getvalue()


MISSING, STALE, EXTRA, UNSHOWABLE = (Difference(kind, "name\x1b[31m") for kind in Kind)


def test_a_true_index_takes_three_lines():
    assert text_of(totals_of(("a", [SAME, SAME]), ("b", []))) == (
        "2 objects in 2 folders compared\n0 missing, 0 stale, 0 extra, 0 unshowable, 0 repaired\nin sync\n"
    )


def test_what_cannot_be_shown_is_listed_and_is_in_sync():
    shown = text_of(totals_of(("a", [SAME, UNSHOWABLE])))
    assert "1 unshowable" in shown
    assert shown.endswith("in sync\n")


def test_the_worst_folders_come_first_and_every_line_fits():
    """Control characters in names do not reach the terminal."""
    long = "long name/" * 12
    shown = text_of(totals_of(("few", [SAME, MISSING]), (long, [MISSING, STALE, EXTRA])))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[-5:] == ["2", "1", "1", "1", "0"]
    assert lines[2].split() == ["/S3/media/few", "2", "1", "0", "0", "0"]
    assert "\x1b" not in shown
    assert lines[-1] == "NOT IN SYNC: 4 differences"


def test_a_sample_says_so():
    totals = totals_of(("a", [SAME]))
    totals.skipped = 99
    shown = text_of(totals, sample=0.01)
    assert "This is a sample: 1.0000% of the folders. 99 folders not compared." in shown
    assert shown.endswith("in sync, as far as the sample shows\n")


def test_a_folder_that_failed_is_named_and_is_not_in_sync():
    totals = totals_of(("a", [SAME]))
    totals.fail("/S3/media/b", ValueError("refused"))
    shown = text_of(totals)
    assert "FAILED /S3/media/b: refused" in shown
    assert "in sync\n" not in shown


def test_the_json_object_has_the_totals_and_a_bounded_number_of_examples():
    totals = totals_of(*((f"{n:03}", [MISSING] * 3 + [SAME]) for n in range(200)))
    out = io.StringIO()
    as_json_object(totals, out, sample=1.0)
    found = json.loads(out.getvalue())
    assert {name: found[name] for name in ("in_sync", "objects", "missing", "folders", "repaired")} == {
        "in_sync": False,
        "objects": 800,
        "missing": 600,
        "folders": 200,
        "repaired": 0,
    }
    assert (len(found["differing"]), len(found["examples"])) == (MAX_FOLDERS, MAX_EXAMPLES)


def test_with_too_many_differences_to_remember_no_more_than_before_count():
    first, second = FolderCounts(), FolderCounts()
    for n in range(MAX_NAMES + 5):
        first.add(Difference(Kind.MISSING, str(n)))
    for n in range(MAX_NAMES + 10):
        second.add(Difference(Kind.MISSING, f"other {n}"), only_in=first)
    second.limit_to(first)
    assert second.wrong == MAX_NAMES + 5


@pytest.mark.parametrize(
    ("target", "bucket", "prefix"),
    [
        ("", "", ""),
        ("media", "media", ""),
        ("media/", "media", ""),
        ("media/a/b", "media", "a/b"),
        ("s3://media/a//b", "media", "a//b"),
    ],
)
def test_the_target_is_a_bucket_and_perhaps_a_prefix(target, bucket, prefix):
    wanted = request(target)
    assert (wanted.bucket, wanted.prefix) == (bucket, prefix)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"target": "/a"}, "not a bucket"),
        ({"target": "", "sample": "0%"}, "must be a share"),
        ({"target": "", "sample": "some"}, "must be a share"),
        ({"target": "", "inventory": "s3://reports/data.csv.gz"}, "address of a manifest"),
        ({"target": "", "ignore_newer": -1.0}, "negative"),
    ],
)
def test_a_wrong_request_says_what_to_write(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        request(**arguments)


def test_a_share_is_a_part_or_a_percentage():
    assert request("", sample="1%").sample == request("", sample="0.01").sample == 0.01
    assert request("", inventory="s3://reports/x/manifest.json").inventory == ("reports", "x/manifest.json")
