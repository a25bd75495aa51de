"""The jobs of `backfill`: each is noted in the ledger, so that the same command continues it after a kill.

A job keeps the start of the time range that its first command resolved: two hours before the first start are not two hours
before the second. Without `--to`, the range of each command ends when the command starts. With `again`, files count as
finished only if they were finished since the job began.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

import msgspec

from jibe_sqs.core.date_folders import Window
from jibe_sqs.ports import Ledger

NOTE: Final = "backfill"
"""The names of the notes begin so. `NOTE:` and a hash of what the command asked for follow."""

DAY: Final = 86_400.0
"""Seconds."""


class Scope(msgspec.Struct, frozen=True):
    """What the command asked for. Commands with the same scope are the same job."""

    bucket: str = ""
    """Empty for all configured buckets."""
    prefix: str = ""
    since: float | None = None
    """Seconds before now; `start` is None then."""
    start: float | None = None
    end: float | None = None
    """Seconds since the epoch; None for now."""
    again: bool = False

    def window(self, now: float) -> Window:
        """The time range, for a command that starts now. It begins in 1970 at the earliest, and ends tomorrow at the latest."""
        start = self.start if self.start is not None else now - (self.since or 0.0)
        return Window(max(start, 0.0), now if self.end is None else min(self.end, now + DAY))

    def note(self, rules: str) -> str:
        """The name of the job's note under these rules."""
        text = msgspec.json.encode([self, rules])
        return f"{NOTE}:{blake2b(text, digest_size=16).hexdigest()}"


class Noted(msgspec.Struct, frozen=True):
    """A job as the ledger has it. Times in seconds since the epoch, by the local clock."""

    began: float
    start: float
    ended: float | None = None
    """When everything was done. None while something is left."""


class Job(msgspec.Struct, frozen=True):
    """A job that a command works on. `began` is when the first command began it. `note`: the name of its note."""

    note: str
    began: float
    window: Window
    is_continued: bool = False


async def found(ledger: Ledger, scope: Scope, rules: str, *, now: float, restart: bool = False) -> Job:
    """The unfinished job of this scope, or else a new one, which is not noted yet. Raises `LedgerError`."""
    name, window = scope.note(rules), scope.window(now)
    known = None if restart else await _known(ledger, name)
    if known is not None and known.ended is None:
        return Job(name, known.began, Window(known.start, window.end), is_continued=True)
    return Job(name, now, window)


async def begun(ledger: Ledger, scope: Scope, rules: str, *, now: float, restart: bool = False) -> Job:
    """The same, and a new job is noted, so that it can be continued. Raises `LedgerError`."""
    job = await found(ledger, scope, rules, now=now, restart=restart)
    if not job.is_continued:
        await ledger.note(job.note, _text(Noted(now, job.window.start)))
    return job


def ended(job: Job, *, now: float) -> str:
    """The text of the job's note when everything is done."""
    return _text(Noted(job.began, job.window.start, now))


def _text(noted: Noted) -> str:
    return msgspec.json.encode(noted).decode()


async def _known(ledger: Ledger, name: str) -> Noted | None:
    try:
        return msgspec.json.decode((await ledger.notes([name]))[name], type=Noted)
    except (KeyError, msgspec.DecodeError):
        return None


def shown(seconds: float) -> str:
    """A time for an operator: `2026-01-31 12:00:00Z`."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
