"""Checks the topics: each has a confirmed subscription of a configured queue, whose policy admits it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

import msgspec

from jibe_sqs.commands.check import policies
from jibe_sqs.commands.check.facts import Cloud, NotFound, QueueState, Refusal, Subscription
from jibe_sqs.commands.check.problems import Code, Finding, Fine, Problem, note, warning
from jibe_sqs.commands.check.queues import SEND, CheckedQueue, short
from jibe_sqs.commands.check.running import Findings, unless_refused

SNS: Final = "sns.amazonaws.com"
OLD_REGIONS: Final = frozenset(
    f"{area}-{number}"
    for area, numbers in {
        "us-east": (1, 2),
        "us-west": (1, 2),
        "ca-central": (1,),
        "sa-east": (1,),
        "eu-central": (1,),
        "eu-north": (1,),
        "eu-west": (1, 2, 3),
        "ap-south": (1,),
        "ap-northeast": (1, 2, 3),
        "ap-southeast": (1, 2),
    }.items()
    for number in numbers
)
"""The regions of `aws` that every account has. All later regions are opt-in regions (SNS Developer Guide)."""


class Candidate(msgspec.Struct, frozen=True):
    """A topic that may announce log files. `is_certain`: it must exist, because something names it."""

    arn: str
    is_certain: bool


class CheckedTopics(msgspec.Struct, frozen=True):
    """Where the topics are looked for: in the queues' policies, in trails, and in settings.

    `regions`: where a topic may be whose region a policy leaves open. `requires_signatures`: `sns.verify`.
    """

    queues: Sequence[CheckedQueue]
    cloud: Cloud
    trail_topics: Callable[[], Awaitable[Collection[str]]]
    regions: Callable[[], Awaitable[Collection[str]]]
    configured: tuple[str, ...] = ()
    requires_signatures: bool = False


async def check_topics(checked: CheckedTopics) -> Findings:
    """Each topic that is known from a policy, a trail or the settings announces to a configured queue."""
    states = [each for each in await asyncio.gather(*map(_state, checked.queues)) if each is not None]
    trail_topics = await unless_refused("topics of the trails", checked.trail_topics())
    named = {} if isinstance(trail_topics, Problem) else dict.fromkeys(trail_topics, True)
    named |= dict.fromkeys(checked.configured, True)
    for candidate in _of_policies(states, await checked.regions()):
        named.setdefault(candidate.arn, candidate.is_certain)
    found = await asyncio.gather(
        *(_of_topic(checked, Candidate(arn, is_certain), states) for arn, is_certain in named.items())
    )
    for findings in found:
        for finding in findings:
            yield finding
    if states and not any(found):
        yield note(
            Code.TOPICS_UNKNOWN,
            "topics",
            "no topic was found in the policies of the queues, in trails, or in sns.topics",
            "name the topics in a condition on aws:SourceArn; nothing to do if S3 or EventBridge sends to the queues",
        )


async def _state(queue: CheckedQueue) -> QueueState | None:
    try:
        return await queue.state()
    except Refusal:
        # The checks of the queues report it.
        return None


def _of_policies(states: Sequence[QueueState], regions: Collection[str]) -> list[Candidate]:
    found: list[Candidate] = []
    for state in states:
        for arn in policies.source_arns(state.policy, SEND):
            parts = arn.split(":")
            if len(parts) != 6 or parts[2] != "sns":
                continue
            is_certain = not set(arn) & {*"*?"}
            if is_certain:
                found.append(Candidate(arn, is_certain=True))
            elif parts[3] == "*" and not set(parts[4] + parts[5]) & {*"*?"}:
                found += [Candidate(":".join([*parts[:3], each, *parts[4:]]), is_certain=False) for each in regions]
    return found


async def _of_topic(checked: CheckedTopics, candidate: Candidate, states: Sequence[QueueState]) -> list[Finding]:
    topic = candidate.arn
    try:
        subscriptions = await checked.cloud.subscriptions(topic)
    except NotFound:
        what, remedy = "the topic does not exist", "deploy the regional stack, or remove the topic where it is named"
        return [Problem(Code.TOPIC_MISSING, short(topic), what, remedy)] if candidate.is_certain else []
    except Refusal as refusal:
        return [refusal.as_problem(short(topic))] if candidate.is_certain else []
    found: list[Finding] = []
    key = await unless_refused(short(topic), checked.cloud.topic_key(topic))
    if isinstance(key, Problem):
        found.append(key)
    elif key.endswith("alias/aws/sns"):
        what = "it is encrypted with a key that AWS manages (alias/aws/sns), so CloudTrail and S3 cannot publish to it"
        remedy = "use a key of yours whose policy allows the publisher, or no encryption"
        found.append(Problem(Code.TOPIC_KEY_UNUSABLE, short(topic), what, remedy))
    by_arn = {state.arn: state for state in states}
    ours = [each for each in subscriptions if each.protocol == "sqs" and each.endpoint in by_arn]
    if not ours and states:
        found.append(_missing(topic, states))
    for each in ours:
        found += await _of_subscription(checked, topic, each, by_arn[each.endpoint])
    return found


def _missing(topic: str, states: Sequence[QueueState]) -> Problem:
    # The queue in the topic's region, or else the first one.
    region = topic.split(":")[3]
    queue = next((state for state in states if state.region == region), states[0])
    return Problem(
        Code.SUBSCRIPTION_MISSING,
        short(topic),
        "no configured queue is subscribed to it, so what it announces is never heard",
        f"aws sns subscribe --region {region} --protocol sqs --topic-arn {topic} --notification-endpoint {queue.arn}",
    )


async def _of_subscription(
    checked: CheckedTopics, topic: str, subscription: Subscription, state: QueueState
) -> list[Finding]:
    name, queue = short(topic), state.arn.rpartition(":")[2]
    if subscription.is_pending:
        what = f"its subscription of {queue} is not confirmed, so nothing is delivered"
        return [Problem(Code.SUBSCRIPTION_PENDING, name, what, "confirm it, or subscribe as the owner of the queue")]
    found: list[Finding] = []
    details = await unless_refused(name, checked.cloud.subscription(subscription.arn))
    if isinstance(details, Problem):
        found.append(details)
    else:
        if details.filter_policy not in ("", "{}"):
            what = f"its subscription of {queue} has a filter: SNS drops the announcements that do not match"
            found.append(warning(Code.SUBSCRIPTION_FILTERED, name, what, "remove FilterPolicy from the subscription"))
        if details.is_raw and checked.requires_signatures:
            what = f"its subscription of {queue} delivers raw messages, which have no signature for sns.verify"
            remedy = "set RawMessageDelivery of the subscription to false, or sns.verify to false"
            found.append(Problem(Code.SUBSCRIPTION_RAW, name, what, remedy))
    if problem := _not_admitted(topic, state):
        found.append(problem)
    if not any(isinstance(each, Problem) for each in found):
        is_near = topic.split(":")[3] == state.region
        found.append(Fine(name, f"delivers to {queue}{'' if is_near else f' in {state.region}'}"))
    return found


def _not_admitted(topic: str, state: QueueState) -> Problem | None:
    principal = principal_of(topic.split(":")[3], state.region)
    if policies.admits(state.policy, SEND, policies.Source((principal,), topic)):
        return None
    queue, allow = state.arn.rpartition(":")[2], f"allow {SEND} to {principal}, with aws:SourceArn {topic}"
    if principal != SNS and policies.admits(state.policy, SEND, policies.Source((SNS,), topic)):
        return Problem(
            Code.TOPIC_REGION_NOT_ADMITTED,
            short(topic),
            f"an opt-in region delivers as {principal}, and the policy of {queue} admits only {SNS}",
            f"{allow}, in the policy of the queue",
        )
    return Problem(
        Code.TOPIC_NOT_ADMITTED,
        short(topic),
        f"the policy of {queue} does not let it send, so SNS drops its announcements",
        f"{allow}, in the policy of the queue",
    )


def principal_of(topic_region: str, queue_region: str) -> str:
    """The service principal with which SNS delivers. Across regions it is the opt-in region's, of two the queue's.

    Source: SNS Developer Guide, "Cross-region delivery".
    """
    if topic_region != queue_region:
        for region in (queue_region, topic_region):
            if _is_opt_in(region):
                return f"sns.{region}.amazonaws.com"
    return SNS


def _is_opt_in(region: str) -> bool:
    is_of_another_partition = region.startswith(("cn-", "us-gov-", "us-iso", "eu-iso", "eusc-"))
    return region not in OLD_REGIONS and not is_of_another_partition
