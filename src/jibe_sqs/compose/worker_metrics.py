"""The metrics of several workers as one page."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from jibe_sqs.telemetry.samples import Merger, Samples, Sent, Source
from jibe_sqs.telemetry.scrapes import Metrics

SUPERVISOR = "supervisor"
"""The supervisor's own process, beside those of the workers, which are numbers."""


class WorkerMetrics:
    """Asks all workers at each scrape. The supervisor's own process counts, too."""

    def __init__(self, ask: Callable[[], Awaitable[Mapping[str, Sent | None]]]) -> None:
        """`ask`: the samples of each worker, by its number; None for one that does not answer."""
        self._ask = ask
        self._own = Metrics()
        self._merger = Merger()
        self._asking = asyncio.Lock()

    def add(self, *sources: Source) -> None:
        """Read these of the supervisor at each scrape, too."""
        self._own.add(*sources)

    async def samples(self) -> Samples:
        """The values of all together."""
        # In turns: the counters of an answer that is overtaken by a later one would decrease.
        async with self._asking:
            found = await self._ask()
        received = {name: Samples.received(sent) if sent else None for name, sent in found.items()}
        merged = self._merger.merged({**received, SUPERVISOR: self._own.samples()})
        for name in ("jibe_ready", "jibe_workers"):
            if name not in merged.values:
                merged.add(name, 0)
        merged.values["jibe_workers_configured"] = {(): len(found)}
        return merged

    async def exposition(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        from jibe_sqs.telemetry.exposition import exposition

        return exposition(await self.samples())
