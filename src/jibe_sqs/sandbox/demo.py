"""The whole job, judged at the end: changes in S3, a consumer, and whether Access Anywhere shows what S3 holds."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, Final

import msgspec

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.aws.changes import Change, Writer
from jibe_sqs.sandbox.counts import dead_letters, hidden_messages, summed_reports, waiting_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.scenario import Scenario
from jibe_sqs.sandbox.uploads import Uploader
from jibe_sqs.sandbox.world import World

CHANGES_PER_DELIVERY: Final = 20
"""Changes that are told at once."""
CHECK_INTERVAL: Final = 0.25
"""Seconds."""


class Lag(msgspec.Struct, frozen=True):
    """Seconds from a change being told to Access Anywhere showing it."""

    p50: float
    p99: float


class Summary(msgspec.Struct, kw_only=True):
    """What came of it. Counts are of this run."""

    in_sync: bool
    objects: int
    """In S3, counted once for each folder that shows their bucket."""
    missing: int
    """In S3, and not in Access Anywhere's index."""
    stale: int
    """In both, and different."""
    extra: int
    """In Access Anywhere's index, and not in S3."""
    examples: list[str]
    """A few of these."""
    changes: int
    changes_by_kind: dict[str, int]
    formats: dict[str, int]
    """Log files by format; where a format has none, messages."""
    log_files: int
    messages: int
    redelivered: int
    """Messages received more than once."""
    files_read: int
    files_not_fetched_again: int
    """Announced again, and known to the ledger as finished."""
    records: int
    events: int
    """Records that asked for a refresh."""
    skipped: dict[str, int]
    refreshes: int
    """Done by Access Anywhere, of folders with events and of others on the way to them."""
    refreshes_for_events: int
    """Of folders (and of trees) that events asked for."""
    coalescing: float
    """Events for each of those."""
    lag: Lag | None
    dead_letters: int
    errors: dict[str, int]
    receives: dict[str, int]
    """How many times messages were received as the first, the second, … time."""
    hosts: dict[str, int]
    """AWS's host names that the consumer contacted, and how many requests each got."""
    calls: int
    """Of Access Anywhere."""
    faults: dict[str, int]
    """That it met there, by kind."""
    swept: int
    """Log files that nobody had announced."""
    kills: int
    consumer_exit_code: int | None
    seconds: float
    seed: int


class Progress(msgspec.Struct, frozen=True):
    """How far it is. `phase` is for people."""

    phase: str
    changes: int = 0
    waiting: int = 0
    """Messages in the queues, hidden or not; log files that were not read, where nobody announces them."""


class Consumers:
    """The consumer, which may be killed and started again. What each of them counted is added up from its log."""

    def __init__(self, running: World, folder: Path, stack: ExitStack) -> None:
        self._world = running
        self._folder = folder
        self._stack = stack
        self._logs: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.kills = 0

    def start(self) -> None:
        """Start the one or the next."""
        log = self._folder / f"consumer-{len(self._logs) + 1}.log"
        self._logs.append(log)
        output = self._stack.enter_context(log.open("wb"))
        self._process = self._stack.enter_context(world.consumer(self._world, output))

    def kill(self) -> None:
        """With SIGKILL: it can tell nobody."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.kills += 1

    def stop(self) -> int | None:
        """As an operator does; returns the exit code."""
        if self._process is None:
            return None
        self._process.terminate()
        return self._process.wait(60)

    def ended(self) -> bool:
        """Whether it ended by itself, which it should not."""
        return self._process is not None and self._process.poll() is not None

    def log_tail(self) -> str:
        """The end of the last log, for when it did."""
        return self._logs[-1].read_text(encoding="utf-8", errors="replace")[-2000:]

    def summed_reports(self) -> dict[str, Any]:
        """The sum of what all of them last reported."""
        return summed_reports(self._logs)


def demo(
    *,
    changes: int,
    seed: int,
    scenario: Scenario,
    watch: Callable[[Progress], None],
    patience: float | None = None,
) -> Summary:
    """Run it. `patience`: seconds to wait for the index to become true after the last change."""
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_exit_on_sigterm())
        aws = "AWS in three regions" if not scenario.aws_endpoint else f"buckets and queues at {scenario.aws_endpoint}"
        watch(Progress(f"starting {aws} and Access Anywhere"))
        running = stack.enter_context(world.running(seed=seed, archive=True, scenario=scenario))
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="jibe-demo-")))
        consumers = Consumers(running, folder, stack)
        consumers.start()
        made = _make_changes(running, changes, seed, consumers, watch)
        _wait_until_in_sync(running, consumers, len(made), 60 + changes / 20 if patience is None else patience, watch)
        watch(Progress("stopping the consumer", len(made)))
        exit_code = consumers.stop()
        return _summary(running, made, consumers, exit_code, seed, time.monotonic() - began)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """As Ctrl-C does. The default would end this process only, and leave a consumer that tries for ever."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def make_changes(running: World, count: int, seed: int) -> list[Change]:
    """Make changes and tell of them as it goes, with nobody watching."""
    return _make_changes(running, count, seed, None, lambda _: None)


def _make_changes(
    running: World,
    count: int,
    seed: int,
    consumers: Consumers | None,
    watch: Callable[[Progress], None],
) -> list[Change]:
    uploader = Uploader(running.access_anywhere, running.permanent_token, running.bucket_map)
    writer = Writer(running.deployment, running.publishers, seed=seed, access_anywhere=uploader)
    made: list[Change] = []
    scenario, is_half = running.scenario, False
    if scenario.aa_failures:
        running.set_faults(failures=scenario.aa_failures, seed=seed)
    try:
        for change in writer.changes(count):
            made.append(change)
            if len(made) % CHANGES_PER_DELIVERY:
                continue
            if scenario.aa_outage and not is_half and len(made) >= count / 2:
                phase = f"Access Anywhere is down for {scenario.aa_outage:g} s"
                watch(Progress(phase, len(made), _waiting(running, consumers)))
                down = {"seconds": scenario.aa_outage}
                running.set_faults(failures=scenario.aa_failures, seed=seed, down=down)
            running.publishers.deliver()
            watch(Progress("changing things", len(made), _waiting(running, consumers)))
            if scenario.kill_consumer and consumers is not None and not is_half and len(made) >= count / 2:
                _kill_while_busy(running, consumers, len(made), watch)
            is_half = is_half or len(made) >= count / 2
        running.publishers.deliver()
    finally:
        uploader.close()
    return made


def _kill_while_busy(running: World, consumers: Consumers, made: int, watch: Callable[[Progress], None]) -> None:
    """Kill the consumer while it has messages in its hands, and start another."""
    deadline = time.monotonic() + 20
    while not hidden_messages(running) and time.monotonic() < deadline:
        time.sleep(0.005)
    consumers.kill()
    watch(Progress("killed the consumer (kill -9); starting another", made, _waiting(running, consumers)))
    consumers.start()


def _wait_until_in_sync(
    running: World, consumers: Consumers, made: int, patience: float, watch: Callable[[Progress], None]
) -> None:
    """Until nothing waits and the index is true, or patience is at its end."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if consumers.ended():
            raise RuntimeError(f"the consumer ended by itself:\n{consumers.log_tail()}")
        waiting = _waiting(running, consumers)
        watch(Progress("waiting for the index to become true", made, waiting))
        if not waiting and not differences(running).count:
            return
        time.sleep(CHECK_INTERVAL)


def _waiting(running: World, consumers: Consumers | None) -> int:
    if consumers is None or not running.scenario.lose_notifications:
        return waiting_messages(running)
    # The index may be true without what the last of them tell.
    counts = consumers.summed_reports()
    read: int = counts.get("files", 0) + counts.get("files_known", 0)
    return max(0, len(running.publishers.files) - read)


def _summary(
    running: World, made: list[Change], consumers: Consumers, exit_code: int | None, seed: int, seconds: float
) -> Summary:
    found = differences(running)
    counts = consumers.summed_reports()
    stats = running.get_state("stats")
    wanted = sum(counts.get("refreshes", {}).get(what, 0) for what in ("folders", "trees"))
    refreshes = running.get_state("refreshes")
    return Summary(
        in_sync=not found.count and found.expected > 0,
        objects=found.expected,
        missing=len(found.missing),
        stale=len(found.stale),
        extra=len(found.extra),
        examples=found.examples(),
        changes=len(made),
        changes_by_kind=dict(Counter(change.kind.value for change in made).most_common()),
        formats=running.publishers.counts(),
        log_files=len(running.publishers.files),
        messages=counts.get("messages", 0),
        redelivered=counts.get("redelivered", 0),
        files_read=counts.get("files", 0),
        files_not_fetched_again=counts.get("files_known", 0),
        records=counts.get("records", 0),
        events=counts.get("events", 0),
        skipped=counts.get("skipped", {}),
        refreshes=len(refreshes),
        refreshes_for_events=wanted,
        coalescing=round(counts.get("events", 0) / max(1, wanted), 2),
        lag=_lag(running, made, refreshes),
        dead_letters=dead_letters(running),
        errors=counts.get("errors", {}),
        receives=dict(sorted(counts.get("receives", {}).items(), key=lambda each: int(each[0]))),
        hosts=running.hosts(),
        calls=sum(stats["calls"].values()),
        faults={kind: count for kind, count in stats.get("faults", {}).items() if count},
        swept=counts.get("swept", {}).get("offered", 0),
        kills=consumers.kills,
        consumer_exit_code=exit_code,
        seconds=round(seconds, 1),
        seed=seed,
    )


def _lag(running: World, made: Iterable[Change], refreshes: list[dict[str, Any]]) -> Lag | None:
    """Of each change that made the index stale: until the first refresh of its folder that can have seen it was done.

    A change whose folder is gone is seen by the refresh of a folder above. One that a refresh saw before it was told
    has no lag.
    """
    by_folder: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for refresh in refreshes:
        by_folder.setdefault((refresh["bucket"], refresh["prefix"]), []).append(refresh)
    lags = []
    for change in made:
        delivered = running.publishers.delivered.get(change.number)
        if not change.makes_stale or delivered is None:
            continue
        prefix = change.key.rpartition("/")[0] + "/" if "/" in change.key else ""
        seen = None
        while seen is None:
            seen = next((r for r in by_folder.get((change.bucket, prefix), ()) if r["listed"] >= change.at), None)
            if not prefix:
                break
            prefix = prefix[:-1].rpartition("/")[0] + "/" if "/" in prefix[:-1] else ""
        if seen is not None:
            lags.append(max(0.0, seen["done"] - delivered))
    if not lags:
        return None
    lags.sort()
    return Lag(p50=round(lags[len(lags) // 2], 2), p99=round(lags[min(len(lags) - 1, int(len(lags) * 0.99))], 2))
