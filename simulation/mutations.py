"""Services with a defect each, of the kind that loses changes: the simulation has to see every one."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from jibe_sqs.consumer import Consumer
from jibe_sqs.core.errors import JibeError, LedgerError
from jibe_sqs.core.model import Folder
from jibe_sqs.handler import Handler, Read
from jibe_sqs.ports import Clock, Ledger
from jibe_sqs.refreshes import Refreshes
from simulation.replica import Parts


class _DeletesBeforeRefresh(Handler):
    async def _finish(self, read: Read) -> list[JibeError]:
        self._after_all = asyncio.ensure_future(super()._finish(read))
        return []


class _FinishesBeforeRefresh(Handler):
    async def _finish(self, read: Read) -> list[JibeError]:
        if read.file is not None:
            with suppress(LedgerError):
                await self._ledger.finish(read.file, read.etag)
        return await super()._finish(read)


class _ReleasesNewcomers(Refreshes):
    def ask(self, folder: Folder, *, on_the_way: bool = False) -> "asyncio.Future[None]":
        queue = self._folders.get(folder)
        if queue is not None and queue.served:
            return queue.served[-1].future
        return super().ask(folder, on_the_way=on_the_way)


class _DropsTheDirtyMark(Refreshes):
    def _ended(self, folder: Folder, queue: Any, started: float, error: Exception | None) -> None:
        queue.begin()
        super()._ended(folder, queue, started, error)


class _NoHeartbeat(Consumer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._holds.extend_forever = asyncio.Event().wait  # type: ignore[assignment, method-assign]


class _WatermarkBeforeRefresh(Refreshes):
    async def _refresh_once(self, folder: Folder, queue: Any) -> None:
        with suppress(LedgerError):
            await self._ledger.refreshed(folder, self._clock.now() - self._margin)
        await super()._refresh_once(folder, queue)


class _LateWatermarks:
    """A ledger that takes the end of a refresh for its beginning."""

    def __init__(self, ledger: Ledger, clock: Clock, margin: float) -> None:
        self._ledger, self._clock, self._margin = ledger, clock, margin

    async def refreshed(self, folder: Folder, _began: float) -> None:
        await self._ledger.refreshed(folder, self._clock.now() - self._margin)


class _WatermarkOfTheEnd(Refreshes):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        late: Any = _LateWatermarks(self._ledger, self._clock, self._margin)
        self._ledger = late


def _parts(**parts: Any) -> Parts:
    made = Parts()
    for name, part in parts.items():
        setattr(made, name, part)
    return made


MUTATIONS: Final[dict[str, Parts]] = {
    "delete-before-refresh": _parts(handler=_DeletesBeforeRefresh),
    "finish-before-refresh": _parts(handler=_FinishesBeforeRefresh),
    "release-newcomers": _parts(refreshes=_ReleasesNewcomers),
    "drop-dirty-mark": _parts(refreshes=_DropsTheDirtyMark),
    "no-heartbeat": _parts(consumer=_NoHeartbeat),
    "watermark-before-refresh": _parts(refreshes=_WatermarkBeforeRefresh),
    "watermark-of-the-end": _parts(refreshes=_WatermarkOfTheEnd),
    "no-margin": _parts(has_margin=False),
}
