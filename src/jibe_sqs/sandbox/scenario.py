"""How a sandbox can differ from the default one. Importing this module needs only msgspec."""

from enum import StrEnum
from typing import Final

import msgspec

from jibe_sqs.sandbox.change_feeds import ChangeFeed


class Via(StrEnum):
    """How the service fetches log files. The values are options of the command line."""

    S3 = "s3"
    ACCESS_ANYWHERE = "access-anywhere"


class Strategy(StrEnum):
    """How Access Anywhere learns of changes. The values are options of the command line."""

    REFRESH = "refresh"
    PROVIDER_EVENT = "provider-event"


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What happens in the sandbox, and how the service is configured for it."""

    format_: ChangeFeed = ChangeFeed.MIXED
    logs_via: Via = Via.S3
    """With `ACCESS_ANYWHERE`, the service has no credentials for S3, and asks Access Anywhere which folders show which
    buckets.
    """
    lose_notifications: bool = False
    """Log files are not announced; the service must find them by sweeping."""
    strategy: Strategy = Strategy.REFRESH
    aa_failures: float = 0.0
    """The share of calls to Access Anywhere that fail, from 0 to 1."""
    aa_outage: float = 0.0
    """Seconds for which Access Anywhere is down, after half of the changes."""
    kill_consumer: bool = False
    aws_endpoint: str = ""
    """The endpoint of another server that speaks S3, SQS and SNS, in place of the embedded AWS."""

    @property
    def starting(self) -> str:
        """What a demo or a sandbox does first, for people."""
        aws = f"buckets and queues at {self.aws_endpoint}" if self.aws_endpoint else "AWS in three regions"
        return f"starting {aws} and Access Anywhere"


ORDINARY: Final = Scenario()
