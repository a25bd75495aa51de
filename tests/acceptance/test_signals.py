"""Signals of the service as a process: from its first moment, also as the first process of a container, to its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from tests.processes import PATIENCE, children, eventually, started

DOCKERFILE = Path(__file__).parents[2] / "infra" / "docker" / "Dockerfile"
SIGNALLED = """
import json, os, runpy, signal, sys

points = json.loads(sys.argv[1])
sys.argv[1:2] = []
# As for the first process of a container: without a handler, the signal does nothing.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def send(event, arguments):
    if event == "import" and arguments[0] in points:
        for name in points.pop(arguments[0]):
            os.kill(os.getpid(), signal.Signals[name])

sys.addaudithook(send)
runpy.run_module("jibe_sqs", run_name="__main__", alter_sys=True)
"""
"""Runs a command, and sends signals to itself when a module is imported for the first time."""

POINTS = ("jibe_sqs.cli", "pydantic", "jibe_sqs.compose.service", "uvloop")
"""Modules, about in the order in which the service imports them."""


@pytest.fixture
def silent():
    """A server that accepts connections and never answers. Yields its port, and an event: a client is there."""
    reached = threading.Event()
    connections = []

    def accept():
        while True:
            try:
                connections.append(listener.accept()[0])
            except OSError:
                return
            reached.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1], reached
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)
    for connection in connections:
        connection.close()


@pytest.fixture
def stuck(silent, tmp_path):
    """The arguments and the environment of a service that waits for its queue while it starts, for ever."""
    port, _ = silent
    config = {
        "access_anywhere": {"endpoint": f"http://127.0.0.1:{port}", "login": "ana", "password": "x"},
        "queues": [{"url": f"http://127.0.0.1:{port}/111122223333/jibe"}],
        "aws": {"endpoint": f"http://127.0.0.1:{port}", "region": "us-east-1"},
        "logs": [{"bucket": "trail"}],
        "buckets": {"media": "/Amazon S3/media"},
        "ledger": {"path": str(tmp_path / "ledger.sqlite")},
        "log": {"format": "json"},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return ["run", "--config", str(path)], {**os.environ, "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"}


@pytest.fixture
def signalled(tmp_path):
    """The command that sends signals to itself at its imports."""
    script = tmp_path / "signalled.py"
    script.write_text(SIGNALLED)
    return lambda points: [sys.executable, str(script), json.dumps(points)]


@pytest.fixture(scope="module")
def first_process():
    """The beginning of a command that runs as the first process of its own namespace of processes."""
    command = ["unshare", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed, which makes a process the first one of a namespace")
    if subprocess.run([*command, "true"], capture_output=True, check=False, timeout=PATIENCE).returncode:
        pytest.skip("this machine does not allow new namespaces of processes")
    return command


@pytest.mark.parametrize("point", POINTS)
def test_sigterm_during_the_imports_ends_the_service_with_0(signalled, stuck, tmp_path, point):
    arguments, environment = stuck
    with started([*signalled({point: ["SIGTERM"]}), *arguments], tmp_path, env=environment) as service:
        assert service.ended() == 0


@pytest.mark.parametrize("point", ["jibe_sqs.cli", "uvloop"])
def test_sigterm_during_the_imports_ends_the_first_process_of_a_container(
    first_process, signalled, stuck, tmp_path, point
):
    arguments, environment = stuck
    command = [*first_process, *signalled({point: ["SIGTERM"]}), *arguments]
    with started(command, tmp_path, env=environment) as service:
        assert service.ended() == 0


BLOCKED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""Runs Python with arguments, after SIGTERM has come while it was blocked."""


def test_a_blocked_sigterm_from_before_python_started_ends_the_service_with_0(stuck, tmp_path):
    arguments, environment = stuck
    command = [sys.executable, "-c", BLOCKED, "-m", "jibe_sqs", *arguments]
    with started(command, tmp_path, env=environment) as service:
        assert service.ended() == 0


def test_a_blocked_sigterm_from_before_python_started_ends_the_first_process(first_process, stuck, tmp_path):
    arguments, environment = stuck
    command = [*first_process, sys.executable, "-c", BLOCKED, "-m", "jibe_sqs", *arguments]
    with started(command, tmp_path, env=environment) as service:
        assert service.ended() == 0


def test_the_image_starts_python_with_sigterm_blocked_and_the_program_unblocks_it(stuck, silent, tmp_path):
    _, reached = silent
    arguments, environment = stuck
    (line,) = (line for line in DOCKERFILE.read_text().splitlines() if line.startswith("ENTRYPOINT "))
    env, blocked, _, *rest = json.loads(line.removeprefix("ENTRYPOINT "))
    assert (env, blocked) == ("env", "--block-signal=TERM,INT")
    if subprocess.run([env, blocked, "true"], capture_output=True, check=False, timeout=PATIENCE).returncode:
        pytest.skip("the program env of this machine cannot block signals; the image's can")
    with started([env, blocked, sys.executable, *rest, *arguments], tmp_path, env=environment) as service:
        assert reached.wait(PATIENCE)
        assert service.stop() == 0


@pytest.mark.parametrize("arguments", [[], ["--config", "missing.json"]])
def test_the_default_command_is_ended_like_run(signalled, tmp_path, arguments):
    with started([*signalled({"structlog": ["SIGTERM"]}), *arguments], tmp_path, cwd=tmp_path) as service:
        assert service.ended() == 0


def test_other_commands_keep_the_disposition_of_sigterm(signalled, tmp_path):
    """Here it is ignored. `explain` goes on, and prints its answer."""
    command = [*signalled({"typer": ["SIGTERM"]}), "explain", "--json", os.devnull]
    with started(command, tmp_path, cwd=tmp_path) as explain:
        assert explain.ended() == 1
    assert "error" in explain.said


@pytest.mark.parametrize("point", ["jibe_sqs.cli", "uvloop"])
def test_signals_that_the_service_ignores_do_not_end_its_start(signalled, stuck, silent, tmp_path, point):
    arguments, environment = stuck
    _, reached = silent
    command = [*signalled({point: ["SIGHUP", "SIGUSR1", "SIGUSR2"]}), *arguments]
    with started(command, tmp_path, env=environment) as service:
        assert reached.wait(PATIENCE)
        assert service.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_signal_while_the_service_connects_ends_it_with_0(stuck, silent, tmp_path, number, loop):
    arguments, environment = stuck
    _, reached = silent
    if loop == "asyncio":
        (tmp_path / "uvloop.py").write_text("raise ImportError")
        environment["PYTHONPATH"] = str(tmp_path)
    with started([sys.executable, "-m", "jibe_sqs", *arguments], tmp_path, env=environment) as service:
        assert reached.wait(PATIENCE)
        assert service.stop(number) == 0
    assert service.events("stopped_while_starting")
    assert "Traceback" not in service.output


def test_sigterm_while_it_connects_ends_the_first_process_of_a_container(first_process, stuck, silent, tmp_path):
    arguments, environment = stuck
    _, reached = silent
    command = [*first_process, sys.executable, "-m", "jibe_sqs", *arguments]
    with started(command, tmp_path, env=environment) as service:
        assert reached.wait(PATIENCE)
        (process,) = children(service.process.pid)
        os.kill(process, signal.SIGTERM)
        assert service.ended() == 0


def test_a_start_that_cannot_be_cancelled_ends_all_the_same(tmp_path):
    """For example a look-up in a name server that does not answer: the thread cannot be cancelled, and is waited for."""
    script = tmp_path / "start.py"
    script.write_text(
        """
import asyncio, threading
from jibe_sqs.consuming.signals import stoppable_start

async def start():
    with stoppable_start():
        print("starting", flush=True)
        await asyncio.to_thread(threading.Event().wait)

asyncio.run(start())
"""
    )
    with started([sys.executable, str(script)], tmp_path) as start:
        start.line("starting")
        assert start.stop() == 0


def test_a_cancelled_start_without_a_signal_is_an_error(tmp_path):
    script = tmp_path / "start.py"
    script.write_text(
        """
import asyncio
from jibe_sqs.consuming.signals import stoppable_start

async def start():
    with stoppable_start():
        raise asyncio.CancelledError

asyncio.run(start())
"""
    )
    with started([sys.executable, str(script)], tmp_path) as start:
        assert start.ended() == 1


def test_the_service_goes_on_after_other_signals_and_logs_them(small_service):
    with small_service.started() as service:
        service.wait_for("started")
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            service.process.send_signal(number)
            service.wait_for("signal_ignored", signal=number.name)
        service.process.send_signal(signal.SIGHUP)
        assert service.wait_for("settings_reloaded")["changed"] == []
        small_service.announce_change()
        eventually(lambda: not small_service.messages(), "the end of the message")
        assert service.stop() == 0


def test_further_signals_do_not_kill_a_service_that_has_stopped(small_service):
    """The event loop resets its handlers when it closes, and then a signal killed the process."""
    with small_service.started() as service:
        service.wait_for("started")
        service.process.terminate()
        service.wait_for("stopped")

        def has_ended() -> bool:
            service.process.send_signal(signal.SIGTERM)
            return service.process.poll() is not None

        eventually(has_ended, "the end of the service")
        assert service.process.returncode in (0, 1)


def test_sigterm_ends_a_service_whose_access_anywhere_answers_with_60_mb(sandbox, small_service):
    """To decode such an answer would take a gigabyte, and many seconds without a look at signals."""
    server = sandbox["access_anywhere"]
    with small_service.started() as service:
        service.wait_for("started")
        before = huge_answers(server)
        httpx.put(f"{server}/sandbox/faults", json={"huge_answers": {}}, timeout=PATIENCE).raise_for_status()
        try:
            small_service.announce_change()
            eventually(lambda: huge_answers(server) > before + 1, "a few huge answers")
            peak = peak_memory(service.process.pid)
            assert service.stop() == 0
        finally:
            httpx.delete(f"{server}/sandbox/faults", timeout=PATIENCE).raise_for_status()
    assert peak < 400_000_000
    assert "Traceback" not in service.output
    assert small_service.messages() == 1


def huge_answers(server: str) -> int:
    """How many huge answers the sandbox has sent."""
    return httpx.get(f"{server}/sandbox/stats", timeout=PATIENCE).json()["faults"].get("huge_answers", 0)


def peak_memory(process: int) -> int:
    """Bytes: the largest resident set so far. 0 where it is unknown."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
