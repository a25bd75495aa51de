"""What becomes of a message, by what failed."""

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
    LogMissing,
    LogTampered,
    LogTruncated,
)
from jibe_sqs.core.model import Done, Reject, Retry
from jibe_sqs.core.verdicts import RetryPolicy, verdict

PASSING, LASTING = LogTruncated("half a file"), BucketNotAllowed("not ours")
POLICY = RetryPolicy(first=10, longest=900)


def test_nothing_failed_is_done():
    assert verdict([], 1, POLICY) == Done()


def test_nothing_failed_is_done_however_often_it_was_received():
    assert verdict([], 99, RetryPolicy(max_receives=3)) == Done()


def test_a_failure_that_may_pass_is_retried_with_its_reason():
    assert verdict([PASSING], 1, POLICY) == Retry(10.0, "LogTruncated: half a file")


def test_a_failure_that_lasts_is_rejected_at_once():
    assert verdict([LASTING], 1, POLICY) == Reject("BucketNotAllowed", "BucketNotAllowed: not ours")


def test_one_bad_body_is_rejected_at_once():
    assert verdict([AnnouncementUnknown("what?")], 1, POLICY) == Reject(
        "AnnouncementUnknown", "AnnouncementUnknown: what?"
    )


@pytest.mark.parametrize("errors", [[PASSING, LASTING], [LASTING, PASSING]], ids=["first", "last"])
def test_as_long_as_one_failure_may_pass_nothing_is_rejected(errors):
    assert verdict(errors, 1, POLICY) == Retry(10.0, "LogTruncated: half a file (and 1 more)")


def test_the_reason_counts_the_other_failures():
    found = verdict([LASTING, LASTING, LASTING], 1, POLICY)
    assert found == Reject("BucketNotAllowed", "BucketNotAllowed: not ours (and 2 more)")


def test_a_reason_that_is_too_long_keeps_its_beginning_and_its_end():
    reason = verdict([LogTruncated(f"s3://logs/{'a' * 4000}: half a file")], 1, POLICY).reason
    assert reason.startswith("LogTruncated: s3://logs/aaa")
    assert reason.endswith("aaa: half a file")
    assert len(reason) == 900


def test_a_rejection_names_the_source_of_what_decided_and_what_failed_first():
    policy = RetryPolicy(max_receives=3)
    assert verdict([LASTING, PASSING], 3, policy, ["s3://logs/a", "s3://logs/b"]) == Reject(
        "LogTruncated", "LogTruncated: half a file (and 1 more)", "s3://logs/b", "BucketNotAllowed: not ours"
    )
    assert verdict([LASTING], 1, policy, ["message"]) == Reject(
        "BucketNotAllowed", "BucketNotAllowed: not ours", "message"
    )


def test_errors_with_more_to_say_are_told_by_their_text():
    assert verdict([CallFailed("refused", code="x")], 1, POLICY) == Retry(10.0, "CallFailed: refused")


@pytest.mark.parametrize(
    ("receives", "delay"), [(1, 10), (2, 20), (3, 40), (7, 640), (8, 900), (50, 900), (2**31, 900), (0, 5)]
)
def test_the_delay_doubles_with_each_receive_up_to_the_longest(receives, delay):
    assert verdict([PASSING], receives, POLICY) == Retry(delay, "LogTruncated: half a file")


@pytest.mark.parametrize(("receives", "expected"), [(4, Retry), (5, Reject), (6, Reject)])
def test_after_the_maximum_it_is_a_dead_letter(receives, expected):
    found = verdict([LogMissing("gone")], receives, RetryPolicy(max_receives=5))
    assert isinstance(found, expected)
    assert found.reason == "LogMissing: gone"


def test_without_a_maximum_the_queue_decides():
    assert isinstance(verdict([PASSING], 1_000_000, RetryPolicy(max_receives=None)), Retry)


@given(st.integers(0, 10_000), st.floats(0, 1000), st.floats(0, 43_200))
def test_no_delay_is_negative_or_longer_than_the_longest(receives, first, longest):
    assert 0 <= RetryPolicy(first=first, longest=longest).delay(receives) <= longest


@pytest.mark.parametrize("receives", [1, 2, 7, 100])
def test_a_digest_that_is_not_there_yet_is_waited_for_as_long_as_may_be(receives):
    """It comes within the hour: asking every few seconds would only use up the receives."""
    assert verdict([DigestMissing("not yet")], receives, POLICY) == Retry(900.0, "DigestMissing: not yet")


def test_a_digest_that_never_comes_ends_in_a_dead_letter():
    found = verdict([DigestMissing("not yet")], 5, RetryPolicy(max_receives=5))
    assert found == Reject("DigestMissing", "DigestMissing: not yet")


def test_what_fails_beside_a_missing_digest_and_comes_first_is_tried_again_sooner():
    assert verdict([PASSING, DigestMissing("not yet")], 1, POLICY) == Retry(
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
def test_what_verification_found_is_final_and_what_it_could_not_find_is_not(error, expected):
    assert verdict([error], 1, POLICY) == expected
