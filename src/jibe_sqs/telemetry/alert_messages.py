"""One message about alerts: its text for people, and its JSON object for programs. It never changes, also if it is sent again."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from jibe_sqs import __version__
from jibe_sqs.telemetry.alert_groups import LEVELS, Group, Groups, Kind
from jibe_sqs.telemetry.alert_kinds import RUNBOOKS, runbook

MAX_SHOWN_GROUPS: Final = 20
"""Groups in the text of a message."""
MAX_MESSAGE_LENGTH: Final = 2900
"""Characters of a text. Slack allows 40,000, which is too long to read."""
MAX_LISTED_GROUPS: Final = 50
"""Groups in the JSON object of a message. So it has at most 200 KB."""
MAX_TITLE_LENGTH: Final = 99
"""Characters of a title. SNS allows a subject of less than 100."""


class Source(msgspec.Struct, frozen=True):
    """Where messages come from. `instance`: this process or host. `runbooks`: the address of the page of runbooks."""

    instance: str = ""
    runbooks: str = RUNBOOKS


class AlertMessage(msgspec.Struct, frozen=True):
    """A message. `id` is new for each message, and the same each time that it is sent: so receivers can drop duplicates."""

    id: str
    source: Source
    sent: float
    groups: list[tuple[Kind, Group]]
    """Errors first, then states first, then the largest groups first."""
    others: dict[str, int]

    @property
    def count(self) -> int:
        """The number of events, and of states that have ended."""
        return sum(max(group.count, 1) for _, group in self.groups) + sum(self.others.values())

    @property
    def heading(self) -> str:
        """The first line."""
        levels = Groups(dict(self.groups)).levels
        levels.update(self.others)
        counts = [f"{levels[level]} {level}{'s' * (levels[level] != 1)}" for level in reversed(LEVELS) if levels[level]]
        resolved = sum(_is_resolution(group) for _, group in self.groups)
        counts += [f"{resolved} resolved"] * bool(resolved)
        instance = self.source.instance
        return f"jibe-sqs{f' on {instance}' * bool(instance)}: {', '.join(counts)}"

    @property
    def title(self) -> str:
        """The most important alert in a few words of ASCII."""
        texts = [_summary(*each) for each in self.groups[:3]] or [self.heading.partition(": ")[2]]
        if (more := len(self.groups) - len(texts)) > 0:
            texts.append(f"{more} more")
        instance = self.source.instance
        title = f"jibe-sqs{f' on {instance}' * bool(instance)}: {', '.join(texts)}"
        ascii_only = "".join(each if " " <= each <= "~" else "?" for each in title)
        return ascii_only if len(ascii_only) <= MAX_TITLE_LENGTH else f"{ascii_only[: MAX_TITLE_LENGTH - 3]}..."

    @property
    def level(self) -> str:
        """The highest level; `resolved` if the message only says that states have ended."""
        levels = {kind.level for kind, group in self.groups if not _is_resolution(group)} | self.others.keys()
        return max(levels, key=lambda each: LEVELS.get(each, -1), default="resolved")

    def text(self, *, markup: bool = False) -> str:
        """The message for people. `markup`: in Slack's, where three characters are escaped."""
        escaped = _escaped if markup else str
        lines = [escaped(self.heading)]
        room = MAX_MESSAGE_LENGTH - len(lines[0]) - 100  # for the last two lines
        shown, left = _chosen(self.groups, MAX_SHOWN_GROUPS)
        while shown:
            text = escaped(_group_text(*shown[0]))
            if len(text) + 1 > room:
                break
            lines.append(text)
            room -= len(text) + 1
            shown.pop(0)
        left += shown
        if left:
            events = sum(max(group.count, 1) for _, group in left)
            lines.append(f"and {len(left)} more kind{'s' * (len(left) != 1)} of events, {events} in all")
        if self.others:
            lines.append(f"and events of other kinds: {sum(self.others.values())}")
        return "\n".join(lines)

    def document(self) -> dict[str, Any]:
        """The message for programs."""
        shown, left = _chosen(self.groups, MAX_LISTED_GROUPS)
        return {
            "service": "jibe-sqs",
            "id": self.id,
            "instance": self.source.instance,
            "version": __version__,
            "title": self.heading,
            "level": self.level,
            "alerts": [_alert(kind, group, self.source.runbooks) for kind, group in shown],
            "more": sum(max(group.count, 1) for _, group in left) + sum(self.others.values()),
        }


def message_of(groups: Groups, source: Source, now: float) -> AlertMessage:
    """A new message about these groups."""
    in_order = sorted(
        groups.by_kind.items(),
        key=lambda each: (-LEVELS.get(each[0].level, -1), each[0].state is None, -each[1].count, each[0]),
    )
    return AlertMessage(uuid.uuid4().hex, source, now, in_order, dict(groups.others))


def _chosen(
    groups: Sequence[tuple[Kind, Group]], most: int
) -> tuple[list[tuple[Kind, Group]], list[tuple[Kind, Group]]]:
    """The groups to show, and the others, both in their order. States come before events: what begins must be seen to end."""
    wanted = sorted(range(len(groups)), key=lambda index: groups[index][0].state is None)
    shown = set(wanted[:most])
    return [groups[each] for each in sorted(shown)], [each for index, each in enumerate(groups) if index not in shown]


def _alert(kind: Kind, group: Group, runbooks: str) -> dict[str, Any]:
    return {
        "event": kind.event,
        "level": kind.level,
        "error": kind.error,
        "subject": kind.subject,
        "state": "resolved" if group.ended is not None else "firing",
        "resolves": kind.state is not None,
        "count": group.count,
        "first": _iso(group.first),
        "last": _iso(group.last),
        "seconds": None if group.ended is None else round(_lasted(group), 1),
        "text": group.example,
        "runbook": runbook(kind.event, runbooks),
    }


def _group_text(kind: Kind, group: Group) -> str:
    line = f"\N{BULLET} {_name(kind, group)}: {_when(kind, group)}"
    return f"{line}\n    {group.example}" if group.example else line


def _name(kind: Kind, group: Group) -> str:
    about = f" ({kind.error or kind.subject})" * bool(kind.error or kind.subject)
    return f"{'resolved' if _is_resolution(group) else kind.level} {kind.event}{about}"


def _when(kind: Kind, group: Group) -> str:
    if _is_resolution(group):
        return f"after {duration(_lasted(group))}, at {_clock(group.ended)} UTC"
    times = "once" if group.count == 1 else f"{group.count} times, the last"
    text = f"{times} at {_clock(group.last)} UTC"
    if group.ended is not None:
        return f"{text}; resolved after {duration(_lasted(group))}"
    if kind.state is not None and group.began is not None and group.began < group.last:
        return f"{text}; it lasts since {_clock(group.began)}"
    return text


def _summary(kind: Kind, group: Group) -> str:
    about = f" ({kind.subject})" * bool(kind.subject)
    return f"{'resolved' if group.ended is not None else kind.level} {kind.event}{about}"


def _is_resolution(group: Group) -> bool:
    """Whether the message only says that a state has ended of which an earlier message said that it lasts."""
    return group.ended is not None and not group.count


def _lasted(group: Group) -> float:
    began = group.first if group.began is None else group.began
    return max(0.0, (group.ended or 0.0) - began)


def duration(seconds: float) -> str:
    """A duration in the unit that a person would choose."""
    for limit, factor, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / factor:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _clock(moment: float | None) -> str:
    return datetime.fromtimestamp(moment or 0.0, UTC).strftime("%H:%M:%S")


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _escaped(text: str) -> str:
    """Escape the three special characters of Slack's markup: `<!channel>` would notify all members of a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
