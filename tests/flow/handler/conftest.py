"""The worlds of the handler's tests."""

import pytest
from tests.flow.handler.log_files import DIGEST_POLICY

from jibe_sqs.core.sources import LogSource
from jibe_sqs.core.verdicts import RetryPolicy

VERIFIED = LogSource("trail-logs", "AWSLogs/", verify=True)
NOT_VERIFIED = LogSource("trail-logs", "other/")


@pytest.fixture
def world(flow):
    """A world whose messages are rejected at the fifth receive."""
    return flow.World(retry=RetryPolicy(max_receives=5))


@pytest.fixture
def verified(flow):
    """A world with two sources. The files of the trail are verified with digests, those of the other source are not."""
    verifier = flow.FakeVerifier()
    world = flow.World(sources=[VERIFIED, NOT_VERIFIED], verifiers={VERIFIED: verifier}, retry=DIGEST_POLICY)
    world.verifier = verifier
    return world
