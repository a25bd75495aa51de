"""The refresh target with the real client, against a server whose index changes only by refreshes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.clocks import SleptClock
from tests.examples import expensive
from tests.other_refreshes import UncoalescedRefreshes, nothing
from tests.over_httpx import TURNS, over_httpx

from jibe_sqs.adapters.access_anywhere import RefreshTarget, connect
from jibe_sqs.adapters.access_anywhere.uses import folder_ids
from jibe_sqs.adapters.access_anywhere.uses.folder_ids import MAX_LOOKUPS, KnownIds
from jibe_sqs.adapters.access_anywhere.wire.paths import ancestors, is_below, joined, name, parent
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.concurrency.single_flight import SingleFlight
from jibe_sqs.core.errors import AccessAnywhereUnavailable, CallFailed, FolderUnknown
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import OtherRefreshes
from jibe_sqs.syncing.pace import Costs
from jibe_sqs.syncing.refreshes import Refreshes

PROVIDER = "/Amazon S3"
ROOT = f"{PROVIDER}/my-bucket"


@pytest.fixture(autouse=True)
def _no_logs():
    """Suppress the log lines of thousands of refreshes."""
    with structlog.testing.capture_logs():
        yield


class Entry:
    """A file or folder in the index. `below`: a folder's entries by case-folded name and kind. `shown`: the name in answers."""

    def __init__(self, fi_id: str, name: str, is_folder: bool) -> None:
        self.fi_id, self.name, self.is_folder = fi_id, name, is_folder
        self.shown = name
        self.below: dict[tuple[str, bool], Entry] = {}

    def wire(self) -> dict:
        return {"fi_id": self.fi_id, "fi_pid": "", "fi_name": self.shown, "fi_type": str(int(self.is_folder))}


class Indexed:
    """Access Anywhere over a bucket: `keys` are the objects in S3, `index` the files that it shows.

    A refresh reads S3 when it is asked for and shows it when it is polled for the last time. `cooldown`: seconds after
    a refresh's start in which a folder "was refreshed recently". `keeps_empty`: a refreshed folder that S3 no longer
    has stays, empty, until its parent is refreshed; otherwise it is `not_found`.
    """

    def __init__(self, *keys: str, cooldown: float = 0.0, keeps_empty: bool = True, polls: int = 2) -> None:
        self.clock = SleptClock(1000.0)
        self.keys = set(keys)
        self.cooldown, self.keeps_empty, self.polls = cooldown, keeps_empty, polls
        self.ids = map(str, itertools.count(1))
        self.top = Entry("0", "", True)
        self.providers = {PROVIDER.strip("/"): {"my-bucket"}}
        self.refreshed_at: dict[str, float] = {}
        self.running: dict[str, tuple[str, dict[tuple[str, bool], str], int]] = {}
        self.most_running = 0
        self.refreshes: list[str] = []
        self.calls: list[str] = []
        self.listings = 0
        self.before: Callable[[str, str], None] = lambda function, path: None
        for provider in self.providers:
            self.add(self.top, provider, is_folder=True)

    # The index

    def add(self, folder: Entry, name: str, *, is_folder: bool) -> Entry:
        return folder.below.setdefault((name.casefold(), is_folder), Entry(next(self.ids), name, is_folder))

    def at(self, path: str, start: Entry | None = None) -> Entry | None:
        entry = start or self.top
        *folders, last = path.strip("/").casefold().split("/")
        for part in folders:
            if (entry := entry.below.get((part, True))) is None:
                return None
        return entry.below.get((last, False)) or entry.below.get((last, True))

    def walk(self, entry: Entry, path: str = "") -> list[tuple[str, Entry]]:
        found = [(path or "/", entry)]
        for below in entry.below.values():
            found += self.walk(below, f"{path}/{below.name}")
        return found

    def by_id(self, fi_id: str) -> tuple[str, Entry] | None:
        return next(((path, entry) for path, entry in self.walk(self.top) if entry.fi_id == fi_id), None)

    @property
    def index(self) -> set[str]:
        prefix = f"{ROOT}/"
        return {path.removeprefix(prefix) for path, entry in self.walk(self.top) if not entry.is_folder}

    @property
    def folders(self) -> set[str]:
        return {path for path, entry in self.walk(self.top) if entry.is_folder and path.startswith(f"{ROOT}/")}

    @property
    def folders_of_keys(self) -> set[str]:
        return {a for key in self.keys for a in ancestors(f"{ROOT}/{key}") if a.startswith(f"{ROOT}/")}

    def in_storage(self, path: str) -> dict[tuple[str, bool], str]:
        """The entries directly in that folder in storage."""
        if path == "/":
            names = {(provider, True) for provider in self.providers}
        elif path.strip("/") in self.providers:
            names = {(bucket, True) for bucket in self.providers[path.strip("/")]}
        else:
            prefix = f"{path}/".removeprefix(f"{ROOT}/")
            rests = [key.removeprefix(prefix) for key in self.keys if key.startswith(prefix)]
            names = {(rest.partition("/")[0], "/" in rest) for rest in rests}
        return {(name.casefold(), is_folder): name for name, is_folder in names}

    def show(self, folder: Entry, content: dict[tuple[str, bool], str]) -> None:
        for gone in folder.below.keys() - content.keys():
            del folder.below[gone]
        for (_, is_folder), called in content.items():
            self.add(folder, called, is_folder=is_folder)

    def settle(self) -> None:
        """Make the whole index equal to storage."""
        for path, entry in (todo := self.walk(self.top)):
            self.show(entry, self.in_storage(path) if entry.is_folder else {})
            todo += [(f"{path.rstrip('/')}/{below.name}", below) for below in entry.below.values()]

    # The API

    async def handle(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode(), keep_blank_values=True))
        await asyncio.sleep(0)
        function = form["function"]
        self.calls.append(function)
        return httpx.Response(200, json=getattr(self, function)(form))

    def getTokenByAuthToken(self, form: dict) -> dict:
        return {"status": "ok", "token": "t"}

    def checkPathExists(self, form: dict) -> dict:
        self.before("look", form["path"])
        found = self.by_id(form["pid"] or "0")
        entry = self.at(form["path"], found[1]) if found else None
        return {"status": "ok", "exists": "y", "file": entry.wire()} if entry else {"status": "not_found"}

    def getFolderContents(self, form: dict) -> dict:
        if token := form.get("refreshtoken"):
            return self.poll(form["fi_pid"], token)
        if (found := self.by_id(form["fi_pid"])) is None:
            return {"status": "not_found"}
        path, entry = found
        if "refresh" in form:
            return self.start(path, entry)
        self.before("list", path)
        self.listings += 1
        listed = list(entry.below.values())[int(form["from"]) :][: int(form["count"])]
        return {"status": "ok", "total": str(len(entry.below)), "filelist": [e.wire() for e in listed]}

    def start(self, path: str, entry: Entry) -> dict:
        self.before("refresh", path)
        if self.by_id(entry.fi_id) is None:
            return {"status": "not_found"}
        assert entry.is_folder, "only folders can be refreshed"
        if self.clock.time < self.refreshed_at.get(path, -1e9) + self.cooldown:
            return {"status": "ok", "total": "1", "refreshresult": {}}
        content = self.in_storage(path)
        if not content and path != ROOT and path.startswith(ROOT) and not self.keeps_empty:
            return {"status": "not_found"}
        self.refreshed_at[path] = self.clock.time
        self.refreshes.append(path)
        token = next(self.ids)
        self.running[token] = (entry.fi_id, content, self.polls)
        self.most_running = max(self.most_running, len(self.running))
        return {"status": "ok", "total": "1", "refreshresult": {"token": token}, "stillsyncing": "y"}

    def poll(self, fi_id: str, token: str) -> dict:
        of, content, left = self.running[token]
        assert of == fi_id
        if left > 1:
            self.running[token] = (of, content, left - 1)
            return {"status": "ok", "stillsyncing": "y"}
        del self.running[token]
        if (found := self.by_id(fi_id)) is None:
            return {"status": "trashed"}
        self.show(found[1], content)
        first = [entry.wire() for entry in found[1].below.values()][:1]
        return {"status": "ok", "stillsyncing": "n", "total": str(len(found[1].below)), "filelist": first}

    @asynccontextmanager
    async def target(
        self, *, concurrency: int = 8, shared: bool = True, roots=(ROOT,), pace: float = 0.0, costs=None
    ) -> AsyncIterator["TargetWithOthers"]:
        """`shared`: refreshes are coalesced, as in the service. Otherwise each call refreshes its folder anew."""
        async with connect(
            endpoint="https://aa.test",
            permanent_token="p",
            clock=self.clock,
            concurrency=concurrency,
            refresh_timeout=1e9,
            origin_of=over_httpx(httpx.MockTransport(self.handle)),
        ) as client:
            self.slots = OrderedSlots(concurrency)
            target = RefreshTarget(client, roots=lambda: roots, clock=self.clock, slots=self.slots, costs=costs)
            refreshes = Refreshes(
                target=target, ledger=MemoryLedger(), clock=self.clock, min_interval=pace, costs=costs
            )
            yield TargetWithOthers(target, refreshes if shared else UncoalescedRefreshes(target))
            await refreshes.stop()


class TargetWithOthers:
    """A target, and the refreshes of `others` that it is given in each call."""

    def __init__(self, target: RefreshTarget, others: OtherRefreshes) -> None:
        self.target, self.others = target, others

    async def refresh(self, folder: Folder, began: Callable[[], None]) -> None:
        await self.target.refresh(folder, began, self.others)


class OrderedSlots:
    """The `Slots` port: up to `most` at a time, in the order of the requests. `costs` records the cost of each request."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.costs: list[float] = []
        self._free = asyncio.Semaphore(most)

    def slot(self, cost: float = 0.0, newest: float = 0.0) -> asyncio.Semaphore:
        self.costs.append(cost)
        return self._free


def folder_of(key: str) -> Folder:
    return Folder(parent(f"{ROOT}/{key}"))


# One folder


async def test_a_known_folder_needs_one_refresh_and_a_look_up_of_each_name():
    aa = Indexed("a/1")
    aa.settle()
    aa.keys = {"a/2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert aa.index == {"a/2"}
    assert aa.refreshes == [f"{ROOT}/a"]
    assert aa.calls.count("checkPathExists") == 3


async def test_a_folder_that_is_refreshed_again_at_once_is_not_looked_up_again():
    aa = Indexed("a/1")
    aa.settle()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
        aa.calls.clear()
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert "checkPathExists" not in aa.calls


async def test_a_new_folder_is_found_by_refreshes_of_its_parents_and_then_filled():
    aa = Indexed("old")
    aa.settle()
    aa.keys.add("a/b/c/new")
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a/b/c"), nothing)
    assert aa.index == {"old", "a/b/c/new"}
    assert aa.refreshes == [ROOT, f"{ROOT}/a", f"{ROOT}/a/b", f"{ROOT}/a/b/c"]


@pytest.mark.parametrize("keeps_empty", [True, False])
async def test_a_folder_that_is_gone_from_storage_is_gone_from_the_index(keeps_empty):
    """For a server that keeps the empty folder, and for one that answers `not_found`."""
    aa = Indexed("a/b/1", "a/2", keeps_empty=keeps_empty)
    aa.settle()
    aa.keys = {"a/2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a/b"), nothing)
    assert aa.index == {"a/2"}
    assert aa.folders == {f"{ROOT}/a"}


@pytest.mark.parametrize("keeps_empty", [True, False])
async def test_deleting_the_last_object_of_a_deep_folder_removes_its_empty_parents(keeps_empty):
    aa = Indexed("a/b/c/1", keeps_empty=keeps_empty)
    aa.settle()
    aa.keys = set()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a/b/c"), nothing)
    assert aa.folders == set()


async def test_an_empty_bucket_refreshes_nothing_above_it():
    aa = Indexed("1")
    aa.settle()
    aa.keys = set()
    async with aa.target() as target:
        await target.refresh(Folder(ROOT), nothing)
    assert aa.refreshes == [ROOT]


async def test_a_folder_that_does_not_exist_is_done_after_the_refresh_of_its_parent():
    aa = Indexed("1")
    aa.settle()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a/b"), nothing)
    assert aa.refreshes == [ROOT]


async def test_a_folder_that_vanishes_between_look_up_and_refresh_is_looked_up_again():
    aa = Indexed("a/1")
    aa.settle()

    def replaced(step: str, path: str) -> None:
        if (step, path) == ("refresh", f"{ROOT}/a"):
            aa.before = lambda *_: None
            del aa.at(ROOT).below["a", True]

    aa.before = replaced
    aa.keys = {"a/2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert aa.index == {"a/2"}


async def test_an_id_that_is_not_valid_any_more_is_forgotten():
    aa = Indexed("a/1")
    aa.settle()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
        del aa.at(ROOT).below["a", True]
        aa.keys = {"a/2"}
        aa.show(aa.at(ROOT), aa.in_storage(ROOT))
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert aa.index == {"a/2"}


async def test_a_folder_that_always_vanishes_is_an_error_and_not_an_endless_loop():
    aa = Indexed("a/1")
    aa.settle()

    def vanish(step: str, path: str) -> None:
        if (step, path) == ("refresh", f"{ROOT}/a"):
            del aa.at(ROOT).below["a", True]

    aa.before = vanish
    async with aa.target() as target:
        with pytest.raises(CallFailed, match=f"{ROOT}/a"):
            await target.refresh(Folder(f"{ROOT}/a"), nothing)


async def test_an_object_and_a_folder_of_the_same_name_are_not_confused():
    aa = Indexed("a", "a/1")
    aa.settle()
    aa.keys.add("a/2")
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert aa.index == {"a", "a/1", "a/2"}


async def test_a_new_folder_beside_an_object_with_the_same_name_is_found():
    aa = Indexed("a")
    aa.settle()
    aa.keys.add("a/1")
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), nothing)
    assert aa.index == {"a", "a/1"}


async def test_a_failure_of_the_server_is_raised_to_the_caller():
    aa = Indexed("a/1")

    def broken(*_):
        raise httpx.ConnectError("down")

    aa.before = broken
    async with aa.target() as target:
        with pytest.raises(AccessAnywhereUnavailable):
            await target.refresh(Folder(f"{ROOT}/a"), nothing)


# Began


@pytest.mark.parametrize(
    ("before", "folder", "cooldown"),
    [("a/1", "a", 0), ("1", "a/b", 0), ("a/1", "a", 5), ("a/1", "a/b/c", 5)],
    ids=["known", "new", "refreshed recently", "new and refreshed recently"],
)
async def test_objects_written_before_the_last_began_are_in_the_index(before, folder, cooldown):
    aa = Indexed(before, cooldown=cooldown)
    aa.settle()
    aa.refreshed_at = dict.fromkeys((f"{ROOT}/a", ROOT), aa.clock.time)
    seen: list[str] = []

    def began() -> None:
        seen.append(f"{folder}/{len(seen)}")
        aa.keys.add(seen[-1])

    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/{folder}"), began)
    assert set(seen) <= aa.index


async def test_began_is_called_again_after_refreshed_recently():
    aa = Indexed("a/1", cooldown=0.25)
    aa.settle()
    aa.refreshed_at = {f"{ROOT}/a": aa.clock.time}
    began: list[float] = []
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a"), lambda: began.append(aa.clock.time - 1000))
    assert began == pytest.approx([0, 0.1, 0.3])
    assert aa.refreshes == [f"{ROOT}/a"]


async def test_a_refresh_that_waits_for_a_slot_has_not_begun():
    """So it also covers changes that happen while it waits."""
    aa = Indexed("a/1", "b/1", polls=20)
    aa.settle()
    running: list[int] = []
    async with aa.target(concurrency=1) as target:
        await asyncio.gather(
            *(target.refresh(Folder(f"{ROOT}/{name}"), lambda: running.append(len(aa.running))) for name in "ab")
        )
    assert running == [0, 0]


# Roots


async def test_a_mapped_folder_that_is_not_shown_yet_is_found_by_a_refresh_of_its_provider():
    aa = Indexed("a/1")
    async with aa.target() as target:
        await target.refresh(Folder(ROOT), nothing)
    assert aa.refreshes == [PROVIDER, ROOT]


async def test_a_mapped_folder_that_does_not_exist_is_an_error_with_the_remedy():
    aa = Indexed("a/1")
    wrong = f"{PROVIDER}/my-bukcet"
    async with aa.target(roots=[wrong]) as target:
        with pytest.raises(FolderUnknown, match=r"my-bukcet.*mapping"):
            await target.refresh(Folder(f"{wrong}/a/b"), nothing)
    assert aa.refreshes == [PROVIDER]


async def test_a_provider_that_does_not_exist_is_an_error_with_the_remedy():
    aa = Indexed("a/1")
    async with aa.target(roots=["/Amazon/my-bucket"]) as target:
        with pytest.raises(FolderUnknown, match=r"'/Amazon'.*provider"):
            await target.refresh(Folder("/Amazon/my-bucket/a"), nothing)
    assert aa.refreshes == []


async def test_a_mapped_folder_of_the_first_level_needs_nothing_above_it():
    aa = Indexed("a/1")
    async with aa.target(roots=["/my-bucket"]) as target:
        with pytest.raises(FolderUnknown):
            await target.refresh(Folder("/my-bucket"), nothing)


async def test_a_mapped_folder_may_be_written_in_another_case():
    aa = Indexed("a/1")
    aa.settle()
    aa.keys.add("a/2")
    async with aa.target(roots=[ROOT.upper()]) as target:
        await target.refresh(Folder(f"{ROOT.upper()}/a"), nothing)
    assert aa.index == {"a/1", "a/2"}


async def test_a_server_that_ignores_case_refreshes_the_folder_that_it_has():
    """It may show the entries of `A/` in `a`, so `a` is refreshed."""
    aa = Indexed("a/1")
    aa.settle()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/A"), nothing)
    assert aa.refreshes == [ROOT, f"{ROOT}/a"]


async def test_a_name_that_the_server_shows_differently_is_accepted():
    """For the folder itself and for the folders below it."""
    aa = Indexed("cafe\u0301/a/1")
    aa.settle()
    aa.at(f"{ROOT}/cafe\u0301").shown = "caf\u00e9"
    aa.keys |= {"cafe\u0301/2", "cafe\u0301/a/2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/cafe\u0301/a"), nothing)
        await target.refresh(Folder(f"{ROOT}/cafe\u0301"), nothing)
    assert aa.index == aa.keys


async def test_a_mapped_prefix_inside_another_mapped_folder_may_not_exist():
    aa = Indexed("1")
    aa.settle()
    async with aa.target(roots=[ROOT, f"{ROOT}/logs"]) as target:
        await target.refresh(Folder(f"{ROOT}/logs"), nothing)


# Trees


async def test_a_tree_refresh_makes_all_of_its_folders_true():
    aa = Indexed("1", "a/1", "a/b/c/1", "d/e/1", "keep/1")
    aa.settle()
    aa.keys = {"2", "a/b/2", "a/b/x/y/2", "f/2", "keep/1"}
    began: list[int] = []
    async with aa.target() as target:
        await target.refresh(Folder(ROOT, tree=True), lambda: began.append(len(aa.calls)))
    assert aa.index == aa.keys
    assert aa.folders == aa.folders_of_keys
    assert began == [0]


async def test_a_tree_refresh_refreshes_no_folder_outside_the_tree():
    aa = Indexed("a/1", "b/1")
    aa.settle()
    aa.keys = {"a/2", "b/2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a", tree=True), nothing)
    assert aa.index == {"a/2", "b/1"}


@pytest.mark.parametrize("keeps_empty", [True, False])
async def test_a_tree_that_was_deleted_is_removed_from_the_index(keeps_empty):
    aa = Indexed("a/b/c/1", "2", keeps_empty=keeps_empty)
    aa.settle()
    aa.keys = {"2"}
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/a", tree=True), nothing)
    assert aa.index == {"2"}
    assert aa.folders == set()


async def test_a_subfolder_may_vanish_while_its_tree_is_refreshed():
    aa = Indexed("a/1", "b/1")
    aa.settle()

    def remove(step: str, path: str) -> None:
        if (step, path) == ("list", f"{ROOT}/b"):
            aa.before = lambda *_: None
            aa.at(ROOT).below.pop(("b", True))

    async with aa.target() as target:
        aa.before = remove
        await target.refresh(Folder(ROOT, tree=True), nothing)


async def test_a_wide_tree_never_has_more_tasks_than_its_concurrency():
    aa = Indexed(*(f"{n}/1" for n in range(300)))
    aa.settle()
    most = 0
    async with aa.target(concurrency=4, shared=False) as target:
        alone = target.others.refresh

        async def counting(folder: Folder) -> None:
            nonlocal most
            most = max(most, len(asyncio.all_tasks()))
            await alone(folder)

        target.others.refresh = counting
        await target.refresh(Folder(ROOT, tree=True), nothing)
    assert len(aa.refreshes) == 301
    assert most <= 1 + 2 * 4 + 1
    assert aa.most_running <= 4


async def test_a_tree_that_fails_leaves_no_task_behind():
    aa = Indexed(*(f"{n}/1" for n in range(20)))
    aa.settle()

    def broken(step: str, path: str) -> None:
        if path == f"{ROOT}/7":
            raise httpx.ConnectError("down")

    aa.before = broken
    async with aa.target() as target:
        with pytest.raises(AccessAnywhereUnavailable):
            await target.refresh(Folder(ROOT, tree=True), nothing)
        for _ in range(10 * TURNS):
            await asyncio.sleep(0)  # the refreshes of other folders are shared, and end by themselves
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_folder_that_cannot_be_refreshed_does_not_affect_the_rest_of_its_tree():
    aa = Indexed(*(f"{n}/1" for n in range(20)), "7/below/1")
    aa.settle()
    aa.keys = {f"{n}/2" for n in range(20)} | {"7/below/2"}
    number = aa.at(f"{ROOT}/7").fi_id
    usual = aa.getFolderContents
    aa.getFolderContents = lambda form: (
        {"status": "too_large"} if form["fi_pid"] == number and "refresh" in form else usual(form)
    )
    async with aa.target() as target:
        with pytest.raises(CallFailed, match="too_large"):
            await target.refresh(Folder(ROOT, tree=True), nothing)
    assert aa.index == aa.keys - {"7/2"} | {"7/1"}


async def test_a_tree_refresh_stops_after_many_failures():
    aa = Indexed(*(f"{n}/1" for n in range(500)))
    aa.settle()
    usual = aa.getFolderContents
    aa.getFolderContents = lambda form: {"status": "broken"} if "refresh" in form else usual(form)
    async with aa.target() as target:
        with pytest.raises(CallFailed, match="broken"):
            await target.refresh(Folder(ROOT, tree=True), nothing)
    assert aa.calls.count("getFolderContents") < 100


async def test_folders_that_contain_each_other_do_not_make_an_endless_tree():
    aa = Indexed("a/1", "b/1")
    aa.settle()
    a, b = aa.at(f"{ROOT}/a"), aa.at(f"{ROOT}/b")
    shown = {a.fi_id: [a, b], b.fi_id: [b, a]}
    usual = aa.getFolderContents

    def contents(form: dict) -> dict:
        if "refresh" in form or form["fi_pid"] not in shown:
            return usual(form)
        return {"status": "ok", "total": "2", "filelist": [entry.wire() for entry in shown[form["fi_pid"]]]}

    aa.getFolderContents = contents
    async with aa.target() as target:
        await asyncio.wait_for(target.refresh(Folder(ROOT, tree=True), nothing), 10)
    assert sorted(aa.refreshes) == [ROOT, f"{ROOT}/a", f"{ROOT}/b"]


# Many folders


def below(*counts: int, top: str = ROOT) -> list[Folder]:
    """The deepest folders of a tree. `counts`: the number of folders in each folder, level by level."""
    paths = [top]
    for count in counts:
        paths = [f"{path}/{n}" for path in paths for n in range(count)]
    return [Folder(path) for path in paths]


@pytest.mark.parametrize("pace", [0.0, 5.0])
@pytest.mark.parametrize("group", [1000, 7])
async def test_each_folder_of_a_new_tree_is_refreshed_once_for_any_order_of_arrival(pace, group):
    """All at once, or most of them while the folders above are being refreshed already."""
    aa = Indexed()
    aa.settle()
    stale = below(3, 3, 8)
    aa.keys = {f"{folder.path.removeprefix(f'{ROOT}/')}/object" for folder in stale}
    async with aa.target(pace=pace) as target:
        asked = []
        for start in range(0, len(stale), group):
            asked += [asyncio.create_task(target.others.refresh(folder)) for folder in stale[start : start + group]]
            for _ in range(11):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
    assert aa.index == aa.keys
    walked = [ROOT, *(folder.path for level in ((3,), (3, 3), (3, 3, 8)) for folder in below(*level))]
    assert sorted(aa.refreshes) == sorted(walked)


async def test_a_folder_that_is_stale_itself_and_above_a_new_one_is_refreshed_once_for_both():
    aa = Indexed("x")
    aa.settle()
    aa.keys |= {"a/1", "a/b/1"}
    async with aa.target() as target:
        await asyncio.gather(*(target.others.refresh(Folder(f"{ROOT}/{path}")) for path in ("a", "a/b")))
    assert aa.index == aa.keys
    assert aa.refreshes == [ROOT, f"{ROOT}/a", f"{ROOT}/a/b"]


async def test_look_ups_in_one_folder_share_a_listing_of_it():
    aa = Indexed()
    aa.settle()
    stale = below(300)
    aa.keys = {f"{n}/object" for n in range(300)}
    async with aa.target() as target:
        await asyncio.gather(*(target.others.refresh(folder) for folder in stale))
    assert aa.index == aa.keys
    # How many look-ups end before the next ones begin depends on the turns that a call takes. One for each would be 300.
    assert aa.calls.count("checkPathExists") <= 40
    assert aa.listings <= 10


async def test_names_that_need_much_memory_are_looked_up_one_by_one(monkeypatch):
    """A listing that was read only in part must not answer "not found"."""
    monkeypatch.setattr(folder_ids, "MAX_NAMES_BYTES", 5000)
    aa = Indexed(*(f"{n}/1" for n in range(100)))
    aa.settle()
    aa.keys |= {f"{n}/2" for n in range(100)}
    async with aa.target() as target:
        await asyncio.gather(*(target.others.refresh(folder) for folder in below(100)))
    assert aa.index == aa.keys
    assert ROOT not in aa.refreshes
    assert aa.calls.count("checkPathExists") >= 80


async def test_a_few_look_ups_ask_for_their_names():
    aa = Indexed("a/1", "b/1")
    aa.settle()
    async with aa.target() as target:
        await asyncio.gather(*(target.others.refresh(Folder(f"{ROOT}/{name}")) for name in "ab"))
    assert aa.listings == 0


async def test_a_folder_with_very_many_files_is_not_listed_for_a_few_look_ups():
    aa = Indexed(*(f"{n:05}" for n in range(5000)), *(f"{name}/1" for name in "abcdefgh"))
    aa.settle()
    for called in "abcdefgh":
        # The folders move to the end, which is the last page.
        aa.at(ROOT).below[called, True] = aa.at(ROOT).below.pop((called, True))
    aa.keys |= {f"{name}/2" for name in "abcdefgh"}
    async with aa.target() as target:
        await asyncio.gather(*(target.others.refresh(Folder(f"{ROOT}/{name}")) for name in "abcdefgh"))
    assert aa.index == aa.keys
    assert aa.listings <= 8 - MAX_LOOKUPS
    assert aa.calls.count("checkPathExists") <= 2 * 8 + 3


async def test_a_listing_answers_not_found_until_a_refresh_of_its_folder_or_for_a_few_seconds():
    """Hundreds of look-ups for new folders may come before the refresh that shows them."""
    aa = Indexed("x")
    aa.settle()
    aa.keys |= {f"{n}/1" for n in range(20)}
    async with aa.target() as target:
        ids = target.target._ids

        async def found() -> list[bool]:
            return [one is not None for one in await asyncio.gather(*(ids.find(f"{ROOT}/{n}") for n in range(20)))]

        assert not any(await found())
        before = len(aa.calls)
        assert not any(await found())
        assert len(aa.calls) == before
        aa.clock.time += 6
        assert not any(await found())
        assert len(aa.calls) > before
        await target.refresh(Folder(ROOT), nothing)
        assert all(await found())


async def test_a_listing_that_began_before_a_refresh_answers_not_found_only_to_its_waiters():
    aa = Indexed("x")
    aa.settle()
    async with aa.target() as target:
        fi_id = await target.target._ids.find(ROOT)

        def overtaken(step: str, path: str) -> None:
            if (step, path) == ("list", ROOT):
                target.target._ids.refreshed(fi_id)

        aa.before = overtaken
        assert set(await asyncio.gather(*(target.target._ids.find(f"{ROOT}/{n}") for n in range(20)))) == {None}
        aa.show(aa.at(ROOT), {("7", True): "7"})
        assert await target.target._ids.find(f"{ROOT}/7") is not None


async def test_a_cancelled_look_up_does_not_affect_the_others():
    """Also if it is the look-up that asks for all others."""
    aa = Indexed(*(f"{n}/1" for n in range(20)))
    aa.settle()
    aa.keys = {f"{n}/2" for n in range(20)}
    async with aa.target(shared=False) as target:
        looking = [asyncio.create_task(target.refresh(Folder(f"{ROOT}/{n}"), nothing)) for n in range(20)]
        while not aa.listings:
            await asyncio.sleep(0)
        for task in looking[2:10]:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
    assert {f"{n}/2" for n in (0, 1, *range(10, 20))} <= aa.index


async def test_ids_below_a_folder_whose_name_differs_in_case_are_not_remembered():
    """A folder below `A` is found in `a`. When `A` appears, the folder in `A` counts."""
    aa = Indexed(*(f"a/{n}/1" for n in range(10)))
    aa.settle()
    async with aa.target() as target:
        await target.refresh(Folder(f"{ROOT}/A", tree=True), nothing)
        await asyncio.gather(*(target.others.refresh(Folder(f"{ROOT}/A/{n}")) for n in range(10)))
        assert not any(path.startswith(f"{ROOT}/A/") for path in target.target._ids._known._ids)


async def test_the_duration_of_a_slow_folder_is_learned_but_not_from_failures():
    aa = Indexed("slow/1", "quick/1", polls=12)
    aa.settle()
    costs = Costs()
    slow = Folder(f"{ROOT}/slow")
    async with aa.target(costs=costs) as target:
        await target.refresh(slow, nothing)
        learned = costs.expected(slow)
        assert learned > 1
        aa.polls = 1
        await target.refresh(Folder(f"{ROOT}/quick"), nothing)
        assert costs.expected(Folder(f"{ROOT}/quick")) == 0

        def broken(*_):
            raise httpx.ConnectError("down")

        aa.before = broken
        with pytest.raises(AccessAnywhereUnavailable):
            await target.refresh(slow, nothing)
        assert costs.expected(slow) == learned
    assert aa.slots.costs == [0, 0, learned]


async def test_the_cost_of_a_folder_excludes_the_refresh_of_its_parent():
    """The parent is refreshed because the folder is empty, and may have to wait for its turn."""
    aa = Indexed("a/b/1", "a/1", polls=1)
    aa.settle()
    aa.keys = {"a/1"}
    costs = Costs()
    async with aa.target(costs=costs, pace=60) as target:
        await target.others.refresh(Folder(f"{ROOT}/a"))
        before = aa.clock.time
        await target.refresh(Folder(f"{ROOT}/a/b"), nothing)
        assert aa.clock.time - before > 50
    assert costs.expected(Folder(f"{ROOT}/a/b")) == 0


# Shared answers


async def test_an_answer_is_shared_only_by_callers_that_came_before_its_question_began():
    shared: SingleFlight[int] = SingleFlight()
    asked, go = [], asyncio.Event()

    async def ask(waiting: int) -> int:
        asked.append(waiting)
        number = len(asked)
        await go.wait()
        return number

    early = [asyncio.create_task(shared.answer("k", ask))]
    await asyncio.sleep(0)
    late = [asyncio.create_task(shared.answer("k", ask)) for _ in range(100)]
    other = asyncio.create_task(shared.answer("another", ask))
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*early) == [1]
    assert await asyncio.gather(*late) == [3] * 100
    assert await other == 2
    assert asked == [1, 1, 100]
    assert not shared._flights


async def test_a_failure_is_shared_and_the_next_caller_asks_again():
    shared: SingleFlight[int] = SingleFlight()
    asked = 0

    async def ask(_: int) -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise AccessAnywhereUnavailable("503")

    found = await asyncio.gather(*(shared.answer("k", ask) for _ in range(50)), return_exceptions=True)
    assert [str(error) for error in found] == ["503"] * 50
    assert asked <= 2


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["ask", "go", "fail", "crash", "cancel"]), st.integers(0, 9)), max_size=40))
async def test_no_answer_is_ever_older_than_its_question(steps):
    shared: SingleFlight[int] = SingleFlight()
    moments = itertools.count()
    orders: asyncio.Queue[str] = asyncio.Queue()
    tasks: list[asyncio.Task[None]] = []

    async def ask(_: int) -> int:
        began = next(moments)
        order = await orders.get()
        if order == "fail":
            raise AccessAnywhereUnavailable("503")
        if order == "crash":
            raise ZeroDivisionError
        return began

    async def question() -> None:
        came = next(moments)
        with suppress(AccessAnywhereUnavailable, ZeroDivisionError):
            assert await shared.answer("k", ask) > came

    for step, number in steps:
        if step == "ask":
            tasks.append(asyncio.create_task(question()))
        elif step == "cancel":
            for task in tasks[number : number + 1]:
                task.cancel()
        else:
            orders.put_nowait(step)
        for _ in range(number % 3):
            await asyncio.sleep(0)
    for _ in tasks:
        orders.put_nowait("go")
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert error is None or isinstance(error, asyncio.CancelledError)
    assert not shared._flights


# Any changes


@pytest.mark.parametrize("shared", [True, False])
async def test_a_path_of_hundreds_of_new_folders_needs_one_slot_and_no_deep_stack(shared):
    aa = Indexed("x", polls=1)
    aa.settle()
    key = "a/" * 400 + "1"
    aa.keys.add(key)
    async with aa.target(concurrency=1, shared=shared) as target:
        await target.refresh(folder_of(key), nothing)
    assert aa.index == {"x", key}


async def test_many_deep_new_folders_at_once_need_only_one_slot():
    aa = Indexed()
    aa.settle()
    aa.keys = {f"{a}/{b}/{c}/1" for a in "abc" for b in "abc" for c in "abc"}
    async with aa.target(concurrency=1) as target:
        async with asyncio.timeout(60):
            await asyncio.gather(*(target.others.refresh(folder_of(key)) for key in aa.keys))
    assert aa.index == aa.keys
    assert aa.most_running == 1


keys = st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map("/".join)
worlds = st.builds(
    Indexed,
    cooldown=st.sampled_from([0.0, 0.3]),
    keeps_empty=st.booleans(),
    polls=st.integers(1, 3),
)


@expensive(80)
@given(worlds, st.sets(keys, max_size=12), st.sets(keys, max_size=12), st.integers(1, 4))
async def test_refreshing_the_folders_of_all_changes_makes_the_index_true(aa, before, after, concurrency):
    aa.keys = before
    aa.settle()
    assert aa.index == before
    aa.keys = after
    async with aa.target(concurrency=concurrency) as target:
        await asyncio.gather(*(target.others.refresh(folder_of(key)) for key in before ^ after))
    assert aa.index == aa.keys
    assert aa.folders == aa.folders_of_keys


@expensive(60)
@given(
    worlds,
    st.sets(keys, max_size=8),
    st.lists(st.tuples(keys, st.integers(0, 30)), max_size=20),
    st.integers(1, 4),
    st.sampled_from([0.0, 5.0]),
)
async def test_changes_while_refreshes_run_end_in_a_true_index(aa, before, changes, concurrency, pace):
    """It is enough that each folder is requested after its change."""
    aa.keys = set(before)
    aa.settle()
    async with aa.target(concurrency=concurrency, pace=pace) as target:
        asked = []
        for key, pause in changes:
            aa.keys ^= {key}
            asked.append(asyncio.create_task(target.others.refresh(folder_of(key))))
            for _ in range(pause):
                await asyncio.sleep(0)
        await asyncio.gather(*asked)
    assert aa.index == aa.keys


@expensive(40)
@given(worlds, st.sets(keys, max_size=12), st.sets(keys, max_size=12), st.integers(1, 3))
async def test_a_tree_refresh_makes_any_tree_true(aa, before, after, concurrency):
    aa.keys = before
    aa.settle()
    aa.keys = after
    async with aa.target(concurrency=concurrency) as target:
        await target.refresh(Folder(ROOT, tree=True), nothing)
    assert aa.index == aa.keys
    assert aa.folders == aa.folders_of_keys


# Paths and ids


def test_the_parent_of_a_path():
    assert parent("/a/b/c") == "/a/b"
    assert parent("/a") == "/"
    assert parent("/") == "/"


def test_an_empty_name_is_a_name():
    assert parent("/a//b") == "/a/"
    assert parent("/a/") == "/a"
    assert name("/a/") == ""
    assert joined("/a", "") == "/a/"
    assert joined("/a/", "b") == "/a//b"


def test_paths_are_taken_apart_and_put_together():
    assert joined("/", "a") == "/a"
    assert joined("/a", "b c") == "/a/b c"
    assert name("/a/b c") == "b c"
    assert list(ancestors("/a/b/c")) == ["/a/b", "/a"]


def test_a_path_is_below_a_root_only_if_it_is_inside():
    assert is_below("/a/b/c", {"/a/b"})
    assert not is_below("/a/b", {"/a/b"})
    assert not is_below("/a/bc", {"/a/b"})


def test_ids_are_forgotten_when_they_are_old_or_too_many():
    clock = SleptClock()
    ids = KnownIds(clock, most=1200, max_age=60)
    ids.remember({"/a": "1", "/b": "2", "/c": "3"}, asked=clock.time)
    assert [ids.get(path) for path in ("/a", "/b", "/c")] == [None, "2", "3"]
    clock.time += 61
    assert ids.get("/b") is None


def test_ids_of_long_paths_take_the_place_of_many_others():
    """Names come from outside: a number of folders alone would not limit the memory."""
    clock = SleptClock()
    ids = KnownIds(clock, most=100_000, max_age=60)
    ids.remember({f"/{n}": "1" for n in range(100)} | {"/\U0001f600" + "x" * 20_000: "2"}, asked=clock.time)
    kept = [n for n in range(100) if ids.get(f"/{n}")]
    assert 0 < len(kept) < 60
    assert kept[-1] == 99
