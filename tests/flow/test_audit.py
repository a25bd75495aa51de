"""What the service records of its acts, and that the record never holds up the work."""

import asyncio

import pytest

from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.telemetry import audit as collecting
from jibe_sqs.telemetry.audit import Audit, AuditFailed, Refused

FILE = LogFile("b", "k")


class Store:
    """Takes events. `failing`: raises. `busy`: refuses each for now."""

    def __init__(self):
        self.events = []
        self.failing = self.busy = self.hanging = False
        self.called_at = []

    async def send(self, events):
        self.called_at.append(asyncio.get_running_loop().time())
        if self.hanging:
            await asyncio.Event().wait()
        if self.failing:
            raise AuditFailed("503")
        if self.busy:
            return [Refused(each.id, "Throttling", "slow down", passes=True) for each in events]
        self.events += events
        return []


@pytest.fixture
def store():
    return Store()


def audit_of(store, *, kinds=("files", "dead-letters", "reports")):
    loop = asyncio.get_running_loop()
    return Audit(store.send, kinds=kinds, account="111122223333", instance="host", wall_clock=loop.time)


def names(store):
    return [each.data.partition('"eventName":"')[2].partition('"')[0] for each in store.events]


async def test_files_and_dead_letters_are_recorded(flow, store):
    audit = audit_of(store)
    world = flow.World(audit=audit)
    async with audit.running(), world.running():
        world.send_log("good")
        world.queue.send("not an announcement")
        await flow.until(lambda: len(store.events) == 2)
    assert sorted(names(store)) == ["FileDone", "MessageDeadLettered"]


async def test_an_event_is_sent_also_if_a_name_cannot_be_encoded(flow, store):
    """Announcements are JSON, which may have half of a surrogate pair in each of their texts."""
    audit = audit_of(store)
    async with audit.running():
        audit.file_done(LogFile("b\ud800", "k\ud800", version="v\ud800"), "e\ud800", 1, 1)
        audit.dead_lettered("q\ud800", Message("m\ud800", "r", b""), Reject("E\ud800", "r\ud800", "s\ud800"))
        await flow.until(lambda: len(store.events) == 2)


async def test_a_file_whose_refresh_failed_is_not_recorded_as_done(flow, store):
    audit = audit_of(store)
    world = flow.World(audit=audit)
    world.target.errors["/data/a"].append(flow.refresh_failed())
    async with audit.running(), world.running():
        world.send_log("a")
        await flow.until(lambda: world.counters.retried == 1)
        await asyncio.sleep(collecting.LINGER)
        assert not store.events
        await flow.until(lambda: store.events)
    assert names(store) == ["FileDone"]


async def test_only_the_configured_kinds_are_recorded(flow, store):
    audit = audit_of(store, kinds=("dead-letters",))
    world = flow.World(audit=audit)
    async with audit.running(), world.running():
        world.send_log("good")
        world.queue.send("not an announcement")
        await flow.until(lambda: store.events)
    assert names(store) == ["MessageDeadLettered"]


async def test_a_store_that_hangs_holds_up_no_message(flow, store):
    store.hanging = True
    audit = audit_of(store)
    world = flow.World(audit=audit)
    loop = asyncio.get_running_loop()
    async with audit.running():
        async with world.running():
            for number in range(10):
                world.send_log(f"file-{number}")
            await flow.until(lambda: world.counters.done == 10)
        ended = loop.time()
    assert loop.time() - ended <= collecting.LAST_TIMEOUT


async def test_a_failing_store_is_asked_later_each_time(store, events):
    store.failing = True
    audit = audit_of(store)
    async with audit.running():
        audit.file_done(FILE, "", events=1, folders=1)
        await asyncio.sleep(600)
        gaps = [after - before for before, after in zip(store.called_at, store.called_at[1:], strict=False)]
        store.failing = False
        await asyncio.sleep(2 * collecting.LONGEST_DELAY)
    assert gaps[0] < gaps[-1] <= collecting.LONGEST_DELAY + collecting.LINGER
    assert gaps == sorted(gaps)
    assert len(store.events) == 1
    assert 2 <= [each["event"] for each in events].count("audit_not_sent") <= 3


async def test_events_beyond_the_limit_are_lost_and_counted(store, events, monkeypatch):
    monkeypatch.setattr(collecting, "MAX_WAITING", 10_000)
    store.failing = True
    audit = audit_of(store)
    async with audit.running():
        for _ in range(1000):
            audit.file_done(FILE, "", events=1, folders=1)
        await asyncio.sleep(1)
        store.failing = False
    assert 0 < len(store.events) < 30
    lost = [each for each in events if each["event"] == "audit_events_lost"]
    assert len(lost) == 2  # at the first one, and at the end
    assert sum(each["count"] for each in lost) + len(store.events) == 1000


async def test_events_that_a_busy_store_refuses_let_others_pass(store):
    store.busy = True
    audit = audit_of(store)
    async with audit.running():
        audit.file_done(LogFile("b", "first"), "", events=1, folders=1)
        await asyncio.sleep(collecting.LINGER + 1)
        audit.file_done(LogFile("b", "second"), "", events=1, folders=1)
        store.busy = False
    assert sorted("first" in each.data for each in store.events) == [False, True]


async def test_what_is_left_at_the_stop_is_counted(store, events):
    store.busy = True
    audit = audit_of(store)
    async with audit.running():
        audit.file_done(FILE, "", events=1, folders=1)
    (lost,) = [each for each in events if each["event"] == "audit_events_lost"]
    assert lost["reasons"] == {"stopped": 1}


async def test_a_defect_of_the_store_ends_nothing(store, events):
    async def defective(_):
        raise ZeroDivisionError

    audit = Audit(defective, kinds=("files",), account="1", instance="host", wall_clock=store.called_at.__len__)
    async with audit.running():
        audit.file_done(FILE, "", events=1, folders=1)
        await asyncio.sleep(100)
        audit._send = store.send
    assert len(store.events) == 1
    assert [each["event"] for each in events] == ["audit_crashed"]
