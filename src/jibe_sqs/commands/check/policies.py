"""Reads resource policies: whether a service may do something on behalf of a resource.

Only conditions on the source's ARN and account are judged. Any other condition counts as fulfilled: it depends on the
request. Format: IAM User Guide, "IAM JSON policy elements reference".
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

SOURCE_ARN: Final = "aws:sourcearn"
SOURCE_ACCOUNT: Final = "aws:sourceaccount"
ANYONE: Final = "*"


class Source(msgspec.Struct, frozen=True):
    """A service that acts on behalf of a resource, such as SNS for a topic. `services`: names that it may have."""

    services: tuple[str, ...]
    arn: str

    @property
    def account(self) -> str:
        """The account that owns the resource; empty if the ARN does not name it."""
        return self.arn.split(":")[4]


class Statement(msgspec.Struct, frozen=True):
    """One statement of a policy. `conditions`: condition key in lower case -> the values of all its operators.

    `excludes`: it is about all actions but these (`NotAction`).
    """

    allows: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]]
    excludes: bool = False

    def is_about(self, action: str) -> bool:
        """Whether it includes the action. Actions are not case sensitive."""
        is_named = any(_is_like(action.lower(), pattern.lower()) for pattern in self.actions)
        return is_named is not self.excludes

    def is_for(self, source: Source) -> bool:
        """Whether it applies to requests of this source."""
        if ANYONE not in self.principals and not set(source.services) & set(self.principals):
            return False
        arns, accounts = self.conditions.get(SOURCE_ARN), self.conditions.get(SOURCE_ACCOUNT)
        if arns is not None and not any(_is_like(source.arn, pattern) for pattern in arns):
            return False
        return accounts is None or not source.account or any(_is_like(source.account, each) for each in accounts)


def statements(document: str) -> list[Statement]:
    """The statements of a policy document. None are returned of a document that is not a policy."""
    try:
        policy = json.loads(document or "{}")
    except (ValueError, RecursionError):
        return []
    found = policy.get("Statement") if isinstance(policy, dict) else None
    listed = found if isinstance(found, list) else [found]
    return [_statement(each) for each in listed if isinstance(each, dict)]


def admits(document: str, action: str, source: Source) -> bool:
    """Whether the policy allows the action to the source."""
    concerned = [each for each in statements(document) if each.is_about(action) and each.is_for(source)]
    is_denied = any(not each.allows and not each.conditions for each in concerned)
    return not is_denied and any(each.allows for each in concerned)


def admitted_services(document: str, action: str) -> set[str]:
    """The principals that the policy allows the action to, under any condition."""
    return {who for each in statements(document) if each.allows and each.is_about(action) for who in each.principals}


def is_open(document: str, action: str) -> bool:
    """Whether the policy allows the action to anyone, without a condition."""
    return any(
        each.allows and each.is_about(action) and ANYONE in each.principals and not each.conditions
        for each in statements(document)
    )


def source_arns(document: str, action: str) -> list[str]:
    """The ARN patterns of the sources that the policy allows the action to, in their order."""
    allowed = (each for each in statements(document) if each.allows and each.is_about(action))
    return list(dict.fromkeys(arn for each in allowed for arn in each.conditions.get(SOURCE_ARN, ())))


def _statement(each: Mapping[str, Any]) -> Statement:
    conditions: dict[str, tuple[str, ...]] = {}
    for operator, compared in _mapping(each.get("Condition")).items():
        # A negative condition stays a condition, but its values are not the accepted ones. So does `Null`: its values are booleans.
        name = "not " if "not" in operator.lower() or operator.lower() == "null" else ""
        for key, values in _mapping(compared).items():
            about = f"{name}{key.lower()}"
            conditions[about] = (*conditions.get(about, ()), *_texts(values))
    excludes = "NotAction" in each
    principal = each.get("Principal", ())
    principals = principal.values() if isinstance(principal, dict) else [principal]
    return Statement(
        allows=each.get("Effect") == "Allow",
        principals=tuple(text for values in principals for text in _texts(values)),
        actions=tuple(_texts(each.get("NotAction" if excludes else "Action", ()))),
        conditions=conditions,
        excludes=excludes,
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> Iterable[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [str(each) for each in values if isinstance(each, str | bool | int)]


def _is_like(text: str, pattern: str) -> bool:
    """Whether the text matches a pattern of IAM, in which only `*` and `?` are special."""
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(escaped, text, re.DOTALL) is not None
