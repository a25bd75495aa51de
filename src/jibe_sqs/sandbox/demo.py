"""The demo: changes in S3, a consumer, and at the end a comparison of Access Anywhere's index with S3."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import msgspec

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.aws.change_kinds import Change
from jibe_sqs.sandbox.aws.changes import Writer
from jibe_sqs.sandbox.counts import hidden_messages, summed_reports, waiting_messages
from jibe_sqs.sandbox.demo_summary import ConsumerRun, Summary, summary
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.scenario import Scenario
from jibe_sqs.sandbox.uploads import Uploader
from jibe_sqs.sandbox.world import World

CHANGES_PER_DELIVERY: Final = 20
CHECK_INTERVAL: Final = 0.25
"""Seconds between two comparisons of the index with S3."""
REPORT_INTERVAL: Final = 0.2
"""Seconds between two reports in a consumer's log. Short, since the counts of a killed consumer come from its last one."""
BUSY_TIMEOUT: Final = 60.0
"""Seconds to wait until the consumer works, before it is killed or Access Anywhere is down."""


class Progress(msgspec.Struct, frozen=True):
    """The state of a running demo. `phase`: a text for people."""

    phase: str
    changes: int = 0
    waiting: int = 0
    """Messages in the queues, hidden or visible. If notifications are lost: log files that were not read."""


Watch = Callable[[Progress], None]


class Consumers:
    """The consumer process. After a kill, another process replaces it. Their counts are read from their logs."""

    def __init__(self, running: World, folder: Path, stack: ExitStack) -> None:
        self._world = running
        self._folder = folder
        self._stack = stack
        self._logs: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        """Start a consumer with a log of its own."""
        log = self._folder / f"consumer-{len(self._logs) + 1}.log"
        self._logs.append(log)
        output = self._stack.enter_context(log.open("wb"))
        self._process = self._stack.enter_context(world.consumer(self._world, output))

    def kill(self) -> None:
        """Kill the consumer with SIGKILL, so that it cannot return its messages."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1

    def stop(self) -> int | None:
        """Stop the consumer with SIGTERM. Returns its exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        return self._process.wait(60)

    def ended(self) -> bool:
        """Whether the consumer ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def log_tail(self) -> str:
        """The last 2,000 characters of the last log."""
        return self._logs[-1].read_text(encoding="utf-8", errors="replace")[-2000:]

    def summed_reports(self) -> dict[str, Any]:
        """The sum of the last reports of all consumers."""
        return summed_reports(self._logs)


def demo(
    *,
    changes: int,
    seed: int,
    scenario: Scenario,
    watch: Watch,
    patience: float | None = None,
) -> Summary:
    """Run the demo. `patience`: seconds to wait after the last change until the index equals S3."""
    began = time.monotonic()
    with ExitStack() as stack:
        check = stack.enter_context(_exit_on_sigterm())

        def show(progress: Progress) -> None:
            check()
            watch(progress)

        show(Progress(scenario.starting))
        running = stack.enter_context(
            world.running(seed=seed, archive=True, scenario=scenario, progress_interval=REPORT_INTERVAL)
        )
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="jibe-demo-")))
        consumers = Consumers(running, folder, stack)
        consumers.start()
        made = _make_changes(running, changes, seed, consumers, show)
        _wait_until_in_sync(running, consumers, len(made), 60 + changes / 20 if patience is None else patience, show)
        show(Progress("stopping the consumer", len(made)))
        exit_code = consumers.stop()
        consumer = ConsumerRun(consumers.summed_reports(), consumers.kills, exit_code)
        return summary(running, made, consumer, seed, time.monotonic() - began)


@contextmanager
def _exit_on_sigterm() -> Iterator[Callable[[], None]]:
    """Clean up after SIGTERM as after Ctrl-C. By default, SIGTERM would end this process but not the consumer.

    Yields a function that raises `SystemExit` if the signal has come. Call it often: Python ignores the handler's
    exception if the signal comes during a destructor or a callback of the import system.
    """
    received = 0

    def check() -> None:
        if received:
            raise SystemExit(128 + received)

    def leave(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = number
        check()

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield check
    finally:
        signal.signal(signal.SIGTERM, before)


def make_changes(running: World, count: int, seed: int) -> list[Change]:
    """Make changes and deliver their logs, without a consumer to kill and without showing progress."""
    return _make_changes(running, count, seed, None, lambda _: None)


def _make_changes(running: World, count: int, seed: int, consumers: Consumers | None, watch: Watch) -> list[Change]:
    uploader = Uploader(running.access_anywhere, running.permanent_token, running.bucket_map)
    writer = Writer(running.deployment, running.publishers, seed=seed, access_anywhere=uploader)
    made: list[Change] = []
    scenario, is_past_half = running.scenario, False
    if scenario.aa_failures:
        running.set_faults(failures=scenario.aa_failures, seed=seed)
    try:
        for change in writer.changes(count):
            made.append(change)
            if len(made) % CHANGES_PER_DELIVERY:
                continue
            is_half = not is_past_half and len(made) >= count / 2
            if scenario.aa_outage and is_half:
                _wait_until_consuming(consumers)
                phase = f"Access Anywhere is down for {scenario.aa_outage:g} s"
                watch(Progress(phase, len(made), _waiting(running, consumers)))
                down = {"seconds": scenario.aa_outage}
                running.set_faults(failures=scenario.aa_failures, seed=seed, down=down)
            running.publishers.deliver()
            watch(Progress("making changes", len(made), _waiting(running, consumers)))
            if scenario.kill_consumer and consumers is not None and is_half:
                _kill_while_busy(running, consumers, len(made), watch)
            is_past_half = is_past_half or is_half
        running.publishers.deliver()
    finally:
        uploader.close()
    return made


def _wait_until_consuming(consumers: Consumers | None) -> None:
    """Return when the consumer has read something. An outage before its start would test nothing."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while consumers is not None and not consumers.ended() and time.monotonic() < deadline:
        counts = consumers.summed_reports()
        if counts.get("messages") or counts.get("files"):
            return
        time.sleep(CHECK_INTERVAL)


def _kill_while_busy(running: World, consumers: Consumers, made: int, watch: Watch) -> None:
    """Kill the consumer while it holds messages, and start another one."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while not hidden_messages(running) and time.monotonic() < deadline:
        time.sleep(0.005)
    consumers.kill()
    watch(Progress("killed the consumer (kill -9); starting another", made, _waiting(running, consumers)))
    consumers.start()


def _wait_until_in_sync(running: World, consumers: Consumers, made: int, patience: float, watch: Watch) -> None:
    """Return when no message waits and the index equals S3, or after `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if consumers.ended():
            raise RuntimeError(f"the consumer ended by itself:\n{consumers.log_tail()}")
        waiting = _waiting(running, consumers)
        watch(Progress("waiting until Access Anywhere shows all changes", made, waiting))
        if not waiting and not differences(running).count:
            return
        time.sleep(CHECK_INTERVAL)


def _waiting(running: World, consumers: Consumers | None) -> int:
    if consumers is None or not running.scenario.lose_notifications:
        return waiting_messages(running)
    # Sweeps put no messages into the queues. The index may equal S3 before the last log files are read.
    counts = consumers.summed_reports()
    read: int = counts.get("files", 0) + counts.get("files_known", 0)
    return max(0, len(running.publishers.files) - read)
