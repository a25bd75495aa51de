"""The continuous comparison: every folder once in its time, resumable, polite, and what it reports."""

import asyncio
from contextlib import suppress

import pytest
import structlog
from tests.clocks import SleptClock
from tests.compared_sides import BUCKET, NOON, SCOPE, TOP, Shown, Storage

from jibe_sqs.commands.comparison import Scope
from jibe_sqs.commands.comparison_levels import Level, Levels
from jibe_sqs.commands.continuous_comparison import NOTE, ContinuousComparison, is_done
from jibe_sqs.core.comparison import View
from jibe_sqs.core.errors import AccessAnywhereUnavailable, LogAccessDenied
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.truth import Truth
from jibe_sqs.testing import InMemoryLedger, ManualGate

KEYS = [f"{a}/{b}/{n}" for a in "abcd" for b in "XyZ" for n in range(2)]
FOLDERS = 1 + 4 + 12
WEEK = 7 * 86_400.0


class Service:
    """A service that compares. `restarted` is the same service after a kill, with the same ledger and time."""

    def __init__(self, storage, shown, *, ledger=None, clock=None, repair=True, gates=(), scopes=(SCOPE,), every=WEEK):
        self.storage, self.shown = storage, shown
        self.ledger = ledger or InMemoryLedger()
        self.clock = clock or SleptClock(NOON + 3600)
        self.truth = Truth()
        self._comparison = ContinuousComparison(
            levels=Levels(storage, shown, view=lambda: View(before=self.clock.now() - 900)),
            scopes=lambda: scopes,
            every=every,
            ledger=OptionalLedger(self.ledger),
            clock=self.clock,
            truth=self.truth,
            gates=gates,
            repair=shown.refresh_from(storage) if repair else None,
            wall_clock=self.clock.now,
        )

    def restarted(self):
        return Service(self.storage, self.shown, ledger=self.ledger, clock=self.clock)

    async def run_until(self, condition):
        task = asyncio.create_task(self._comparison.run())
        try:
            for _ in range(100_000):
                await asyncio.sleep(0)
                if task.done():
                    task.result()
                if condition():
                    return
            pytest.fail(f"not reached: {self.truth.counts}")
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def run_rounds(self, count):
        seen = []

        def is_enough():
            if self.truth.last is not None and self.truth.last not in seen:
                seen.append(self.truth.last)
            return len(seen) == count

        await self.run_until(is_enough)
        return seen


@pytest.fixture(autouse=True)
def events():
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def noted_at_once(monkeypatch):
    """The position is noted after each folder."""
    monkeypatch.setattr("jibe_sqs.commands.continuous_comparison.SAVE_INTERVAL", 0.0)


async def test_each_round_reads_each_folder_once():
    service = Service(Storage(KEYS), Shown(KEYS))
    first, second = await service.run_rounds(2)
    assert (first.folders, first.objects, first.wrong) == (FOLDERS, len(KEYS), 0)
    assert set(service.storage.calls.values()) == set(service.shown.calls.values()) == {2}
    assert second.began - first.began == pytest.approx(WEEK, rel=0.01)
    assert second.ended < second.began + WEEK
    assert service.truth.true_ratio == 1
    assert service.truth.oldest_check == second.began
    assert service.truth.warnings == []


async def test_a_round_that_knows_the_number_of_folders_is_spread_over_its_time():
    """The first round is as fast as politeness allows, because nobody knows how long it takes."""
    many = [f"{n:04}/object" for n in range(299)]
    service = Service(Storage(many), Shown(many), every=600)
    pauses = service.clock.slept
    await service.run_rounds(1)
    assert pauses[:300] == [0.0] * 300
    pauses.clear()
    await service.run_until(lambda: len(pauses) > 100)
    assert sorted(pauses)[50] == pytest.approx(600 * 0.9 / 300, rel=0.05)


async def test_it_goes_on_where_it_was_after_a_restart(noted_at_once):
    """Only the folders above the position are listed again, and the one that was being compared."""
    service = Service(Storage(KEYS), Shown(KEYS))
    for folders in (5, 8, 13):
        await service.run_until(lambda: service.truth.current and service.truth.current.folders == folders)  # noqa: B023
        service = service.restarted()
    (last,) = await service.run_rounds(1)
    assert (last.folders, last.objects) == (FOLDERS, len(KEYS))
    leaves = [count for prefix, count in service.storage.calls.items() if prefix.count("/") == 2]
    assert len(leaves) == 12
    assert sum(leaves) <= 12 + 3


async def test_wherever_it_is_killed_each_folder_is_counted_at_least_once(noted_at_once):
    """A difference in each folder is found, however often the service is killed between two folders."""
    for killed_after in range(1, FOLDERS):
        storage, shown = Storage([*KEYS, *(f"{key.rpartition('/')[0]}/new" for key in KEYS)]), Shown(KEYS)
        service = Service(storage, shown)

        def is_there(service=service, killed_after=killed_after):
            return service.truth.current and service.truth.current.folders >= killed_after

        await service.run_until(is_there)
        service = service.restarted()
        await service.run_rounds(1)
        assert shown.sizes == storage.sizes


async def test_what_differs_is_repaired_and_lowers_the_ratio_of_this_round():
    storage, shown = Storage([*KEYS, "a/X/new"]), Shown(KEYS)
    service = Service(storage, shown)
    first, second = await service.run_rounds(2)
    assert (first.wrong, first.unrepaired, second.wrong) == (1, 0, 0)
    assert first.ratio == 1 - 1 / 25
    assert service.truth.true_ratio == 1
    assert service.truth.warnings == []
    assert shown.sizes == storage.sizes


async def test_what_cannot_be_repaired_is_a_warning(events):
    storage, shown = Storage([*KEYS, "a/X/new"]), Shown(KEYS)
    service = Service(storage, shown, repair=False)
    await service.run_rounds(1)
    assert service.truth.last.unrepaired == 1
    assert service.truth.warnings == [
        "1 object differs between S3 and Access Anywhere: compare.repair is off: run jibe-sqs compare"
    ]
    (differed,) = [event for event in events if event["event"] == "folder_differed"]
    assert (differed["folder"], differed["missing"], differed["examples"]) == (
        "/S3/media/a/X",
        1,
        ["missing: a/X/new"],
    )


async def test_a_bucket_that_may_not_be_listed_does_not_stop_the_others():
    class Refusing(Storage):
        async def level(self, bucket, prefix):
            if bucket == "a-secret":
                raise LogAccessDenied("s3://a-secret/: AccessDenied: allow s3:ListBucket on the bucket")
            async for each in super().level(bucket, prefix):
                yield each

    service = Service(Refusing(KEYS), Shown(KEYS), scopes=[Scope("a-secret", "", "/S3/a-secret"), SCOPE])
    (last,) = await service.run_rounds(1)
    assert last.folders == FOLDERS
    assert service.truth.warnings == [
        "a-secret is not compared with S3: s3://a-secret/: AccessDenied: allow s3:ListBucket on the bucket"
    ]


async def test_an_outage_interrupts_the_round_and_it_goes_on_after_it():
    shown = Shown(KEYS)
    shown.errors["/S3/media/b/y"] = AccessAnywhereUnavailable("no answer")
    service = Service(Storage(KEYS), shown)
    await service.run_until(lambda: any(pause > 20 for pause in service.clock.slept))
    shown.errors.clear()
    (last,) = await service.run_rounds(1)
    assert (last.folders, last.objects) == (FOLDERS, len(KEYS))
    assert shown.calls["/S3/media/a/X"] == 1


async def test_nothing_is_read_while_a_gate_is_closed():
    gate = ManualGate("Access Anywhere is down")
    service = Service(Storage(KEYS), Shown(KEYS), gates=[gate])
    with pytest.raises(pytest.fail.Exception):
        await service.run_until(lambda: service.storage.calls)
    gate.open()
    await service.run_rounds(1)


async def test_a_position_of_another_version_begins_again(events):
    service = Service(Storage(KEYS), Shown(KEYS))
    await service.ledger.note(NOTE, '{"of": "another version"}')
    (last,) = await service.run_rounds(1)
    assert last.folders == FOLDERS
    assert "comparison_forgotten" in [event["event"] for event in events]


async def test_the_next_round_does_not_begin_early_after_a_restart():
    service = Service(Storage(KEYS), Shown(KEYS))
    (first,) = await service.run_rounds(1)
    service = service.restarted()
    assert service.truth.true_ratio is None
    await service.run_until(lambda: service.truth.current)
    assert service.truth.oldest_check == first.began
    assert service.truth.current.began >= first.began + WEEK


@pytest.mark.parametrize(
    ("prefix", "above", "after", "done"),
    [
        ("b/", "", "b/", True),
        ("a/", "", "b/c/", True),
        ("A/", "", "b/c/", True),
        ("b/", "", "b/c/", False),
        ("B/", "", "b/c/", False),
        ("c/", "", "b/c/", False),
        ("b/b/", "b/", "b/c/", True),
        ("b/d/", "b/", "b/c/", False),
        ("c/a/", "c/", "b/c/", False),
    ],
)
def test_what_comes_before_the_position_is_done(prefix, above, after, done):
    assert is_done(Level(BUCKET, prefix, TOP), above, after) is done
