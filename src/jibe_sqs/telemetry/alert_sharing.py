"""Sends each kind of alert once for all replicas that share a ledger.

The ledger holds a board for each target: when which kind was last sent, and which processes see each state that lasts. A
process that has something to send claims its turn, reads the board, sends what no other process has sent, and writes the board.
A claim holds for some seconds. So if a process dies in its turn, another one sends the same soon after.

A ledger that fails has no board: then each process sends all it has. An alert is rather sent twice than never.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
import structlog

from jibe_sqs.telemetry.alert_groups import Group, Groups, Kind
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

log = structlog.get_logger()

CLAIM_TIME: Final = 20.0
"""Seconds for which a turn is claimed. A process that dies in its turn holds up the others for so long."""
LEDGER_TIMEOUT: Final = 10.0
"""Seconds for a call of the ledger. A slower one has no board."""
STALE: Final = 180.0
"""Seconds. A process that has not confirmed for so long that it sees a state does not see it any more, or is gone."""
REMINDER: Final = 3600.0
"""Seconds after which a state that lasts is sent again, if it is logged again."""
MAX_BOARD_BYTES: Final = 200_000
"""Bytes of a board. An item of DynamoDB may have 400 KB."""
MAX_SKEW: Final = 60.0
"""Seconds by which the clock of another process may be ahead. What one with a worse clock has sent says nothing about the present."""
KEPT: Final = 86_400.0
"""Seconds for which a kind stays on the board after it was sent, unless it lasts."""


class Shown(msgspec.Struct):
    """What was sent about a kind. All times are seconds since the epoch.

    `until`: the message knows what had happened until then. `seen`: by process, when it last saw the state, if it `lasts`.
    """

    sent: float = 0.0
    until: float = 0.0
    lasts: bool = False
    began: float = 0.0
    seen: dict[str, float] = msgspec.field(default_factory=dict)


class Sorted(msgspec.Struct):
    """Groups by what happens to them: `send` now; send `later`, after `wait` seconds; or drop, because another process did."""

    send: Groups = msgspec.field(default_factory=Groups)
    later: Groups = msgspec.field(default_factory=Groups)
    wait: float = 0.0
    covered: dict[Kind, Shown] = msgspec.field(default_factory=dict)


class Turn:
    """The turn of one process. `board` is None if the ledger fails."""

    def __init__(self, owner: str, now: float, board: dict[Kind, Shown] | None) -> None:
        self._owner = owner
        self._now = now
        self._board = board
        for shown in (board or {}).values():
            if shown.sent > now + MAX_SKEW:
                # Else nothing that happens until then would be sent.
                shown.sent = shown.until = 0.0

    def sort(self, groups: Groups, interval: float) -> Sorted:
        """What to do with groups. `interval`: the least seconds between two messages about a kind."""
        if self._board is None:
            return Sorted(groups)
        found = Sorted(Groups(others=groups.others))
        for kind, group in groups.by_kind.items():
            shown = self._board.get(kind) if group.is_shared else None
            if shown is None:
                found.send.by_kind[kind] = group
            elif self._is_covered(kind, group, shown):
                found.covered[kind] = shown
            elif (wait := shown.sent + interval - self._now) > 0:
                found.wait = min(found.wait or wait, wait)
                found.later.by_kind[kind] = group
            else:
                found.send.by_kind[kind] = group
        return found

    def covers(self, groups: Iterable[tuple[Kind, Group]]) -> bool:
        """Whether other processes have sent all of these since."""
        board = self._board
        return board is not None and all(
            group.is_shared and kind in board and self._is_covered(kind, group, board[kind]) for kind, group in groups
        )

    def sent(self, groups: Iterable[tuple[Kind, Group]], until: float, now: float) -> None:
        """Write on the board what this process has sent. `until`: the message knows what had happened until then."""
        if self._board is None:
            return
        for kind, group in groups:
            if not group.is_shared:
                continue
            shown = self._board.setdefault(kind, Shown())
            shown.sent, shown.until = now, until
            shown.lasts = kind.state is not None and group.ended is None
            if not shown.lasts:
                shown.seen = {}
                continue
            shown.began = group.first if group.began is None else group.began
            shown.seen[self._owner] = now

    def confirm(self, lasting: Mapping[Kind, float]) -> list[Kind]:
        """This process still sees these states, which began then. Returns those that another one has sent as resolved."""
        if self._board is None:
            return []
        for kind, began in lasting.items():
            # It was sent while the ledger failed.
            shown = self._board.setdefault(kind, Shown(self._now, self._now, lasts=True, began=began))
            shown.seen[self._owner] = self._now
        return [kind for kind in lasting if not self._board[kind].lasts]

    def abandoned(self) -> Groups:
        """The ends of the states that no process sees any more. Those that saw them are gone."""
        found = Groups()
        for kind, shown in (self._board or {}).items():
            if shown.lasts and not self._seen(shown):
                ended = max(shown.seen.values(), default=shown.sent)
                text = "no process that shares the ledger sees it any more"
                found.by_kind[kind] = Group(0, shown.began, ended, text, began=shown.began, ended=ended)
        return found

    @property
    def text(self) -> str | None:
        """The board as a note; None if there is no board. The oldest kinds are left out if it is too long."""
        if self._board is None:
            return None
        entries = sorted(self._board.items(), key=lambda each: (each[1].lasts, each[1].sent))
        kept = [each for each in entries if each[1].lasts or self._now - each[1].sent < KEPT]
        while len(text := msgspec.json.encode(kept)) > MAX_BOARD_BYTES:
            kept = kept[len(kept) // 4 + 1 :]
        return text.decode()

    def _is_covered(self, kind: Kind, group: Group, shown: Shown) -> bool:
        if kind.state is None:
            return group.last <= shown.until
        if group.ended is None:
            if not shown.lasts:
                return False
            shown.seen[self._owner] = self._now
            return self._now - shown.sent < REMINDER
        shown.seen.pop(self._owner, None)
        return bool(self._seen(shown)) if shown.lasts else group.ended <= shown.until

    def _seen(self, shown: Shown) -> list[str]:
        """The processes that see the state."""
        return [owner for owner, at in shown.seen.items() if self._now - at < STALE]


class SharedAlerts:
    """The board of one target."""

    def __init__(self, ledger: OptionalLedger, target: str, owner: str) -> None:
        """`owner`: a name that no other process has, and no earlier one had."""
        self._ledger = ledger
        self._note = f"alerts/{target}"
        self._owner = owner
        self._read: str | None = None

    async def begin(self, now: float, *, claims: bool = True) -> Turn | None:
        """Begin a turn. Returns None while it is the turn of another process. `now`: seconds since the epoch."""
        try:
            async with asyncio.timeout(LEDGER_TIMEOUT):
                if claims and not await self._ledger.claim(self._note, self._owner, CLAIM_TIME):
                    return None
                notes = await self._ledger.noted([self._note])
        except TimeoutError:
            notes = None
        self._read = None if notes is None else notes.get(self._note, "")
        return Turn(self._owner, now, None if self._read is None else _board(self._read))

    async def end(self, turn: Turn) -> None:
        """Write the board, and let others have their turn."""
        try:
            async with asyncio.timeout(LEDGER_TIMEOUT):
                text = turn.text
                if text is not None:
                    if text != self._read:
                        await self._ledger.note(self._note, text)
                    await self._ledger.claim(self._note, self._owner, 0)
        except TimeoutError:
            # The claim ends by itself.
            return


def _board(text: str) -> dict[Kind, Shown]:
    try:
        return dict(msgspec.json.decode(text or "[]", type=list[tuple[Kind, Shown]]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Of another release. It only says what was sent.
        return {}


ALONE: Final = Turn("", 0.0, None)
"""The turn of a process that shares with no other."""
