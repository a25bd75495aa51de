"""Programs as processes. Each ends with its test, and each wait has a limit. If a wait fails, the error shows what the
program has printed until then.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 240.0
"""Seconds until a test gives up waiting. Long, since a test must also pass on a machine that does much else meanwhile:
only a test that fails waits so long.
"""

Finished = subprocess.CompletedProcess[str]


def eventually(condition: Callable[[], Any], what: str | Callable[[], str], within: float = PATIENCE) -> Any:
    """Wait until the condition is true, and return its value. `what` is what the test waits for, for the error text. If
    it is a function, it is called after the wait.
    """
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what() if callable(what) else what}"
        time.sleep(0.05)
    return found


def finished(
    command: Sequence[str],
    *,
    within: float = PATIENCE,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a command to its end, and kill the processes that it has started and left. By default in this process's folder
    and environment.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        cwd=cwd,
        env=env,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(stdin, within)
        except subprocess.TimeoutExpired as late:
            said = "\n".join(part.decode(errors="replace") for part in (late.stdout, late.stderr) if part)
            raise AssertionError(f"not within {within:g} s: the end of {' '.join(command)}\n{said}") from None
        finally:
            _end(process)
    return Finished(command, process.returncode, stdout, stderr)


class Started:
    """A process that runs until it is stopped. It writes into files, so it never waits for a reader.

    `said` is its standard output. `output` is its standard error, to which `jibe-sqs` writes its log.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", stdout: Path, stderr: Path) -> None:
        self.process = process
        self._stdout = stdout
        self._stderr = stderr

    @property
    def said(self) -> str:
        return self._stdout.read_text(encoding="utf-8", errors="replace")

    @property
    def output(self) -> str:
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def line(self, word: str = "") -> str:
        """Wait for a line of its standard output that contains `word`, and return the first one."""

        def lines() -> list[str]:
            return [line for line in self.said.splitlines(keepends=True) if word in line and line.endswith("\n")]

        return self._until(lines, f"a line with {word!r}" if word else "a line")[0]

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of the event `name` with these fields."""
        whole = [
            line for line in self.output.splitlines(keepends=True) if line.startswith("{") and line.endswith("}\n")
        ]
        return [line for line in map(json.loads, whole) if {**line, "event": name, **fields} == line]

    def wait_for(self, name: str, **fields: Any) -> dict[str, Any]:
        """Wait for a log line of the event `name` with these fields, and return the first one."""
        return self._until(lambda: self.events(name, **fields), f"the event {name} {fields or ''}")[0]

    def stop(self, number: int = signal.SIGTERM, *, within: float = PATIENCE) -> int:
        """Send a signal, wait for the end, and return the exit code."""
        self.process.send_signal(number)
        return self.ended(within=within)

    def ended(self, *, within: float = PATIENCE) -> int:
        """Wait for the end, and return the exit code."""
        eventually(lambda: self.process.poll() is not None, lambda: f"its end\n{self.everything}", within)
        return self.process.returncode

    def _until(self, found: Callable[[], list[Any]], what: str) -> list[Any]:
        def found_or_alive() -> list[Any]:
            # Look for the end first: what the process writes just before its end is then found.
            is_over = self.process.poll() is not None
            there = found()
            assert there or not is_over, f"it ended with {self.process.returncode}, without {what}\n{self.everything}"
            return there

        return eventually(found_or_alive, lambda: f"{what}\n{self.everything}")

    @property
    def everything(self) -> str:
        """The end of what it has written, without the event `progress`, which a service in the sandbox logs often."""
        logged = "".join(line for line in self.output.splitlines(keepends=True) if '"event": "progress"' not in line)
        return f"standard output:\n{self.said[-3000:]}\nstandard error:\n{logged[-6000:]}"


@contextmanager
def started(
    command: Sequence[str], folder: Path, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """Start a process. At the end of the block it is killed with the processes that it has started.

    `folder`: for the files of its output.
    """
    number = sum(1 for _ in folder.glob("stdout-*"))
    stdout, stderr = folder / f"stdout-{number}", folder / f"stderr-{number}"
    with stdout.open("wb") as out, stderr.open("wb") as err:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=env, start_new_session=True
        )
    running = Started(process, stdout, stderr)
    try:
        yield running
    finally:
        _end(process)
        # pytest shows this if the test fails.
        print(f"{' '.join(command)}: {process.returncode}\n{running.everything}")


def children(pid: int) -> list[int]:
    """The processes that this process has started, and those that they have started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    found = [child for child, parent in parents.items() if parent == pid]
    return [*found, *(below for child in found for below in children(child))]


def is_alive(pid: int) -> bool:
    ps = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(ps, capture_output=True, text=True, check=False, timeout=PATIENCE).stdout
    return bool(state.strip()) and not state.startswith("Z")


def _end(process: "subprocess.Popen[Any]") -> None:
    """Kill the process and its session. The sandbox's servers have sessions of their own, and end without their parent."""
    with suppress(ProcessLookupError, PermissionError):  # no process is left: the errors of Linux and of macOS
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(PATIENCE)
