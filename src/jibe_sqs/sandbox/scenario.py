"""How a sandbox's world differs from an ordinary one. Needs nothing to be installed."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.sandbox.change_feeds import ChangeFeed


class Via(StrEnum):
    """How log files are fetched. The words of the command line."""

    S3 = "s3"
    ACCESS_ANYWHERE = "access-anywhere"


class Strategy(StrEnum):
    """How Access Anywhere is made to see changes. The words of the command line."""

    REFRESH = "refresh"
    PROVIDER_EVENT = "provider-event"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in it, and what the consumer is told to do about it."""

    format_: ChangeFeed = ChangeFeed.MIXED
    logs_via: Via = Via.S3
    """Through Access Anywhere, the consumer has no credentials for S3, and finds out itself where buckets are shown."""
    lose_notifications: bool = False
    """Nobody announces log files: sweeps find them."""
    strategy: Strategy = Strategy.REFRESH
    aa_failures: float = 0.0
    """The share of Access Anywhere's calls that fail, in one way or another."""
    aa_outage: float = 0.0
    """Seconds for which it is down, half-way through."""
    kill_consumer: bool = False
    aws_endpoint: str = ""
    """Another server that speaks S3, SQS and SNS, in place of the embedded AWS."""


ORDINARY: Final = Scenario()
