"""Whether a resource's policy allows a service of AWS an action, as the service itself would ask."""

from collections.abc import Mapping
from typing import Any

from jibe_sqs.sandbox.aws.aws_calls import Need
from jibe_sqs.sandbox.aws.policies import permits


def allows(policy: Mapping[str, Any], service: str, need: Need) -> bool:
    """Raises `PolicyUnknown` for what the evaluator does not know."""
    about_it = [
        {name: value for name, value in statement.items() if name != "Principal"}
        for statement in policy["Statement"]
        if _is_for(statement["Principal"], service)
    ]
    return permits([{"Statement": about_it}], need)


def _is_for(principal: Any, service: str) -> bool:
    named = {} if principal == "*" else principal
    services = named.get("Service", [])
    return "*" in (principal, named.get("AWS")) or service in ([services] if isinstance(services, str) else services)
