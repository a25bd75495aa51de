"""The calls that a program made to the sandbox's AWS, and whether a policy allows them."""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import msgspec

from jibe_sqs.sandbox.aws.aws_calls import CALLS, AwsCall
from jibe_sqs.sandbox.aws.policies import refused
from jibe_sqs.sandbox.world import LOCAL


def recorded(aws_endpoint: str, access_key: str | None = None, *, since: int = 0) -> list[AwsCall]:
    """The calls under AWS's real host names that this access key signed; None for all keys. `since`: a call's `n`."""
    answer = httpx.get(f"{aws_endpoint}{CALLS}?since={since}", **LOCAL)
    calls = msgspec.json.decode(answer.content, type=list[AwsCall])
    return [call for call in calls if access_key in (None, call.access_key)]


def allowed(policy_document: Mapping[str, Any], call: AwsCall) -> bool:
    """Whether this policy allows everything that the call needs."""
    return not refused([policy_document], call)


def not_allowed(policy_document: Mapping[str, Any], calls: Iterable[AwsCall]) -> list[str]:
    """What the policy does not allow: "ACTION on RESOURCE", each once, sorted."""
    found = [need for call in calls for need in refused([policy_document], call)]
    return sorted({f"{need.action} on {need.resource}" for need in found})
