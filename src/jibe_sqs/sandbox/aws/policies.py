"""Evaluates the policies of a role or user: may it do this action on this resource?

moto has no `simulate_custom_policy`, and its own access control reads neither `Resource` nor `Condition`. This evaluator
knows what policies of an identity contain, without variables (`${aws:username}`), boundaries and policies of resources.
An element or an operator that it does not know is an error: it must not count as a permission.

Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements".
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final

from jibe_sqs.sandbox.aws.aws_calls import AwsCall, Need

_ELEMENTS: Final = frozenset(
    {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"},
)
_IF_EXISTS: Final = "IfExists"


class PolicyUnknown(ValueError):
    """The policy contains something that this evaluator does not know."""


def refused(documents: Iterable[Mapping[str, Any]], call: AwsCall) -> tuple[Need, ...]:
    """The permissions that the call needs and these policies do not give. Raises `PolicyUnknown`."""
    policies = [*documents]
    return tuple(need for need in call.needs if not permits(policies, need))


def permits(documents: Iterable[Mapping[str, Any]], need: Need) -> bool:
    """Whether these policies together give this permission. Raises `PolicyUnknown`."""
    effects = {
        statement["Effect"] for document in documents for statement in statements(document) if applies(statement, need)
    }
    return "Allow" in effects and "Deny" not in effects


def statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statements of a policy. A single one may stand without a list. Raises `PolicyUnknown`."""
    found = document["Statement"]
    listed = [found] if isinstance(found, Mapping) else [*found]
    for statement in listed:
        if unknown := statement.keys() - _ELEMENTS:
            raise PolicyUnknown(f"unknown elements of a statement: {', '.join(sorted(unknown))}")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise PolicyUnknown(f"Effect must be Allow or Deny: {statement.get('Effect')!r}")
    return listed


def applies(statement: Mapping[str, Any], need: Need) -> bool:
    """Whether the statement is about this permission. Raises `PolicyUnknown`."""
    return (
        _named(statement, "Action", need.action, _like_action)
        and _named(statement, "Resource", need.resource, _like_resource)
        and all(
            _holds(operator, key, _list(values), need.context)
            for operator, wanted in statement.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _named(statement: Mapping[str, Any], element: str, value: str, like: Callable[[str, str], bool]) -> bool:
    if (element in statement) == (f"Not{element}" in statement):
        raise PolicyUnknown(f"a statement has either {element} or Not{element}")
    patterns = _list(statement.get(element, statement.get(f"Not{element}")))
    if any("${" in pattern for pattern in patterns):
        raise PolicyUnknown(f"variables are not known: {patterns}")
    found = any(like(pattern, value) for pattern in patterns)
    return found == (element in statement)


def _holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    """Whether one condition holds. The name of a key is case-insensitive; one of its values is enough."""
    name = operator.removesuffix(_IF_EXISTS)
    if name not in _OPERATORS or operator == f"Null{_IF_EXISTS}":
        raise PolicyUnknown(f"the condition operator is unknown: {operator}")
    found = next((value for each, value in context.items() if each.lower() == key.lower()), None)
    if name == "Null":
        return str(found is None).lower() in [value.lower() for value in wanted]
    is_negated = "Not" in name
    if found is None:
        return operator != name or is_negated
    return any(_OPERATORS[name](value, found) for value in wanted) != is_negated


def _list(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in listed]


def _like(pattern: str, value: str) -> bool:
    return _compiled(pattern, ignore_case=False).fullmatch(value) is not None


def _like_action(pattern: str, value: str) -> bool:
    """A wildcard does not match the colon after the service, except `*` alone."""
    service, _, action = value.partition(":")
    wanted, colon, rest = pattern.partition(":")
    if not colon:
        return pattern == "*"
    return _compiled(rest, ignore_case=True).fullmatch(action) is not None and wanted.lower() == service.lower()


def _like_resource(pattern: str, value: str) -> bool:
    """`*` is every resource. In an ARN, a wildcard stays within its part; parts that are missing match everything."""
    if pattern == "*":
        return True
    parts = pattern.split(":", 5)
    return _arn_like(":".join(parts + ["*"] * (6 - len(parts))), value)


@cache
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    text = "".join(parts.get(character, re.escape(character)) for character in pattern)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignore_case else re.NOFLAG))


def _arn_like(pattern: str, value: str) -> bool:
    """Each of the six parts of an ARN is compared for itself: a wildcard does not match a colon before the last part."""
    patterns, parts = pattern.split(":", 5), value.split(":", 5)
    return len(patterns) == len(parts) == 6 and all(map(_like, patterns, parts))


def _equal(wanted: str, found: str) -> bool:
    return wanted == found


def _equal_ignoring_case(wanted: str, found: str) -> bool:
    return wanted.lower() == found.lower()


_OPERATORS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "StringEquals": _equal,
    "StringNotEquals": _equal,
    "StringEqualsIgnoreCase": _equal_ignoring_case,
    "StringLike": _like,
    "StringNotLike": _like,
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "ArnNotLike": _arn_like,
    "ArnNotEquals": _arn_like,
    "Bool": _equal_ignoring_case,
    "Null": _equal,
}
