"""Metrics in the log, for CloudWatch."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from jibe_sqs.settings import Settings
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.samples import Samples

log = structlog.get_logger()


@asynccontextmanager
async def embedded_metrics(settings: Settings, samples: Callable[[], Awaitable[Samples]]) -> AsyncIterator[None]:
    """Log the metrics each minute during the block, if the settings ask for it, and lines are JSON."""
    wanted = settings.metrics
    if not wanted.emf:
        yield
        return
    if not logs.are_json(settings.log.format):
        log.warning(
            "metrics_not_logged",
            reason="log lines are colored text, because standard error is a terminal",
            remedy="set log.format to json",
        )
        yield
        return
    from jibe_sqs.telemetry.emf import EmbeddedMetrics

    metrics = EmbeddedMetrics(samples, namespace=wanted.namespace, service=wanted.service)
    task = asyncio.create_task(metrics.run(), name="embedded metrics")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        # What was done since the last line.
        await metrics.log()
