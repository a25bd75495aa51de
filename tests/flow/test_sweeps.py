"""Sweeps find log files that were not announced. Each is read once, and no file is lost."""

import asyncio
import gzip
import json
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.core.announcements import announcements, swept, swept_announcements
from jibe_sqs.core.date_folders import Window
from jibe_sqs.core.errors import (
    AnnouncementMalformed,
    AnnouncementUnknown,
    LedgerError,
    LogAccessDenied,
    LogMissing,
    LogStoreUnavailable,
    ReceiptLost,
)
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.model import LogFile, Nothing, Reject
from jibe_sqs.core.sources import EVERY_BUCKET, LogSource
from jibe_sqs.ports import Found
from jibe_sqs.sweeping.past_sweeps import MAX_LOOK_BACK
from jibe_sqs.sweeping.sweep_queue import MAX_RECEIVES, REJECTED_FOR, VISIBILITY, SweepQueue
from jibe_sqs.sweeping.sweeper import LISTINGS, PORTION, ROOTS_AGE, Sweep, Sweeper
from jibe_sqs.testing import ManualGate

BUCKET = "trail-logs"
INTERVAL = 180.0
ACCOUNT = "AWSLogs/111122223333"
REGION = f"{ACCOUNT}/CloudTrail/eu-west-1"
TODAY = f"{REGION}/2026/01/01"
YESTERDAY = f"{REGION}/2025/12/31"
BEFORE = f"{REGION}/2025/12/30"
OLD = 0.0
"""A modification time that is not recent."""


class MemoryListing:
    """The `Listing` port for the objects of a log store. `modified[key]`: modification times, by default the present.

    `errors[prefix]` is raised by `level`, `has_errors[prefix]` by `has`.
    """

    def __init__(self, flow, store):
        self._flow, self._store = flow, store
        self.modified = {}
        self.errors = {}
        self.has_errors = {}
        self.buckets_error = None
        self.levels = []
        self.delay = 0.0
        self.at_once = self.most_at_once = 0

    async def level(self, bucket, prefix):
        self.levels.append(prefix)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.delay)
            if error := self.errors.get(prefix) or self.errors.get(bucket):
                raise error
            seen = set()
            for (in_bucket, key), data in sorted(self._store.objects.items()):
                if in_bucket != bucket or not key.startswith(prefix):
                    continue
                below, slash, _ = key[len(prefix) :].partition("/")
                if not slash:
                    modified = self.modified.get(key, self._flow.EPOCH + self._flow.time())
                    yield Found(LogFile(bucket, key, etag=f"etag-{hash(data)}", size=len(data)), modified)
                elif below not in seen:
                    seen.add(below)
                    yield f"{prefix}{below}/"
        finally:
            self.at_once -= 1

    async def has(self, bucket, prefix):
        await asyncio.sleep(self.delay)
        if error := self.has_errors.get(prefix):
            raise error
        return any(each == bucket and key.startswith(prefix) for each, key in self._store.objects)

    async def buckets(self):
        if self.buckets_error:
            raise self.buckets_error
        return sorted({bucket for bucket, _ in self._store.objects})


class Sweeping:
    """A world with a sweeper, whose files go to the handler of the world."""

    def __init__(self, flow, source=None, *, interval=INTERVAL, days=2, queue=None, **options):
        self.flow = flow
        self.source = source or LogSource(BUCKET)
        self.world = flow.World(sources=[self.source], **options)
        self.store = self.world.logs
        self.listing = MemoryListing(flow, self.store)
        self.queue = queue or SweepQueue(wall_clock=self.wall_clock)
        self.sweep = Sweep(self.source, self.listing, interval, days)
        self.sweeper = self.make_sweeper(self.sweep)

    def make_sweeper(self, *sweeps, **options):
        return Sweeper(
            sweeps=sweeps,
            queue=self.queue,
            ledger=self.world.engine.ledger,
            clock=self.world.clock,
            wall_clock=self.wall_clock,
            **options,
        )

    def wall_clock(self):
        return self.flow.EPOCH + 3600.0 + self.flow.time()

    def put(self, key, *written, modified=None, bucket=BUCKET):
        """Store a log file with these written keys, by default with one key in a folder of the name of the log."""
        self.store.objects[bucket, key] = self.flow.log_of(*(written or [f"{key}/file"]))
        if modified is not None:
            self.listing.modified[key] = modified
        return key

    async def once(self):
        """Sweep once. Returns the keys of the offered files, sorted."""
        await self.sweeper.sweep(self.sweep)
        return sorted(await self.taken())

    async def taken(self):
        """Receive and delete all waiting messages. Returns the keys of their files."""
        keys = []
        while messages := await self.queue.receive(10, wait=0.0, visibility=VISIBILITY):
            keys += [file.key for message in messages for file in swept_announcements(message.body)]
            assert not await self.queue.delete([message.receipt for message in messages])
        return keys

    @asynccontextmanager
    async def running(self):
        consumer = Consumer(
            queue=self.queue,
            facts=await self.queue.facts(),
            handler=self.world.handler,
            policy=self.world.policy,
            room=self.world.engine.room,
            clock=self.world.clock,
            counters=self.world.counters,
            wait=20.0,
            receivers=1,
        )
        async with self.world.running():
            sweeping, consuming = asyncio.create_task(self.sweeper.run()), asyncio.create_task(consumer.run())
            try:
                yield consumer
            finally:
                sweeping.cancel()
                consumer.stop()
                await asyncio.gather(sweeping, consuming, return_exceptions=True)


@pytest.fixture
def sweeping(flow):
    return Sweeping(flow)


def named(events, name):
    return [event for event in events if event["event"] == name]


# What is found


async def test_a_sweep_of_a_window_finds_the_files_of_that_time_and_says_what_it_could_not_list(sweeping):
    hour = 3600.0
    begin = sweeping.flow.EPOCH - 5 * 24 * hour  # 2025-12-27
    window = Window(begin + 6 * hour, begin + 8 * hour)
    wanted = [
        sweeping.put(f"{REGION}/2025/12/27/x.json.gz", modified=begin + 7 * hour),
        sweeping.put(f"{REGION}/2025/12/26/late.json.gz", modified=begin + 7 * hour),
    ]
    sweeping.put(f"{REGION}/2025/12/27/earlier.json.gz", modified=begin + 5 * hour)
    sweeping.put(f"{REGION}/2025/12/29/later.json.gz", modified=begin + 50 * hour)
    sweeping.put(f"{TODAY}/x.json.gz")
    swept = await sweeping.sweeper.sweep(sweeping.sweep, window)
    assert sorted(await sweeping.taken()) == sorted(wanted)
    assert (swept.offered, swept.failures) == (2, ())
    assert not [prefix for prefix in sweeping.listing.levels if "2026" in prefix or "12/29" in prefix]
    error = sweeping.listing.errors[f"{REGION}/2025/12/26/"] = LogAccessDenied("AccessDenied")
    assert (await sweeping.sweeper.sweep(sweeping.sweep, window)).failures == (error,)


async def test_a_sweep_of_a_window_does_not_count_as_a_sweep_of_the_recent_days(flow):
    sweeping = Elapsing(flow)
    await sweeping.once()
    missed = sweeping.put(f"{TODAY}/x.json.gz", modified=sweeping.wall_clock())
    sweeping.days_on = 4
    now = sweeping.wall_clock()
    await sweeping.sweeper.sweep(sweeping.sweep, Window(now - 60, now))
    assert await sweeping.once() == [missed]


async def test_a_file_that_was_not_announced_is_read(sweeping):
    key = sweeping.put(f"{TODAY}/a.json.gz", "folder/x")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        await sweeping.flow.until(lambda: not len(sweeping.queue))
    assert [run.folder.path for run in sweeping.world.target.runs] == ["/data/folder"]
    assert sweeping.store.opens == {key: 1}
    assert await sweeping.world.ledger.is_finished(LogFile(BUCKET, key))


async def test_only_recent_folders_are_listed(sweeping):
    wanted = [sweeping.put(f"{day}/x.json.gz") for day in (TODAY, YESTERDAY)]
    sweeping.put(f"{BEFORE}/x.json.gz")
    sweeping.put(f"{REGION}/2024/01/01/x.json.gz")
    sweeping.put(f"{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/01/01/x.json.gz")
    sweeping.put(f"{ACCOUNT}/Config/eu-west-1/2026/01/01/x.json.gz")
    assert await sweeping.once() == sorted(wanted)
    assert not [prefix for prefix in sweeping.listing.levels if "/12/30" in prefix or "2024" in prefix]
    assert not [prefix for prefix in sweeping.listing.levels if "Digest" in prefix or "Config" in prefix]


async def test_ignored_files_are_not_offered_and_ignored_folders_are_not_listed(flow):
    sweeping = Sweeping(flow, LogSource(BUCKET, ignore=KeyFilter(("AWSLogs/222222222222/*", "*/ignored.json.gz"))))
    wanted = sweeping.put(f"{TODAY}/x.json.gz")
    sweeping.put(f"{TODAY}/ignored.json.gz")
    sweeping.put(TODAY.replace("111122223333", "222222222222") + "/x.json.gz")
    assert await sweeping.once() == [wanted]
    assert not [prefix for prefix in sweeping.listing.levels if "222222222222" in prefix]


async def test_a_late_file_with_an_older_name_is_found_wazuh_33108(sweeping):
    """A marker at the last key seen would skip it."""
    async with sweeping.running():
        sweeping.put(f"{TODAY}/111122223333_CloudTrail_eu-west-1_20260101T2355Z_b.json.gz")
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        late = sweeping.put(f"{TODAY}/111122223333_CloudTrail_eu-west-1_20260101T0005Z_a.json.gz")
        later = sweeping.put(f"{YESTERDAY}/111122223333_CloudTrail_eu-west-1_20251231T0005Z_a.json.gz")
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 3)
    assert sweeping.store.opens[late] == sweeping.store.opens[later] == 1


async def test_a_file_of_a_later_day_is_found(sweeping):
    async with sweeping.running():
        await asyncio.sleep(23 * 3600.0)
        sweeping.put(f"{REGION}/2026/01/02/x.json.gz")
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)


class Elapsing(Sweeping):
    """The test can move the calendar forward."""

    days_on = 0.0

    def wall_clock(self):
        return super().wall_clock() + self.days_on * 86_400

    def day(self, number):
        return f"{REGION}/{datetime.fromtimestamp(self.flow.EPOCH + number * 86_400, UTC):%Y/%m/%d}"


async def test_a_file_that_is_delivered_after_the_last_sweep_before_midnight_is_found_after_midnight(flow):
    sweeping = Elapsing(flow, days=1)
    await sweeping.once()
    sweeping.days_on = 23 / 24 - 1e-6  # the calendar starts one hour after midnight
    late = sweeping.put(f"{TODAY}/x.json.gz", modified=sweeping.wall_clock())
    sweeping.days_on = 1.0
    assert await sweeping.once() == [late]


@pytest.mark.parametrize("why", ["a gate was closed", "the store could not be listed"])
async def test_after_an_outage_its_days_are_swept_once(flow, why):
    """For example a long weekend. In a store without notifications, only a sweep finds these files."""
    sweeping = Elapsing(flow)
    await sweeping.once()
    keys = []
    for number in range(1, 5):
        sweeping.days_on = number
        keys.append(sweeping.put(f"{sweeping.day(number)}/x.json.gz", modified=sweeping.wall_clock()))
        if why != "a gate was closed":
            sweeping.listing.errors[""] = LogStoreUnavailable("503")
            assert await sweeping.once() == []
    sweeping.listing.errors.clear()
    sweeping.days_on = 5
    assert await sweeping.once() == keys
    # Only this sweep looks back. Later sweeps list the recent days.
    assert await sweeping.once() == keys[-1:]


async def test_a_folder_that_can_never_be_listed_does_not_make_each_sweep_longer(flow):
    sweeping = Elapsing(flow)
    sweeping.listing.errors[f"{REGION}/2026/"] = LogAccessDenied("AccessDenied")
    sweeping.put(f"{TODAY}/x.json.gz")
    await sweeping.once()
    sweeping.days_on = 40
    old = [
        sweeping.put(f"{sweeping.day(number)}/x.json.gz".replace("eu-", "us-"), modified=OLD) for number in range(41)
    ]
    assert await sweeping.once() == old[-MAX_LOOK_BACK - 2 :]


@pytest.mark.parametrize(
    "keys",
    [
        [f"{TODAY}/x.json.gz"],
        [f"trail/{TODAY}/x.json.gz", f"other trail/{TODAY}/x.json.gz"],
        [f"{TODAY}/x.json.gz", f"trail/{TODAY}/x.json.gz"],
        [f"/{TODAY}/x.json.gz"],
        [TODAY.replace("AWSLogs/", "AWSLogs/o-exampleorgid/") + "/x.json.gz"],
    ],
    ids=["top", "below prefixes", "both", "below no name", "of an organization"],
)
async def test_without_a_prefix_the_folders_of_cloudtrail_are_found(sweeping, keys):
    for key in keys:
        sweeping.put(key)
    sweeping.put("data/deep/down/file")
    sweeping.put("S3-data-2026-01-01-00-00-00.gz")
    assert await sweeping.once() == sorted(keys)
    assert "data/deep/" not in sweeping.listing.levels


async def test_a_bucket_without_aws_logs_is_swept_completely(sweeping):
    """Lyve stores its log files without folders."""
    wanted = [sweeping.put("S3-data-2026-01-01-00-00-00.gz", modified=OLD), sweeping.put("x/S3-data-2025-12-31-00-00-00.gz")]  # fmt: skip
    sweeping.put("S3-data-2025-12-01-00-00-00.gz", modified=OLD)
    sweeping.put("IAM-2026-01-01-00-00-00.gz")
    sweeping.put("holiday.jpg")
    assert await sweeping.once() == sorted(wanted)


@pytest.mark.parametrize("format_", [Format.ACCESS_LOG, Format.AUDIT_LOG])
async def test_logs_of_other_formats_are_not_searched_in_the_folders_of_cloudtrail(flow, format_):
    """One bucket may have logs of many services, and `AWSLogs/` has more than trails."""
    sweeping = Sweeping(flow, LogSource(BUCKET, "", format_))
    sweeping.put(f"{ACCOUNT}/elasticloadbalancing/eu-west-1/2026/01/01/x.log.gz")
    keys = [sweeping.put(key) for key in ("2026-01-01-00-05-00-0123456789ABCDEF", "audit/2026/01/01/x")]
    assert await sweeping.once() == keys


async def test_a_new_trail_in_a_bucket_is_found(sweeping):
    sweeping.put(f"one/{TODAY}/x.json.gz")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        sweeping.put(f"two/{TODAY}/x.json.gz")
        before = sweeping.flow.time()
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 2)
    assert sweeping.flow.time() - before < ROOTS_AGE + 2 * INTERVAL


@pytest.mark.parametrize("source", [LogSource(BUCKET, "logs/"), LogSource(BUCKET, "lo"), LogSource(BUCKET, "", Format.CLOUDTRAIL)])  # fmt: skip
async def test_with_a_configured_prefix_or_format_files_of_any_name_are_read(flow, source):
    """MinIO users choose the names of their log files."""
    sweeping = Sweeping(flow, source)
    key = sweeping.put("logs/audit-0001", modified=sweeping.wall_clock())
    sweeping.put("logs/audit-0000", modified=OLD)
    sweeping.store.objects[BUCKET, "logs/empty"] = b""
    sweeping.store.objects[BUCKET, "logs/folder/"] = b"x"
    if source.prefix:
        sweeping.put("elsewhere")
    assert await sweeping.once() == [key]


async def test_a_configured_prefix_is_swept_also_if_it_looks_like_the_folder_of_another_service(flow):
    root = f"{ACCOUNT}/Config/2020/"
    sweeping = Sweeping(flow, LogSource(BUCKET, root))
    assert await sweeping.once() == []
    key = sweeping.put(f"{root}sub/file")
    assert await sweeping.once() == [key]


async def test_if_every_bucket_is_swept_only_cloudtrail_files_are_log_files(flow, events):
    sweeping = Sweeping(flow, LogSource(EVERY_BUCKET))
    for bucket in ("a", "b"):
        sweeping.put(f"p/{TODAY}/x.json.gz", bucket=bucket)
        sweeping.put("S3-data-2026-01-01-00-00-00.gz", bucket=bucket)
        sweeping.put(f"{TODAY}/deeper/x.json.gz", bucket=bucket)
    sweeping.put("S3-data-2026-01-01-00-00-00.gz", bucket="flat")
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.files == 2)
        await asyncio.sleep(3 * INTERVAL)
    assert sweeping.store.opens == {f"p/{TODAY}/x.json.gz": 2}
    assert not sweeping.world.counters.errors


async def test_a_bucket_that_may_not_be_listed_is_skipped_and_logged_once(flow, events):
    sweeping = Sweeping(flow, LogSource(EVERY_BUCKET))
    for bucket in ("closed", "open"):
        sweeping.put(f"{TODAY}/{bucket}.json.gz", bucket=bucket)
    sweeping.listing.errors["closed"] = LogAccessDenied("s3://closed/: AccessDenied")
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.files == 1)
        await asyncio.sleep(3 * INTERVAL)
        assert [event["bucket"] for event in named(events, "bucket_passed_over")] == ["closed"]
        assert not named(events, "sweep_failed")
        sweeping.listing.errors.clear()
        await flow.until(lambda: sweeping.world.counters.files == 2)


# Sweeps in the service


async def test_a_file_that_is_swept_and_announced_at_the_same_time_is_opened_once(sweeping):
    key = sweeping.put(f"{TODAY}/x.json.gz")
    sweeping.store.delay = 5.0
    sweeping.world.queue.send(sweeping.flow.announcing(key))
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.done == 2)
        assert not sweeping.world.queue.messages
        sweeping.world.queue.send(sweeping.flow.announcing(key))
        await sweeping.flow.until(lambda: sweeping.world.counters.done == 3)
        await asyncio.sleep(3 * INTERVAL)
    assert sweeping.store.opens == {key: 1}
    assert sweeping.world.counters.files == 1


async def test_a_file_is_not_offered_again_while_it_waits_for_its_refresh(sweeping):
    key = sweeping.put(f"{TODAY}/x.json.gz", "slow/file")
    sweeping.world.target.held.add("/data/slow")
    async with sweeping.running():
        await asyncio.sleep(10 * INTERVAL)
        assert sweeping.sweeper.counts["offered"] == 1
        sweeping.world.target.release()
        await sweeping.flow.until(lambda: not len(sweeping.queue))
    assert sweeping.store.opens == {key: 1}


async def test_a_file_that_was_replaced_is_read_again(sweeping):
    key = sweeping.put(f"{TODAY}/x.json.gz", "one/file")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        sweeping.put(key, "two/file")
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 2)
        await asyncio.sleep(3 * INTERVAL)
    assert sweeping.store.opens == {key: 2}


async def test_a_failed_file_is_retried(sweeping):
    key = sweeping.put(f"{TODAY}/x.json.gz")
    sweeping.store.errors[key] = LogMissing("404")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.store.opens[key] == 3)
        sweeping.store.errors.clear()
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
    assert sweeping.world.counters.retried == 3


async def test_a_rejected_file_is_retried_after_some_hours(flow, events):
    """There is no dead-letter queue for swept files, so a file that is never retried would be lost."""
    sweeping = Sweeping(flow, limits=Limits(compressed_size=10))
    key = sweeping.put(f"{TODAY}/x.json.gz")
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.rejected == 1 and not len(sweeping.queue))
        await asyncio.sleep(REJECTED_FOR - 2 * INTERVAL)
        assert sweeping.store.opens == {key: 1}
        await flow.until(lambda: sweeping.world.counters.rejected == 2)
    assert named(events, "message_rejected")[0]["dead_lettered"] is True


async def test_the_good_records_of_a_swept_file_are_done_before_it_is_rejected_for_its_bad_record(flow, events):
    sweeping = Sweeping(flow)
    key = sweeping.put(f"{TODAY}/x.json.gz", "a/1", "b/2")
    text = json.loads(gzip.decompress(sweeping.store.objects[BUCKET, key]))
    text["Records"].insert(1, text["Records"][0] | {"requestParameters": None, "eventID": "odd"})
    sweeping.store.objects[BUCKET, key] = gzip.compress(json.dumps(text).encode())
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.rejected == 1 and not len(sweeping.queue))
        await asyncio.sleep(3 * INTERVAL)
    assert sweeping.store.opens == {key: 1}
    assert {run.folder.path for run in sweeping.world.target.runs} == {"/data/a", "/data/b"}
    assert named(events, "message_rejected")[0]["error"] == "RecordMalformed"
    assert not sweeping.world.ledger.finished


async def test_a_rejected_file_that_is_replaced_is_read_at_once(flow):
    sweeping = Sweeping(flow, limits=Limits(compressed_size=2000))
    key = sweeping.put(f"{TODAY}/x.json.gz", *(f"{number}/file" for number in range(500)))
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.rejected == 1)
        sweeping.put(key)
        await flow.until(lambda: sweeping.world.counters.files == 1)
    assert flow.time() < 3 * INTERVAL


async def test_a_failed_listing_is_logged_and_retried_by_the_next_sweep(sweeping, events):
    sweeping.put(f"{TODAY}/x.json.gz")
    sweeping.put(f"{REGION.replace('eu-', 'us-')}/2026/01/01/y.json.gz")
    sweeping.listing.errors[f"{REGION}/2026/"] = LogStoreUnavailable("503")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        assert [event["reason"] for event in named(events, "sweep_failed")] == ["503"]
        sweeping.listing.errors.clear()
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 2)


async def test_a_folder_that_may_not_be_listed_does_not_hide_a_trail_beside_it(sweeping, events):
    keys = [sweeping.put(f"{prefix}{TODAY}/x.json.gz") for prefix in ("", "a/", "z/")]
    sweeping.put("secret/x")
    sweeping.listing.has_errors["secret/AWSLogs/"] = LogAccessDenied("AccessDenied")
    for _ in range(2):
        assert await sweeping.once() == keys
    assert [event["failures"] for event in named(events, "sweep_failed")] == [1, 1]


async def test_a_trail_is_found_also_if_the_top_of_its_bucket_may_not_be_listed(sweeping, events):
    """A policy may allow to list only `AWSLogs/*`."""
    key = sweeping.put(f"{TODAY}/x.json.gz")
    sweeping.listing.errors[""] = LogAccessDenied("AccessDenied")
    assert await sweeping.once() == [key]
    assert named(events, "sweep_failed")


async def test_known_prefixes_of_logs_are_swept_while_the_search_for_prefixes_fails(sweeping):
    key = sweeping.put(f"trail/{TODAY}/x.json.gz")
    sweeping.put("data/x")
    assert await sweeping.once() == [key]
    sweeping.listing.errors[""] = sweeping.listing.has_errors["AWSLogs/"] = LogStoreUnavailable("503")
    await asyncio.sleep(ROOTS_AGE + 1)
    assert await sweeping.once() == [key]
    assert "data/" not in sweeping.listing.levels


async def test_a_bucket_whose_prefixes_are_unknown_is_not_swept_completely(sweeping):
    sweeping.put("data/2026-01-01-00-05-00-0123456789ABCDEF")
    sweeping.listing.has_errors["AWSLogs/"] = LogStoreUnavailable("503")
    assert await sweeping.once() == []
    sweeping.listing.has_errors.clear()
    assert len(await sweeping.once()) == 1


@pytest.mark.parametrize("error", [LogStoreUnavailable("503"), ZeroDivisionError("a defect")])
async def test_a_failing_source_does_not_stop_the_others(sweeping, events, error):
    broken = MemoryListing(sweeping.flow, sweeping.store)
    broken.errors[""] = error
    sweeping.sweeper = sweeping.make_sweeper(Sweep(LogSource("b" * 3), broken, 60.0), sweeping.sweep)
    sweeping.put(f"{TODAY}/x.json.gz")
    async with sweeping.running():
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)
        await sweeping.flow.until(lambda: len(broken.levels) >= 3)
    assert named(events, "sweep_failed") or named(events, "sweep_crashed")


async def test_if_the_buckets_cannot_be_listed_the_sweep_fails(flow, events):
    sweeping = Sweeping(flow, LogSource(EVERY_BUCKET))
    sweeping.listing.buckets_error = LogAccessDenied("s3://*/: AccessDenied")
    assert await sweeping.once() == []
    assert named(events, "sweep_failed")[0]["bucket"] == EVERY_BUCKET


async def test_with_an_unreadable_ledger_all_files_are_offered(sweeping, events):
    key = sweeping.put(f"{TODAY}/x.json.gz")
    await sweeping.world.ledger.finish(LogFile(BUCKET, key), "")
    assert await sweeping.once() == []

    async def unreadable(files):
        raise LedgerError("disk I/O error")

    sweeping.world.ledger.unfinished = unreadable
    assert await sweeping.once() == [key]
    assert named(events, "ledger_unreadable")


async def test_a_sweep_that_takes_longer_than_its_interval_does_not_overlap_with_itself(flow):
    sweeping = Sweeping(flow, LogSource(BUCKET, "a/"), interval=10.0)
    sweeping.listing.delay = 25.0
    async with sweeping.running():
        await asyncio.sleep(300.0)
        assert sweeping.listing.most_at_once == 1
        assert 10 <= len(sweeping.listing.levels) <= 12


async def test_no_sweep_begins_while_a_gate_is_closed(sweeping):
    gate = ManualGate("the server is down")
    sweeping.sweeper = sweeping.make_sweeper(sweeping.sweep, gates=[gate])
    sweeping.put(f"{TODAY}/x.json.gz")
    async with sweeping.running():
        await asyncio.sleep(3 * INTERVAL)
        assert sweeping.listing.levels == []
        gate.open()
        await sweeping.flow.until(lambda: sweeping.world.counters.files == 1)


async def test_several_folders_are_listed_at_a_time_up_to_a_limit(sweeping):
    for number in range(50):
        sweeping.put(f"{TODAY.replace('eu-west-1', f'region-{number}')}/x.json.gz")
    sweeping.listing.delay = 1.0
    assert len(await sweeping.once()) == 50
    assert 2 <= sweeping.listing.most_at_once <= 10


class ManyFolders(MemoryListing):
    """A bucket with so many folders at one level, each with one empty file. `most_ahead`: folders listed, but not visited."""

    folders = 5 * PORTION + 1
    shown = visited = most_ahead = 0

    async def level(self, bucket, prefix):
        if prefix != "trails/":
            self.visited += 1
            yield Found(LogFile(bucket, f"{prefix}a.json.gz", size=0), None)
            return
        for number in range(self.folders):
            self.shown += 1
            self.most_ahead = max(self.most_ahead, self.shown - self.visited)
            yield f"trails/trail-{number}/"


async def test_a_level_with_many_folders_is_listed_in_portions(flow):
    """A million names of a kilobyte at one level took a gigabyte."""
    sweeping = Sweeping(flow, LogSource(BUCKET, "trails/"))
    listing = ManyFolders(flow, sweeping.store)
    await sweeping.sweeper.sweep(Sweep(sweeping.source, listing, INTERVAL))
    assert listing.most_ahead <= PORTION + LISTINGS
    assert sweeping.sweeper.counts["folders"] == listing.folders + 1
    assert sweeping.sweeper.counts["seen"] == listing.visited == listing.folders


async def test_a_level_that_fails_after_a_portion_is_reported_and_its_other_folders_are_swept(flow, events):
    class Failing(ManyFolders):
        async def level(self, bucket, prefix):
            async for each in super().level(bucket, prefix):
                if self.shown > 2 * PORTION:
                    raise LogStoreUnavailable("503")
                yield each

    sweeping = Sweeping(flow, LogSource(BUCKET, "trails/"))
    listing = Failing(flow, sweeping.store)
    await sweeping.sweeper.sweep(Sweep(sweeping.source, listing, INTERVAL))
    assert listing.visited == 2 * PORTION
    assert len(named(events, "sweep_failed")) == 1


async def test_the_offered_files_of_folders_that_are_listed_at_the_same_time_are_all_counted(flow):
    class SlowQueue(SweepQueue):
        async def offer(self, files):
            await asyncio.sleep(1.0)
            return await super().offer(files)

    sweeping = Sweeping(flow)
    sweeping.queue = SlowQueue(wall_clock=sweeping.wall_clock)
    sweeping.sweeper = sweeping.make_sweeper(sweeping.sweep)
    for number in range(10):
        sweeping.put(TODAY.replace("eu-west-1", f"eu-west-{number}") + "/a.json.gz")
    await sweeping.once()
    assert sweeping.sweeper.counts["offered"] == sweeping.sweeper.counts["seen"] == 10


async def test_the_offered_files_of_a_sweep_that_is_stopped_are_counted(flow):
    sweeping = Sweeping(flow)
    keys = [sweeping.put(f"{TODAY}/a.json.gz"), sweeping.put(f"{YESTERDAY}/b.json.gz")]
    sweeping.listing.delay = 10.0
    slow = sweeping.listing.level

    async def level(bucket, prefix):
        if prefix.startswith(YESTERDAY):
            await asyncio.sleep(1000.0)
        async for each in slow(bucket, prefix):
            yield each

    sweeping.listing.level = level
    async with sweeping.running():
        await flow.until(lambda: sweeping.store.opens == {keys[0]: 1})
    assert sweeping.sweeper.counts["offered"] == 1
    assert sweeping.sweeper.counts["sweeps"] == 0


async def test_a_sweep_is_logged_at_info_level_only_if_it_offered_files(sweeping, events):
    sweeping.put(f"{TODAY}/x.json.gz")
    await sweeping.once()
    await sweeping.world.ledger.finish(LogFile(BUCKET, f"{TODAY}/x.json.gz"), "")
    await sweeping.once()
    logged = named(events, "swept")
    assert [(event["log_level"], event["seen"], event["offered"]) for event in logged] == [("info", 1, 1), ("debug", 1, 0)]  # fmt: skip
    counts = sweeping.sweeper.counts
    assert (counts["sweeps"], counts["seen"], counts["offered"], counts["failures"]) == (2, 2, 1, 0)
    assert counts["folders"] == sum(event["folders"] for event in logged)


async def test_after_a_stop_in_the_middle_of_a_sweep_the_next_start_finds_the_remaining_files(flow):
    sweeping = Sweeping(flow, queue=SweepQueue(max_entries=5), reading=2)
    keys = [sweeping.put(f"{TODAY}/{number:03}.json.gz") for number in range(40)]
    sweeping.store.delay = 1.0
    async with sweeping.running():
        await flow.until(lambda: sweeping.world.counters.files >= 10)
    assert sweeping.world.counters.files < 40
    again = Sweeping(flow, ledger=sweeping.world.ledger)
    again.store.objects, again.store.opens = sweeping.store.objects, sweeping.store.opens
    async with again.running():
        await flow.until(lambda: sweeping.world.counters.files + again.world.counters.files == 40)
    assert again.store.opens == dict.fromkeys(keys, 1)


# The queue


def files_of(*names):
    return [LogFile(BUCKET, name, etag="e") for name in names]


async def test_offer_waits_while_the_queue_is_full(flow):
    queue = SweepQueue(max_entries=3)
    offering = asyncio.create_task(queue.offer(files_of(*"abcde")))
    await flow.settled()
    assert len(queue) == 3
    taken = []
    while len(taken) < 5:
        messages = await queue.receive(10, wait=1.0, visibility=VISIBILITY)
        taken += [message.id for message in messages]
        assert len(queue) <= 3
        await queue.delete([message.receipt for message in messages])
        await flow.settled()
    assert await offering == 5
    assert taken == [f"s3://{BUCKET}/{name}" for name in "abcde"]


async def test_offer_waits_while_the_names_in_the_queue_are_too_large(flow):
    queue = SweepQueue(max_size=100_000)
    names = [f"{number}{'😀' * 1000}" for number in range(10)]
    offering = asyncio.create_task(queue.offer(files_of(*names)))
    taken = 0
    while taken < 10:
        messages = await queue.receive(10, wait=1.0, visibility=VISIBILITY)
        assert 0 < len(messages) < 10
        taken += len(messages)
        await queue.delete([message.receipt for message in messages])
        await flow.settled()
    assert await offering == 10


async def test_the_number_of_remembered_rejected_files_is_limited(flow, monkeypatch):
    monkeypatch.setattr("jibe_sqs.sweeping.sweep_queue.MAX_REJECTED", 3)
    queue = SweepQueue()
    assert await queue.offer(files_of(*"abcde")) == 5
    messages = await queue.receive(10, wait=1.0, visibility=VISIBILITY)
    for message in messages:
        await queue.reject(message, Reject("LogMalformed", "no"))
    await queue.delete([message.receipt for message in messages])
    assert await queue.offer(files_of(*"cde")) == 0
    assert await queue.offer(files_of(*"ab")) == 2


async def test_a_receive_waits_for_a_file_and_no_longer_than_its_wait_time(flow):
    queue = SweepQueue()
    assert await queue.receive(10, wait=7.0, visibility=VISIBILITY) == []
    assert flow.time() == pytest.approx(7.0)
    waiting = asyncio.create_task(queue.receive(10, wait=20.0, visibility=VISIBILITY))
    await asyncio.sleep(3.0)
    await queue.offer(files_of("a"))
    assert len(await waiting) == 1
    assert flow.time() == pytest.approx(10.0)


async def test_a_message_is_visible_again_after_its_delay_and_counts_its_receives(flow):
    queue = SweepQueue()
    await queue.offer(files_of("a"))
    (first,) = await queue.receive(1, wait=0.0, visibility=VISIBILITY)
    waiting = asyncio.create_task(queue.receive(1, wait=50.0, visibility=VISIBILITY))
    await flow.settled()
    assert not await queue.show_after([(first.receipt, 30.0)])
    (again,) = await waiting
    assert flow.time() == pytest.approx(30.0)
    assert (first.receive_count, again.receive_count, again.id) == (1, 2, first.id)
    for call in (queue.delete([first.receipt]), queue.show_after([(first.receipt, 0.0)])):
        assert isinstance((await call)[first.receipt], ReceiptLost)
    assert not await queue.delete([again.receipt])
    assert await queue.receive(1, wait=VISIBILITY + 1, visibility=VISIBILITY) == []


async def test_a_message_that_is_never_settled_becomes_visible_again(flow):
    queue = SweepQueue()
    await queue.offer(files_of("a"))
    (first,) = await queue.receive(1, wait=0.0, visibility=VISIBILITY)
    assert await queue.receive(1, wait=VISIBILITY - 1, visibility=VISIBILITY) == []
    (again,) = await queue.receive(1, wait=2.0, visibility=10.0)
    assert again.id == first.id
    assert await queue.receive(1, wait=9.0, visibility=10.0) == []
    assert len(await queue.receive(1, wait=2.0, visibility=10.0)) == 1


async def test_a_file_that_is_finished_during_the_question_to_the_ledger_is_not_offered_again(sweeping):
    """Found by a demo on a busy machine: the ledger answered before the file was finished, and the answer arrived after it."""
    sweeping.put(f"{TODAY}/a.json.gz")
    ledger = sweeping.world.ledger
    answered = asyncio.Event()
    unfinished = ledger.unfinished

    async def late(files):
        answer = await unfinished(files)
        await answered.wait()
        return answer

    await sweeping.sweeper.sweep(sweeping.sweep)
    ledger.unfinished = late
    again = asyncio.create_task(sweeping.sweeper.sweep(sweeping.sweep))
    await sweeping.flow.settled()
    (key,) = await sweeping.taken()
    await ledger.finish(LogFile(BUCKET, key), "etag")
    answered.set()
    await again
    assert len(sweeping.queue) == 0


async def test_a_file_that_waits_or_is_being_handled_is_not_added_again(flow):
    queue = SweepQueue()
    assert await queue.offer(files_of("a", "a", "b")) == 2
    (message,) = await queue.receive(1, wait=0.0, visibility=VISIBILITY)
    assert await queue.offer(files_of("a", "b")) == 0
    await queue.show_after([(message.receipt, 600.0)])
    assert await queue.offer(files_of("a", "b")) == 0
    await queue.delete([message.receipt])
    assert await queue.offer(files_of("a", "b")) == 1


async def test_a_deleted_message_leaves_no_state(flow):
    queue = SweepQueue()
    for number in range(1000):
        await queue.offer(files_of(str(number)))
        (message,) = await queue.receive(1, wait=0.0, visibility=VISIBILITY)
        await queue.delete([message.receipt])
    assert (len(queue), len(queue._waiting), len(queue._rejected)) == (0, 0, 0)
    assert len(queue._hidden) <= 101


async def test_the_facts_of_the_queue_have_a_maximum_of_receives(flow):
    facts = await SweepQueue().facts()
    assert (facts.visibility_timeout, facts.max_receives) == (VISIBILITY, MAX_RECEIVES)


async def test_an_old_rejection_is_removed(flow):
    queue = SweepQueue()
    for name in "ab":
        await queue.offer(files_of(name))
        (message,) = await queue.receive(1, wait=0.0, visibility=VISIBILITY)
        assert await queue.reject(message, Reject("LogCorrupt", "words"))
        await queue.delete([message.receipt])
        assert await queue.offer(files_of(name)) == 0
        await asyncio.sleep(REJECTED_FOR - 1)
    assert await queue.offer(files_of("a", "b")) == 1
    await asyncio.sleep(1)
    assert await queue.offer(files_of("a", "b")) == 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_queue_delivers_every_file_until_it_is_deleted(flow, data):
    async def main():
        queue = SweepQueue(max_entries=8)
        done, in_hand, receives = set(), {}, {}
        names = [str(number) for number in range(8)]
        for step in data.draw(st.lists(st.sampled_from(["offer", "receive", "delete", "delay", "pass"]), max_size=60)):
            if step == "offer":
                await queue.offer(files_of(data.draw(st.sampled_from(names))))
            elif step == "receive":
                for message in await queue.receive(3, wait=0.0, visibility=VISIBILITY):
                    assert message.id not in in_hand
                    in_hand[message.id] = message
                    receives[message.id] = receives.get(message.id, 0) + 1
                    assert message.receive_count == receives[message.id]
            elif step == "pass":
                await asyncio.sleep(data.draw(st.sampled_from([1.0, 10.0, 100.0])))
            elif in_hand:
                message = in_hand.pop(data.draw(st.sampled_from(sorted(in_hand))))
                if step == "delete":
                    assert not await queue.delete([message.receipt])
                    receives.pop(message.id)
                    done.add(message.id)
                else:
                    assert not await queue.show_after([(message.receipt, data.draw(st.sampled_from([0.0, 5.0, 50.0])))])
        left = len(queue)
        shown = {message.id for _ in range(20) for message in await queue.receive(10, wait=10.0, visibility=VISIBILITY)}
        assert len(shown | set(in_hand)) == left
        assert not shown & set(in_hand)

    flow.virtually(main())


# The message


@pytest.mark.parametrize("file", [LogFile("b", "k"), LogFile("b", "a+b %2F/ä\n\x7f", "v", "e", 5)])
def test_a_swept_file_has_the_same_attributes_in_its_announcement(file):
    assert swept_announcements(swept(file)) == [file]


def test_a_swept_file_that_is_not_a_log_file_needs_no_work():
    (each,) = swept_announcements(swept(LogFile("b", f"{ACCOUNT}/CloudTrail-Digest/x")))
    assert isinstance(each, Nothing)


@pytest.mark.parametrize("value", ["null", "[]", '"x"', "{}", '{"bucket":"b"}', '{"bucket":"","key":"k"}', '{"bucket":"b","key":1}'])  # fmt: skip
def test_an_invalid_swept_body_is_malformed(value):
    with pytest.raises(AnnouncementMalformed):
        swept_announcements(f'{{"swept":{value}}}'.encode())


def test_a_swept_body_from_an_sqs_queue_has_an_unknown_shape():
    with pytest.raises(AnnouncementUnknown, match="its fields are 'swept'"):
        announcements(swept(LogFile("b", "k")))


# Random files, deliveries and failures


class OnceEach(dict):
    """Transient errors: each is raised once."""

    def get(self, key):
        return self.pop(key, None)


_days = st.builds(
    "{}AWSLogs/{}/{}/{}/{}".format,
    st.sampled_from(["", "trail/", "other trail/"]),
    st.sampled_from(["111122223333", "444455556666", "o-exampleorgid/111122223333"]),
    st.sampled_from(["CloudTrail", "CloudTrail", "CloudTrail-Digest"]),
    st.sampled_from(["eu-west-1", "us-east-1"]),
    st.sampled_from(["2026/01/01", "2025/12/31", "2025/12/30", "2024/01/01"]),
)
_deliveries = st.lists(
    st.tuples(_days, st.integers(0, 30), st.sampled_from(["lost", "announced", "announced twice"]), st.floats(0, 500)),
    max_size=25,
    unique_by=lambda each: each[:2],
)


@settings(max_examples=40, deadline=None)
@given(deliveries=_deliveries, delay=st.sampled_from([0.0, 0.5, 40.0]), failing=st.sets(st.integers(0, 24), max_size=5))
def test_every_file_is_read_once_whether_it_is_swept_or_announced_or_both(flow, deliveries, delay, failing):
    """Also late files with older names, and files whose first reads fail.

    Old files are read only if they are announced. A new trail is found at the next search for prefixes.
    """

    async def main():
        sweeping = Sweeping(flow)
        sweeping.store.delay, sweeping.store.errors = delay, OnceEach()
        keys, failed = [], Counter()
        async with sweeping.running():
            for day, number, how, pause in deliveries:
                key = sweeping.put(f"{day}/111122223333_CloudTrail_eu-west-1_{number:04}.json.gz")
                is_recent = day.endswith(("2026/01/01", "2025/12/31"))
                if "Digest" not in day and (is_recent or how != "lost"):
                    if len(keys) in failing:
                        sweeping.store.errors[key] = LogStoreUnavailable("503")
                        failed[key] = 1
                    keys.append(key)
                for _ in range(["lost", "announced", "announced twice"].index(how)):
                    sweeping.world.queue.send(flow.announcing(key))
                await asyncio.sleep(pause)
            await flow.until(lambda: sweeping.world.counters.files == len(keys))
            await flow.until(lambda: not len(sweeping.queue) and not sweeping.world.queue.messages)
            await asyncio.sleep(3 * INTERVAL)
        assert sweeping.store.opens - failed == Counter(keys)
        assert sweeping.world.counters.files == len(keys)

    flow.virtually(main())


def test_the_constants_of_these_tests_match_their_dates(flow):
    now = datetime.fromtimestamp(flow.EPOCH, UTC)
    for day, back in ((TODAY, 0), (YESTERDAY, 1), (BEFORE, 2)):
        assert day.endswith((now - timedelta(back)).strftime("/%Y/%m/%d"))
