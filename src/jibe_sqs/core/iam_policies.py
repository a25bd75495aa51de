"""Policies of AWS IAM that allow actions: from single grants to the document."""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

VERSION: Final = "2012-10-17"
"""Of the policy language."""
MAX_MANAGED: Final = 6144
"""Characters of a managed policy, without white space."""
MAX_INLINE: Final = 10_240
"""Characters of all inline policies of a role, without white space."""
_SPECIAL: Final = re.compile(r"[*?$]")
_SPACE: Final = re.compile(r"\s")


class Grant(msgspec.Struct, frozen=True):
    """Actions on one resource. `owner`: the account that must own the bucket; empty for any.

    `mode`: the only mode of a session with a directory bucket; empty for any.
    """

    sid: str
    actions: tuple[str, ...]
    resource: str
    owner: str = ""
    mode: str = ""


def literal(text: str) -> str:
    """The text as a part of an ARN in a policy, where `*`, `?` and `${…}` have a meaning.

    >>> literal("logs/a*b")
    'logs/a${*}b'
    """
    return _SPECIAL.sub(lambda found: f"${{{found[0]}}}", text)


def policy_document(grants: Iterable[Grant]) -> dict[str, Any]:
    """The policy, with one statement for all grants of the same name, owner and mode. Everything in it is sorted."""
    merged: dict[tuple[str, str, str], tuple[set[str], set[str]]] = {}
    for each in grants:
        actions, resources = merged.setdefault((each.sid, each.owner, each.mode), (set(), set()))
        actions.update(each.actions)
        resources.add(each.resource)
    statements: list[dict[str, Any]] = []
    used: dict[str, int] = {}
    for (name, owner, mode), (actions, resources) in sorted(merged.items()):
        # Each Sid must be unique.
        used[name] = used.get(name, 0) + 1
        statement: dict[str, Any] = {
            "Sid": name if used[name] == 1 else f"{name}{used[name]}",
            "Effect": "Allow",
            "Action": _one_or_all(actions),
            "Resource": _one_or_all(resources),
        }
        wanted = {"s3:ResourceAccount": owner, "s3express:SessionMode": mode}
        if equal := {key: value for key, value in wanted.items() if value}:
            statement["Condition"] = {"StringEquals": equal}
        statements.append(statement)
    return {"Version": VERSION, "Statement": statements}


def is_too_long(text: str, limit: int = MAX_MANAGED) -> bool:
    """Whether the document is longer than a policy may be."""
    return len(_SPACE.sub("", text)) > limit


def _one_or_all(values: set[str]) -> str | list[str]:
    return sorted(values) if len(values) > 1 else next(iter(values))
