"""The commands as processes, and one sandbox for all who only need a world."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "jibe_sqs"]
PATIENCE = 30.0
"""Seconds until a test gives up waiting; on a good day none of them waits for long."""


def _environment(**variables: str) -> dict[str, str]:
    """Without the settings and the AWS account of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("JIBE_", "AWS_"))}
    loopback = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_EC2_METADATA_DISABLED": "true"}
    return {**kept, **loopback, **variables}


def _eventually(condition: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """What the condition gives as soon as that is true."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within} s: {what}"
        time.sleep(0.05)
    return found


def _children(pid: int) -> list[int]:
    """Of that process, and theirs."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [child for child, parent in parents.items() if parent == pid]
    return [*found, *(below for child in found for below in _children(child))]


def _alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


class Running:
    """A command that runs until it is stopped. Its log is what it writes to standard error."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of that event with those fields."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if {**line, "event": name, **fields} == line]

    def wait_for(self, name: str, **fields: Any) -> dict[str, Any]:
        """The first such log line."""

        def found() -> list[dict[str, Any]]:
            assert self.process.poll() is None, f"it ended:\n{self.output}"
            return self.events(name, **fields)

        return _eventually(found, f"{name} {fields} in\n{self.output[-3000:]}")[0]

    def stop(self, number: int = signal.SIGTERM, *, within: float = PATIENCE) -> int:
        """Signal it, and give its exit code."""
        self.process.send_signal(number)
        return self.process.wait(within)


@pytest.fixture(scope="session")
def environment() -> Callable[..., dict[str, str]]:
    return _environment


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    return _eventually


@pytest.fixture(scope="session")
def children() -> Callable[[int], list[int]]:
    return _children


@pytest.fixture(scope="session")
def alive() -> Callable[[int], bool]:
    return _alive


@pytest.fixture
def jibe(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command to its end, in an empty folder."""
    folder = tmp_path / "working-directory"
    folder.mkdir()

    def run(
        *arguments: str, stdin: str = "", within: float = 120, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
            cwd=folder,
            env=_environment(**variables),
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts commands that run until they are stopped; at the latest when the test ends."""
    started: list[Running] = []

    def start(*arguments: str, **variables: str) -> Running:
        log = tmp_path / f"log-{len(started)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=tmp_path,
                env=_environment(**variables),
            )
        started.append(Running(process, log))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[dict[str, Any]]:
    """What `jibe-sqs sandbox --json` says of itself; nobody consumes there but the test."""
    command = [*COMMAND, "sandbox", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        assert process.wait(PATIENCE) == 0
