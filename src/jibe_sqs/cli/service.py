"""`jibe-sqs run`: the service."""

import asyncio
import gc
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from jibe_sqs.cli.loading import load_from, loop_factory, read

if TYPE_CHECKING:
    from jibe_sqs.adapters.worker_channel import Worker
    from jibe_sqs.settings import Settings, Texts

GARBAGE: Final = 5000
"""New objects after which Python looks for cycles. Its default, 700, takes about a tenth of the CPU time under load: a message makes
many objects and no cycles. The memory of errors, which may be in cycles, sets the bound."""


def run(config: str | None = None, worker: str | None = None) -> int:
    """Consume the queues until SIGTERM. Returns the exit code. `worker`: which worker this process is, as `--worker`."""
    gc.set_threshold(GARBAGE)
    try:
        return _run(config, worker)
    finally:
        # Otherwise Python looks for cycles once more in all that was ever imported, which takes longer than the whole stop.
        gc.freeze()


def _run(config: str | None, worker: str | None) -> int:
    from jibe_sqs.telemetry import logs

    logs.write_in_background()
    if worker is not None:
        _run_worker(worker)
        return 0
    from jibe_sqs.adapters.usable_cores import usable_cores
    from jibe_sqs.settings import Settings, number_of_workers

    texts = read(config)
    settings = load_from(Settings, texts)
    logs.configure(settings.log.level, settings.log.format, settings.log.levels)
    if (workers := number_of_workers(settings, usable_cores())) > 1:
        from jibe_sqs.compose.workers import supervise

        return supervise(settings, workers, texts)
    _serve(settings, texts=texts)
    return 0


def _run_worker(text: str) -> None:
    from jibe_sqs.adapters.worker_channel import Given, Worker
    from jibe_sqs.compose.reload import combined
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    worker = Worker.parsed(text)
    logs.share_standard_error(worker.log_lock)
    given = Given.of(worker)
    settings = load_from(Settings, given.first)
    if given.latest != given.first:
        settings = combined(settings, load_from(Settings, given.latest)) or settings
    logs.configure(settings.log.level, settings.log.format, settings.log.levels, worker=worker.index)
    _serve(settings, worker)


def _serve(settings: "Settings", worker: "Worker | None" = None, texts: "Texts | None" = None) -> None:
    from jibe_sqs.adapters.worker_channel import WorkerEnd
    from jibe_sqs.compose.service import service
    from jibe_sqs.consuming.signals import end_undisturbed, ignore_other_signals, stoppable_start

    async def serve() -> None:
        ignore_other_signals()
        with stoppable_start():
            async with AsyncExitStack() as stack:
                end = await stack.enter_async_context(WorkerEnd.opened(worker)) if worker else None
                running = await stack.enter_async_context(service(settings, end, texts))
                if end is not None:
                    end.started()
                # The supervisor kills workers itself. Other senders, such as systemd, may signal all processes at once.
                await running.run(ends_at_second_signal=worker is None)
        end_undisturbed()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve())
