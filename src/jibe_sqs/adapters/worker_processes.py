"""Workers as processes: starts them, notices their ends, and talks to them.

Each is a new interpreter: a fork would copy threads and event loops in an unknown state. Each has a session of its own, so that
Ctrl-C reaches only the supervisor, which then stops the workers in order.
"""

import asyncio
import os
import signal
import socket
import subprocess
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
    """The children of this process."""

    def __init__(self, command: Command, *, workers: int) -> None:
        self._command = command
        self._workers = workers
        self._running: dict[int, WorkerProcess] = {}

    @property
    def running(self) -> list[WorkerProcess]:
        """Those that have not ended, as far as is known."""
        return list(self._running.values())

    def start(self, index: int) -> WorkerProcess:
        """Start a worker. Raises `OSError`."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                ours.setblocking(False)
                process = subprocess.Popen(  # noqa: S603 - our own program
                    self._command(Worker(index, self._workers, theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                raise
        worker = WorkerProcess(index, process, ours)
        self._running[process.pid] = worker
        return worker

    def reap(self) -> None:
        """Wait for all children that have ended. For the first process of a container, they may be those of others, too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if worker := self._running.pop(pid, None):
                worker.ended(os.waitstatus_to_exitcode(status))
