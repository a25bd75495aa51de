"""Checks the queues: attributes, dead-letter queue, policy and encryption."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from jibe_sqs.commands.check import policies
from jibe_sqs.commands.check.facts import Cloud, KeyState, NotAllowed, NotFound, QueueState
from jibe_sqs.commands.check.problems import Code, Fine, Problem, note, warning
from jibe_sqs.commands.check.running import Findings, unless_refused
from jibe_sqs.core.phrases import counted, duration

SEND: Final = "sqs:SendMessage"
SENDERS: Final = ("sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com")
"""The services that send announcements to a queue."""

LOW_RECEIVES: Final = 5
"""With fewer receives, an outage of some minutes makes dead letters of good messages."""
SHORT_VISIBILITY: Final = 30.0
LONG_VISIBILITY: Final = 3600.0
SHORT_RETENTION: Final = 86_400.0
LONGEST_RETENTION: Final = 14 * 86400
"""Seconds: the most that SQS allows."""
OLD_SHARE: Final = 0.5
"""The share of the retention after which a message is old."""
USABLE_STATE: Final = "Enabled"


class CheckedQueue(msgspec.Struct, frozen=True):
    """A configured queue. `region`: the configured one; `url_region`: the one in its URL.

    `may_reject`: whether SQS accepts our writes to its dead-letter queue. Raises `JibeError`s.
    `is_aws`: another store's queue has no policy, key or metric to check.
    """

    name: str
    url: str
    cloud: Cloud
    may_reject: Callable[[], Awaitable[bool]]
    region: str | None = None
    url_region: str | None = None
    is_aws: bool = True

    async def state(self) -> QueueState:
        """Its attributes. Raises `Refusal`."""
        return await self.cloud.queue(self.url, self.region or self.url_region)


async def check_queue(queue: CheckedQueue) -> Findings:
    """The queue exists, keeps messages long enough, hides them long enough, and its policy lets a service send."""
    name = queue.name
    if queue.region and queue.url_region and queue.region != queue.url_region:
        yield Problem(
            Code.QUEUE_REGION,
            name,
            f"its URL is in {queue.url_region}, but its region is set to {queue.region}",
            "remove queues.region, or correct the URL",
        )
    try:
        state = await queue.state()
    except NotFound as error:
        yield Problem(Code.QUEUE_MISSING, name, str(error), "correct queues.url, or deploy the central stack")
        return
    except NotAllowed as error:
        yield Problem(Code.QUEUE_DENIED, name, str(error), f"allow {error.action} on the queue: the service needs it")
        return
    yield Fine(
        name,
        f"{state.region}, kept for {duration(state.retention)}, hidden for {duration(state.visibility_timeout)}; "
        f"{counted(state.waiting, 'message')} waiting, {state.in_flight:,} in flight",
    )
    if state.retention < SHORT_RETENTION:
        yield warning(
            Code.QUEUE_RETENTION_SHORT,
            name,
            f"keeps messages for {duration(state.retention)} only: a longer outage loses changes",
            "set its retention to 4 days or more",
        )
    for finding in _of_visibility(name, state):
        yield finding
    if not queue.is_aws:
        return
    for finding in _of_policy(name, state):
        yield finding
    if state.waiting:
        oldest = await unless_refused(name, queue.cloud.oldest_message(state.arn))
        if isinstance(oldest, Problem):
            yield oldest
        elif oldest is not None and oldest > OLD_SHARE * state.retention:
            yield Problem(
                Code.QUEUE_MESSAGES_OLD,
                name,
                f"its oldest message is {duration(oldest)} old, and SQS deletes it after {duration(state.retention)}",
                "is the service running, and is Access Anywhere up? Raise the queue's retention meanwhile",
            )


def short(arn: str) -> str:
    """The name of a queue or a topic, and its region."""
    parts = arn.split(":")
    return f"{parts[-1]} ({parts[3]})"


def _of_visibility(name: str, state: QueueState) -> list[Problem]:
    hidden = duration(state.visibility_timeout)
    if state.visibility_timeout < SHORT_VISIBILITY:
        what = f"its visibility timeout is {hidden}; the service asks for {duration(SHORT_VISIBILITY)} instead"
        return [note(Code.VISIBILITY_TIMEOUT_SHORT, name, what, f"set it to {duration(SHORT_VISIBILITY)} or more")]
    if state.visibility_timeout > LONG_VISIBILITY:
        what = f"its visibility timeout is {hidden}: after a crash, held messages are that late"
        return [warning(Code.VISIBILITY_TIMEOUT_LONG, name, what, "set it to some minutes: the service extends it")]
    return []


def _of_policy(name: str, state: QueueState) -> list[Problem]:
    admitted = policies.admitted_services(state.policy, SEND)
    found = []
    if not admitted:
        found.append(
            Problem(
                Code.QUEUE_POLICY_MISSING,
                name,
                "no statement of its policy allows a service to send to it, so no announcement arrives",
                f"allow {SEND} to sns.amazonaws.com with a condition on aws:SourceArn, as the central stack does",
            )
        )
    if policies.is_open(state.policy, SEND):
        found.append(
            warning(
                Code.QUEUE_POLICY_OPEN,
                name,
                "its policy allows anyone to send to it",
                "name the service as principal, and your topics in a condition on aws:SourceArn",
            )
        )
    return found


async def check_dead_letters(queue: CheckedQueue) -> Findings:
    """A dead-letter queue exists, we may write to it, it keeps messages longer, and it is empty."""
    name = queue.name
    try:
        state = await queue.state()
    except (NotFound, NotAllowed):
        # `check_queue` reports it.
        return
    if not state.redrive_target:
        yield warning(
            Code.DEAD_LETTERS_MISSING,
            name,
            "it has no dead-letter queue: a message that cannot be handled returns until SQS deletes it",
            "set a redrive policy with a dead-letter queue and 10 receives",
        )
        return
    if state.max_receives is not None and state.max_receives < LOW_RECEIVES:
        yield warning(
            Code.MAX_RECEIVES_LOW,
            name,
            f"a message becomes a dead letter after {counted(state.max_receives, 'receive')}: a restart or a short "
            "outage is enough",
            "set maxReceiveCount of its redrive policy to 10",
        )
    dead_name = short(state.redrive_target)
    try:
        dead = await queue.cloud.queue_at(state.redrive_target)
    except NotFound:
        yield Problem(
            Code.DEAD_LETTERS_MISSING,
            name,
            f"its dead-letter queue {dead_name} does not exist",
            "create it, or correct the redrive policy",
        )
        return
    except NotAllowed as error:
        yield error.as_problem(dead_name)
        dead = None
    if not await queue.may_reject():
        yield warning(
            Code.DEAD_LETTERS_DENIED,
            name,
            f"we may not write to {dead_name}: rejected messages stay until SQS moves them, without a reason",
            f"allow sqs:GetQueueUrl and sqs:SendMessage on {state.redrive_target}",
        )
    if dead is None:
        return
    yield Fine(dead_name, f"after {counted(state.max_receives or 0, 'receive')}, kept for {duration(dead.retention)}")
    # No queue keeps messages longer than that. With an equal queue, only what waited for days there has little time left.
    if dead.retention <= state.retention and dead.retention < LONGEST_RETENTION:
        yield warning(
            Code.DEAD_LETTERS_RETENTION,
            dead_name,
            f"keeps messages for {duration(dead.retention)}, and its queue for {duration(state.retention)}: SQS counts "
            "from the first sending, so a dead letter may be deleted at once",
            "set its retention to 14 days",
        )
    if dead.waiting:
        yield warning(
            Code.DEAD_LETTERS_WAITING,
            dead_name,
            f"{counted(dead.waiting, 'dead letter')}: their changes are not in the index",
            "jibe-sqs dead-letters list shows the reasons; after the repair: jibe-sqs dead-letters redrive --all",
        )


async def check_queue_key(queue: CheckedQueue) -> Findings:
    """The KMS key of an encrypted queue works, and the services that send may use it."""
    name = queue.name
    try:
        state = await queue.state()
    except (NotFound, NotAllowed):
        return
    if not state.key or not queue.is_aws:
        return
    services = [each for each in SENDERS if each in policies.admitted_services(state.policy, SEND)] or [SENDERS[0]]
    if state.key.endswith("alias/aws/sqs"):
        yield _key_of_aws(name, services)
        return
    try:
        key = await queue.cloud.key(state.key, state.region)
    except NotFound as error:
        yield Problem(Code.QUEUE_KEY_UNUSABLE, name, str(error), "set the queue's KmsMasterKeyId to an existing key")
        return
    if key.is_managed_by_aws:
        yield _key_of_aws(name, services)
    elif key.state != USABLE_STATE:
        yield Problem(
            Code.QUEUE_KEY_UNUSABLE, name, f"its KMS key is {key.state}", f"enable {key.arn}, or cancel its deletion"
        )
    else:
        yield await _of_key_policy(queue, key, services)


async def _of_key_policy(queue: CheckedQueue, key: KeyState, services: Sequence[str]) -> Problem | Fine:
    document = await unless_refused(queue.name, queue.cloud.key_policy(key.arn))
    if isinstance(document, Problem):
        return document
    # A key policy may restrict the service to certain topics. That is not judged here.
    allowed = policies.admitted_services(document, "kms:GenerateDataKey")
    allowed &= policies.admitted_services(document, "kms:Decrypt")
    for service in services:
        if not {service, policies.ANYONE} & allowed:
            return Problem(
                Code.QUEUE_KEY_UNUSABLE,
                queue.name,
                f"the policy of its KMS key does not allow {service} to use it, so nothing arrives",
                f"allow kms:GenerateDataKey* and kms:Decrypt to {service} in the policy of {key.arn}",
            )
    return Fine(queue.name, "its KMS key is enabled, and the senders may use it")


def _key_of_aws(name: str, services: Sequence[str]) -> Problem:
    return Problem(
        Code.QUEUE_KEY_UNUSABLE,
        name,
        f"it is encrypted with a key that AWS manages (alias/aws/sqs), which {services[0]} cannot use: nothing arrives",
        "use SQS's own encryption (SqsManagedSseEnabled), or a key of yours whose policy allows the service",
    )
