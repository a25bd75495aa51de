"""Checks how Access Anywhere's own writes are recognised, against the principals that the ledger has seen."""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from jibe_sqs.commands.check.problems import Code, Fine, Problem, note, warning
from jibe_sqs.commands.check.running import Findings
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.identities import LOOKS_LIKE, grouped
from jibe_sqs.core.model import Actor
from jibe_sqs.core.phrases import counted
from jibe_sqs.core.principals import Seen, caller

MOST_ADDRESSES: Final = 65_536
"""A larger network is hardly that of one server."""
FEW: Final = 3
"""With fewer principals, it may be right that all of them are Access Anywhere's."""


class CheckedOwnWrites(msgspec.Struct, frozen=True):
    """The setting `own_writes`. `is_own`: the rule that the service uses. `principals`: those in the ledger."""

    patterns: tuple[str, ...]
    """Of principals, session issuers and user agents."""
    networks: tuple[IPv4Network | IPv6Network, ...]
    access_keys: Collection[str]
    is_own: Callable[[Actor], bool]
    principals: Callable[[], Awaitable[Mapping[str, Seen]]]

    @property
    def is_set(self) -> bool:
        """Whether anything is configured."""
        return bool(self.patterns or self.networks or self.access_keys)


async def check_own_writes(checked: CheckedOwnWrites) -> Findings:
    """The rules match Access Anywhere's writes, and nothing else."""
    for pattern in checked.patterns:
        if is_too_broad(pattern):
            yield Problem(
                Code.OWN_WRITES_TOO_BROAD,
                "own_writes",
                f"{pattern} matches nearly every caller: their changes are skipped as Access Anywhere's own",
                "name Access Anywhere's user or role in own_writes, without * for the name",
            )
    for network in checked.networks:
        if network.num_addresses > MOST_ADDRESSES:
            yield Problem(
                Code.OWN_WRITES_TOO_BROAD,
                "own_writes",
                f"{network} is a large network: all changes from it are skipped as Access Anywhere's own",
                "set own_writes.source_addresses to the addresses of Access Anywhere's servers",
            )
    try:
        found = grouped(await checked.principals())
    except LedgerError:
        # The check of the ledger reports it.
        found = {}
    # Callers that only read have no writes to be recognised.
    seen = sorted(name for name, each in found.items() if each.count)
    similar = [each for each in seen if LOOKS_LIKE.search(each)]
    if not checked.is_set:
        likely = f"; {_some(similar)} looks like it" if similar else ""
        what = f"Access Anywhere's own writes are not recognised, so each causes a refresh{likely}"
        remedy = "set own_writes.principals; jibe-sqs principals lists the callers that were seen"
        yield (warning if similar else note)(Code.OWN_WRITES_UNSET, "own_writes", what, remedy)
        return
    own = [each for each in seen if checked.is_own(caller(each, found[each]))]
    if len(seen) >= FEW and len(own) == len(seen):
        what = f"match all {len(seen):,} callers that were seen: every change is skipped as Access Anywhere's own"
        yield Problem(Code.OWN_WRITES_TOO_BROAD, "own_writes", what, "name Access Anywhere's user or role only")
    elif left := [each for each in similar if each not in own]:
        what = f"{_some(left)} looks like Access Anywhere, but does not match: its writes cause refreshes"
        yield warning(Code.OWN_WRITES_INCOMPLETE, "own_writes", what, "add it to own_writes.principals, if it is")
    else:
        yield Fine("own_writes", f"match {len(own):,} of {counted(len(seen), 'caller')} seen so far")


def is_too_broad(pattern: str) -> bool:
    """Whether a pattern of ARNs or user agents names nothing in particular: `*`, `arn:aws:*`, `arn:aws:iam::1:user/*`."""
    if not set(pattern) & {*"*?"}:
        return False
    resource = pattern.rpartition(":")[2] if pattern.startswith("arn:") else pattern
    # The type of the resource, such as `user/`, names nobody. After a role's name, `/*` means its sessions.
    name = resource.partition("/")[2] if pattern.startswith("arn:") and "/" in resource else resource
    return not re.sub(r"[*?\W_]", "", name)


def _some(names: list[str], most: int = 2) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
