"""What the checks ask AWS for, as small values; and the ways in which AWS refuses."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from jibe_sqs.commands.check.problems import Code, Problem, note


class Refusal(Exception):
    """A question to AWS that has no answer. `as_problem` is what the check reports."""

    def as_problem(self, subject: str) -> Problem:
        """The finding about that subject."""
        return Problem(Code.NO_ANSWER, subject, str(self), "see the reason, and check again")


class NotAllowed(Refusal):
    """We have no permission. `action`: the permission that is missing, such as `sns:ListSubscriptionsByTopic`."""

    def __init__(self, action: str, resource: str, reason: str) -> None:
        super().__init__(reason)
        self.action = action
        self.resource = resource

    def as_problem(self, subject: str) -> Problem:
        """A note: the service itself may work without this permission."""
        return note(
            Code.CANNOT_CHECK,
            subject,
            f"not checked: {self.action} is not allowed",
            f"allow {self.action} on {self.resource}",
        )


class NotFound(Refusal):
    """It does not exist."""


class NoCredentials(Refusal):
    """There are no credentials, or AWS refuses them."""

    def as_problem(self, subject: str) -> Problem:
        """The same finding for every subject with these credentials, so that the report has it once."""
        del subject
        return Problem(
            Code.CREDENTIALS,
            "AWS",
            str(self),
            "set a profile, a role or variables for AWS's clients, or aws.access_key_id; renew expired credentials",
        )


class NoAnswer(Refusal):
    """AWS was not reached, or failed."""

    def as_problem(self, subject: str) -> Problem:
        """An error: the service could not work either."""
        return Problem(
            Code.NO_ANSWER, subject, str(self), "check the address, the region, proxies and certificates, and try again"
        )


class QueueState(msgspec.Struct, frozen=True):
    """A queue's attributes. Times in seconds. `oldest`: the age of the oldest message; None if it is not known."""

    arn: str
    visibility_timeout: float
    retention: float
    policy: str = ""
    key: str = ""
    """The id, ARN or alias of the KMS key. Empty for SQS's own encryption, or none."""
    redrive_target: str = ""
    """The ARN of the dead-letter queue."""
    max_receives: int | None = None
    waiting: int = 0
    in_flight: int = 0

    @property
    def region(self) -> str:
        """The queue's region."""
        return self.arn.split(":")[3]


class Subscription(msgspec.Struct, frozen=True):
    """A subscription of a topic. `endpoint`: the ARN of the queue, if `protocol` is `sqs`."""

    arn: str
    protocol: str
    endpoint: str

    @property
    def is_pending(self) -> bool:
        """Whether it is not confirmed yet. SNS then has a word in place of its ARN."""
        return not self.arn.startswith("arn:")


class SubscriptionState(msgspec.Struct, frozen=True):
    """A subscription's attributes."""

    is_raw: bool = False
    filter_policy: str = ""


class KeyState(msgspec.Struct, frozen=True):
    """A KMS key. `policy`: its document; empty if it is managed by AWS."""

    arn: str
    state: str
    is_managed_by_aws: bool


class Selector(msgspec.Struct, frozen=True):
    """The data events of one type that a trail logs. Each ARN rule is a beginning of an object's ARN.

    `starts`: at least one must match, if there are any. `not_starts`: none may match.
    `events`: the names of the only events that count, if there are any.
    """

    resource: str
    reads: bool
    writes: bool
    starts: tuple[str, ...] = ()
    not_starts: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


class TrailState(msgspec.Struct, frozen=True):
    """A trail: where it delivers, what it logs, and how that goes. `latest_delivery`: seconds since the epoch.

    `is_logging`, `selectors`: None while they are not known.
    """

    arn: str
    home: str
    """The region in which it was created."""
    bucket: str
    prefix: str = ""
    topic: str = ""
    """ARN of the topic on which it announces its log files."""
    is_multi_region: bool = False
    is_logging: bool | None = None
    latest_delivery: float | None = None
    delivery_error: str = ""
    notification_error: str = ""
    selectors: tuple[Selector, ...] | None = None

    @property
    def name(self) -> str:
        """Its name in its region."""
        return f"{self.arn.rpartition('/')[2]} ({self.home})"

    @property
    def keys(self) -> str:
        """The beginning of the keys of its log files."""
        return f"{self.prefix}/AWSLogs/" if self.prefix else "AWSLogs/"


class Notifications(msgspec.Struct, frozen=True):
    """What S3 announces about a bucket. `events`: names such as `s3:ObjectCreated:*`, for queues and topics."""

    events: tuple[str, ...] = ()
    has_eventbridge: bool = False


class Expiry(msgspec.Struct, frozen=True):
    """A lifecycle rule that deletes current objects."""

    rule: str
    prefix: str


class Cloud(Protocol):
    """Questions to AWS with one account's credentials. Every call raises `Refusal`s only."""

    async def identity(self) -> str:
        """The ARN of the caller."""

    async def queue(self, url: str, region: str | None) -> QueueState:
        """The attributes of a queue."""

    async def oldest_message(self, arn: str) -> float | None:
        """The age in seconds of a queue's oldest message, some minutes ago. None if there is none."""

    async def queue_at(self, arn: str) -> QueueState:
        """The attributes of the queue with that ARN."""

    async def subscriptions(self, topic: str) -> Sequence[Subscription]:
        """The subscriptions of a topic."""

    async def subscription(self, arn: str) -> SubscriptionState:
        """The attributes of a subscription."""

    async def topic_key(self, topic: str) -> str:
        """The KMS key of a topic; empty if it has none."""

    async def key(self, key: str, region: str) -> KeyState:
        """A KMS key."""

    async def key_policy(self, arn: str) -> str:
        """The policy document of a KMS key."""

    async def bucket_region(self, bucket: str) -> str:
        """The region of a bucket. Needs no permission, except that the bucket exists."""

    async def notifications(self, bucket: str, region: str) -> Notifications:
        """What S3 announces about a bucket."""

    async def access_log_bucket(self, bucket: str, region: str) -> str:
        """The bucket for the server access logs of a bucket; empty if there are none."""

    async def expiries(self, bucket: str, region: str) -> Sequence[Expiry]:
        """The lifecycle rules of a bucket that delete current objects."""

    async def trails(self, region: str) -> Sequence[TrailState]:
        """The trails that log events of this region, without their status and selectors."""

    async def trail_status(self, trail: TrailState) -> TrailState:
        """The same trail with its status."""

    async def trail_selectors(self, trail: TrailState) -> TrailState:
        """The same trail with its selectors."""
