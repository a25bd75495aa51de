"""Who the principals of a ledger are: which rule of `own_writes` matches each, and which of them may be Access Anywhere."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import msgspec

from jibe_sqs.core.model import Actor
from jibe_sqs.core.principals import Seen, caller, role_of

LOOKS_LIKE: Final = re.compile(r"access.?anywhere|file.?fabric|sme.?storage|storage.?made.?easy|nasuni", re.IGNORECASE)
"""Words in the names of Access Anywhere's users and roles, and perhaps in its user agent."""
_ROLE: Final = re.compile(r"(arn:[\w-]+:iam::\d+:role/)(?:.+/)?([^/]+)")


class Identity(msgspec.Struct, frozen=True):
    """A principal. `rule`: of `own_writes` that matches it, such as `own_writes.principals: *`; empty if none does.

    `evidence`: why it is probably Access Anywhere. `hint`: why it is perhaps, if there is no evidence for any principal.
    """

    name: str
    seen: Seen
    actor: Actor
    rule: str = ""
    evidence: tuple[str, ...] = ()
    hint: str = ""

    @property
    def is_suggested(self) -> bool:
        """Whether it should be added to `own_writes` if it is Access Anywhere.

        A name from a log may contain `*` or `?`, which would match other callers as well. Such a name is not suggested.
        """
        return not self.rule and bool(self.evidence or self.hint) and not set(self.name) & {*"*?"}

    @property
    def own_writes(self) -> dict[str, list[str]]:
        """The setting `own_writes` that recognises it."""
        if ":role/" in self.name:
            return {"session_issuers": [self.name]}
        if self.actor.principal:
            return {"principals": [f"{self.name}:*" if self.name != self.actor.principal else self.name]}
        return {"access_keys": [self.name]}


def identities(
    principals: Mapping[str, Seen], rule_of: Callable[[Actor], str], addresses: Mapping[str, str] | None = None
) -> list[Identity]:
    """All principals, the most active first. The sessions of a role are one principal.

    `rule_of`: the rule of `own_writes` for a caller. `addresses`: the IP addresses of Access Anywhere, and its host.
    """
    found = []
    for name, seen in grouped(principals).items():
        actor = caller(name, seen)
        found.append(Identity(name, seen, actor, rule_of(actor), _evidence(name, actor, addresses or {})))
    found.sort(key=lambda each: (-each.seen.count, -each.seen.reads, each.name))
    if not any(each.evidence for each in found):
        both = [each for each in found if each.seen.count and each.seen.reads]
        if len(both) == 1 and len(found) > 1 and not both[0].rule:
            hint = "it is the only one that both changes and reads objects"
            found[found.index(both[0])] = msgspec.structs.replace(both[0], hint=hint)
    return found


def fragment(found: Collection[Identity]) -> dict[str, Any]:
    """The setting that recognises these principals, for the configuration file."""
    own: dict[str, list[str]] = {}
    for each in found:
        for name, values in each.own_writes.items():
            own.setdefault(name, []).extend(values)
    return {"own_writes": own}


def fragment_text(found: Collection[Identity]) -> str:
    """The same as JSON in ASCII, because names come from logs, and go to a terminal."""
    return json.dumps(fragment(found), indent=2)


def grouped(principals: Mapping[str, Seen]) -> dict[str, Seen]:
    """The principals, with all sessions of a role under the role's ARN.

    Earlier releases recorded each session. The ARN of a session lacks the path of its role, so a role with that name and
    account is taken for it.
    """
    roles = {"".join(parts.groups()): name for name in principals if (parts := _ROLE.fullmatch(name))}
    found: dict[str, Seen] = {}
    for name, seen in principals.items():
        role = role_of(name)
        name = roles.get(role, role) or name  # noqa: PLW2901 - the name that it counts under
        if (known := found.get(name)) is None:
            found[name] = msgspec.structs.replace(seen)
        else:
            known.merge(seen)
    return found


def _evidence(name: str, actor: Actor, addresses: Mapping[str, str]) -> tuple[str, ...]:
    found = []
    if LOOKS_LIKE.search(name) or LOOKS_LIKE.search(actor.principal):
        found.append("its name looks like Access Anywhere's")
    if LOOKS_LIKE.search(actor.user_agent):
        found.append("its user agent names Access Anywhere")
    if host := addresses.get(actor.source_address):
        found.append(f"its requests come from the address of {host}")
    return tuple(found)
