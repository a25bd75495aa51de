"""The explanations of `explain`, and their output."""

import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from jibe_sqs.commands import explanations
from jibe_sqs.commands.explanation_text import as_lines, as_table
from jibe_sqs.commands.explanations import Explainer
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources

RECORD_KEYS = {
    "source",
    "kind",
    "bucket",
    "key",
    "time",
    "event_id",
    "name",
    "decision",
    "reason",
    "folders",
}
LOG_KEY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz"
DIGEST = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/01/31/x.json.gz"
DELIVERY = json.dumps({"s3Bucket": "logs", "s3ObjectKey": [LOG_KEY, DIGEST]})


def record(name: str = "PutObject", key: str | None = "a/b.txt", **changes: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.11",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "eventID": "e1",
        "requestParameters": {"bucketName": "photos", "key": key},
        **changes,
    }


def zipped(*records: dict[str, Any]) -> bytes:
    return gzip.compress(json.dumps({"Records": records}).encode())


@pytest.fixture
def explainer() -> Explainer:
    return Explainer(decisions=Decisions(), limits=Limits(), sources=Sources())


@pytest.fixture
def explained(explainer: Explainer, tmp_path: Path) -> Any:
    """The explanations of a log file of these bytes."""

    def of(data: bytes, key: str | None = None) -> list[dict[str, Any]]:
        path = tmp_path / "x.json.gz"
        path.write_bytes(data)
        return list(explainer.of_file(str(path), key))

    return of


# Log files


def test_a_write_is_explained_with_its_folder(explained, tmp_path):
    assert explained(zipped(record())) == [
        {
            "source": str(tmp_path / "x.json.gz"),
            "kind": "written",
            "bucket": "photos",
            "key": "a/b.txt",
            "time": "2026-01-31T12:00:00Z",
            "event_id": "e1",
            "name": "PutObject",
            "decision": "refresh",
            "reason": None,
            "folders": ["/photos/a"],
        }
    ]


def test_a_read_is_explained_with_the_reason_to_skip_it(explained):
    [found] = explained(zipped(record("GetObject")))
    assert (found["kind"], found["decision"], found["reason"], found["folders"]) == (None, "skip", "read-only", [])
    assert (found["bucket"], found["key"], found["name"]) == ("photos", "a/b.txt", "GetObject")


def test_a_record_of_another_service_has_no_object_fields(explained):
    [found] = explained(zipped({"eventVersion": "1.08", "eventSource": "kms.amazonaws.com"}))
    assert [found[each] for each in ("kind", "bucket", "key", "time", "event_id", "name")] == [None] * 6
    assert (found["decision"], found["reason"]) == ("skip", "not-object-change")


def test_every_record_has_exactly_the_documented_keys(explained):
    found = explained(zipped(record(), record("GetObject"), record("DeleteObject"), record("DeleteObjects", None), {}))
    assert len(found) == 5
    assert all(set(each) == RECORD_KEYS for each in found)


def test_a_delete_without_a_key_has_an_empty_key(explained):
    [found] = explained(zipped(record("DeleteObjects", None)))
    assert (found["kind"], found["key"], found["folders"]) == ("deleted-unlisted", "", ["/photos/**"])


def test_a_refresh_of_a_tree_is_shown_with_two_asterisks(explained):
    [found] = explained(zipped(record(key="a//c")))
    assert found["folders"] == ["/photos/a/**"]


AUDIT_LINE = json.dumps({"api": {"name": "PutObject", "bucket": "b", "object": "a/x"}, "time": "2026-01-31T12:00:00Z"})


def explanations_with(
    tmp_path: Path, *logs: LogSource, text: str = f"{AUDIT_LINE}\nno line\n", **options: str
) -> list[dict[str, Any]]:
    """The explanations of a file whose name does not show its format, with these log sources."""
    path = tmp_path / "some-log"
    path.write_text(text)
    explainer = Explainer(decisions=Decisions(), limits=Limits(), sources=Sources(logs))
    return list(explainer.of_file(str(path), options.get("key"), options.get("bucket")))


def test_the_policy_of_the_source_decides_about_bad_records(tmp_path):
    for policy, is_good in (("skip", True), ("reject", False)):
        event, error, note = explanations_with(tmp_path, LogSource("logs", on_bad_record=policy))
        assert (event["folders"], error["on_bad_record"], note["bad_records"]) == (["/b/a"], policy, 1)
        assert as_lines([iter([event, error, note])], io.StringIO()) is is_good
        assert as_table([iter([event, error, note])], io.StringIO()) is is_good


def test_the_format_of_the_source_is_used(tmp_path):
    [found] = explanations_with(tmp_path, LogSource("logs", format=Format.ACCESS_LOG), text="no line\n" * 30)
    assert found["error"] == "LogMalformed"
    assert explanations_with(tmp_path, LogSource("logs", format=Format.AUDIT_LOG))[0]["folders"] == ["/b/a"]


def test_the_bucket_and_the_key_choose_the_source(tmp_path):
    lyve = LogSource("logs", "lyve/", Format.AUDIT_LOG)
    logs = lyve, LogSource("logs", "access/", Format.ACCESS_LOG), LogSource("other", format=Format.ACCESS_LOG)
    assert explanations_with(tmp_path, *logs, bucket="logs", key="lyve/x")[0]["folders"] == ["/b/a"]
    assert explanations_with(tmp_path, *logs[:2], key="lyve/x")[0]["folders"] == ["/b/a"]
    [found] = explanations_with(tmp_path, *logs)
    assert (found["error"], "--bucket" in found["message"]) == ("SettingsError", True)
    [found] = explanations_with(tmp_path, *logs, bucket="elsewhere", key="lyve/x")
    assert found["error"] == "BucketNotAllowed"


def test_a_file_that_its_source_ignores_is_not_read(tmp_path):
    """The service does not read it either."""
    ignoring = LogSource("logs", "lyve/", Format.AUDIT_LOG, ignore=KeyFilter(("lyve/old/*",)))
    for bucket in ("logs", None):
        [found] = explanations_with(tmp_path, ignoring, bucket=bucket, key="lyve/old/x")
        assert (found["announcement"], found["about"]) == ("nothing", "an ignored file")
    assert explanations_with(tmp_path, ignoring, bucket="logs", key="lyve/x")[0]["folders"] == ["/b/a"]


def test_a_file_that_another_source_may_have_is_read_although_one_source_ignores_it(tmp_path):
    ignoring = LogSource("logs", format=Format.AUDIT_LOG, ignore=KeyFilter(("*",)))
    other = LogSource("other", format=Format.AUDIT_LOG)
    assert explanations_with(tmp_path, ignoring, other, key="x")[0]["folders"] == ["/b/a"]
    assert explanations_with(tmp_path, ignoring)[0]["folders"] == ["/b/a"]


def test_an_ignored_file_in_a_message_is_named_as_such():
    source = LogSource("logs", ignore=KeyFilter((LOG_KEY,)))
    explainer = Explainer(decisions=Decisions(), limits=Limits(), sources=Sources([source]))
    assert [each["about"] for each in explainer.of_body(DELIVERY)] == ["an ignored file", "CloudTrail digest"]


def test_the_configured_buckets_decide_about_the_folders(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(
        json.dumps({"Records": [record(), record(requestParameters={"bucketName": "b", "key": "k"})]}).encode()
    )
    places = {"photos": (Place("/S3/photos"), Place("/A", "a/"))}
    explainer = Explainer(decisions=Decisions(places), limits=Limits(), sources=Sources())
    first, second = explainer.of_file(str(path), None)
    assert first["folders"] == ["/S3/photos/a", "/A"]
    assert (second["decision"], second["reason"]) == ("skip", "duplicate")


def test_a_file_without_records_gives_no_explanation(explained):
    assert explained(zipped()) == []


def test_explanations_beyond_the_memory_limit_are_complete(explained, monkeypatch):
    monkeypatch.setattr(explanations, "MAX_MEMORY", 1000)
    assert [each["event_id"] for each in explained(zipped(*(record(eventID=str(n)) for n in range(500))))] == [
        str(n) for n in range(500)
    ]


BAD: dict[str, tuple[bytes, str]] = {
    "a truncated file": (
        zipped(*(record(eventID=str(n), pad=os.urandom(99).hex()) for n in range(2000)))[:-1],
        "LogTruncated",
    ),
    "an empty file": (b"", "LogTruncated"),
    "a damaged file": (zipped(record()) + b"junk", "LogCorrupt"),
    "another file": (b"hello", "LogMalformed"),
}


@pytest.mark.parametrize(("data", "error"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_gives_exactly_one_object_with_its_error(explained, data, error):
    [found] = explained(data)
    assert set(found) == {"source", "error", "message"}
    assert found["error"] == error
    assert found["message"]


def test_a_bad_record_is_explained_after_the_others_with_its_position(explained):
    found = explained(zipped(record(), record(eventVersion="2.0", eventID="e2"), record("DeleteObject", eventID="e3")))
    assert [each.get("kind") for each in found] == ["written", "deleted", None, None]
    bad, count = found[2:]
    assert set(bad) == {"source", "error", "message", "index", "offset", "field", "on_bad_record"}
    assert (bad["error"], bad["index"], bad["field"]) == ("RecordMalformed", 1, "eventVersion")
    assert bad["message"] == "record 1: eventVersion: the unknown version '2.0'"
    assert bad["offset"] > 100
    assert count["bad_records"] == 1
    for show in (as_lines, as_table):
        output = io.StringIO()
        assert not show([iter(found)], output)
        assert output.getvalue().count("eventVersion") >= 1
        assert "deleted" in output.getvalue() or "DeleteObject" in output.getvalue()


def test_a_time_that_cannot_be_read_is_not_shown(explained):
    [found] = explained(zipped(record(eventTime="soon")))
    assert (found["kind"], found["time"]) == ("written", None)


def test_a_missing_file_gives_its_error(explainer, tmp_path):
    [found] = explainer.of_file(str(tmp_path / "gone.json.gz"), None)
    assert (found["error"], found["message"]) == ("FileNotFoundError", "No such file or directory")


def test_the_table_shows_a_missing_file_without_the_name_of_a_python_class(explainer, tmp_path):
    path, output = tmp_path / "gone.json.gz", io.StringIO()
    assert not as_table([explainer.of_file(str(path), None)], output)
    assert output.getvalue() == f"{path}: cannot be read: No such file or directory\n"


def test_a_folder_gives_its_error(explainer, tmp_path):
    [found] = explainer.of_file(str(tmp_path), None)
    assert found["error"] == "IsADirectoryError"


@pytest.mark.parametrize("by_name", [True, False], ids=["by its name", "by its key"])
def test_a_digest_is_not_read(explainer, by_name):
    [found] = explainer.of_file(DIGEST, None) if by_name else explainer.of_file("local.gz", DIGEST)
    assert set(found) == {"source", "announcement", "bucket", "key", "about"}
    assert (found["announcement"], found["key"], found["about"]) == ("nothing", DIGEST, "CloudTrail digest")


def test_a_message_body_given_as_a_log_file_is_an_error_with_a_hint(explained):
    event = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "photos"}, "object": {"key": "a/b"}},
    }
    *_, found = explained(zipped(event, event))
    assert (found["error"], "--body" in found["message"]) == ("NotALogFile", True)
    assert "error" not in explained(zipped(record()))[-1]


def test_a_log_file_given_as_a_body_is_an_error_with_a_hint(explainer):
    [found] = explainer.of_body(json.dumps({"Records": [record()]}))
    assert (found["error"], "without --body" in found["message"]) == ("AnnouncementUnknown", True)


def test_the_table_names_the_notification_rule_of_a_body():
    rule = NotificationRule(when=Expression("shelf"), bucket=Expression("shelf"), key=Expression("book"))
    explainer = Explainer(decisions=Decisions(), limits=Limits(), sources=Sources(notifications=[rule]))
    output = io.StringIO()
    assert as_table([explainer.of_body('{"shelf": "photos", "book": "a/b"}')], output)
    assert "read by notifications.0" in output.getvalue()


def test_an_activity_event_is_shown_by_its_own_name_and_object(explained):
    data = {
        "eventName": "RemoveDocument",
        "eventTime": "2026-01-31T12:00:00Z",
        "UID": "u1",
        "eventSource": "documents.example.com",
        "requestParameters": {"bucketName": "shelf", "key": "a/b.txt"},
    }
    event = {"eventVersion": "1.08", "eventCategory": "ActivityAuditLog"}
    found = explained(zipped(*({**event, "eventData": each} for each in (data, json.dumps(data), "x", 5))))
    for each in found[:2]:
        assert (each["name"], each["bucket"], each["key"]) == ("RemoveDocument", "shelf", "a/b.txt")
        assert (each["time"], each["event_id"]) == ("2026-01-31T12:00:00Z", "u1")
    assert [each["name"] for each in found[2:]] == [None, None]
    assert {each["reason"] for each in found} == {"not-object-change"}


# Bodies


def test_a_body_may_be_given_as_text_or_as_a_file(explainer, tmp_path):
    path = tmp_path / "body.json"
    path.write_text(DELIVERY)
    literal, file = list(explainer.of_body(DELIVERY)), list(explainer.of_body(str(path)))
    assert [{**each, "source": ""} for each in literal] == [{**each, "source": ""} for each in file]
    assert {each["source"] for each in file} == {str(path)}
    assert all(DELIVERY.startswith(each["source"].removesuffix("…")) for each in literal)


def test_a_file_whose_name_has_a_space_is_a_file(explainer, tmp_path):
    path = tmp_path / "the body.json"
    path.write_text(DELIVERY)
    assert len(list(explainer.of_body(str(path)))) == 2


def test_a_body_may_come_from_standard_input(explainer, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(DELIVERY))
    assert [each["source"] for each in explainer.of_body("-")] == ["-", "-"]


def test_an_announced_log_file_is_named_and_a_digest_is_named_as_such(explainer):
    file, digest = explainer.of_body(DELIVERY)
    del file["source"], digest["source"]
    assert file == {"announcement": "log-file", "bucket": "logs", "key": LOG_KEY}
    assert digest == {"announcement": "nothing", "bucket": "logs", "key": DIGEST, "about": "CloudTrail digest"}


def test_an_announced_file_in_a_bucket_that_is_not_allowed_is_an_error():
    explainer = Explainer(decisions=Decisions(), limits=Limits(), sources=Sources([LogSource("other")]))
    assert [each["error"] for each in explainer.of_body(DELIVERY)] == ["BucketNotAllowed"] * 2


@pytest.mark.parametrize("body", ["CloudTrail validation message.", '{"Event":"s3:TestEvent"}'])
def test_a_test_message_is_explained_as_nothing(explainer, body):
    [found] = explainer.of_body(body)
    assert set(found) == {"source", "announcement", "bucket", "key", "about"}
    assert found["announcement"] == "nothing"


def test_an_object_event_in_a_body_is_explained_like_a_record(explainer):
    event = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventTime": "2026-01-31T12:00:00.5Z",
        "eventName": "ObjectRemoved:Delete",
        "s3": {"bucket": {"name": "photos"}, "object": {"key": "a+b/c"}},
    }
    tagged = {**event, "eventName": "ObjectTagging:Put"}
    deleted, unchanged = explainer.of_body(json.dumps({"Records": [event, tagged]}))
    assert set(deleted) == set(unchanged) == RECORD_KEYS
    assert (deleted["kind"], deleted["key"], deleted["folders"]) == ("deleted", "a b/c", ["/photos/a b"])
    assert deleted["time"] == "2026-01-31T12:00:00.500000Z"
    assert (unchanged["kind"], unchanged["reason"]) == (None, "not-object-change")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{}", "AnnouncementUnknown"),
        ("{", "AnnouncementMalformed"),
        ("hello world", "AnnouncementMalformed"),
        ("[" + "x" * 100_000, "AnnouncementMalformed"),
        ("no-such-file", "FileNotFoundError"),
    ],
    ids=["unknown", "half", "text", "long", "no file"],
)
def test_a_bad_body_gives_exactly_one_object_with_its_error(explainer, body, error):
    [found] = explainer.of_body(body)
    assert set(found) == {"source", "error", "message"}
    assert found["error"] == error
    assert len(found["source"]) <= explanations.MAX_SOURCE_LENGTH


def test_a_body_file_that_is_not_utf_8_gives_its_error(explainer, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(b"\xff\xfe{}")
    [found] = explainer.of_body(str(path))
    assert found["error"] == "UnicodeDecodeError"


# Output


def test_each_line_is_one_object_and_the_result_is_whether_all_could_be_read(explainer, explained):
    output = io.StringIO()
    assert as_lines([explainer.of_body(DELIVERY), iter(explained(zipped(record(key="é"))))], output)
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [each.get("announcement") for each in lines] == ["log-file", "nothing", None]
    assert not as_lines([explainer.of_body(DELIVERY), explainer.of_body("{}")], io.StringIO())


def test_the_table_ends_with_the_totals(explained):
    output = io.StringIO()
    found = explained(zipped(record(), record("GetObject", eventID="e2"), record("DeleteObject", "c/d", eventID="e3")))
    assert as_table([iter(found)], output)
    assert "3 records, 2 for a refresh of 2 folders, 1 read-only" in output.getvalue()


def test_the_table_shows_an_error_and_continues(explainer):
    output = io.StringIO()
    assert not as_table([explainer.of_body("{}"), explainer.of_body(DELIVERY)], output)
    assert "AnnouncementUnknown" in output.getvalue()
    assert "1 log file to read, 1 with nothing to do" in output.getvalue()


BAD_AND_GOOD = json.dumps(
    {
        "Records": [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "photos"}, "object": {"key": key}}}
            for key in ("", "good/b.jpg")
        ]
    }
)


def test_a_bad_record_of_a_body_gives_its_error_and_the_others_are_explained(explainer):
    stale, bad, good = explainer.of_body(BAD_AND_GOOD)
    assert (stale["kind"], stale["key"], stale["time"]) == ("written-unlisted", "", None)
    assert {**bad, "source": ""} == {
        "source": "",
        "error": "AnnouncementMalformed",
        "message": "record 0 of the S3 event has no s3.object.key",
        "index": 0,
    }
    assert (good["key"], good["folders"]) == ("good/b.jpg", ["/photos/good"])
    assert not as_lines([explainer.of_body(BAD_AND_GOOD)], io.StringIO())
    output = io.StringIO()
    assert not as_table([explainer.of_body(BAD_AND_GOOD)], output)
    assert "record 0 of the S3 event has no s3.object.key" in output.getvalue()
    assert "2 records, 2 for a refresh of 2 folders, 1 not readable" in output.getvalue()


def test_an_explanation_names_the_notification_rule():
    rule = NotificationRule(when=Expression("b"), bucket=Expression("b"), key=Expression("k"))
    explainer = Explainer(decisions=Decisions(), limits=Limits(), sources=Sources(notifications=[rule]))
    [found] = explainer.of_body('{"b": "photos", "k": "a/b.jpg"}')
    assert (found["rule"], found["folders"]) == ("notifications.0", ["/photos/a"])
    [found] = explainer.of_body('{"b": 7, "k": "a/b.jpg"}')
    assert (found["rule"], found["error"], found["index"]) == ("notifications.0", "AnnouncementMalformed", 0)


def test_skipped_bad_records_are_counted_at_the_end(explainer, tmp_path):
    line = json.dumps({"api": {"name": "PutObject", "bucket": "b", "object": "a/x"}, "time": "2026-01-31T12:00:00Z"})
    path = tmp_path / "S3-b-2026-01-31-12-00-00.gz"
    path.write_text("\n".join([line, "no line", *["{}"] * 7]))
    event, *bad, note = explainer.of_file(str(path), None)
    assert event["folders"] == ["/b/a"]
    assert [(each["error"], each["index"], each["field"]) for each in bad] == [
        ("RecordMalformed", 2, None),
        *(("RecordMalformed", index, "api") for index in range(3, 7)),
    ]
    assert note == {"source": str(path), "bad_records": 8}
    output = io.StringIO()
    assert as_table([explainer.of_file(str(path), None)], output)
    assert as_lines([explainer.of_file(str(path), None)], io.StringIO())
    assert "9 records, 1 for a refresh of 1 folder, 8 bad" in output.getvalue()
    assert f"{path}: RecordMalformed: line 2: " in output.getvalue()
    assert output.getvalue().count(": skipped") == 5
    assert f"{path}: 3 more bad records" in output.getvalue()


def test_a_file_with_only_bad_records_is_named(tmp_path):
    """Regression: the source was shown as "nothing"."""
    line = json.dumps({"api": {"name": "PutObject", "bucket": "b", "object": "x" * 99}, "time": "2026-01-31T12:00:00Z"})
    path = tmp_path / "S3-b-2026-01-31-12-00-00.gz"
    path.write_text(line)
    output = io.StringIO()
    explainer = Explainer(decisions=Decisions(), limits=Limits(key_length=98), sources=Sources())
    assert as_table([explainer.of_file(str(path), None)], output)
    assert "nothing" not in output.getvalue()
    assert f"{path}: RecordMalformed: line 1: " in output.getvalue()


def test_a_piped_table_keeps_each_row_on_one_line(explained):
    key = "a-folder-with-a-long-name/" * 12 + "b.txt"
    output = io.StringIO()
    assert as_table([iter(explained(zipped(record(key=key))))], output)
    header, row, total = output.getvalue().splitlines()
    assert header.split() == ["time", "what", "object", "decision"]
    assert f"photos/{key}" in row
    assert f"refresh /photos/{key.rpartition('/')[0]}" in row
    assert "1 record, 1 for a refresh of 1 folder" in total


def test_a_key_with_brackets_is_not_markup_in_the_table(explained):
    output = io.StringIO()
    assert as_table([iter(explained(zipped(record(key="[red]/x"))))], output)
    assert "[red]" in output.getvalue()


def test_the_table_contains_no_control_characters(explained, explainer):
    """Regression: rich removes some control characters from a text, but not the escape character."""
    hostile = "a\x1b]0;owned\x07\x9b2J\x85"
    delivery = json.dumps({"s3Bucket": f"logs{hostile}", "s3ObjectKey": [f"{hostile}.json.gz"]})
    sources = [
        explained(zipped(record(key=hostile), record(f"Get{hostile}", eventID=f"e{hostile}"))),
        explainer.of_body(delivery),
        explainer.of_body(json.dumps({"s3Bucket": [hostile], "s3ObjectKey": "k"})),
        [{"source": hostile, "error": "LogMalformed", "message": hostile}],
        [
            {"source": hostile, "error": "E", "message": hostile, "index": 1, "offset": 2, "on_bad_record": "skip"},
            {"source": hostile, "bad_records": 1},
        ],
    ]
    output = io.StringIO()
    as_table(map(iter, sources), output)
    assert output.getvalue().count("owned") >= 6
    assert all(character.isprintable() for character in output.getvalue().replace("\n", ""))


@pytest.mark.parametrize("named", [{"key": "caf\udce9.gz"}, {"key": None, "bucket": "caf\udce9"}])
def test_a_key_or_bucket_that_is_not_utf_8_gives_one_error(explainer, tmp_path, named):
    path = tmp_path / "log"
    path.write_bytes(zipped(record()))
    output = io.StringIO()
    assert not as_lines([explainer.of_file(str(path), **named)], output)
    (line,) = output.getvalue().splitlines()
    assert json.loads(line)["message"] == "--key and --bucket must be UTF-8"
    assert not as_table([explainer.of_file(str(path), **named)], io.StringIO())
