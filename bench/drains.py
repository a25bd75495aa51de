"""Runs one contender until it has drained a queue, and measures its process."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import processes
from bench.contenders import KEYS, QUEUE, Contender
from bench.stub.process import StubProcess

START_SECONDS: Final = 120.0
DRAIN_SECONDS: Final = 3600.0
SETTLE_SECONDS: Final = 0.3


class Usage(NamedTuple):
    """What a process has used, from the first message to a moment after the deletion of the last one.

    `cpu`: seconds, user and system, with its children. The start is not in it. `wall`: seconds. `peak`: bytes of memory.
    `counts`: the requests, as the stub counts them, without those before the first message. `stub_cpu`: seconds.
    `events`: the object events as the contender has counted them; None if it does not count.
    """

    cpu: float
    wall: float
    peak: int
    counts: dict[str, int]
    stub_cpu: float
    events: int | None


class Running:
    """A contender that has started and waits for messages.

    `start`: seconds from the start of the process to its first receive. After `stop`: `cpu` is its whole CPU time,
    `stop_seconds` the time from SIGTERM to its end.
    """

    def __init__(self, process: "subprocess.Popen[str]", stub: StubProcess, folder: Path, start: float) -> None:
        self.stub = stub
        self.folder = folder
        self.start = start
        self.cpu = 0.0
        self.stop_seconds = 0.0
        self.output = ""
        self._process = process

    def cpu_now(self) -> float:
        """CPU seconds so far."""
        return processes.cpu_seconds(self._process.pid)

    def memory(self, *, peak: bool = False) -> int:
        """Bytes, now or at their peak."""
        return processes.memory(self._process.pid, peak=peak)

    def stop(self, *, drain: bool = True) -> None:
        """Send SIGTERM and wait for the end. `drain`: answer the long polls of the process, which may wait for them."""
        self._process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        if drain:
            self.stub.set(draining=True)
        assert self._process.stdout
        self.output = self._process.stdout.read()
        _, status, used = os.wait4(self._process.pid, 0)
        self.stop_seconds = time.monotonic() - began
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = used.ru_utime + used.ru_stime


@contextmanager
def started(contender: Contender, stub: StubProcess) -> Iterator[Running]:
    """Start a contender, on an empty stub, and wait until its long polls are in flight. Kills it at the end."""
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("wb") as log:
        folder = Path(name)
        command = contender.command(stub, folder)
        began = time.monotonic()
        process = subprocess.Popen(
            command,
            # Our service finds no settings there.
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent.parent), **KEYS},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            _wait_for_start(process, stub, contender.polls)
            yield Running(process, stub, folder, time.monotonic() - began)
        except BaseException:
            sys.stderr.write((folder / "log").read_text()[-3000:])
            raise
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _wait_for_start(process: "subprocess.Popen[str]", stub: StubProcess, polls: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            stub.wait(polls=polls, timeout=1)
            return
        except TimeoutError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{process.args!r:.300} has not started, exit code {process.returncode}") from None


def drained(contender: Contender, stub: StubProcess, kind: str, files: int, **stub_settings: Any) -> Usage:
    """Let a contender drain a queue with so many files of this kind. `stub_settings`: see `bench.stub.server`."""
    stub.reset()
    stub.set(**stub_settings)
    stub.events(kind, files)
    with started(contender, stub) as running:
        before, stub_before, cpu_before = stub.counts(), stub.state()["cpu"], running.cpu_now()
        began = time.monotonic()
        stub.load(QUEUE, kind, files)
        stub.wait(queue=QUEUE, deleted=files, timeout=DRAIN_SECONDS)
        wall = time.monotonic() - began
        # What is written after the last deletion counts, too.
        time.sleep(SETTLE_SECONDS)
        cpu, stub_cpu = running.cpu_now() - cpu_before, stub.state()["cpu"] - stub_before
        counts = {name: count - before.get(name, 0) for name, count in stub.counts().items()}
        peak = running.memory(peak=True)
        running.stop()
        counted = running.output.strip()
        return Usage(cpu, wall, peak, counts, stub_cpu, int(counted) if counted.isdecimal() else None)
