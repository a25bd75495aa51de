"""Log files read and listed through the sandbox's Access Anywhere, over a socket."""

import asyncio
import hashlib
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from jibe_sqs.adapters.access_anywhere import RefreshTarget, connect
from jibe_sqs.adapters.access_anywhere.uses import log_folders
from jibe_sqs.adapters.access_anywhere.uses.log_folders import SETTLED_AGE
from jibe_sqs.adapters.access_anywhere.uses.logs import WINDOW, AccessAnywhereLogs
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.decisions import Place
from jibe_sqs.core.errors import LedgerError, LogAccessDenied, LogMissing, LogStoreUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import LogSource
from jibe_sqs.ports import Found
from jibe_sqs.sweeping.sweep_queue import SweepQueue
from jibe_sqs.sweeping.sweeper import Sweep, Sweeper
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

sandbox = pytest.importorskip("jibe_sqs.sandbox.access_anywhere")

BUCKET = "trail-logs"
ROOT = f"/Amazon S3/{BUCKET}"
REGION = "AWSLogs/111122223333/CloudTrail/eu-west-1"
SIZE = 8 * WINDOW
NOW = datetime(2026, 1, 31, 23, 0, tzinfo=UTC).timestamp()


class ShortSleepClock:
    """Sleeps last 2 ms or less, and count in full."""

    def __init__(self):
        self.slept = 0.0

    def now(self):
        return time.time()

    def monotonic(self):
        return time.monotonic() + self.slept

    async def sleep(self, seconds):
        self.slept += seconds
        await asyncio.sleep(min(seconds, 0.002))


class World:
    def __init__(self, storage, client, places):
        self.storage = storage
        self.client = client
        self.places = {BUCKET: [Place(ROOT)]} if places is None else places
        self.now = NOW
        self.asked = []
        self.budget = Budget(SIZE)
        self.ledger = MemoryLedger()
        self.clock = ShortSleepClock()
        target = RefreshTarget(
            client,
            roots=lambda: {place.folder for shown in self.places.values() for place in shown} | {ROOT},
            clock=self.clock,
            slots=client.concurrency,
        )
        self.refreshes = Refreshes(target=target, ledger=OptionalLedger(self.ledger), clock=self.clock)
        self.logs = AccessAnywhereLogs(
            client=client,
            places=lambda: self.places,
            refresh=self.refresh,
            budget=self.budget,
            clock=self.clock,
            wall_clock=lambda: self.now,
        )

    async def refresh(self, folder):
        self.asked.append(folder.path)
        await self.refreshes.refresh(folder)

    def put(self, key, body=b"a log file", bucket=BUCKET):
        self.storage.put(bucket, key, body)
        return LogFile(bucket, key)

    async def read(self, file):
        async with self.logs.open(file) as log:
            body = b"".join([chunk async for chunk in log])
            assert (log.etag, log.size) == ("", len(body))
            return body

    async def listed(self, prefix, bucket=BUCKET):
        entries = [entry async for entry in self.logs.level(bucket, prefix)]
        return [entry.file.key if isinstance(entry, Found) else entry for entry in entries]

    async def swept(self, source):
        """The keys that a sweep finds, and the folders that it refreshes."""
        self.asked.clear()
        queue = SweepQueue()
        sweeper = Sweeper(
            sweeps=(), queue=queue, ledger=OptionalLedger(self.ledger), clock=self.clock, wall_clock=lambda: self.now
        )
        await sweeper.sweep(Sweep(source, self.logs, 180.0))
        messages = await queue.receive(10_000, wait=0.0, visibility=30)
        return sorted(message.id.removeprefix(f"s3://{BUCKET}/") for message in messages), sorted(self.asked)


@pytest.fixture
def served():
    """A world with the sandbox's server. Takes a `storage`, and the settings of the server."""

    @asynccontextmanager
    async def serve(places=None, token="permanent", storage=None, **options):
        storage = storage or sandbox.MemoryStorage([BUCKET, "other"])
        config = sandbox.AccessAnywhereServer(
            login="jibe",
            password="pass word",
            permanent_token="permanent",
            providers=(sandbox.Provider("Amazon S3", buckets=(BUCKET, "other")),),
            **{"recent_window": 0, "refresh_seconds": 0, **options},
        )
        with sandbox.serving(sandbox.create_app(config, storage)) as url:
            async with connect(endpoint=url, permanent_token=token, clock=ShortSleepClock()) as client:
                world = World(storage, client, places)
                yield world
                await world.refreshes.stop()

    return serve


def day(text, name):
    return f"{REGION}/{text}/{name}.json.gz"


# Read


async def test_a_file_that_is_not_in_the_index_yet_is_found_and_read(served):
    async with served() as world:
        body = hashlib.sha256(b"seed").digest() * 100_000
        file = world.put(day("2026/01/31", "x"), body)
        assert await world.read(file) == body
        assert world.asked == [f"{ROOT}/{REGION}/2026/01/31"]
        assert world.budget.free == SIZE


async def test_a_file_in_the_index_needs_no_refresh(served):
    async with served() as world:
        first, second = world.put("a/1"), world.put("a/2", b"second")
        await world.read(first)
        assert await world.read(second) == b"second"
        assert world.asked == [f"{ROOT}/a"]


async def test_many_files_of_a_new_folder_share_refreshes(served):
    async with served() as world:
        files = [world.put(day("2026/01/31", number), str(number).encode()) for number in range(30)]
        bodies = await asyncio.gather(*(world.read(file) for file in files))
        assert bodies == [str(number).encode() for number in range(30)]
        assert world.refreshes.counts.total() < 20


async def test_a_missing_file_is_an_error_that_names_its_folder(served):
    async with served() as world:
        world.put("a/1")
        for key in ("a/2", "b/1", "a/1/", "top"):
            with pytest.raises(LogMissing, match=f"s3://{BUCKET}/{key}"):
                await world.read(LogFile(BUCKET, key))
        assert world.budget.free == SIZE


async def test_a_bucket_that_is_not_shown_is_an_error_with_the_remedy(served):
    async with served(places={BUCKET: [Place(ROOT, "trail/")]}) as world:
        for bucket, key in (("elsewhere", "x"), (BUCKET, "x"), (BUCKET, "trail")):
            with pytest.raises(LogMissing, match="`folder`"):
                await world.read(LogFile(bucket, key))
        for bucket, prefix in (("elsewhere", ""), (BUCKET, "x/")):
            with pytest.raises(LogMissing, match="`folder`"):
                await world.listed(prefix, bucket)
            assert not await world.logs.has(bucket, prefix)
        assert world.client.calls.total() == 0


@pytest.mark.parametrize("prefix", ["trail/", "trail"])
async def test_a_place_may_show_a_part_of_the_bucket(served, prefix):
    places = {BUCKET: [Place(f"{ROOT}/trail", prefix), Place("/Elsewhere", "other/")]}
    async with served(places=places) as world:
        assert await world.read(world.put("trail/a/1")) == b"a log file"
        assert await world.listed("") == ["other/", "trail/"]
        assert await world.listed("tr") == ["trail/"]
        assert await world.listed("trail/") == ["trail/a/"]
        assert [await world.logs.has(BUCKET, prefix) for prefix in ("", "trail/", "trail/a/", "trail/b/", "x/")] == [
            True, True, True, False, False,
        ]  # fmt: skip


async def test_one_of_several_places_that_shows_the_file_is_enough(served):
    async with served(places={BUCKET: [Place("/Gone/trail-logs"), Place(ROOT)]}) as world:
        assert await world.read(world.put("a/1")) == b"a log file"


ODD_KEYS = [
    "plain/x",
    "a//x",
    "/leading",
    "spaces /and / x ",
    "Case/x",
    "case/x",
    "case/X",
    "both",
    "both/x",
    "ünï & cö+dé/%2F?#日本語",
    'quo"te\\/x',
]


async def test_every_key_names_its_own_file(served):
    """Access Anywhere ignores the case of names, S3 does not."""
    async with served() as world:
        files = [world.put(key, key.encode()) for key in ODD_KEYS]
        for file in files:
            assert await world.read(file) == file.key.encode()


async def test_a_file_whose_name_differs_in_case_is_not_read(served):
    async with served() as world:
        world.put("a/X")
        with pytest.raises(LogMissing):
            await world.read(LogFile(BUCKET, "a/x"))
        with pytest.raises(LogMissing):
            await world.read(LogFile(BUCKET, "A/X"))


async def test_a_truncated_file_is_an_error(served):
    faults = sandbox.Faults(truncated_downloads=sandbox.TruncatedDownloads())
    async with served(faults=faults) as world:
        file = world.put("a/1", bytes(1_000_000))
        with pytest.raises(LogStoreUnavailable, match=f"s3://{BUCKET}/a/1"):
            await world.read(file)
        assert world.budget.free == SIZE


@pytest.mark.parametrize("size", [5, 5000, 3_000_000])
async def test_a_file_that_was_replaced_is_read_as_it_is_in_storage(served, size):
    async with served() as world:
        file = world.put("a/1", bytes(1000))
        await world.read(file)
        world.put("a/1", b"n" * size)
        assert await world.read(file) == b"n" * size
        assert world.budget.free == SIZE


async def test_a_file_that_is_in_the_index_but_not_in_storage_is_an_error(served):
    async with served() as world:
        file = world.put("a/1")
        await world.read(file)
        world.storage.delete(BUCKET, "a/1")
        with pytest.raises((LogMissing, LogStoreUnavailable), match=f"s3://{BUCKET}/a/1"):
            await world.read(file)
        assert world.budget.free == SIZE


async def test_an_open_file_takes_its_bytes_of_the_budget_and_gives_them_back(served):
    async with served() as world:
        large, small = world.put("a/large", bytes(2 * WINDOW)), world.put("a/small", bytes(1000))
        async with world.logs.open(large) as log:
            assert world.budget.free == SIZE - WINDOW
            async with world.logs.open(small):
                assert world.budget.free == SIZE - WINDOW - 1000
            chunks = aiter(log)
            await anext(chunks)
            await chunks.aclose()
        assert world.budget.free == SIZE
        assert len(await world.read(large)) == 2 * WINDOW


@pytest.mark.parametrize("listing", [True, False])
async def test_wrong_credentials_are_denied_access(served, listing):
    async with served(token="wrong") as world:
        with pytest.raises(LogAccessDenied, match=f"s3://{BUCKET}/a/"):
            await (world.listed("a/") if listing else world.read(world.put("a/1")))


async def test_a_server_that_is_not_there_is_unavailable():
    async with connect(endpoint="http://127.0.0.1:9", permanent_token="permanent", clock=ShortSleepClock()) as client:
        world = World(sandbox.MemoryStorage([BUCKET]), client, None)
        with pytest.raises(LogStoreUnavailable):
            await world.read(LogFile(BUCKET, "a/1"))
        with pytest.raises(LogStoreUnavailable):
            await world.logs.has(BUCKET, "a/")
        await world.refreshes.stop()


async def test_a_refresh_that_the_ledger_could_not_record_still_shows_the_file(served):
    async with served() as world:

        async def forgetful(folder, began):
            raise LedgerError("disk I/O error")

        world.ledger.refreshed = forgetful
        assert await world.read(world.put("a/1", b"log")) == b"log"


# Listed


async def test_a_level_has_the_files_in_it_and_the_folders_below(served):
    async with served() as world:
        for key in ("a/b/1", "a/c/1", "a/1", "a/2", "top", "ab"):
            world.put(key, b"12345")
        assert sorted(await world.listed("a/")) == ["a/1", "a/2", "a/b/", "a/c/"]
        assert sorted(await world.listed("")) == ["a/", "ab", "top"]
        assert sorted(await world.listed("a")) == ["a/", "ab"]
        assert await world.listed("nothing/") == []
        (found,) = [each async for each in world.logs.level(BUCKET, "to")]
        assert found.file == LogFile(BUCKET, "top", size=5)
        assert abs(found.modified - time.time()) < 60
        assert await world.logs.buckets() == [BUCKET]


async def test_a_level_of_more_than_a_page_is_listed_whole(served):
    async with served() as world:
        keys = [world.put(f"a/{number:04}").key for number in range(1203)]
        assert sorted(await world.listed("a/")) == keys


async def test_a_place_that_may_show_only_a_part_is_not_listed_for_the_whole(served):
    """A provider that seems to show a part of a bucket also counts as showing all of it, but has fewer files."""
    part = f"{ROOT}/team"
    async with served(places={BUCKET: [Place(part, "team/"), Place(part), Place(ROOT)]}) as world:
        file = world.put(day("2026/01/31", "x"))
        world.put("team/x")
        assert sorted(await world.listed("")) == ["AWSLogs/", "team/"]
        assert (await world.swept(LogSource(BUCKET)))[0] == [file.key]
        assert await world.read(file) == b"a log file"


async def test_one_of_several_places_that_can_be_listed_is_enough(served):
    async with served(places={BUCKET: [Place("/Gone/trail-logs"), Place(ROOT)]}) as world:
        world.put("a/1")
        assert await world.listed("") == ["a/"]
        assert await world.listed("a/") == ["a/1"]
        assert await world.logs.has(BUCKET, "a/")
        assert not await world.logs.has(BUCKET, "b/")


async def test_it_is_an_error_if_no_place_can_be_listed(served):
    async with served(places={BUCKET: [Place("/Gone/trail-logs"), Place("/Gone too/trail-logs")]}) as world:
        with pytest.raises(LogMissing, match="'/Gone'"):
            await world.listed("")


async def test_unusual_names_are_listed_unchanged(served):
    async with served() as world:
        for key in ODD_KEYS:
            world.put(key)
        found, waiting = [], [""]
        while waiting:
            for each in await world.listed(waiting.pop()):
                (waiting if each.endswith("/") else found).append(each)
        assert sorted(found) == sorted(ODD_KEYS)


async def test_a_sweep_finds_new_files_and_refreshes_only_folders_that_need_it(served):
    """A folder above the days has no new entries as long as it shows today's folder."""
    source = LogSource(BUCKET)
    async with served() as world:
        keys = [world.put(day(text, "a")).key for text in ("2026/01/30", "2026/01/31")]
        world.put(day("2025/12/31", "old"))
        found, refreshed = await world.swept(source)
        assert found == keys
        assert f"{ROOT}/{REGION}" in refreshed
        assert f"{ROOT}/{REGION}/2025/12" not in refreshed
        keys += [world.put(day(text, "late")).key for text in ("2026/01/30", "2026/01/31")]
        found, refreshed = await world.swept(source)
        assert found == sorted(keys)
        assert refreshed == [f"{ROOT}/{REGION}/2026/01/30", f"{ROOT}/{REGION}/2026/01/31"]


async def test_a_new_day_is_found_at_once_and_a_new_region_soon(served):
    source = LogSource(BUCKET)
    async with served() as world:
        world.put(day("2026/01/31", "a"))
        await world.swept(source)
        world.now += 3700.0  # February
        await world.swept(source)
        tomorrow = world.put(day("2026/02/01", "b")).key
        world.now += 60.0
        found, _ = await world.swept(source)
        assert tomorrow in found
        far = world.put(day("2026/02/01", "c").replace("eu-west-1", "us-east-1")).key
        world.now += 60.0
        assert far not in (await world.swept(source))[0]
        world.now += SETTLED_AGE
        assert far in (await world.swept(source))[0]


@pytest.mark.parametrize("limit", ["LISTINGS_BYTES", "NAMES_BYTES"])
async def test_without_memory_for_listings_more_folders_are_refreshed(served, monkeypatch, limit):
    """The listings of many folders, or one listing of many folders, are not remembered."""
    monkeypatch.setattr(log_folders, limit, 2000 if limit == "LISTINGS_BYTES" else 200)
    source = LogSource(BUCKET)
    async with served() as world:
        keys = [world.put(day(f"2026/01/{number}", "a")).key for number in range(10, 32)]
        await world.swept(source)
        found, refreshed = await world.swept(source)
        assert set(found) <= set(keys)
        assert f"{ROOT}/{REGION}/2026/01" in refreshed


async def test_a_flat_folder_is_refreshed_each_time(served):
    source = LogSource(BUCKET, "lyve/")
    async with served() as world:
        first = world.put("lyve/S3-data-2026-01-31-00-00-00.gz").key
        assert (await world.swept(source))[0] == [first]
        second = world.put("lyve/S3-data-2026-01-31-01-00-00.gz").key
        assert await world.swept(source) == ([first, second], [f"{ROOT}/lyve"])


async def test_a_folder_may_be_deleted_between_two_sweeps(served):
    source = LogSource(BUCKET, "lyve/")
    async with served() as world:
        world.put("lyve/a/x")
        world.put("lyve/b/x")
        world.now = time.time()
        assert (await world.swept(source))[0] == ["lyve/a/x", "lyve/b/x"]
        world.storage.delete(BUCKET, "lyve/a/x")
        assert (await world.swept(source))[0] == ["lyve/b/x"]
        world.put("lyve/a/y")
        world.now += SETTLED_AGE
        assert (await world.swept(source))[0] == ["lyve/a/y", "lyve/b/x"]
