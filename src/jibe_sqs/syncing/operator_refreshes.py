"""The refreshes that an operator asks for, step by step: for a command, or for the control socket."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final

import msgspec

from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.syncing.outcomes import Outcomes
from jibe_sqs.syncing.refreshes import Refreshes

PROGRESS_INTERVAL: Final = 0.5
"""Seconds between two steps that only show progress."""


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """`ended`: refreshes of these folders, and of folders in these trees, since the request. `pending`: those that wait."""

    ended: int
    pending: int


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A folder's refresh has ended. `error`: the class of the error, and `reason`: its text; empty after a success."""

    folder: Folder
    error: str = ""
    reason: str = ""


Step = Progress | Ended


async def operator_refreshes(
    refreshes: Refreshes, outcomes: Outcomes, folders: Iterable[Folder]
) -> AsyncGenerator[Step, None]:
    """Refresh each folder. Yields one `Ended` for each, in the order in which they end, and `Progress` in between.

    A caller that leaves early stops nothing: the refreshes go on, because other requests may share them.
    """
    wanted = list(dict.fromkeys(folders))
    is_among = _membership(wanted)
    ended = 0

    def count(outcome: RefreshOutcome) -> None:
        nonlocal ended
        ended += is_among(outcome.folder)

    with outcomes.heard_by(count):
        waiting = {refreshes.ask(folder, reason=RefreshReason.OPERATOR): folder for folder in wanted}
        while waiting:
            done, _ = await asyncio.wait(waiting, timeout=PROGRESS_INTERVAL, return_when=asyncio.FIRST_COMPLETED)
            yield Progress(ended, sum(is_among(each.folder) for each in refreshes.pending()))
            for future in done:
                yield _ended(waiting.pop(future), future)


def _ended(folder: Folder, future: "asyncio.Future[None]") -> Ended:
    if future.cancelled():
        return Ended(folder, "Stopped", "the service stopped before the refresh had ended: ask again")
    error = future.exception()
    return Ended(folder, type(error).__name__, str(error)) if error else Ended(folder)


def _membership(wanted: Iterable[Folder]) -> Callable[[Folder], bool]:
    """Whether a folder is one of those that are wanted, or in one of the trees."""
    paths = {each.path for each in wanted}
    trees = tuple(f"{each.path.rstrip('/')}/" for each in wanted if each.tree)
    return lambda folder: folder.path in paths or folder.path.startswith(trees)
