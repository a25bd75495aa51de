"""Looks for changes of the configuration: every minute, and at SIGHUP.

A file that is being written has another content a second later, so a change counts only when two readings agree. The content
is compared, not the time of the file: Kubernetes replaces a link above it, and editors replace the file.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import structlog

from jibe_sqs.adapters.worker_channel import WorkerEnd
from jibe_sqs.compose.reload import Reload
from jibe_sqs.compose.settings_texts import SettingsTexts
from jibe_sqs.concurrency.first_of import first_of
from jibe_sqs.consuming.signals import on_hangup
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Texts

log = structlog.get_logger()

INTERVAL: Final = 60.0
"""Seconds between two looks."""
SETTLE_TIME: Final = 1.0
"""Seconds between two readings that must agree."""
MAX_READINGS: Final = 10
"""Readings of one look. A file that still changes is looked at again after the interval."""

Read = Callable[[], Awaitable[Texts]]
"""Reads the configuration. Raises `SettingsError`."""


class SettingsWatch:
    """Gives each new content of the configuration to the reload, while `running`."""

    def __init__(self, read: Read, reload: Reload, *, known: Texts, interval: float = INTERVAL) -> None:
        """`known`: the texts of the settings in force. `interval`: seconds between two looks."""
        self._read = read
        self._reload = reload
        self._interval = interval
        self._known: Texts | SettingsError = known
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Look now."""
        self._asked.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look during the block."""
        task = asyncio.create_task(self.run(), name="settings")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            is_asked = await first_of(self._asked.wait(), asyncio.sleep(self._interval))
            self._asked.clear()
            try:
                await self._look(is_asked=bool(is_asked))
            except Exception:
                # A defect of ours. It must not stop later looks.
                log.exception("reload_crashed")

    async def _look(self, *, is_asked: bool) -> None:
        """`is_asked`: the operator says that the configuration is complete, and waits for an answer in the log."""
        found = await self._found()
        if not is_asked:
            if _are_equal(found, self._known) and not self._reload.is_refused:
                return
            for _ in range(MAX_READINGS):
                await asyncio.sleep(SETTLE_TIME)
                before, found = found, await self._found()
                if _are_equal(before, found):
                    break
            else:
                return
            if _are_equal(found, self._known) and not self._reload.is_refused:
                return
        self._known = found
        # What was refused is tried again each time: a secret that it refers to may be there now.
        if isinstance(found, SettingsError):
            self._reload.refuse(found, is_asked=is_asked)
        else:
            await self._reload.take(found, is_asked=is_asked)

    async def _found(self) -> Texts | SettingsError:
        try:
            return await self._read()
        except SettingsError as error:
            return error


@asynccontextmanager
async def watched(texts: Texts, reload: Reload, stack: AsyncExitStack) -> AsyncIterator[None]:
    """Look for changes during the block. `texts`: what the settings in force were loaded from."""
    source = SettingsTexts(texts, stack)
    if source.reason:
        with on_hangup(lambda: _log_unreadable(source.reason)):
            yield
        return
    watch = SettingsWatch(source.read, reload, known=texts)
    async with watch.running():
        with on_hangup(watch.ask):
            yield


def _log_unreadable(reason: str) -> None:
    log.warning(
        "settings_need_restart",
        settings=["all of them"],
        consequence=f"the settings from before stay in force: {reason}",
        remedy="restart the service",
    )


@asynccontextmanager
async def given_by_supervisor(worker: WorkerEnd, reload: Reload) -> AsyncIterator[None]:
    """Take what the supervisor has accepted during the block. If a secret cannot be read, it is tried again.

    SIGHUP is for the supervisor: a worker reads no configuration file.
    """
    latest = Texts()

    async def read() -> Texts:
        return latest

    def take(texts: Texts) -> None:
        nonlocal latest
        latest = texts
        watch.ask()

    watch = SettingsWatch(read, reload, known=latest)
    async with watch.running():
        worker.take_settings(take)
        yield


def _are_equal(one: Texts | SettingsError, other: Texts | SettingsError) -> bool:
    if isinstance(one, SettingsError) and isinstance(other, SettingsError):
        return one.problems == other.problems
    return one == other
