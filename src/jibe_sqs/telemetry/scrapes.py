"""Reads all counters of this process when somebody asks for the metrics."""

import platform
import time

import structlog

from jibe_sqs import __version__
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.samples import Samples, Source

log = structlog.get_logger()


class Metrics:
    """The metrics of this process: of the process itself, and of all sources that were added.

    A source that fails costs only its own metrics.
    """

    def __init__(self) -> None:
        self._started = time.time()
        self._sources: list[Source] = [_of_process, _of_log]
        self._failures = 0
        self._last_failure = ""

    def add(self, *sources: Source) -> None:
        """Read these at each scrape, too."""
        self._sources.extend(sources)

    def add_health(self, health: Health) -> None:
        """Read whether the service is ready, also before its other parts exist."""

        def ready(samples: Samples) -> None:
            samples.add("jibe_workers", 1)
            samples.add("jibe_workers_configured", 1)
            samples.add("jibe_ready", not health.readiness_failures)

        self.add(ready)

    def samples(self) -> Samples:
        """The values now. Raises nothing."""
        samples = Samples(self._started)
        for source in self._sources:
            try:
                source(samples)
            except Exception as error:
                # A defect of ours. It is logged once, not at each scrape.
                self._failures += 1
                reason = f"{type(error).__name__}: {error}"
                if reason != self._last_failure:
                    self._last_failure = reason
                    log.exception("metrics_failed")
        samples.add("jibe_metrics_failures_total", self._failures)
        return samples

    async def current(self) -> Samples:
        """The values now, for those who wait for several processes as well."""
        return self.samples()

    async def exposition(self) -> tuple[bytes, str]:
        """The text for Prometheus, and its content type."""
        # prometheus-client is imported at the first scrape: most of its time would be lost for a service without any.
        from jibe_sqs.telemetry.exposition import exposition

        return exposition(self.samples())


def _of_process(samples: Samples) -> None:
    from jibe_sqs.telemetry.exposition import add_process

    samples.add("jibe_build_info", 1, __version__, platform.python_version())
    add_process(samples)


def _of_log(samples: Samples) -> None:
    samples.add_all("jibe_log_lines_total", dict.fromkeys(("info", "warning", "error"), 0) | logs.lines)
    samples.add("jibe_log_lines_lost_total", logs.lost().total)
