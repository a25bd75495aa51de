"""The service stops when it is asked to, within its deadline, and leaves no task and no held message."""

import asyncio
import json
import math
import os
import signal
import sys
import time

import pytest
from tests.processes import started

from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.model import RefreshReason

DRAIN = 100.0


class Served:
    """A service of several queues that share one log store, target and ledger."""

    def __init__(self, flow, *, queues: int = 1, **policies) -> None:
        self.flow = flow
        self.queues = [flow.InMemoryQueue(f"queue-{i}") for i in range(queues)]
        self.queue = self.queues[0]
        self.world = flow.World(queues=self.queues, drain_timeout=DRAIN, **{"retain": 1000.0} | policies)
        self.consumers = self.world.engine.consumers
        self.service, self.health = self.world.service, self.world.health

    def start(self) -> "asyncio.Task[None]":
        return asyncio.create_task(self.service.run())

    def assert_over(self) -> None:
        """Check that no task is left and that all units of the budgets are free."""
        self.world.assert_all_given_back()
        assert all(queue.cancelled_receives == 0 for queue in self.queues)
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def served(flow):
    return Served(flow)


async def test_a_stop_finishes_the_held_messages_and_returns(flow, served):
    served.world.target.takes = 50.0
    served.world.send_log("a")
    run = served.start()
    await flow.until(lambda: served.world.target.runs)
    served.service.stop()
    await run
    assert len(served.queue.deleted) == 1
    assert flow.time() < 60
    served.assert_over()


async def test_after_the_deadline_held_messages_are_given_back_and_the_service_ends_without_an_error(
    flow, served, events
):
    """The exit code is then 0: it is normal that an orchestrator stops a busy task."""
    served.world.target.held = {"/data/a"}
    id_ = served.world.send_log("a")
    run = served.start()
    await flow.until(lambda: served.world.target.runs)
    stopped_at = flow.time()
    served.service.stop()
    await run
    assert flow.time() - stopped_at == pytest.approx(DRAIN, abs=2)
    assert served.queue.waiting == [id_]
    assert "drain_deadline_over" in {event["event"] for event in events}
    served.assert_over()


async def test_after_the_deadline_messages_of_slow_queues_are_given_back_too(flow, events):
    served = Served(flow, queues=3)
    served.world.target.held = {"/data/a"}
    for queue in served.queues:
        queue.send(flow.s3_event("a/file"))
    served.queues[1].latency["show_after"] = 4
    served.queues[2].latency["show_after"] = 8
    run = served.start()
    await asyncio.sleep(50)
    served.service.stop()
    await run
    assert "drain_deadline_over" in {event["event"] for event in events}
    assert served.world.counters.messages == 3
    assert [len(queue.waiting) for queue in served.queues] == [1, 1, 1]
    served.assert_over()


async def test_an_exception_in_one_consumer_ends_the_service_and_the_others_give_back_their_messages(flow):
    """A restart of the whole service is better than a queue without a consumer."""
    served = Served(flow, queues=2)
    served.world.target.held = {"/data/a"}
    served.queue.send(flow.s3_event("a/file"))
    broken = served.consumers[1]

    async def breaks():
        await asyncio.sleep(30)
        raise ZeroDivisionError("a bug")

    broken.run = breaks
    with pytest.raises(ZeroDivisionError):
        await served.start()
    assert len(served.queue.waiting) == 1
    served.assert_over()


async def test_a_cancelled_service_gives_back_its_messages(flow, served):
    served.world.target.held = {"/data/a"}
    served.world.send_log("a")
    run = served.start()
    await flow.until(lambda: served.world.target.runs)
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    assert len(served.queue.waiting) == 1
    served.assert_over()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_the_service(flow, served, number):
    run = served.start()
    await flow.until(lambda: served.queue.receiving)
    os.kill(os.getpid(), number)
    await run
    served.assert_over()
    assert flow.time() <= 21


SERVICE = """
import asyncio, os, signal
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.consuming.service import Service

class Obedient:
    name = "obedient"
    def __init__(self):
        self.stopped = asyncio.Event()
    def stop(self):
        self.stopped.set()
    async def run(self):
        print("running", flush=True)
        await self.stopped.wait()

class Stubborn(Obedient):
    async def run(self):
        print("running", flush=True)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

async def main(consumer):
    ledger = MemoryLedger()
    service = Service(
        consumers=[consumer], refreshes=Refreshes(target=None, ledger=ledger, clock=None), ledger=ledger,
        counters=Counters(), health=Health(), drain_timeout=100, progress_interval=0, retain=100,
    )
    await service.run()
    print("closing", flush=True)
    await asyncio.sleep(3600)
"""


@pytest.mark.parametrize(
    ("consumer", "line"),
    [
        # Without configuration, the log goes to standard output.
        pytest.param("Stubborn", "stopping", id="during the drain, in which a receive hangs"),
        pytest.param("Obedient", "closing", id="after the drain, while connections are closed"),
    ],
)
def test_a_second_signal_exits_at_once(tmp_path, consumer, line):
    script = tmp_path / "service.py"
    script.write_text(f"{SERVICE}\nasyncio.run(main({consumer}()))\n")
    with started([sys.executable, str(script)], tmp_path) as service:
        service.line("running")
        service.process.terminate()
        # The first signal has arrived.
        service.line(line)
        assert service.stop() == 1


PATIENT = """
import sys
from pathlib import Path

class Patient(Obedient):
    async def run(self):
        await super().run()
        while not Path(sys.argv[1]).exists():
            await asyncio.sleep(0.01)
"""
"""A consumer that drains until a file exists."""


def test_a_worker_drains_after_any_number_of_signals(tmp_path):
    """Its supervisor and, for example, systemd may both send one. Only the supervisor decides that all end at once."""
    script, end = tmp_path / "service.py", tmp_path / "end"
    worker = SERVICE.replace("service.run()", "service.run(ends_at_second_signal=False)").replace(
        "sleep(3600)", "sleep(0)"
    )
    script.write_text(f"{worker}\n{PATIENT}\nasyncio.run(main(Patient()))\n")
    with started([sys.executable, str(script), str(end)], tmp_path) as service:
        service.line("running")
        service.process.terminate()
        service.line("stopping")
        service.process.terminate()
        end.touch()
        assert service.ended() == 0
        assert "closing" in service.said


async def test_progress_is_logged_at_its_interval_and_at_the_end(flow, events):
    served = Served(flow, progress_interval=60.0)
    run = served.start()
    served.world.send_log("a")
    await asyncio.sleep(190)
    served.service.stop()
    await run
    logged = [event for event in events if event["event"] in ("progress", "stopped")]
    assert [event["event"] for event in logged] == ["progress"] * 3 + ["stopped"]
    assert logged[-1]["done"] == logged[-1]["messages"] == 1
    assert logged[-1]["refreshes"]["folders"] == 1


async def test_without_an_interval_progress_is_logged_only_at_the_end(flow, served, events):
    run = served.start()
    await asyncio.sleep(1000)
    served.service.stop()
    await run
    assert [event["event"] for event in events if event["event"] in ("progress", "stopped")] == ["stopped"]


async def test_the_ledger_is_pruned_every_hour_also_after_a_failure(flow, served, events):
    pruned, errors = [], [LedgerError("database is locked")]

    async def prune(before):
        pruned.append((flow.time(), before))
        if errors:
            raise errors.pop()

    served.world.ledger.prune = prune
    run = served.start()
    await asyncio.sleep(2 * 3600 + 60)
    assert [moment for moment, _ in pruned] == [0, 3600, 7200]
    assert pruned[0][1] == pytest.approx(time.time() - 1000, abs=60)
    assert [event["event"] for event in events if event["log_level"] == "warning"] == ["prune_failed"]
    served.service.stop()
    await run
    served.assert_over()


async def test_messages_of_a_receive_that_returns_soon_after_the_deadline_are_made_visible(flow, served):
    """The deadline comes while a receive is in flight. The service waits for its messages, and gives them back."""
    served.queue.latency["receive"] = 10 + DRAIN + 3
    run = served.start()
    await asyncio.sleep(10)
    id_ = served.world.send_log("a")
    served.service.stop()
    await run
    assert served.queue.waiting == [id_]
    served.assert_over()


async def test_a_queue_that_never_answers_does_not_delay_the_end_of_the_service(flow, served, events):
    """Found by chaos: when the network swallowed all calls of SQS, the service ended minutes after its deadline, by SIGKILL."""
    served.world.target.held = {"/data/a"}
    served.world.send_log("a")
    run = served.start()
    await flow.until(lambda: served.world.target.runs)
    served.queue.latency.update(receive=1000, show_after=1000)
    await asyncio.sleep(served.queue.visibility_timeout)
    stopped_at = flow.time()
    served.service.stop()
    await run
    assert flow.time() - stopped_at <= DRAIN + 15
    logged = [event["event"] for event in events if event["log_level"] == "warning"]
    assert {"drain_deadline_over", "receive_abandoned", "giving_back_failed"} <= set(logged)


async def test_background_work_ends_with_the_consumers(flow):
    ended = asyncio.Event()

    async def beside() -> None:
        try:
            await asyncio.sleep(math.inf)
        finally:
            ended.set()

    served = Served(flow)
    served.service._background = {"beside": beside}
    running = served.start()
    await flow.settled()
    assert served.health.readiness_failures == []
    served.service.stop()
    assert served.health.readiness_failures == ["stopping"]
    await running
    assert ended.is_set()
    assert served.health.liveness_failures == []


async def test_a_stop_is_no_defect_of_background_work_that_waits_for_a_refresh(flow, served):
    world = served.world
    world.target.takes = 1000.0
    defects = []

    async def refresh_a_tree():
        try:
            await world.engine.trees.refresh("/data", RefreshReason.IMPORT)
        except Exception as defect:
            defects.append(defect)

    served.service._background = {"import": refresh_a_tree}
    run = served.start()
    await flow.until(lambda: world.target.runs)
    served.service.stop()
    await run
    assert not defects
    served.assert_over()


async def test_a_stop_notes_the_last_receive(flow, served):
    """Otherwise what is noted may be a minute old."""
    run = served.start()
    await asyncio.sleep(95)
    served.queue.send(flow.s3_event("some/file"))
    await flow.until(lambda: served.queue.deleted)
    served.service.stop()
    await run
    (note,) = (await served.world.ledger.notes(["queue queue-0"])).values()
    noted, last = json.loads(note), json.loads(served.consumers[0].activity.note())
    # A poll that ends after the stop is not noted any more.
    assert noted["message"] == last["message"]
    assert noted["receive"] >= noted["message"]
    served.assert_over()


async def test_a_ledger_that_never_answers_delays_a_stop_by_a_few_seconds(flow, served):
    run = served.start()
    await asyncio.sleep(95)

    async def note(name, text):
        await asyncio.Event().wait()

    served.world.ledger.note = note
    served.service.stop()
    stopped = flow.time()
    await run
    assert flow.time() - stopped <= 30
    served.assert_over()
