"""Arbitrary bodies give announcements or a reason."""

import json
import math
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.bodies import CASES, KEY, LOGS, SES, VALIDATION, delivery, file, record, s3, sns
from tests.wire import ABSENT

from jibe_sqs.core.announcements import MAX_ENVELOPES, NO_SOURCES, announcements
from jibe_sqs.core.errors import AnnouncementError
from jibe_sqs.core.model import LogFile, Nothing, ObjectEvent, Unchanged, Unreadable
from jibe_sqs.core.notification_rules import Expression, NotificationRule
from jibe_sqs.core.sources import Sources

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
BODIES = [body for body, _ in CASES.values()]
OBJECTS = [json.loads(body) for body in BODIES if body.lstrip().startswith("{")]


def rule(**expressions: str) -> NotificationRule:
    return NotificationRule(**{name: Expression(text) for name, text in expressions.items()})


def gives_announcements_or_a_reason(body: str, sources: Sources = NO_SOURCES) -> bool:
    try:
        found = announcements(body, sources)
    except AnnouncementError as error:
        return bool(str(error))
    return all(isinstance(each, LogFile | ObjectEvent | Unchanged | Nothing | Unreadable) for each in found)


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] + [deeper for step, below in inside for deeper in paths_in(below, (*path, step))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@given(st.text())
def test_any_text_gives_announcements_or_a_reason(text):
    assert gives_announcements_or_a_reason(text)


@given(JSON_VALUES)
def test_any_json_gives_announcements_or_a_reason(value):
    assert gives_announcements_or_a_reason(json.dumps(value))


@given(st.sampled_from(OBJECTS), st.data())
@settings(max_examples=300)
def test_a_real_body_with_any_value_at_any_path_gives_announcements_or_a_reason(body, data):
    path = data.draw(st.sampled_from(paths_in(body)))
    assert gives_announcements_or_a_reason(json.dumps(replaced(body, path, data.draw(JSON_VALUES))))


def call(**others: Any) -> dict[str, Any]:
    """An EventBridge event with a CloudTrail record."""
    detail = {
        "eventVersion": "1.11",
        "eventTime": "2026-01-31T12:00:00Z",
        "eventSource": "s3.amazonaws.com",
        "eventName": "PutObject",
        "requestParameters": {"bucketName": "photos", "key": "a/b.txt"},
    }
    event = {"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.s3", "detail": detail}
    return {**event, **others}


CREATED = call(**{"detail-type": "Object Created", "detail": {"bucket": {"name": "photos"}, "object": {"key": "k"}}})
EXTREME: dict[str, str] = {
    **{
        f"{opening} nested {depth:,} deep": opening * depth + "7" + closing * depth
        for depth in (300, 900, 980, 1_000, 1_015, 5_000)
        for opening, closing in (("[", "]"), ('{"a":', "}"))
    },
    "5,000 digits": "9" * 5_000,
    "5,000 digits and a minus": "-" + "9" * 5_000,
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "a lone surrogate": '"\\udfff"',
    "a raw tab": '"a\tb"',
    "a raw line break": '"a\r\nb"',
    "a raw NUL": '"a\0b"',
    "a list of 10,000": "[" + "0," * 10_000 + "0]",
    "a text of 100,000": '"' + "a" * 100_000 + '"',
    "a field of a text of 100,000": '{"' + "a" * 100_000 + '": 1}',
}
HOLDERS = [*OBJECTS, CREATED, call(), {"b": "photos", "k": "a", "a": [{"b": "photos", "k": "a"}]}]
MARK = "the value goes here"


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(HOLDERS), st.data())
def test_an_extreme_value_at_any_path_gives_announcements_or_a_reason(value, body, data):
    path = data.draw(st.sampled_from(paths_in(body)))
    text = json.dumps(replaced(body, path, MARK)).replace(json.dumps(MARK), value)
    rules = [rule(when=when, items="a", bucket="to_string(b)", key="join('', [k, k])") for when in ("a", "b")]
    for envelopes in (0, 1):
        for sources in (Sources(), Sources(notifications=rules)):
            assert gives_announcements_or_a_reason(sns(text, envelopes), sources)


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("place", ["s3__object__key", "s3__bucket__name", "eventVersion", "extra", "s3__object__size"])
def test_an_extreme_value_in_one_record_does_not_stop_the_others(place, value):
    body = s3(record("a/1"), record("a/2", **{place: MARK}), record("a/3")).replace(json.dumps(MARK), value)
    found = [each.key for each in announcements(body) if isinstance(each, ObjectEvent)]
    assert found[0] == "a/1"
    assert found[-1] == "a/3"
    if place in ("extra", "s3__object__size", "eventVersion"):
        assert found[1:-1] == ["a/2"] or (place, value) == ("eventVersion", "9" * 5_000)


@pytest.mark.parametrize("field", ["source", "version", "detail"])
@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
@pytest.mark.parametrize("body", [CREATED, call()])
def test_an_extreme_value_in_an_event_of_eventbridge_gives_announcements_or_a_reason(body, value, field):
    assert gives_announcements_or_a_reason(json.dumps({**body, field: MARK}).replace(json.dumps(MARK), value))


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
def test_a_body_that_is_an_extreme_value_has_a_short_reason(value):
    with pytest.raises(AnnouncementError) as raised:
        announcements(value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("value", EXTREME.values(), ids=EXTREME.keys())
def test_an_extreme_value_in_a_record_of_cloudtrail_does_not_hide_the_object(value):
    body = json.dumps(call()).replace('"eventVersion": "1.11"', f'"userIdentity": {value}, "other": {value}')
    assert [each.key for each in announcements(body)] == ["a/b.txt"]


@pytest.mark.parametrize("mark", ["\ufeff", " \ufeff\n", "\ufeff\ufeff"])
def test_a_byte_order_mark_before_a_body_is_ignored(mark):
    assert announcements(mark + delivery(KEY)) == [file()]
    assert announcements(sns(mark + delivery(KEY))) == [file()]
    assert announcements(mark + VALIDATION) == [Nothing("CloudTrail validation message")]


def test_a_size_is_read_if_another_value_is_not_valid_json():
    object_ = {"key": KEY, "size": 7, "other": math.nan}
    assert announcements(s3(record(s3__bucket__name=LOGS, s3__object=object_))) == [file(size=7)]


@given(st.sampled_from(BODIES), st.data())
@settings(max_examples=300)
def test_a_real_body_with_any_part_replaced_gives_announcements_or_a_reason(body, data):
    at, to = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
    assert gives_announcements_or_a_reason(body[:at] + data.draw(st.text(max_size=3)) + body[to:])


@given(st.text(min_size=1), st.integers(0, MAX_ENVELOPES))
def test_any_key_of_a_delivery_is_unchanged(key, depth):
    found = announcements(sns(delivery(f"p/{key}"), depth) if depth else delivery(f"p/{key}"))
    assert [each.key for each in found] == [f"p/{key}"]


GOOD = st.builds(lambda key: record(quote_plus(key)), st.text(min_size=1))
BAD = st.sampled_from(
    [None, 7, "x", SES, {}, record("%FF"), record(""), record(s3__object=ABSENT), record(s3__bucket=7)]
)


@given(st.lists(st.booleans(), max_size=8), st.data())
def test_every_good_record_of_any_mixture_gives_its_event(mixture, data):
    records = [data.draw(GOOD if is_good else BAD) for is_good in mixture]
    good = [each for is_good, each in zip(mixture, records, strict=True) if is_good]
    try:
        found = announcements(s3(*records))
    except AnnouncementError:
        assert not good
        return
    events = [each for each in found if isinstance(each, ObjectEvent) and not each.kind.is_unlisted]
    assert [quote_plus(each.key) for each in events] == [each["s3"]["object"]["key"] for each in good]
    unreadable = {each.index for each in found if isinstance(each, Unreadable)}
    assert unreadable == {index for index, is_good in enumerate(mixture) if not is_good}
