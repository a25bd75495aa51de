"""The verdict on a message, by the errors of its parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.errors import (
    AnnouncementUnknown,
    BucketNotAllowed,
    CallFailed,
    DigestInvalid,
    DigestMissing,
    KeysUnavailable,
    LogBucketDown,
    LogMissing,
    LogTampered,
    LogTruncated,
)
from jibe_sqs.core.model import Done, Reject, Retry
from jibe_sqs.core.verdicts import RetryPolicy, verdict

TRANSIENT, PERMANENT = LogTruncated("half a file"), BucketNotAllowed("not ours")
POLICY = RetryPolicy(first=10, longest=900)


def test_no_error_is_done():
    assert verdict([], 1, POLICY) == Done()


def test_no_error_is_done_after_any_number_of_receives():
    assert verdict([], 99, RetryPolicy(max_receives=3)) == Done()


def test_a_transient_error_is_retried_with_its_reason():
    assert verdict([TRANSIENT], 1, POLICY) == Retry(10.0, "LogTruncated: half a file")


def test_a_permanent_error_is_rejected_at_once():
    assert verdict([PERMANENT], 1, POLICY) == Reject("BucketNotAllowed", "BucketNotAllowed: not ours")


def test_a_bad_body_is_rejected_at_once():
    assert verdict([AnnouncementUnknown("what?")], 1, POLICY) == Reject(
        "AnnouncementUnknown", "AnnouncementUnknown: what?"
    )


@pytest.mark.parametrize("errors", [[TRANSIENT, PERMANENT], [PERMANENT, TRANSIENT]], ids=["first", "last"])
def test_a_message_is_not_rejected_while_one_error_is_transient(errors):
    assert verdict(errors, 1, POLICY) == Retry(10.0, "LogTruncated: half a file (and 1 more)")


def test_the_reason_counts_the_other_errors():
    found = verdict([PERMANENT, PERMANENT, PERMANENT], 1, POLICY)
    assert found == Reject("BucketNotAllowed", "BucketNotAllowed: not ours (and 2 more)")


def test_a_long_reason_keeps_its_beginning_and_its_end():
    reason = verdict([LogTruncated(f"s3://logs/{'a' * 4000}: half a file")], 1, POLICY).reason
    assert reason.startswith("LogTruncated: s3://logs/aaa")
    assert reason.endswith("aaa: half a file")
    assert len(reason) == 900


def test_a_rejection_has_the_source_of_the_deciding_error_and_the_first_error():
    policy = RetryPolicy(max_receives=3)
    assert verdict([PERMANENT, TRANSIENT], 3, policy, ["s3://logs/a", "s3://logs/b"]) == Reject(
        "LogTruncated", "LogTruncated: half a file (and 1 more)", "s3://logs/b", "BucketNotAllowed: not ours"
    )
    assert verdict([PERMANENT], 1, policy, ["message"]) == Reject(
        "BucketNotAllowed", "BucketNotAllowed: not ours", "message"
    )


def test_the_reason_is_the_text_of_the_error():
    assert verdict([CallFailed("refused", code="x")], 1, POLICY) == Retry(10.0, "CallFailed: refused")


@pytest.mark.parametrize(
    ("receives", "delay"), [(1, 10), (2, 20), (3, 40), (7, 640), (8, 900), (50, 900), (2**31, 900), (0, 5)]
)
def test_the_delay_doubles_with_each_receive_up_to_the_longest(receives, delay):
    assert verdict([TRANSIENT], receives, POLICY) == Retry(delay, "LogTruncated: half a file")


@pytest.mark.parametrize(("receives", "expected"), [(4, Retry), (5, Reject), (6, Reject)])
def test_after_the_maximum_of_receives_a_transient_error_is_rejected(receives, expected):
    found = verdict([LogMissing("gone")], receives, RetryPolicy(max_receives=5))
    assert isinstance(found, expected)
    assert found.reason == "LogMissing: gone"


def test_without_a_maximum_a_transient_error_is_always_retried():
    assert isinstance(verdict([TRANSIENT], 1_000_000, RetryPolicy(max_receives=None)), Retry)


def test_ten_receives_last_through_two_days_of_an_outage():
    """The message is hidden for longer each time, but never beyond the twelve hours of SQS, and never rejected."""
    policy = RetryPolicy(max_receives=10)
    found = [verdict([LogBucketDown("503"), PERMANENT], receives, policy) for receives in range(1, 11)]
    assert all(isinstance(each, Retry) for each in found)
    delays = [each.delay for each in found]
    assert delays[:3] == [900, 1800, 3600]
    assert max(delays) == 11.5 * 3600
    assert sum(delays[:-1]) > 2 * 86_400


@given(st.integers(0, 10_000), st.floats(0, 1000), st.floats(0, 43_200))
def test_no_delay_is_negative_or_longer_than_the_longest(receives, first, longest):
    assert 0 <= RetryPolicy(first=first, longest=longest).delay(receives) <= longest


@pytest.mark.parametrize("receives", [1, 2, 7, 100])
def test_a_missing_digest_is_retried_after_the_longest_delay(receives):
    """It arrives within about an hour. Trying every few seconds would only use up the receives."""
    assert verdict([DigestMissing("not yet")], receives, POLICY) == Retry(900.0, "DigestMissing: not yet")


def test_a_digest_that_never_arrives_is_rejected_at_the_maximum():
    found = verdict([DigestMissing("not yet")], 5, RetryPolicy(max_receives=5))
    assert found == Reject("DigestMissing", "DigestMissing: not yet")


def test_another_transient_error_before_a_missing_digest_decides_the_delay():
    assert verdict([TRANSIENT, DigestMissing("not yet")], 1, POLICY) == Retry(
        10.0, "LogTruncated: half a file (and 1 more)"
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LogTampered("changed"), Reject("LogTampered", "LogTampered: changed")),
        (DigestInvalid("forged", fault="signature"), Reject("DigestInvalid", "DigestInvalid: forged")),
        (KeysUnavailable("503"), Retry(10.0, "KeysUnavailable: 503")),
    ],
    ids=["tampered", "forged", "keys"],
)
def test_a_tampered_log_is_permanent_and_unavailable_keys_are_not(error, expected):
    assert verdict([error], 1, POLICY) == expected
