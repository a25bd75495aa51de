"""The cost of the requests that the stub has counted."""

import pytest

from bench import prices

COUNTS = {
    "sqs ReceiveMessage": 100,
    "sqs receives with messages": 90,
    "sqs messages received": 900,
    "sqs DeleteMessageBatch": 100,
    "s3 GET": 900,
    "aa getFolderContents": 20,
    "aa refreshes asked": 10,
    "aa checkPathExists": 5,
}


def test_only_requests_count_as_requests():
    assert prices.aws_requests(COUNTS) == 1100
    assert prices.access_anywhere_calls(COUNTS) == 25


def test_dollars_are_the_requests_at_their_prices():
    assert prices.dollars(COUNTS) == pytest.approx(1100 * 0.40 / 1_000_000)
