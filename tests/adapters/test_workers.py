"""The supervisor of the workers, with real processes: starts, restarts, stops, and what it says about them."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.processes import PATIENCE, children, eventually, is_alive, started

from jibe_sqs.adapters.worker_channel import MAX_WAITING, Channel, Question, Worker, WorkerEnd
from jibe_sqs.compose.workers import MAX_FAILED_STARTS, Supervisor, combined
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.settings import Texts
from jibe_sqs.telemetry.alert_groups import Group, Groups, Kind
from jibe_sqs.telemetry.health import HealthReport

SMALL_WORKER = Path(__file__).parents[1] / "small_worker.py"
AT_ONCE = Backoff(first=0.01, longest=0.01)


class Workers:
    """The folder of small workers, and what they say."""

    def __init__(self, folder):
        self.folder = folder

    def behave(self, index, **behaviour):
        (self.folder / f"{index}.json").write_text(json.dumps(behaviour))

    def command(self, worker):
        return [sys.executable, "-S", "-E", str(SMALL_WORKER), str(self.folder), str(worker)]

    @property
    def said(self):
        path = self.folder / "said"
        return path.read_text().splitlines() if path.exists() else []

    def pids(self, index):
        return [int(line.split()[2]) for line in self.said if line.startswith(f"{index} began ")]

    def supervisor(self, workers=2, **options):
        return Supervisor(
            self.command, workers=workers, **{"drain_timeout": 30.0, "restart_delays": AT_ONCE, **options}
        )

    @asynccontextmanager
    async def run(self, supervisor=None):
        """Run a supervisor, and stop it at the end of the block. Yields it, and the task with its exit code."""
        supervisor = supervisor or self.supervisor()
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor, task
            supervisor.stop()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait([task])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for number in range(2):
                for pid in self.pids(number):
                    assert not is_alive(pid)


@pytest.fixture
def workers(tmp_path):
    return Workers(tmp_path)


async def until(condition, what="the condition"):
    async with asyncio.timeout(PATIENCE):
        while not (found := condition()):
            await asyncio.sleep(0.01)
    return found


async def ready(supervisor):
    """Wait until all workers are ready."""
    async with asyncio.timeout(PATIENCE):
        while (report := await supervisor.health()) != HealthReport():
            await asyncio.sleep(0.01)
    return report


# Start and stop


async def test_all_workers_run_until_the_stop_and_drain(workers):
    async with workers.run() as (supervisor, task):
        await ready(supervisor)
    assert task.result() == 0
    assert sorted(line for line in workers.said if "began" not in line) == ["0 drained", "1 drained"]


async def test_the_others_start_when_the_first_worker_has_started(workers):
    workers.behave(0, slow=True)
    async with workers.run() as (supervisor, task):
        await until(lambda: workers.pids(0))
        await supervisor.health()
    assert task.result() == 0
    assert not workers.pids(1)


@pytest.mark.parametrize("code", [1, 2])
async def test_what_the_first_worker_finds_wrong_at_its_first_start_ends_all_with_its_exit_code(workers, code):
    """2 for the settings, 1 for the queues or the ledger, as for a service without workers."""
    workers.behave(0, exit=code)
    async with workers.run() as (_, task), asyncio.timeout(PATIENCE):
        assert await asyncio.shield(task) == code
    assert len(workers.pids(0)) == 1
    assert not workers.pids(1)


async def test_a_worker_that_ends_is_started_again_and_the_others_go_on(workers):
    async with workers.run() as (supervisor, task):
        await ready(supervisor)
        os.kill(workers.pids(1)[0], signal.SIGKILL)
        await until(lambda: len(workers.pids(1)) == 2)
        await ready(supervisor)
    assert task.result() == 0
    assert len(workers.pids(0)) == 1


async def test_the_first_worker_is_started_again_too(workers):
    async with workers.run() as (supervisor, task):
        await ready(supervisor)
        os.kill(workers.pids(0)[0], signal.SIGKILL)
        await until(lambda: len(workers.pids(0)) == 2)
        await ready(supervisor)
    assert task.result() == 0


async def test_a_worker_that_crashes_for_ever_does_not_end_the_others(workers):
    workers.behave(1, crash=3)
    async with workers.run() as (supervisor, task):
        await until(lambda: len(workers.pids(1)) > MAX_FAILED_STARTS + 2)
        assert not task.done()
        assert not (await supervisor.health()).readiness_failures
    assert "0 drained" in workers.said


async def test_a_worker_whose_start_fails_again_and_again_ends_all_with_its_exit_code(workers):
    workers.behave(1, exit=7)
    with capture_logs() as lines:
        async with workers.run() as (_, task), asyncio.timeout(PATIENCE):
            assert await asyncio.shield(task) == 7
    assert len(workers.pids(1)) == MAX_FAILED_STARTS
    assert "0 drained" in workers.said
    (gave_up,) = (line for line in lines if line["event"] == "workers_given_up")
    assert gave_up["reason"] == "its start failed: it ended with exit code 7"


async def test_a_failed_start_of_the_first_worker_that_is_repeated_well_is_forgotten(workers):
    async with workers.run() as (supervisor, task):
        await ready(supervisor)
        workers.behave(0, exit=1, once=True)
        os.kill(workers.pids(0)[0], signal.SIGKILL)
        await until(lambda: len(workers.pids(0)) == 3)
        await ready(supervisor)
    assert task.result() == 0


async def test_a_program_that_cannot_be_run_is_given_up(workers, tmp_path):
    supervisor = Supervisor(lambda _: [str(tmp_path / "missing")], workers=2, drain_timeout=30, restart_delays=AT_ONCE)
    with capture_logs() as lines:
        async with workers.run(supervisor) as (_, task), asyncio.timeout(PATIENCE):
            assert await asyncio.shield(task) == 1
    assert "No such file" in next(line["reason"] for line in lines if line["event"] == "worker_not_started")


async def test_a_worker_that_does_not_end_in_time_is_killed(workers):
    workers.behave(1, stuck=True)
    async with workers.run(workers.supervisor(drain_timeout=0.1, kill_margin=0.1)) as (supervisor, task):
        await ready(supervisor)
    assert task.result() == 1
    assert "0 drained" in workers.said


async def test_a_worker_that_ends_before_it_has_started_does_not_spoil_a_stop(workers):
    """A signal may come before Python has set a handler for it. Such a worker holds nothing."""
    workers.behave(1, slow=True)
    async with workers.run() as (supervisor, task):
        await until(lambda: workers.pids(1))
        supervisor.stop()
        os.kill(workers.pids(1)[0], signal.SIGKILL)
    assert task.result() == 0


# Health


async def test_the_service_is_ready_if_one_worker_is_and_names_what_the_other_lacks(workers):
    workers.behave(1, health={"readiness_failures": ["Queue a is away"], "warnings": ["late"]})
    async with workers.run() as (supervisor, _):
        report = HealthReport(warnings=["worker 1: Queue a is away", "worker 1: late"])
        await until(lambda: workers.pids(1))
        async with asyncio.timeout(PATIENCE):
            while await supervisor.health() != report:
                await asyncio.sleep(0.01)


async def test_a_started_worker_that_does_not_answer_makes_the_service_not_alive(workers, monkeypatch):
    monkeypatch.setattr("jibe_sqs.adapters.worker_processes.ANSWER_TIMEOUT", 0.2)
    workers.behave(1, silent=True)
    async with workers.run() as (supervisor, _):
        async with asyncio.timeout(PATIENCE):
            while not (report := await supervisor.health()).liveness_failures:
                await asyncio.sleep(0.01)
        assert report.liveness_failures == ["worker 1: does not answer"]
        assert report.readiness_failures == []


async def test_workers_that_do_not_answer_any_more_are_not_starting(workers, monkeypatch):
    """The status says which they are."""
    monkeypatch.setattr("jibe_sqs.adapters.worker_processes.ANSWER_TIMEOUT", 0.2)
    for index in (0, 1):
        workers.behave(index, silent=True)
    supervisor = workers.supervisor()
    supervisor.settings_problem = lambda: "these changed settings need a restart: aws"
    assert (await supervisor.status()).state == "starting"
    async with workers.run(supervisor):
        async with asyncio.timeout(PATIENCE):
            while (status := await supervisor.status()).reasons != [
                f"worker {each}: does not answer" for each in (0, 1)
            ]:
                await asyncio.sleep(0.01)
        assert (status.state, status.sentence) == ("held-up", "No worker answers")
        assert status.settings_problem


async def test_a_worker_that_is_down_is_a_warning(workers):
    supervisor = workers.supervisor(restart_delays=Backoff(first=1000, longest=1000))
    async with workers.run(supervisor):
        await ready(supervisor)
        os.kill(workers.pids(1)[0], signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            while (report := await supervisor.health()).warnings != ["worker 1: it was killed by SIGKILL"]:
                assert not report.liveness_failures
                await asyncio.sleep(0.001)
        assert not report.readiness_failures


def test_without_a_ready_worker_all_reasons_are_shown():
    reports = [HealthReport(readiness_failures=["starting"]), HealthReport(readiness_failures=["down"])]
    assert combined(reports).readiness_failures == ["worker 0: starting", "worker 1: down"]


def test_the_service_has_started_if_one_worker_has():
    starting, down = HealthReport(startup_failures=["starting"]), HealthReport(readiness_failures=["down"])
    assert combined([starting, down]).startup_failures == []
    assert combined([starting, starting]).startup_failures == ["worker 0: starting", "worker 1: starting"]
    assert combined([down], is_stopping=True).startup_failures == ["stopping"]


def test_a_service_that_stops_is_not_ready():
    assert combined([HealthReport(), HealthReport()], is_stopping=True).readiness_failures == ["stopping"]


def test_log_lines_that_the_supervisor_loses_are_a_warning():
    assert combined([HealthReport()], own_warnings=["standard error is not read"]).warnings == [
        "standard error is not read"
    ]


# What workers pass on


async def test_notes_wait_while_the_first_worker_does_not_run(workers):
    async with workers.run() as (supervisor, task):
        await ready(supervisor)
        workers.behave(0, slow=True)
        os.kill(workers.pids(0)[0], signal.SIGKILL)
        await until(lambda: len(workers.pids(0)) == 2)
        note = {"queue a": "{}"}
        workers.behave(1, says=[{"kind": "Notes", "notes": note}])
        os.kill(workers.pids(1)[0], signal.SIGKILL)
        await until(lambda: len(workers.pids(1)) == 2)
        await until(lambda: supervisor._notes, "the notes have arrived")
        assert not any(line.startswith("0 notes") for line in workers.said)
        workers.behave(0)
        os.kill(workers.pids(0)[1], signal.SIGKILL)
        await until(lambda: f"0 notes {json.dumps(note)}" in workers.said)
    assert task.result() == 0


async def test_a_worker_that_did_not_read_for_a_while_gets_the_latest_settings(workers, monkeypatch):
    """Those of ten thousand buckets are larger than what waits for it."""
    monkeypatch.setattr("jibe_sqs.compose.workers.SEND_AGAIN", 0.01)
    async with workers.run() as (supervisor, _):
        await ready(supervisor)
        (pid,) = workers.pids(0)
        os.kill(pid, signal.SIGSTOP)
        for number in (1, 2, 3):
            supervisor.new_settings(Texts(source=f"{'x' * 2 * MAX_WAITING} number {number}"))
        os.kill(pid, signal.SIGCONT)
        await until(lambda: "0 settings  number 3" in workers.said)
        await until(lambda: "1 settings  number 3" in workers.said)


async def test_alerts_of_the_workers_are_merged(workers):
    groups = Groups({Kind("error", "ledger_write_failed"): Group(2, 1.0, 2.0, "x=1")})
    taken, forgotten = [], []

    class Alerts:
        def merge(self, groups, process):
            taken.append((process, groups))

        def forget(self, process):
            forgotten.append(process)

    group = [["error", "ledger_write_failed"], {"count": 2, "first": 1.0, "last": 2.0, "example": "x=1"}]
    workers.behave(1, says=[{"kind": "Alerted", "groups": [group], "others": {}}])
    async with workers.run(workers.supervisor(alerts=Alerts())):
        await until(lambda: taken)
    assert taken == [("1", groups)]
    assert sorted(forgotten) == ["0", "1"]


async def test_a_line_that_cannot_be_read_costs_only_itself(workers):
    workers.behave(1, says=[{"kind": "Unheard"}])
    with capture_logs() as lines:
        async with workers.run() as (supervisor, _):
            await ready(supervisor)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["worker_message_unreadable"]


# The worker's end


@asynccontextmanager
async def worker_end(index=1):
    """The worker's end of a channel, and the supervisor's."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    lock = os.open(os.devnull, os.O_RDWR)
    worker = Worker.parsed(str(Worker(index, 2, theirs.detach(), lock, lock)))
    async with WorkerEnd.opened(worker) as end, Channel.opened(ours) as channel:
        yield end, channel
    os.close(lock)


async def test_a_worker_without_a_supervisor_stops_as_after_sigterm(monkeypatch):
    signals = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signals.append(arguments))
    async with worker_end() as (_, channel):
        channel._writer.transport.abort()
        await until(lambda: signals)
    assert signals == [(os.getpid(), signal.SIGTERM)]


async def test_a_worker_answers_what_it_knows_and_nothing_else():
    async with worker_end() as (end, channel):
        end.answer("health", lambda: HealthReport(warnings=["late"]))
        for number, about in enumerate(["health", "metrics"]):
            channel.send(Question(number, about))
        answers = channel.messages()
        found = [await anext(answers) for _ in range(2)]
    assert [msgspec.json.decode(each.value) for each in found] == [
        msgspec.to_builtins(HealthReport(warnings=["late"])),
        None,
    ]


async def test_an_answer_that_fails_costs_only_itself():
    async with worker_end() as (end, channel):
        end.answer("bad", lambda: 1 / 0)
        end.answer("good", lambda: 1)
        for number, about in enumerate(["bad", "good"]):
            channel.send(Question(number, about))
        assert (await anext(channel.messages())).id == 1


async def test_half_of_a_surrogate_pair_does_not_cost_an_answer():
    """A key may have it. UTF-8 cannot represent it."""
    async with worker_end() as (end, channel):
        end.answer("status", lambda: ["a/\ud800.txt"])
        channel.send(Question(1, "status"))
        assert msgspec.json.decode((await anext(channel.messages())).value) == ["a/?.txt"]


async def test_a_supervisor_that_does_not_read_holds_up_no_worker():
    """What does not fit is refused, and the sender keeps it."""
    async with worker_end() as (end, _):
        async with asyncio.timeout(PATIENCE):
            while end.relay_notes({"queue": "x" * 100_000}):
                pass
        assert not end.relay_alerts(Groups())


async def test_alerts_are_relayed_as_they_were_gathered():
    groups = Groups(
        {
            Kind("warning", "late", "X"): Group(3, 1.0, 2.0, "a=1"),
            Kind("warning", "circuit_opened"): Group(0, 1.0, 2.0, began=1.0, ended=2.0),
        }
    )
    groups.others["error"] = 2
    async with worker_end() as (end, channel):
        assert end.relay_alerts(groups)
        assert (await anext(channel.messages())).merged_groups() == groups


# The supervisor as a process

SUPERVISOR = """
import asyncio, sys
from jibe_sqs.compose.workers import Supervisor
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.telemetry import logs

logs.take_standard_error()
logs.configure("info", "json")
worker, folder = sys.argv[1:]
command = lambda each: [sys.executable, "-S", "-E", worker, folder, str(each)]
async def run():
    return await Supervisor(command, workers=2, drain_timeout=30, restart_delays=Backoff(first=0.01, longest=0.01)).run()
sys.exit(asyncio.run(run()))
"""


@pytest.fixture
def as_process(workers, tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    return started([sys.executable, "-c", SUPERVISOR, str(SMALL_WORKER), str(workers.folder)], output)


def test_a_second_signal_ends_all_at_once(workers, as_process):
    workers.behave(1, stuck=True)
    with as_process as supervisor:
        eventually(lambda: workers.pids(0) and workers.pids(1), "both workers")
        processes = children(supervisor.process.pid)
        supervisor.process.terminate()
        eventually(lambda: "0 drained" in workers.said, "the end of worker 0")
        assert supervisor.stop() == 1
        eventually(lambda: not any(map(is_alive, processes)), "no worker is left")
    assert supervisor.events("stopped_at_once")


def test_workers_whose_supervisor_is_killed_end_by_themselves(workers, as_process):
    with as_process as supervisor:
        eventually(lambda: workers.pids(0) and workers.pids(1), "both workers")
        processes = children(supervisor.process.pid)
        assert supervisor.stop(signal.SIGKILL) == -signal.SIGKILL
        eventually(lambda: not any(map(is_alive, processes)), "no worker is left")
    assert {"0 alone", "1 alone"} <= set(workers.said)


def test_the_first_process_of_a_container_waits_for_the_orphans_of_its_workers(workers, tmp_path):
    """Otherwise each would stay as a zombie, until the container has no process left."""
    namespace = ["unshare", "--pid", "--fork", "--kill-child"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("this machine does not allow new namespaces of processes")
    workers.behave(1, orphan=True, crash=3)
    output = tmp_path / "output"
    output.mkdir()
    command = [*namespace, sys.executable, "-c", SUPERVISOR, str(SMALL_WORKER), str(workers.folder)]
    with started(command, output) as supervisor:
        supervisor.wait_for("worker_ended", worker=1)
        workers.behave(1)
        (workers.folder / "1.json").unlink()
        eventually(lambda: "1 orphan 1" in workers.said, "the end of an orphan")
        (process,) = (pid for pid in children(supervisor.process.pid) if parent(pid) == supervisor.process.pid)
        eventually(lambda: not zombies(process), "no zombie is left")
        os.kill(process, signal.SIGTERM)
        assert supervisor.ended() == 0


def states(option):
    ps = ["ps", "-A", "-o", f"pid=,{option}="]
    listed = subprocess.run(ps, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    return {int(pid): value for pid, value in map(str.split, listed.splitlines())}


def parent(pid):
    return int(states("ppid")[pid])


def zombies(pid):
    found = states("stat")
    return [each for each in children(pid) if found.get(each, "").startswith("Z")]
