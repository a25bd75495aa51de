"""Standard error as a stream that never raises, and for the service never blocks.

write ──> queue, bounded in lines and in bytes ──> daemon thread ──> os.write
   └────── before `start`: in the calling thread ─────────────────────^

Lines that cannot be written are counted. When writing works again, one line says how many were lost.
"""

import atexit
import fcntl
import io
import os
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Final

import msgspec

MAX_LINES: Final = 10_000
"""Lines that wait to be written."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes of the lines that wait. A longer line waits only alone."""
EXIT_TIMEOUT: Final = 2.0
"""Seconds for writing what waits at the end of the process."""
CLOSED: Final = "standard error was closed when the process started"
NOT_READ: Final = "standard error is not read, or too slowly"


class Lost(msgspec.Struct, frozen=True):
    """Log lines that were lost and not reported yet. All fields but `total` are empty if there are none.

    `reason`: a sentence for the operator. `total`: all lines that were lost since the start of the process.
    """

    count: int = 0
    since: datetime | None = None
    reason: str = ""
    total: int = 0


class StandardError(io.TextIOBase):
    """A text stream on a descriptor. `write` may be called from any thread, and from a destructor."""

    def __init__(
        self,
        descriptor: int | None,
        notice: Callable[[Lost], str],
        *,
        encoding: str = "utf-8",
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`descriptor`: None if it was closed when the process started. `notice`: the line that reports lost lines."""
        self._descriptor = descriptor
        self._notice = notice
        self._encoding = encoding
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        # Its `put` is reentrant, and so is the lock: a destructor may run in the thread that holds them, and log.
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()
        self._waiting_lines = 0
        self._waiting_bytes = 0
        self._lost = Lost()
        self._is_line_cut = False
        self._shared_lock: int | None = None
        self._thread: threading.Thread | None = None
        self._is_exiting = False

    def start(self) -> None:
        """From now on write in a thread, until the process ends."""
        if self._thread is None:
            # A daemon: the process must be able to end although the thread is stuck in a write.
            thread = threading.Thread(target=self._write_forever, name="standard error", daemon=True)
            thread.start()
            self._thread = thread
            atexit.register(self._exit)

    def share(self, lock: int) -> None:
        """Other processes write to the same descriptor. `lock`: a file's descriptor; all of them lock the file for each write.

        A pipe takes a short write as a whole, but not a long one while its reader is slow.
        """
        self._shared_lock = lock

    def wait_until_written(self, timeout: float) -> None:
        """Wait until all lines from before this call are written or lost, but not longer than `timeout` seconds."""
        if self._thread is not None:
            reached = threading.Event()
            self._queue.put(reached)
            reached.wait(timeout)

    @property
    def lost(self) -> Lost:
        """What is lost now."""
        return self._lost

    # The stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there, but not one that can be set
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "backslashreplace"

    def write(self, text: str) -> int:
        """Write the text, or put it into the queue, or count it as lost."""
        data = text.encode(self.encoding, self.errors)
        if self._is_exiting:
            self._write_if_possible(data)
        elif self._thread is None:
            self._write(data)
        elif self._has_taken_place(data):
            self._queue.put(data)
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no buffer, and Python's exit code would change if this failed."""

    def close(self) -> None:
        """Do nothing: standard error stays open until the process ends."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return super().fileno() if self._descriptor is None else self._descriptor

    def isatty(self) -> bool:
        return self._descriptor is not None and os.isatty(self._descriptor)

    # The queue

    def _has_taken_place(self, data: bytes) -> bool:
        with self._lock:
            is_empty = self._waiting_lines == 0
            fits = self._waiting_lines < self._max_lines and self._waiting_bytes + len(data) <= self._max_bytes
            if is_empty or fits:
                self._waiting_lines += 1
                self._waiting_bytes += len(data)
                return True
        self._lose(data, NOT_READ)
        return False

    def _write_forever(self) -> None:
        while True:
            data = self._queue.get()
            if isinstance(data, threading.Event):
                data.set()
                continue
            with self._lock:
                self._waiting_lines -= 1
                self._waiting_bytes -= len(data)
            # This thread must not end.
            with suppress(Exception):
                self._write(data)

    def _exit(self) -> None:
        self.wait_until_written(EXIT_TIMEOUT)
        # Python stops its daemon threads now, wherever they are: from here on, no lock is taken.
        self._is_exiting = True

    # The descriptor

    def _write(self, data: bytes) -> None:
        if reason := self._failure(data):
            self._lose(data, reason)
        elif self._lost.count and data.endswith(b"\n") and self._is_half_empty():
            self._report()

    def _failure(self, data: bytes) -> str:
        """Write all of the data. Returns why that failed; empty if it did not."""
        if self._descriptor is None:
            return CLOSED
        # A line that was cut by a failure gets its end, so that the next one is a line of its own.
        rest = whole = memoryview(b"\n" + data if self._is_line_cut else data)
        try:
            with self._turn():
                while rest:
                    rest = rest[_written(self._descriptor, rest) :]
        except OSError as error:
            return f"standard error cannot be written: {error.strerror}"
        finally:
            done = len(whole) - len(rest)
            if done:
                self._is_line_cut = bool(rest) and whole[done - 1] != ord("\n")
        return ""

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other process writes a line. If that is not possible, a torn line is better than none."""
        if self._shared_lock is None:
            yield
            return
        # The process must be able to end although another one is stopped in its turn.
        patience = fcntl.LOCK_NB if self._is_exiting else 0
        with suppress(OSError):
            fcntl.lockf(self._shared_lock, fcntl.LOCK_EX | patience)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.lockf(self._shared_lock, fcntl.LOCK_UN)

    def _write_if_possible(self, data: bytes) -> None:
        for start in range(0, len(data), select.PIPE_BUF):
            # A pipe that is writable takes so many bytes without blocking.
            if self._descriptor is not None and _is_writable(self._descriptor, timeout=0):
                self._failure(data[start : start + select.PIPE_BUF])

    def _lose(self, data: bytes, reason: str) -> None:
        lines = max(1, data.count(b"\n"))
        with self._lock:
            before = self._lost
            self._lost = Lost(before.count + lines, before.since or datetime.now(UTC), reason, before.total + lines)

    def _is_half_empty(self) -> bool:
        """Whether it is time for a report. If lines are read slowly, each line would be followed by one."""
        return self._waiting_lines <= self._max_lines // 2 and self._waiting_bytes <= self._max_bytes // 2

    def _report(self) -> None:
        reported = self._lost
        if not self._failure(self._notice(reported).encode(self.encoding, self.errors)):
            with self._lock:
                count, total = self._lost.count - reported.count, self._lost.total
                # Other threads may have lost more meanwhile.
                self._lost = Lost(count, datetime.now(UTC), self._lost.reason, total) if count else Lost(total=total)


def _written(descriptor: int, data: memoryview) -> int:
    """Write some of the data and return the number of bytes. Waits if the descriptor does not block. Raises OSError."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            _is_writable(descriptor)


def _is_writable(descriptor: int, timeout: float | None = None) -> bool:
    """Wait until the descriptor can be written, or has an error that a write shows. `timeout` in milliseconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(timeout))
