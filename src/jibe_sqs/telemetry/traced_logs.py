"""A log store that makes spans: `fetch`, from the request to the last byte, and `parse`, from the first byte to the end.

The records are read while the bytes arrive, so the two overlap if a log file has several chunks.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Self

from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Log, LogStore
from jibe_sqs.telemetry.tracing import Span, Tracer, fail


class TracedLogs(LogStore):
    """The `LogStore` port, on another one. The span `parse` is the current one from the first chunk to the end."""

    def __init__(self, logs: LogStore, tracer: Tracer) -> None:
        self._logs = logs
        self._tracer = tracer

    def open(self, file: LogFile) -> AbstractAsyncContextManager[Log]:
        """Open a file for reading."""
        if self._tracer.spans.here() is None:
            return self._logs.open(file)
        return _TracedOpening(self._logs.open(file), file, self._tracer)


class _TracedOpening(AbstractAsyncContextManager[Log]):
    def __init__(self, opening: AbstractAsyncContextManager[Log], file: LogFile, tracer: Tracer) -> None:
        self._opening = opening
        self._file = file
        self._tracer = tracer
        self._log: _TracedLog | None = None

    async def __aenter__(self) -> Log:
        fetch = self._tracer.fetch(self._file)
        try:
            log = await self._opening.__aenter__()
        except BaseException as error:
            if isinstance(error, Exception):
                fail(fetch, error)
            fetch.end()
            raise
        self._log = _TracedLog(log, self._file, fetch, self._tracer)
        return self._log

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._opening.__aexit__(kind, error, trace)
        finally:
            if self._log is not None:
                self._log.end(error)


class _TracedLog(Log):
    def __init__(self, log: Log, file: LogFile, fetch: Span, tracer: Tracer) -> None:
        self.etag = log.etag
        self.size = log.size
        self._chunks: AsyncIterator[bytes] = aiter(log)
        self._file = file
        self._tracer = tracer
        self._fetch = fetch
        self._is_broken = False
        self._bytes = 0
        self._last: int | None = None
        self._parse: Span | None = None
        self._current: AbstractContextManager[object] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._is_broken = True
            fail(self._fetch, error)
            raise
        self._bytes += len(chunk)
        self._last = time.time_ns()
        if self._parse is None:
            self._parse = self._tracer.parse(self._file, self._last)
            self._current = self._tracer.spans.current(self._parse)
            self._current.__enter__()
        return chunk

    def end(self, error: BaseException | None) -> None:
        """End both spans. `error`: what ended the block."""
        self._fetch.note({"jibe.bytes": self._bytes})
        self._fetch.end(None if self._is_broken else self._last)
        if self._current is not None:
            self._current.__exit__(None, None, None)
        if self._parse is not None:
            if isinstance(error, Exception) and not self._is_broken:
                fail(self._parse, error)
            self._parse.end()
