"""The most active principals since the start, for the status page. The ledger has those of earlier times."""

from collections.abc import Callable, Iterable, Mapping
from heapq import nlargest
from typing import Final

from jibe_sqs.core.model import Actor
from jibe_sqs.core.principals import Seen, caller
from jibe_sqs.telemetry.status import PrincipalStatus

MAX_PRINCIPALS: Final = 1000
"""Principals that are remembered. When there are twice as many, those that were seen least recently are forgotten."""
MOST_SHOWN: Final = 20

RuleOf = Callable[[Actor], str]
"""The rule of `own_writes` that matches a caller; empty if none does."""


class SeenPrincipals:
    """What each principal did since the start. For one process."""

    def __init__(self, rule_of: RuleOf) -> None:
        """`rule_of` is asked when the principals are shown."""
        self.rule_of = rule_of
        self._seen: dict[str, Seen] = {}

    def observe(self, principals: Mapping[str, Seen]) -> None:
        """Add the principals of one log file, or of the records in a message."""
        for name, seen in principals.items():
            if (known := self._seen.get(name)) is not None:
                known.merge(seen)
                continue
            self._seen[name] = Seen(seen.first, seen.last, seen.count, seen.reads, seen.actor)
            # Not one at a time: a file may have thousands of new ones, and each search would look at all.
            if len(self._seen) >= 2 * MAX_PRINCIPALS:
                self._seen = dict(nlargest(MAX_PRINCIPALS, self._seen.items(), key=lambda each: each[1].last))

    def statuses(self, most: int = MOST_SHOWN) -> list[PrincipalStatus]:
        """The most active principals, with the rules that match them."""
        return principal_statuses(self._seen, self.rule_of, most)


def principal_statuses(
    principals: Mapping[str, Seen], rule_of: RuleOf, most: int = MOST_SHOWN
) -> list[PrincipalStatus]:
    """The most active of these principals. Those that change objects come first."""
    ordered = sorted(principals.items(), key=lambda item: (-item[1].count, -item[1].reads, item[0]))
    return [
        PrincipalStatus(
            name=name,
            count=seen.count or seen.reads,
            last=seen.last,
            rule=rule_of(caller(name, seen)),
            only_reads=not seen.count,
        )
        for name, seen in ordered[:most]
    ]


def merged_principals(found: Iterable[Iterable[PrincipalStatus]], most: int = MOST_SHOWN) -> list[PrincipalStatus]:
    """The principals of all workers of a service together."""
    merged: dict[str, PrincipalStatus] = {}
    for each in (each for statuses in found for each in statuses):
        known = merged.get(each.name)
        if known is None or (known.only_reads and not each.only_reads):
            merged[each.name] = each
        elif known.only_reads == each.only_reads:
            count, last = known.count + each.count, max(known.last, each.last)
            merged[each.name] = PrincipalStatus(
                name=each.name, count=count, last=last, rule=each.rule, only_reads=each.only_reads
            )
    return sorted(merged.values(), key=lambda each: (each.only_reads, -each.count, each.name))[:most]
