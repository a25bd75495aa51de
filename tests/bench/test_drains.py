"""A peer and the service drain the stub, as in a benchmark."""

import pytest
from bench.contenders import AIOBOTOCORE, LIMIT, OURS
from bench.drains import drained

FILES = 25


@pytest.mark.parametrize("contender", [AIOBOTOCORE, LIMIT], ids=lambda contender: contender.name)
def test_a_peer_finds_every_event(stub, contender):
    usage = drained(contender, stub, "tiny", FILES)
    assert usage.events == stub.events("tiny", FILES)
    assert usage.counts["s3 GET"] == FILES
    assert usage.cpu >= 0


def test_the_service_drains_the_queue_and_asks_for_refreshes(stub):
    usage = drained(OURS, stub, "tiny", FILES)
    assert usage.counts["s3 GET"] == FILES
    assert usage.counts["aa refreshes asked"] > 0
    assert usage.peak > 0
