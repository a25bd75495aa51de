"""Growing delays."""

import pytest

from jibe_sqs.concurrency.backoff import Backoff


def test_without_jitter_delays_double_from_the_first_to_the_longest():
    backoff = Backoff(1.0, 60.0, jitter=0.0)
    assert [backoff.delay(failures) for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("jitter", [0.25, 0.5, 1.0])
def test_jitter_only_shortens_a_delay_and_by_no_more_than_its_part(jitter):
    delays = [Backoff(2.0, 60.0, jitter=jitter).delay(2) for _ in range(200)]
    assert all(4 * (1 - jitter) <= delay <= 4 for delay in delays)
    assert len(set(delays)) > 100


def test_a_failure_count_of_any_size_is_allowed():
    assert Backoff(1.0, 60.0, jitter=0.0).delay(1_000_000) == 60
