"""A sync target and an event target. Both record what they are asked to do."""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from jibe_sqs.core.model import Change, Folder
from jibe_sqs.ports import OtherRefreshes
from jibe_sqs.testing.loop_time import loop_time


@dataclass
class Run:
    """One call of `refresh`: its folder, and the times of the call, of each call of `began`, and of the end."""

    folder: Folder
    called: float
    began: list[float] = field(default_factory=list)
    ended: float | None = None
    error: Exception | None = None


class InMemorySyncTarget:
    """The `SyncTarget` port. It refreshes nothing; `runs` has an entry for each call, in the order of the calls.

    Slow: a refresh calls `began` after `before` seconds, and ends `takes` seconds later. Refreshes of a path in
    `held_before_start` do not call `began`, and those of a path in `held` do not end, until `release` is called.

    Failing: `errors[path]` lists errors, one for each of the next refreshes of that path; `always[path]` is raised by all
    of them. An error is raised at the end of the refresh.

    `running` counts the calls that are in progress for each folder, `max_running` is the largest such number.
    """

    def __init__(self, *, before: float = 0.0, takes: float = 0.0) -> None:
        self.before, self.takes = before, takes
        self.runs: list[Run] = []
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.always: dict[str, Exception] = {}
        self.held: set[str] = set()
        self.held_before_start: set[str] = set()
        self.running: Counter[Folder] = Counter()
        self.max_running: Counter[Folder] = Counter()
        self._released = asyncio.Event()

    def release(self, *paths: str) -> None:
        """Let the held refreshes of these paths go on; without paths, all of them."""
        self.held -= set(paths) or set(self.held)
        self.held_before_start -= set(paths) or set(self.held_before_start)
        self._released.set()

    def runs_of(self, path: str) -> list[Run]:
        """The calls for this path, in their order."""
        return [run for run in self.runs if run.folder.path == path]

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:  # noqa: ARG002
        run = Run(folder, loop_time())
        self.runs.append(run)
        self.running[folder] += 1
        self.max_running[folder] = max(self.max_running[folder], self.running[folder])
        try:
            await asyncio.sleep(self.before)
            await self._wait_while_in(self.held_before_start, folder.path)
            began()
            run.began.append(loop_time())
            await asyncio.sleep(self.takes)
            await self._wait_while_in(self.held, folder.path)
            if error := self.always.get(folder.path):
                raise error
            if self.errors[folder.path]:
                raise self.errors[folder.path].pop(0)
        except Exception as error:
            run.error = error
            raise
        finally:
            self.running[folder] -= 1
            run.ended = loop_time()

    async def _wait_while_in(self, paths: set[str], path: str) -> None:
        while path in paths:
            self._released.clear()
            await self._released.wait()


class InMemoryEventTarget:
    """The `EventTarget` port. `calls` has the changes of each call; `accepted` all changes of the calls that succeeded.

    `batch` is the largest number of changes in a call. A call that breaks a rule of the port raises `AssertionError`: if it
    has no change or too many, or if two changes of one object are reported at the same time.

    Slow: each call takes `takes` seconds, and one item of `latencies` in addition. A call with a key in `held` does not
    end until `release` is called. Failing: `errors[key]` lists errors, one for each of the next calls with that key.

    `in_flight` is the number of calls in progress, `max_in_flight` the largest such number.
    """

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.takes = 0.0
        self.latencies: Iterator[float] = itertools.repeat(0.0)
        self.errors: defaultdict[str, list[Exception]] = defaultdict(list)
        self.held: set[str] = set()
        self.calls: list[list[Change]] = []
        self.accepted: list[Change] = []
        self.in_flight = 0
        self.max_in_flight = 0
        self._running: Counter[tuple[str, str]] = Counter()
        self._released = asyncio.Event()

    @property
    def reported(self) -> list[Change]:
        """The changes of all calls, also of those that failed, in the order of the calls."""
        return [change for call in self.calls for change in call]

    def release(self) -> None:
        """Let all held calls go on."""
        self.held = set()
        self._released.set()

    async def report(self, changes: Sequence[Change]) -> None:
        if not 1 <= len(changes) <= self.batch:
            raise AssertionError(f"a call has 1 to {self.batch} changes, not {len(changes)}")
        objects = [(change.event.bucket, change.event.key) for change in changes]
        self.calls.append(list(changes))
        self._running.update(objects)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            if max(self._running.values()) > 1:
                raise AssertionError("two changes of one object are reported at the same time")
            await asyncio.sleep(self.takes + next(self.latencies, 0.0))
            while self.held & {key for _, key in objects}:
                self._released.clear()
                await self._released.wait()
            for _, key in objects:
                if self.errors[key]:
                    raise self.errors[key].pop(0)
            self.accepted += changes
        finally:
            self.in_flight -= 1
            self._running.subtract(objects)
