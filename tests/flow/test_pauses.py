"""While an operator has paused a provider, or everything, messages wait and use up no receives."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from jibe_sqs.adapters.control_messages import ResumeRequest
from jibe_sqs.compose.pauses import OperatorPauses
from jibe_sqs.core.errors import AccessAnywhereUnavailable, RefreshPaused
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.core.pauses import Pause
from jibe_sqs.core.quiet_hours import QuietHours
from jibe_sqs.syncing.pauses import NOTE, Pauses
from jibe_sqs.telemetry.optional_ledger import OptionalLedger

_NO_OUTPUTS: Any = None
HOUR, DAY = 3600.0, 86_400.0
SEEN = 10.0
"""Seconds between two reads of the ledger."""


class Paused:
    """A world with pauses in its ledger, and the time of a wall clock."""

    def __init__(self, flow: Any, *, ledger: Any = None, hours: Any = None, **options: Any) -> None:
        self.flow = flow
        self.ledger = ledger or flow.InMemoryLedger()
        self.pauses = Pauses(flow.VirtualClock(), every=SEEN, quiet_hours=hours, wall_clock=self.now)
        self.world = flow.World(
            queue=flow.InMemoryQueue(max_receives=10, visibility_timeout=600.0),
            ledger=self.ledger,
            pauses=self.pauses,
            gates=[self.pauses],
            **options,
        )
        self.queue, self.target = self.world.queue, self.world.target

    def now(self) -> float:
        return self.flow.EPOCH + self.flow.time()

    async def pause(self, provider: str = "", seconds: float = HOUR) -> None:
        await self.pauses.pause(Pause(provider, self.now(), self.now() + seconds, "update"))

    def running(self) -> Any:
        return _Running(self)

    def send(self, *keys: str, name: str = "PutObject") -> str:
        """Announce a log file that names these keys in the bucket `data`, or `BUCKET:KEY`."""
        bucket = keys[0].partition(":")[0] if ":" in keys[0] else "data"
        plain = [key.rpartition(":")[2] for key in keys]
        name_of_file = f"{len(self.queue.messages)}-{len(self.queue.deleted)}-{self.flow.time():.3f}"
        return self.world.send_log(name_of_file, self.flow.log_of(*plain, bucket=bucket, name=name))

    @property
    def done(self) -> list[str]:
        return [each for each, _ in self.queue.deleted]

    @property
    def receives(self) -> list[int]:
        return [each.receive_count for each in self.queue.messages.values()]


class _Running:
    """The world and its pauses run during the block."""

    def __init__(self, paused: Paused) -> None:
        self._paused = paused
        self._world = paused.world.running()

    async def __aenter__(self) -> None:
        paused = self._paused
        await paused.pauses.read(OptionalLedger(paused.ledger))
        self._following = asyncio.create_task(paused.pauses.run())
        await self._world.__aenter__()

    async def __aexit__(self, *about: Any) -> None:
        await self._world.__aexit__(*about)
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)


@pytest.fixture
def paused(flow: Any) -> Paused:
    return Paused(flow)


async def test_a_pause_of_everything_costs_no_receive_and_ends_by_itself(flow, paused, events):
    """The message that was in hand at its begin waits for longer than SQS hides a message."""
    paused.target.held_before_start = {"/data/a"}
    first = paused.send("a/file", "b/file")
    async with paused.running():
        await flow.until(lambda: paused.target.runs_of("/data/a"))
        await paused.pause(seconds=20 * HOUR)
        paused.target.always["/data/a"] = AccessAnywhereUnavailable("502: maintenance")
        paused.target.release()
        others = [paused.send(f"{number}/file") for number in range(50)]
        await asyncio.sleep(20 * HOUR - 10)
        assert not paused.queue.deleted
        assert {run.folder.path for run in paused.target.runs} == {"/data/a", "/data/b"}
        # The long poll that was in flight at the begin has brought one message more.
        assert sorted(paused.receives) == [0] * 49 + [1] * 2
        assert paused.pauses.reason == "paused by an operator until 20:00 (UTC): update"
        assert paused.world.health.report.readiness_failures != []
        paused.target.always.clear()
        await asyncio.sleep(30)
        await flow.until(lambda: sorted(paused.done) == sorted([first, *others]))
    assert not paused.queue.dead_letters
    assert [each["event"] for each in events if each["event"] in ("paused", "resumed")] == ["paused", "resumed"]


async def test_a_pause_of_one_provider_lets_the_others_go_on_and_costs_no_receive(flow, paused):
    waiting = [paused.send(f"{number}/file") for number in range(30)]
    async with paused.running():
        await paused.pause("data", 8 * HOUR)
        others = []
        for _ in range(8):
            others.append(paused.send("other:x/file"))
            await flow.until(lambda: paused.done[-1:] == others[-1:])
            await asyncio.sleep(HOUR - 60)
        assert sorted(paused.done) == sorted(others)
        assert {run.folder.path for run in paused.target.runs} == {"/other/x"}
        assert paused.receives == [1] * 30
        (status,) = paused.pauses.status
        assert (status.provider, status.reason, status.waiting) == ("data", "update", 30)
        assert paused.pauses.sentences == ["data: paused by an operator until 08:00 (UTC): update"]
        assert not paused.pauses.reason
        await flow.until(lambda: sorted(paused.done) == sorted([*others, *waiting]))
    assert set(paused.target.running.values()) == {0}


async def test_at_most_half_of_the_room_waits_for_one_provider(flow):
    """The others go back to the queue, and cost a receive about as often as the pause doubles its length."""
    paused = Paused(flow, held=20)
    waiting = [paused.send(f"{number}/file") for number in range(60)]
    async with paused.running():
        await paused.pause("data", DAY)
        for _ in range(6):
            id_ = paused.send("other:x/file")
            await flow.until(lambda id_=id_: id_ in paused.done)
            await asyncio.sleep(4 * HOUR - 600)
        assert not set(waiting) & set(paused.done)
        assert max(paused.receives) <= 6
        await paused.pauses.resume("data")
        await asyncio.sleep(12 * HOUR)
        assert set(waiting) <= set(paused.done)
    assert not paused.queue.dead_letters


async def test_a_pause_while_messages_fill_the_room_makes_room_for_other_providers(flow):
    paused = Paused(flow, held=20)
    paused.target.held_before_start = {f"/data/{number}" for number in range(20)}
    waiting = [paused.send(f"{number}/file") for number in range(20)]
    async with paused.running():
        await flow.until(lambda: len(paused.target.runs) == 20)
        await paused.pause("data", 2 * HOUR)
        id_ = paused.send("other:x/file")
        await flow.until(lambda: id_ in paused.done)
        paused.target.release()
        await asyncio.sleep(2.5 * HOUR)
        assert set(waiting) <= set(paused.done)
    assert not paused.queue.dead_letters


async def test_resume_ends_it_at_once(flow, paused):
    paused.send("a/file")
    async with paused.running():
        await paused.pause(seconds=DAY)
        await asyncio.sleep(HOUR)
        assert not paused.queue.deleted
        resumed = flow.time()
        assert [each.provider for each in await paused.pauses.resume(None)] == [""]
        await flow.until(lambda: paused.queue.deleted)
        assert flow.time() - resumed < 25  # a long poll
    assert await paused.pauses.resume(None) == []


async def test_a_restart_during_a_pause_receives_nothing(flow, paused):
    await paused.pauses.read(OptionalLedger(paused.ledger))
    await paused.pause(seconds=2 * HOUR)
    again = Paused(flow, ledger=paused.ledger)
    id_ = again.send("a/file")
    async with again.running():
        await asyncio.sleep(HOUR)
        assert again.receives == [0]
        await flow.until(lambda: again.done == [id_])
    assert flow.time() >= 2 * HOUR


async def test_other_processes_learn_of_it_from_the_ledger(flow, paused):
    other = Paused(flow, ledger=paused.ledger)
    async with paused.running(), other.running():
        await paused.pause("Data")
        await asyncio.sleep(SEEN * 1.5)
        assert other.pauses.held(Folder("/data/a")) is not None
        assert other.pauses.held(Folder("/other/a")) is None
        await other.pauses.resume("dATA")
        await asyncio.sleep(SEEN * 1.5)
        assert paused.pauses.held(Folder("/data/a")) is None


async def test_a_pause_counts_also_while_the_ledger_fails_and_is_written_later(flow, paused):
    async with paused.running():
        paused.ledger.unwritable = True
        await paused.pause()
        await asyncio.sleep(10 * SEEN)
        assert paused.pauses.reason
        paused.ledger.unwritable = False
        await asyncio.sleep(2 * SEEN)
        assert "update" in (await paused.ledger.notes([NOTE]))[NOTE]
        paused.ledger.unreadable = True
        await asyncio.sleep(2 * SEEN)
        assert paused.pauses.reason


async def test_an_operator_learns_that_a_resume_could_not_be_written(paused):
    """Else the other replicas would stay paused, and this one would be again after a restart."""
    operator = OperatorPauses(SimpleNamespace(pauses=paused.pauses, consumers=[]), _NO_OUTPUTS, is_kept=True)
    async with paused.running():
        await paused.pause()
        paused.ledger.unwritable = True
        answer = await operator.resume(ResumeRequest())
        assert [each.reason for each in answer.ended] == ["update"]
        assert "the ledger cannot be written now" in answer.warnings[0]
        paused.ledger.unwritable = False
        await asyncio.sleep(2 * SEEN)
        assert (await operator.resume(ResumeRequest())).warnings == []
        assert (await paused.ledger.notes([NOTE]))[NOTE] == "[]"


async def test_a_note_of_another_release_changes_nothing(flow, paused, events):
    async with paused.running():
        await paused.pause()
        await paused.ledger.note(NOTE, '{"pauses": 2}')
        await asyncio.sleep(2 * SEEN)
        assert paused.pauses.reason
    assert "pauses_unreadable" in [each["event"] for each in events]


async def test_an_operators_refresh_says_that_it_is_paused(paused):
    refreshes = paused.world.refreshes
    async with paused.running():
        await paused.pause("data")
        (error,) = await refreshes.done([Folder("/data/a")], reason=RefreshReason.OPERATOR)
        assert isinstance(error, RefreshPaused)
        assert str(error) == "data: paused by an operator until 01:00 (UTC): update"
        assert await refreshes.done([Folder("/other/a")], reason=RefreshReason.OPERATOR) == []


async def test_a_refresh_that_has_begun_ends_and_those_that_wait_for_a_place_do_not_begin(flow):
    paused = Paused(flow, refreshes_started=1)
    paused.target.held = {"/data/a"}
    async with paused.running():
        begun = paused.world.refreshes.ask(Folder("/data/a"))
        behind = paused.world.refreshes.ask(Folder("/data/b"))
        await flow.until(lambda: paused.target.runs and paused.target.runs[0].began)
        await paused.pause("data")
        other = paused.world.refreshes.ask(Folder("/other/a"))
        await other  # its place was given back
        assert isinstance(behind.exception(), RefreshPaused)
        assert not begun.done()
        paused.target.release()
        await begun
    assert [run.folder.path for run in paused.target.runs] == ["/data/a", "/other/a"]


async def test_an_import_waits_for_the_end_and_others_have_its_turn(flow, paused):
    trees = paused.world.engine.trees
    async with paused.running():
        await paused.pause("data")
        waiting = [asyncio.create_task(trees.refresh(f"/data/{n}", RefreshReason.IMPORT)) for n in range(9)]
        assert await trees.refresh("/other", RefreshReason.IMPORT) is None
        assert [run.folder for run in paused.target.runs] == [Folder("/other", tree=True)]
        await asyncio.gather(*waiting)
        assert flow.time() >= HOUR
    assert len(paused.target.runs) == 10


async def test_changes_are_reported_after_the_pause(flow):
    events = flow.InMemoryEventTarget()
    paused = Paused(flow, events=events)
    id_ = paused.send("a/file")
    async with paused.running():
        await paused.pause("data")
        await asyncio.sleep(HOUR / 2)
        assert not events.calls
        assert paused.receives == [1]
        await flow.until(lambda: paused.done == [id_])
        assert len(events.accepted) == 1


# Quiet hours


async def test_trees_wait_for_the_end_of_quiet_hours_and_folders_go_on(flow):
    hours = {"data": QuietHours.parsed("00:30-06:00", UTC)}
    paused = Paused(flow, hours=hours)
    async with paused.running():
        await asyncio.sleep(HOUR)
        tree, folder = paused.send("", name="DeleteObjects"), paused.send("a/file")
        await flow.until(lambda: paused.done == [folder])
        operators = paused.world.refreshes.ask(Folder("/data/x", tree=True), reason=RefreshReason.OPERATOR)
        await operators
        await asyncio.sleep(4 * HOUR)
        assert paused.done == [folder]
        assert paused.receives == [1]
        await flow.until(lambda: paused.done == [folder, tree])
        assert datetime.fromtimestamp(paused.now(), UTC).strftime("%H:%M") == "06:00"


async def test_other_quiet_hours_count_at_once(flow):
    paused = Paused(flow, hours={"data": QuietHours.parsed("00:00-06:00", UTC)})
    tree = Folder("/data", tree=True)
    async with paused.running():
        (error,) = await paused.world.refreshes.done([tree])
        assert isinstance(error, RefreshPaused)
        assert str(error) == "/data/**: waits for the end of the quiet hours"
        paused.pauses.reconfigure({})
        assert await paused.world.refreshes.done([tree]) == []


async def test_the_end_of_quiet_hours_counts_before_the_next_look_at_the_clock(flow):
    """Else a message that is received just after their end would wait for the next one, in its queue."""
    now = flow.EPOCH + 5 * HOUR
    hours = {"data": QuietHours.parsed("00:30-06:00", UTC)}
    pauses = Pauses(flow.VirtualClock(), quiet_hours=hours, wall_clock=lambda: now)
    tree = Folder("/data", tree=True)
    assert (held := pauses.held(tree)) is not None
    assert held.seconds == HOUR
    now += HOUR + 1
    assert pauses.held(tree) is None
    await asyncio.wait_for(pauses.released([tree]), 1)
