"""Checks the ledger, and this machine's clock."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from jibe_sqs.commands.check.problems import Code, Fine, Problem, note, warning
from jibe_sqs.commands.check.running import Findings
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.phrases import duration

FULL_SHARE: Final = 0.9
MIB: Final = 1 << 20
NOTICEABLE_SKEW: Final = 60.0
FATAL_SKEW: Final = 900.0
"""Seconds. AWS refuses signatures that are 15 minutes old (`RequestTimeTooSkewed`)."""


class CheckedLedger(msgspec.Struct, frozen=True):
    """The configured ledger. `path`: of a SQLite file; None for another kind. `open`: opens it to read, and closes it."""

    kind: str
    name: str
    open: Callable[[], Awaitable[None]]
    path: Path | None = None
    max_bytes: int = 0


async def check_ledger(ledger: CheckedLedger) -> Findings:
    """The ledger can be opened and written, and is not full."""
    if ledger.kind == "memory":
        what = "it is in memory: after a restart, log files and folders are processed again"
        yield note(Code.LEDGER_IN_MEMORY, "ledger", what, "set ledger.kind to sqlite or dynamodb")
        return
    if ledger.path is not None:
        if problem := _unwritable(ledger.path):
            yield problem
            return
        if not ledger.path.exists():
            yield Fine(ledger.name, "will be created")
            return
    try:
        await ledger.open()
    except LedgerError as error:
        yield Problem(Code.LEDGER_UNUSABLE, ledger.name, str(error), "see the reason; a damaged file may be deleted")
        return
    if ledger.path is None:
        yield Fine(ledger.name, "can be read")
        return
    size = sum(each.stat().st_size for each in (ledger.path, _beside(ledger.path, "-wal")) if each.exists())
    if size >= FULL_SHARE * ledger.max_bytes:
        what = f"has {size // MIB:,} of {ledger.max_bytes // MIB:,} MiB: the oldest entries are forgotten early"
        yield warning(Code.LEDGER_FULL, ledger.name, what, "raise ledger.max_bytes, or lower ledger.retain_days")
    else:
        yield Fine(ledger.name, f"can be used: {size / MIB:,.1f} of {ledger.max_bytes // MIB:,} MiB")


def _unwritable(path: Path) -> Problem | None:
    remedy = "create the directory, and let the service's user write there; or set ledger.path"
    if not path.parent.is_dir():
        return Problem(Code.LEDGER_UNUSABLE, str(path), f"{path.parent} is not a directory", remedy)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return Problem(Code.LEDGER_UNUSABLE, str(path), f"we may not write in {path.parent}", remedy)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return Problem(Code.LEDGER_UNUSABLE, str(path), "we may not read and write this file", remedy)
    return None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


async def check_clock(skew: Callable[[], Awaitable[float | None]]) -> Findings:
    """This machine's clock agrees with S3's. `skew`: our time minus S3's, in seconds; None if S3 did not answer."""
    found = await skew()
    if found is None:
        return
    if abs(found) < NOTICEABLE_SKEW:
        yield Fine("clock", "agrees with S3's")
        return
    what = f"this machine's clock is {duration(abs(found))} {'ahead of' if found > 0 else 'behind'} S3's"
    remedy = "synchronise it (NTP): AWS refuses requests from 15 minutes on"
    report = Problem if abs(found) >= FATAL_SKEW else warning
    yield report(Code.CLOCK_WRONG, "clock", what, remedy)
