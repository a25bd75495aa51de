"""Access Anywhere: an index that shows what was read last, and a server that is slow, fails or is down."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes
from proof.simulation.judge import Judge
from proof.simulation.network import TIMEOUT, is_disconnected, later
from proof.simulation.storage import BUCKET, Event, Storage

ROOT = f"/{BUCKET}"


class Index:
    """The server. `succeeded`: the moment when the last successful refresh of each folder began, for any replica."""

    def __init__(self, storage: Storage, judge: Judge, chance: Random) -> None:
        self._storage = storage
        self._judge = judge
        self._chance = chance
        self.shown: dict[str, dict[str, int]] = {}
        self.read_at: dict[str, int] = {}
        """The moment of the last read: of folders by their paths, and of single reported objects by their keys."""
        self.synced_at = 0.0
        """The moment of the last sync, which reads the whole bucket. Earlier events need no refresh.

        Infinite until the first sync, if a sync is planned.
        """
        self.listed_at = 0.0
        """The moment when the bucket was first listed. Earlier events may be skipped, and must be shown in the end."""
        self.sync_began: float | None = None
        self.succeeded: Counter[Folder] = Counter()
        self.failure_rate = chance.choice([0.0, 0.0, 0.1, 0.3])
        self.refreshed_recently_rate = chance.choice([0.0, 0.0, 0.2])
        self.refresh_time = chance.choice([0.2, 5.0, 40.0, 40.0])
        self.gate = Gate()

    def add(self) -> None:
        """Add the bucket. It shows as an empty folder."""
        self.shown[ROOT] = {}

    def list_bucket(self) -> None:
        """List the bucket from now on."""
        self.listed_at = self._judge.moment()
        self._judge.record("bucket listed")

    def sync(self) -> None:
        """Read the whole bucket."""
        for path in self._storage.folders:
            self.read_folder(path)
        self.synced_at, self.sync_began = self._judge.moment(), self._judge.time()
        self._judge.record("synced")

    def stop_faults(self) -> None:
        """Fail no more calls from now on."""
        self.failure_rate = self.refreshed_recently_rate = 0.0
        self.gate.open()

    def read_folder(self, path: str) -> None:
        """Read a folder in storage, and show its content."""
        self.shown[path] = dict(self._storage.folders[path])
        self.read_at[path] = self._judge.moment()
        self._judge.record("folder indexed", path, len(self.shown[path]))

    def index_object(self, event: Event) -> None:
        """Read one object in storage, and show it or remove it."""
        path, key = event.folder.path, event.key
        objects, shown = self._storage.folders[path], self.shown.setdefault(path, {})
        if key in objects:
            shown[key] = objects[key]
        else:
            shown.pop(key, None)
        self.read_at[key] = self._judge.moment()
        self._judge.record("object indexed", key)

    async def reach_server(self) -> None:
        """Wait for a slot and for the server. Raises `AccessAnywhereUnavailable`."""
        chance = self._chance
        await asyncio.sleep(chance.random() * chance.choice([0.0, 0.1, 10.0]))
        if self.gate.reason:
            try:
                async with asyncio.timeout(30):
                    await self.gate.passable()
            except TimeoutError:
                raise AccessAnywhereUnavailable("the server is down") from None
        if is_disconnected("aa"):
            await asyncio.sleep(TIMEOUT)
            raise AccessAnywhereUnavailable("no answer")
        if chance.random() < self.failure_rate:
            raise AccessAnywhereUnavailable("503")

    def refresh(self, path: str) -> "asyncio.Future[bool]":
        """Refresh a folder. The result says whether it succeeded. If it fails, it may have read the folder or not."""
        return self._do([partial(self.read_folder, path)], self.refresh_time)

    def report(self, events: Sequence[Event]) -> "asyncio.Future[bool]":
        """Accept reported changes. The result says whether that succeeded. If it fails, some may have been accepted."""
        return self._do([partial(self.index_object, event) for event in events], min(self.refresh_time, 5.0))

    def _do(self, effects: Sequence[Callable[[], None]], longest: float) -> "asyncio.Future[bool]":
        chance = self._chance
        duration = chance.random() * longest
        is_well = not self.gate.reason and chance.random() >= self.failure_rate
        for effect in effects:
            if is_well or chance.random() < 0.5:
                later(chance.random() * duration, effect)
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        later(duration, _answer, answer, is_well)
        return answer


def _answer(answer: "asyncio.Future[bool]", is_well: bool) -> None:
    if not answer.done():
        answer.set_result(is_well)


class Gate:
    """The `Gate` port: closed while the server is down."""

    def __init__(self) -> None:
        self.reason = ""
        self._opened = asyncio.Event()

    async def passable(self) -> None:
        while self.reason:
            await self._opened.wait()

    def close(self) -> None:
        self.reason = "the server is down"
        self._opened.clear()

    def open(self) -> None:
        self.reason = ""
        self._opened.set()


class SimulatedTarget:
    """The `SyncTarget` port, for one process. The parent of an unknown folder is refreshed before the folder."""

    def __init__(self, index: Index, storage: Storage, judge: Judge, chance: Random) -> None:
        self._index = index
        self._storage = storage
        self._judge = judge
        self._chance = chance
        self.running: Counter[Folder] = Counter()

    async def refresh(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> None:
        self.running[folder] += 1
        self._judge.require(self.running[folder] == 1, "one refresh of a folder at a time", folder)
        try:
            moment = await (self._refresh_tree if folder.tree else self._refresh_folder)(folder, began, others)
        finally:
            self.running[folder] -= 1
        self._index.succeeded[folder] = max(self._index.succeeded[folder], moment)
        self._judge.record("refreshed", folder)

    async def _refresh_tree(self, tree: Folder, began: Callable[[], None], others: OtherRefreshes) -> int:
        moment = self._begin(tree, began)
        for path in sorted(self._storage.folders):
            await others.refresh(Folder(path))
        return moment

    async def _refresh_folder(self, folder: Folder, began: Callable[[], None], others: OtherRefreshes) -> int:
        index, chance = self._index, self._chance
        if folder.path not in index.shown:
            self._begin(folder, began)
            await others.refresh(Folder(folder.path.rpartition("/")[0]))
        await index.reach_server()
        while chance.random() < index.refreshed_recently_rate:
            self._begin(folder, began)
            self._judge.record("refreshed recently", folder)
            await asyncio.sleep(chance.random() * 10)
        moment = self._begin(folder, began)
        if not await index.refresh(folder.path):
            raise AccessAnywhereUnavailable("500")
        return moment

    def _begin(self, folder: Folder, began: Callable[[], None]) -> int:
        moment = self._judge.moment()
        self._judge.record("refresh began", folder)
        began()
        return moment
