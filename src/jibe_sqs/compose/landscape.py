"""What the checks must know first: the data buckets, and in which regions everything is. Each is asked once."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Generic, TypeVar

from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.commands.check.facts import Cloud, NotFound, Refusal
from jibe_sqs.commands.check.log_buckets import CheckedLogs
from jibe_sqs.commands.check.queues import CheckedQueue
from jibe_sqs.core.errors import AccessAnywhereError
from jibe_sqs.core.sources import EVERY_BUCKET

T = TypeVar("T")

AT_ONCE = 16
"""Questions for regions at the same time."""


class Once(Generic[T]):
    """An answer that several checks wait for."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The answer. A check that is cancelled does not cancel it."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)


class Landscape:
    """Buckets and regions, as far as S3 and Access Anywhere answer. Its calls raise nothing that a check must handle."""

    def __init__(
        self,
        cloud: Cloud,
        clock: S3Clock,
        *,
        shown: Callable[[], Coroutine[Any, Any, Mapping[str, Sequence[str]]]],
        queues: Sequence[CheckedQueue],
        logs: Sequence[CheckedLogs],
    ) -> None:
        """`shown`: the buckets and their folders. It may raise `AccessAnywhereError`."""
        self._cloud = cloud
        self._clock = clock
        self._shown = shown
        self._queues = queues
        self._logs = logs
        self.answers: Once[Mapping[str, str | Refusal]] = Once(self._ask_regions)
        self.log_buckets: Once[Mapping[str, str]] = Once(self._ask_log_buckets)
        """Each log bucket in AWS, with its region."""
        self.regions: Once[Sequence[str]] = Once(self._all_regions)
        """All regions in which there is something."""

    async def buckets(self) -> Mapping[str, str]:
        """Each data bucket that exists, with its region."""
        return {bucket: found for bucket, found in (await self.answers()).items() if isinstance(found, str)}

    async def missing(self) -> list[str]:
        """The data buckets that S3 does not have."""
        return [bucket for bucket, found in (await self.answers()).items() if isinstance(found, NotFound)]

    async def skew(self) -> float | None:
        """Our clock minus S3's, in seconds. None if S3 has not answered."""
        await self.regions()
        return time.time() - self._clock.now() if self._clock.now() else None

    async def _ask_regions(self) -> Mapping[str, str | Refusal]:
        try:
            names = list(await self._shown())
        except AccessAnywhereError:
            # The check of Access Anywhere reports it.
            return {}
        slots = asyncio.Semaphore(AT_ONCE)

        async def region(bucket: str) -> str | Refusal:
            async with slots:
                try:
                    return await self._cloud.bucket_region(bucket)
                except Refusal as refusal:
                    return refusal

        return dict(zip(names, await asyncio.gather(*map(region, names)), strict=True))

    async def _all_regions(self) -> Sequence[str]:
        of_queues = [each.region or each.url_region for each in self._queues]
        of_logs = (await self.log_buckets()).values()
        return list(dict.fromkeys(filter(None, [*of_queues, *of_logs, *(await self.buckets()).values()])))

    async def _ask_log_buckets(self) -> Mapping[str, str]:
        found = {}
        for bucket in dict.fromkeys(each.source.bucket for each in self._logs if each.cloud is not None):
            if bucket != EVERY_BUCKET:
                try:
                    found[bucket] = await self._cloud.bucket_region(bucket)
                except Refusal:
                    # The check of the log bucket reports it.
                    continue
        return found
