"""The channel between a worker and its supervisor: one JSON message a line, on a pair of connected sockets.

    supervisor ── Question, Notes, NewSettings ─────> worker
    supervisor <── Started, Answer, Notes, Alerted ── worker

Its end is a message, too. A worker whose supervisor is gone, even by a kill, stops like after SIGTERM.
Neither side ever waits for the other: a message that does not fit into the buffer is not sent.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import msgspec
import structlog

from jibe_sqs.core.json_bytes import json_bytes
from jibe_sqs.settings import Texts
from jibe_sqs.telemetry.alert_groups import Group, Groups, Kind

MAX_WAITING: Final = 1024 * 1024
"""Bytes that wait to be sent. Beyond it, nothing is sent."""
MAX_LINE: Final = 16 * 1024 * 1024
"""Bytes of one message. It is bounded where it is made; a longer one is a defect."""
HEALTH: Final = "health"
"""The question for a `HealthReport`."""
STATUS: Final = "status"
"""The question for a `Status`."""
METRICS: Final = "metrics"
"""The question for the metrics: a `telemetry.samples.Sent`."""

log = structlog.get_logger()


class Started(msgspec.Struct, frozen=True, tag=True):
    """The worker is connected to everything, and begins to receive."""


class Question(msgspec.Struct, frozen=True, tag=True):
    """Asks a worker for something. It answers at once."""

    id: int
    about: str


class Answer(msgspec.Struct, frozen=True, tag=True):
    """The answer to the question with this id; None if the worker does not know such questions."""

    id: int
    value: msgspec.Raw


class Notes(msgspec.Struct, frozen=True, tag=True):
    """What a worker has seen of the queues, for the first worker."""

    notes: dict[str, str]


class Alerted(msgspec.Struct, frozen=True, tag=True):
    """Warnings and errors of a worker. JSON has no objects whose keys are lists."""

    groups: list[tuple[Kind, Group]]
    others: dict[str, int]

    @classmethod
    def of(cls, groups: Groups) -> Self:
        """A message with these groups."""
        return cls(list(groups.by_kind.items()), dict(groups.others))

    def merged_groups(self) -> Groups:
        """The groups of the message."""
        found = Groups(dict(self.groups))
        found.others.update(self.others)
        return found


class NewSettings(msgspec.Struct, frozen=True, tag=True):
    """The configuration has changed, and the supervisor has accepted it. Contains secrets."""

    texts: Texts


Message = Started | Question | Answer | Notes | Alerted | NewSettings

_DECODER: Final[msgspec.json.Decoder[Message]] = msgspec.json.Decoder(Message)


class Channel:
    """One end of the channel."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def opened(cls, connected: socket.socket) -> AsyncIterator[Self]:
        """The end that this socket is. It is closed with the block."""
        reader, writer = await asyncio.open_unix_connection(sock=connected, limit=MAX_LINE)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    @property
    def is_closed(self) -> bool:
        """Whether the other side is gone."""
        return self._writer.transport.is_closing()

    def send(self, message: Message) -> bool:
        """Send a message, or return False: the other side is gone, or does not read."""
        if self.is_closed or self._writer.transport.get_write_buffer_size() > MAX_WAITING:
            return False
        self._writer.write(json_bytes(message) + b"\n")
        return True

    async def messages(self) -> AsyncIterator[Message]:
        """The messages of the other side, until it is gone."""
        while True:
            try:
                line = await self._reader.readline()
                if not line.endswith(b"\n"):
                    return
                message = _DECODER.decode(line)
            except ConnectionError:
                return
            except (ValueError, msgspec.DecodeError) as error:
                # A defect of ours. The other messages count.
                log.error("worker_message_unreadable", reason=str(error))  # noqa: TRY400 - the traceback says nothing
                continue
            yield message


class Given(msgspec.Struct, frozen=True):
    """What all workers load their settings from. Contains secrets.

    `first`: when the service was started. `latest`: the last that were accepted; of them counts what needs no restart.
    """

    first: Texts
    latest: Texts

    def __bytes__(self) -> bytes:
        return json_bytes(self)

    @classmethod
    def of(cls, worker: "Worker") -> Self:
        """What the supervisor has given to this worker."""
        with os.fdopen(worker.settings, "rb") as file:
            # The workers share the position in the file.
            return msgspec.json.decode(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0), type=cls)


class Worker(msgspec.Struct, frozen=True):
    """Which of how many workers a process is, and descriptors that it inherits.

    `channel`: its end of the channel. `log_lock`: the log's lock. `settings`: a file with a `Given`.
    """

    index: int
    count: int
    channel: int
    log_lock: int
    settings: int

    def __str__(self) -> str:
        return "/".join(map(str, msgspec.structs.astuple(self)))

    @classmethod
    def parsed(cls, text: str) -> Self:
        """The worker that `str` has written. Raises `ValueError`."""
        return cls(*map(int, text.split("/")))


class WorkerEnd:
    """The worker's end of the channel, and what the worker does with it."""

    def __init__(self, worker: Worker, channel: Channel) -> None:
        self.worker = worker
        self._channel = channel
        self._answers: dict[str, Callable[[], object]] = {}
        self._take_notes: Callable[[Mapping[str, str]], None] | None = None
        self._take_settings: Callable[[Texts], None] | None = None
        self._new_settings: Texts | None = None
        """Those that came before anything could take them."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, worker: Worker) -> AsyncIterator[Self]:
        """Listen to the supervisor during the block."""
        for descriptor in (worker.channel, worker.log_lock):
            os.set_inheritable(descriptor, False)
        connected = socket.socket(fileno=worker.channel)
        connected.setblocking(False)
        async with Channel.opened(connected) as channel:
            end = cls(worker, channel)
            task = asyncio.create_task(end._listen(), name="supervisor")
            try:
                yield end
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @property
    def is_first(self) -> bool:
        """Whether this worker does what only one of them may do."""
        return self.worker.index == 0

    def started(self) -> None:
        """Report that the worker is connected to everything."""
        self._channel.send(Started())

    def answer(self, about: str, answer: Callable[[], object]) -> None:
        """Answer questions about this with the value of the function, which JSON can represent."""
        self._answers[about] = answer

    def take_notes(self, take: Callable[[Mapping[str, str]], None]) -> None:
        """Call the function with what other workers have seen of the queues."""
        self._take_notes = take

    def take_settings(self, take: Callable[[Texts], None]) -> None:
        """Call the function with what changed settings are loaded from."""
        self._take_settings = take
        if self._new_settings is not None:
            take(self._new_settings)
            self._new_settings = None

    def relay_notes(self, notes: Mapping[str, str]) -> bool:
        """Send what this worker has seen of the queues. False if that is not possible now."""
        return self._channel.send(Notes(dict(notes)))

    def relay_alerts(self, groups: Groups) -> bool:
        """Send warnings and errors. False if that is not possible now."""
        return self._channel.send(Alerted.of(groups))

    async def _listen(self) -> None:
        async for message in self._channel.messages():
            try:
                self._handle(message)
            except Exception:
                # A defect of ours. It must not end the worker.
                log.exception("worker_message_crashed")
        log.warning("supervisor_gone", consequence="this worker finishes what it holds, and ends")
        os.kill(os.getpid(), signal.SIGTERM)

    def _handle(self, message: Any) -> None:
        if isinstance(message, Question):
            answer = self._answers.get(message.about)
            value = json_bytes(answer() if answer else None)
            self._channel.send(Answer(message.id, msgspec.Raw(value)))
        elif isinstance(message, Notes) and self._take_notes is not None:
            self._take_notes(message.notes)
        elif isinstance(message, NewSettings):
            if self._take_settings is None:
                self._new_settings = message.texts
            else:
                self._take_settings(message.texts)
