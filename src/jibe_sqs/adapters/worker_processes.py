"""Workers as processes: starts them, notices their ends, and talks to them.

Each is a new interpreter: a fork would copy threads and event loops in an unknown state. Each has a session of its own, so that
Ctrl-C reaches only the supervisor, which then stops the workers in order.
"""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final, TypeVar

import msgspec

from jibe_sqs.adapters.worker_channel import Answer, Channel, Message, Question, Worker

ANSWER_TIMEOUT: Final = 2.0
"""Seconds for a worker's answer. A worker that needs longer is stuck."""

T = TypeVar("T")

Command = Callable[[Worker], Sequence[str]]
"""The command line of a worker."""


class WorkerProcess:
    """A worker that was started. `code`: its exit code when it has ended; the negative number of the signal that killed it."""

    def __init__(self, index: int, process: "subprocess.Popen[bytes]", connected: socket.socket) -> None:
        self.index = index
        self.pid = process.pid
        self.code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = process
        self._connected = connected
        self._channel: Channel | None = None
        self._ids = count(1)
        self._questions: dict[int, asyncio.Future[msgspec.Raw]] = {}

    async def listen(self, take: Callable[[Message], None]) -> None:
        """Pass on what the worker says until it has ended. Its last messages count, too."""
        async with Channel.opened(self._connected) as channel:
            self._channel = channel
            async for message in channel.messages():
                if isinstance(message, Answer):
                    question = self._questions.pop(message.id, None)
                    if question is not None and not question.done():
                        question.set_result(message.value)
                else:
                    take(message)
        for question in self._questions.values():
            if not question.done():
                question.set_result(msgspec.Raw(b"null"))

    async def ask(self, about: str, kind: type[T]) -> T | None:
        """Ask the worker something. None if it does not answer in time, or does not know."""
        if self._channel is None:
            return None
        number, answer = next(self._ids), asyncio.get_running_loop().create_future()
        self._questions[number] = answer
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                if not self.send(Question(number, about)):
                    return None
                return msgspec.json.decode(await answer, type=kind | None)
        except (TimeoutError, msgspec.DecodeError):
            return None
        finally:
            self._questions.pop(number, None)

    @property
    def is_ending(self) -> bool:
        """Whether it has closed its end of the channel: it ends, or has ended."""
        return self.code.done() or (self._channel is not None and self._channel.is_closed)

    def send(self, message: Message) -> bool:
        """Send a message. False if the worker does not read."""
        return self._channel is not None and self._channel.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker, unless it has ended."""
        if not self.code.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ended(self, code: int) -> None:
        """The process has ended, and was waited for."""
        self._process.returncode = code
        if not self.code.done():
            self.code.set_result(code)


class WorkerProcesses:
    """The workers that this process has started. `log_lock`: the descriptor of a file; see `StandardError.share`."""

    def __init__(self, command: Command, *, workers: int, given: bytes = b"") -> None:
        """`given`: see `give`."""
        self.log_lock = _anonymous_file()
        self._settings = _anonymous_file()
        self.give(given)
        self._command = command
        self._workers = workers
        self._running: dict[int, WorkerProcess] = {}

    @property
    def running(self) -> list[WorkerProcess]:
        """Those that have not ended, as far as is known."""
        return list(self._running.values())

    def give(self, given: bytes) -> None:
        """Give this to the workers that are started from now on: a `Given`."""
        # A new file: a worker may be reading the old one.
        before, self._settings = self._settings, _anonymous_file()
        os.close(before)
        os.pwrite(self._settings, given, 0)

    def start(self, index: int) -> WorkerProcess:
        """Start a worker. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                ours.setblocking(False)
                process = subprocess.Popen(  # noqa: S603 - our own program
                    self._command(Worker(index, self._workers, theirs.fileno(), self.log_lock, self._settings)),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), self.log_lock, self._settings],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        worker = WorkerProcess(index, process, ours)
        self._running[process.pid] = worker
        return worker

    def reap(self) -> None:
        """Notice which workers have ended. The first process of a container also waits for the children of ended workers."""
        for pid in (-1,) if os.getpid() == 1 else tuple(self._running):
            while self._has_reaped(pid):
                pass

    def _has_reaped(self, pid: int) -> bool:
        try:
            found, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return False
        if worker := self._running.pop(found, None):
            worker.ended(os.waitstatus_to_exitcode(status))
        return found != 0


def _anonymous_file() -> int:
    """The descriptor of a file without a name. Linux needs no directory for it, which may be read-only."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("jibe-sqs")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
