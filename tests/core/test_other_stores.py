"""S3 events of stores other than AWS, MinIO and Ceph, and bodies of other shapes that configured rules describe.

Shapes after the stores' documentation and source code; names and numbers are invented.
"""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, announced, announcements
from jibe_sqs.core.errors import (
    AnnouncementError,
    AnnouncementMalformed,
    AnnouncementTooLarge,
    AnnouncementUnknown,
)
from jibe_sqs.core.model import UNKNOWN_TIME, Kind, LogFile, Nothing, ObjectEvent, SkipReason, Unchanged, Unreadable
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import LogSource, Sources

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()
CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def s3(record: dict[str, Any]) -> str:
    return json.dumps({"Records": [record]})


STORES: dict[str, dict[str, Any]] = {
    "StorageGRID: no region, a URN": {
        "eventVersion": "2.0",
        "eventSource": "sgws:s3",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "11112222333344445555"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "responseElements": {"x-amz-request-id": "1"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "id-1",
            "bucket": {
                "name": "photos",
                "ownerIdentity": {"principalId": "11112222333344445555"},
                "arn": "urn:sgws:s3:::photos",
            },
            "object": {"key": "2026/a.jpg", "size": 3, "eTag": "e", "sequencer": "18D8F0C7187D2A5C"},
        },
    },
    "Scality: version 1.0, nulls, s3: before the name": {
        "eventVersion": "1.0",
        "eventSource": "scality:s3",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "awsRegion": "us-east-1",
        "eventName": "s3:ObjectCreated:Put",
        "userIdentity": {"principalId": None},
        "requestParameters": {"sourceIPAddress": None},
        "responseElements": {"x-amz-request-id": None, "x-amz-id-2": None},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "0",
            "bucket": {"name": "photos", "ownerIdentity": {"principalId": None}, "arn": None},
            "object": {"key": "2026/a.jpg", "eTag": None, "size": "2", "versionId": None, "sequencer": None},
        },
    },
    "NooBaa: the system's name in the source": {
        "eventVersion": "2.3",
        "eventSource": "noobaa:s3",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "ana@example.com"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "c",
            "object": {"sequencer": "18d5f6a5e00", "key": "2026/a.jpg", "eTag": "e"},
            "bucket": {"name": "photos", "ownerIdentity": {"principalId": "ana"}, "arn": "arn:aws:s3:::photos"},
        },
    },
    "RustFS: MinIO's fields": {
        "eventVersion": "2.0",
        "eventSource": "rustfs:s3",
        "awsRegion": "",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": "s3:ObjectCreated:Put",
        "userIdentity": {"principalId": "rustfs"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "c",
            "bucket": {"name": "photos", "ownerIdentity": {"principalId": "rustfs"}, "arn": "arn:rustfs:s3:::photos"},
            "object": {"key": "2026/a.jpg", "size": 3, "eTag": "e", "versionId": "1", "sequencer": "16A1"},
        },
        "source": {"host": "192.0.2.7", "port": "", "userAgent": "x"},
    },
    "no source, no version (an OBS trigger)": {
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"ID": "x"},
        "s3": {
            "configurationId": "c",
            "bucket": {"name": "photos", "ownerIdentity": {"ID": "x"}, "arn": "arn:aws:s3:::photos"},
            "object": {"key": "2026/a.jpg", "size": 3, "eTag": "e", "versionId": "null", "sequencer": "1"},
        },
    },
}


@pytest.mark.parametrize("record", STORES.values(), ids=STORES.keys())
def test_an_event_of_any_store_is_read(record):
    (found,) = announcements(s3(record))
    assert isinstance(found, ObjectEvent)
    assert (found.kind, found.bucket, found.key, found.time) == (Kind.WRITTEN, "photos", "2026/a.jpg", NOON)
    assert found.name == "ObjectCreated:Put"


@pytest.mark.parametrize("record", STORES.values(), ids=STORES.keys())
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s3:ObjectRemoved:Delete", Kind.DELETED),
        ("ObjectRemoved:DeleteMarkerCreated", Kind.DELETED),
        ("s3:ObjectTagging:Put", SkipReason.NOT_OBJECT_CHANGE),
        ("s3:ObjectRestore:Post", SkipReason.NOT_OBJECT_CHANGE),
        ("s3:ObjectFoo:Bar", Kind.WRITTEN),
    ],
)
def test_an_event_name_means_the_same_from_every_store(record, name, expected):
    (found,) = announcements(s3({**record, "eventName": name}))
    assert (found.kind if isinstance(found, ObjectEvent) else found.reason) is expected


# Other shapes, by configured rules


def rule(**expressions: str) -> NotificationRule:
    encoding = expressions.pop("key_encoding", None)
    compiled = {name: Expression(text) for name, text in expressions.items()}
    return NotificationRule(**compiled, key_encoding=encoding)


B2 = rule(
    when="events[0].objectName",
    items="events",
    bucket="bucketName",
    key="objectName",
    event="eventType",
    time="eventTimestamp",
    key_encoding="raw",
)
OSS = rule(
    when="events[0].eventSource == 'acs:oss'",
    items="events",
    bucket="oss.bucket.name",
    key="oss.object.key",
    event="eventName",
    time="eventTime",
)
OBS = rule(
    when="Records[0].obs",
    items="Records",
    bucket="obs.bucket.bucket || obs.bucket.name",
    key="obs.object.key",
    event="eventName",
    time="eventTime",
    key_encoding="url",
)
ONE = rule(when="type == 'object'", bucket="where[0]", key="where[1]")
R2 = rule(when="account && action && object.key", bucket="bucket", key="object.key", event="action", time="eventTime")
RULES = Sources(notifications=[B2, OSS, OBS, ONE, R2])


def b2(name: str = "b2:ObjectCreated:Upload", key: Any = "2026/a+b.jpg", **changes: Any) -> dict[str, Any]:
    return {
        "accountId": "15f935cf4dcb",
        "bucketId": "21a5bf29a395fc7f84dd0c1b",
        "bucketName": "photos",
        "eventId": "547d65a1",
        "eventTimestamp": 1769860800000,
        "eventType": name,
        "eventVersion": 1,
        "matchedRuleName": "everything",
        "objectName": key,
        "objectSize": 3,
        "objectVersionId": "4_z21a5",
        **changes,
    }


def oss(name: str = "ObjectCreated:PutObject") -> dict[str, Any]:
    return {
        "eventName": name,
        "eventSource": "acs:oss",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventVersion": "1.0",
        "oss": {
            "bucket": {"arn": "acs:oss:cn-hangzhou:1:photos", "name": "photos", "ownerIdentity": "1"},
            "object": {"deltaSize": 3, "eTag": "E", "key": "2026/a.jpg", "size": 3},
            "ossSchemaVersion": "1.0",
            "ruleId": "r",
        },
        "region": "cn-hangzhou",
    }


def obs(key: str = "2026/new+year.jpg") -> dict[str, Any]:
    """An event of Huawei OBS. Its version is 3.0, and the field `obs` takes the place of `s3`."""
    return {
        "eventVersion": "3.0",
        "eventSource": "OBS",
        "eventRegion": "cn-east-3",
        "eventTime": "2026-01-31T12:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "obs": {
            "Version": "1.0",
            "configurationId": "c",
            "bucket": {"name": "photos", "bucket": "photos", "ownerIdentity": {"ID": "x"}},
            "object": {"key": key, "eTag": "e", "size": 112, "versionId": "null", "sequencer": "1"},
        },
    }


def sns(body: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": body})


BODIES: dict[str, tuple[dict[str, Any], str, list[ObjectEvent]]] = {
    "Backblaze B2": (
        {"events": [b2(), b2("b2:ObjectDeleted:Delete", "b"), b2("b2:HideMarkerCreated:Hide", "c")]},
        "notifications.0",
        [
            ObjectEvent(Kind.WRITTEN, "photos", "2026/a+b.jpg", NOON, name="b2:ObjectCreated:Upload"),
            ObjectEvent(Kind.DELETED, "photos", "b", NOON, name="b2:ObjectDeleted:Delete"),
            ObjectEvent(Kind.DELETED, "photos", "c", NOON, name="b2:HideMarkerCreated:Hide"),
        ],
    ),
    "Alibaba OSS": (
        {"events": [oss(), oss("ObjectRemoved:DeleteObject")]},
        "notifications.1",
        [
            ObjectEvent(Kind.WRITTEN, "photos", "2026/a.jpg", NOON, name="ObjectCreated:PutObject"),
            ObjectEvent(Kind.DELETED, "photos", "2026/a.jpg", NOON, name="ObjectRemoved:DeleteObject"),
        ],
    ),
    "Huawei OBS, whose Records are not S3's": (
        {"Records": [obs()]},
        "notifications.2",
        [ObjectEvent(Kind.WRITTEN, "photos", "2026/new year.jpg", NOON, name="ObjectCreated:Put")],
    ),
    "Cloudflare R2": (
        {
            "account": "3f4b",
            "action": "LifecycleDeletion",
            "bucket": "photos",
            "object": {"key": "2026/a.jpg"},
            "eventTime": "2026-01-31T12:00:00.000Z",
        },
        "notifications.4",
        [ObjectEvent(Kind.DELETED, "photos", "2026/a.jpg", NOON, name="LifecycleDeletion")],
    ),
    "a body that is its only item, without event and time": (
        {"type": "object", "where": ["photos", "a"]},
        "notifications.3",
        [ObjectEvent(Kind.WRITTEN, "photos", "a", UNKNOWN_TIME)],
    ),
}


@pytest.mark.parametrize(("body", "name", "expected"), BODIES.values(), ids=BODIES.keys())
def test_a_body_of_another_shape_is_read_by_a_configured_rule(body, name, expected):
    for text in (json.dumps(body), sns(json.dumps(body))):
        found = announced(text, RULES)
        assert (found.rule, found.found) == (name, expected)
        with pytest.raises(AnnouncementUnknown):
            announcements(text)


def test_a_rule_does_not_change_how_a_known_shape_is_read():
    everything = rule(when="`true`", bucket="'other'", key="'x'")
    body = s3(STORES["StorageGRID: no region, a URN"])
    assert announced(body, Sources(notifications=[everything])) == announced(body)
    assert announced("{}", Sources(notifications=[everything])).rule == "notifications.0"
    assert announced("[1]", Sources(notifications=[everything])).rule == "notifications.0"


@pytest.mark.parametrize("value", ["null", "false", "''", "`[]`", "`{}`", "missing", "length(missing)", "sum(missing)"])
def test_a_rule_is_skipped_if_its_when_is_false_or_fails(value):
    body = json.dumps({"b": "photos", "null": None, "false": False})
    sources = Sources(notifications=[rule(when=value, bucket="b", key="b"), rule(when="b", bucket="b", key="b")])
    assert announced(body, sources).rule == "notifications.1"


def test_the_items_beside_an_unreadable_item_are_read():
    events = [b2(), b2(bucketName=None), b2(key=7), b2(key=""), "x", b2(eventTimestamp="soon"), b2(None, "z")]
    found = announcements(json.dumps({"events": events}), RULES)
    assert [(each.kind, each.key) for each in found if isinstance(each, ObjectEvent)] == [
        (Kind.WRITTEN, "2026/a+b.jpg"),
        (Kind.WRITTEN_UNLISTED, ""),
        (Kind.WRITTEN_UNLISTED, ""),
        (Kind.WRITTEN, "2026/a+b.jpg"),
        (Kind.WRITTEN, "z"),
    ]
    unreadable = [each for each in found if isinstance(each, Unreadable)]
    assert [each.index for each in unreadable] == [1, 2, 3, 4]
    assert str(unreadable[0].error) == "item 1 (notifications.0) has no bucket (bucketName)"
    assert str(unreadable[1].error) == "item 2 (notifications.0): key (objectName) is not a string: 7"


def test_an_event_that_changes_no_object_is_skipped_by_a_rule_too():
    (found,) = announcements(json.dumps({"events": [b2("b2:ObjectTagging:Put")]}), RULES)
    assert isinstance(found, Unchanged)
    assert found.reason is SkipReason.NOT_OBJECT_CHANGE


def test_a_test_event_by_a_rule_is_nothing_to_do():
    sources = Sources(notifications=[rule(when="b", bucket="b", key="k", event="e")])
    (found,) = announcements('{"b": "photos", "k": null, "e": "b2:TestEvent"}', sources)
    assert found == Nothing("s3:TestEvent", "photos")


def test_an_expression_that_fails_on_an_item_makes_it_unreadable():
    sources = Sources(notifications=[rule(when="b", bucket="b", key="join('/', k)")])
    (found,) = announcements('{"b": "photos", "k": 7}', sources)
    assert isinstance(found, Unreadable)
    assert "item 0 (notifications.0): " in str(found.error)
    assert "join(" in str(found.error)
    (found,) = announcements(json.dumps({"b": "photos", "k": ["x" * 9999, "\ud800", 7]}), sources)
    assert isinstance(found, Unreadable)
    assert len(str(found.error).encode()) < 400
    assert [each.key for each in announcements('{"b": "photos", "k": ["x", "y"]}', sources)] == ["x/y"]


@pytest.mark.parametrize(
    ("items", "reason"), [("a", "is not a list"), ("missing", "is not a list"), ("sum(a)", "fails")]
)
def test_items_that_are_not_a_list_are_an_error_of_the_whole_body(items, reason):
    sources = Sources(notifications=[rule(when="a", items=items, bucket="b", key="k")])
    with pytest.raises(AnnouncementMalformed, match=f"notifications.0.items: .*{reason}"):
        announcements('{"a": "x"}', sources)


def test_an_empty_list_of_items_is_nothing_to_do_and_is_reported():
    sources = Sources(notifications=[rule(when="a", items="a[].typo", bucket="b", key="k")])
    assert announcements('{"a": [{"b": "p", "k": "x"}]}', sources) == [Nothing("notifications.0 found no items")]


@pytest.mark.parametrize("items", ["missing[]", "missing[*].a", "to_number('x')"])
def test_items_that_are_missing_are_an_error(items):
    sources = Sources(notifications=[rule(when="a", items=items, bucket="b", key="k")])
    with pytest.raises(AnnouncementMalformed, match=r"notifications.0.items: .* is not a list: it is null"):
        announcements('{"a": [{"b": "p", "k": "x"}]}', sources)


@pytest.mark.parametrize("depth", [300, 980, 5_000])
@pytest.mark.parametrize("key", ["k", "join('', k)", "to_string(k)", "sum(k)", "k[*].a", "sort(k)", "k == `[[]]`"])
def test_an_expression_on_a_deep_value_gives_announcements_or_a_reason(key, depth):
    sources = Sources(notifications=[rule(when="b", bucket="b", key=key, event="k", time="k")])
    found = announcements('{"b": "photos", "k": ' + "[" * depth + "]" * depth + "}", sources)
    assert all(isinstance(each, ObjectEvent | Unreadable) for each in found)
    assert all(len(str(each.error)) < 500 for each in found if isinstance(each, Unreadable))


def test_a_body_by_a_rule_has_the_limits_of_every_body():
    sources = Sources(notifications=[rule(when="a", items="a", bucket="b", key="k")])
    with pytest.raises(AnnouncementTooLarge, match="262,145"):
        announcements(json.dumps({"a": [0] * (MAX_ANNOUNCEMENTS + 1)}), sources)
    stale, unreadable = announcements(json.dumps({"a": [{"b": "p", "k": "x" * 101}]}), sources, 100)
    assert stale.kind is Kind.WRITTEN_UNLISTED
    assert type(unreadable.error) is AnnouncementTooLarge


def test_keys_by_a_rule_are_read_both_ways_unless_an_encoding_is_configured():
    body = json.dumps({"type": "object", "where": ["photos", "a+b"]})

    def keys(encoding: Any = None, **key_encodings: Any) -> list[str]:
        one = rule(when="type", bucket="where[0]", key="where[1]", key_encoding=encoding)
        return [each.key for each in announcements(body, Sources((), key_encodings, [one]))]

    assert keys() == ["a b", "a+b"]
    assert keys("url", **{"*": "raw"}) == ["a b"]
    assert keys("raw") == ["a+b"]
    assert keys(**{"*": "url"}) == ["a b"]


def test_an_object_of_a_log_source_is_a_log_file_by_a_rule_too():
    sources = Sources([LogSource("photos", "logs/")], {"*": "raw"}, [B2])
    body = json.dumps({"events": [b2(key="logs/x.gz"), b2(key="data/x.gz")]})
    assert [type(each) for each in announcements(body, sources)] == [LogFile, ObjectEvent]


WRONG = {
    "a[": "column 3",
    "a b": "column 3",
    "a.b..c": "column 5",
    "": "cannot be empty",
    "'x": "column 1",
    "a[?b='c']": "column 5",
    "foo(a)": "column 1: there is no function foo()",
    "a[?b == max_of(c)].d": "column 9: there is no function max_of()",
}


@pytest.mark.parametrize(("text", "position"), WRONG.items())
def test_the_error_of_a_wrong_expression_names_the_position(text, position):
    with pytest.raises(ValueError, match="not a JMESPath expression") as raised:
        Expression(text)
    assert position in str(raised.value)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "!" * 3_000 + "a",
        "(" * 3_000,
        "(" * 1_500 + "a" + ")" * 1_500,
        "[" * 3_000,
        "a" + "||a" * 1_300,
        "a" + ".a" * 2_000,
        "a" + "[?a" * 1_000,
        "`" + "[" * 2_000 + "]" * 2_000 + "`",
        "not_null(" * 400 + "a" + ")" * 400,
        "a[" + "9" * 4_000,
    ],
)
def test_an_expression_that_is_nested_deeply_works_or_is_a_mistake(text):
    with contextlib.suppress(ValueError):
        assert Expression(text).is_true({"a": 1}) in (True, False)


@pytest.mark.parametrize("text", ["a" * 4_097, "a" + "||a" * 100_000, "!" * 2**20])
def test_an_expression_that_is_too_long_is_a_mistake(text):
    with pytest.raises(ValueError, match="the limit is 4,096"):
        Expression(text)


@pytest.mark.filterwarnings("ignore:deprecated string literal syntax:PendingDeprecationWarning")
@given(st.text() | st.text(alphabet="a.[]{}()|&!`'\"*?@,:<=>-0 "))
def test_any_text_is_an_expression_or_a_mistake(text):
    with contextlib.suppress(ValueError):
        assert Expression(text).is_true({"a": [{"a": 1}]}) in (True, False)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)
ROUGH = Sources(
    notifications=[
        rule(
            when="a", items="a[]", bucket="join('', [b, c])", key="sort_by(k, &x)[0].x || k", event="e", time="max(t)"
        ),
        rule(when="`1`", bucket="b", key="k", event="e", time="t"),
    ]
)
FIELDS = st.dictionaries(st.sampled_from(list("abcekt")), JSON_VALUES)


@given(FIELDS | st.fixed_dictionaries({"a": st.lists(FIELDS, max_size=4)}))
def test_any_body_by_any_rule_gives_announcements_or_a_reason(body):
    try:
        found = announcements(json.dumps(body), ROUGH)
    except AnnouncementError:
        return
    for each in found:
        assert isinstance(each, ObjectEvent | Unchanged | Unreadable | Nothing)


# Inputs beside the repository. Skipped if they are missing


@pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases at {CASES}")
@pytest.mark.parametrize(
    ("name", "written", "unreadable"),
    [
        ("body-storagegrid.json", [("written", "2026/a.jpg")], []),
        ("body-eventbridge-cloudtrail-put.json", [("written", "2026/a.jpg")], []),
        ("body-one-undecodable-key-of-two.json", [("written-unlisted", ""), ("written", "good/b.jpg")], [0]),
    ],
)
def test_a_body_that_once_failed_is_read(name, written, unreadable):
    found = announcements((CASES / name).read_text(encoding="utf-8"))
    assert [(each.kind.value, each.key) for each in found if isinstance(each, ObjectEvent)] == written
    assert [each.index for each in found if isinstance(each, Unreadable)] == unreadable
