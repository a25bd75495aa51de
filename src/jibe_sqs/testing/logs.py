"""A store of log files."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jibe_sqs.core.errors import LogMissing, LogStoreError
from jibe_sqs.core.model import LogFile


class _OpenLog:
    """The `Log` port: two chunks. `error` is raised between them."""

    def __init__(self, data: bytes, error: LogStoreError | None) -> None:
        self.etag = f"etag-{hash(data)}"
        self.size = len(data)
        self._data = data
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        half = len(self._data) // 2
        yield self._data[:half]
        await asyncio.sleep(0)
        if self._error:
            raise self._error
        yield self._data[half:]


class InMemoryLogStore:
    """The `LogStore` port. `objects` maps a bucket and a key to the bytes of the log file, compressed or not.

    Slow: `delay`, seconds until each `open` returns. Failing: `errors[key]` is raised by each open of that key, and
    `read_errors[key]` after the first half of its bytes. A key that is not in `objects` raises `LogMissing`.

    `opens` counts the opens of each key, `open_now` those that are not closed yet, and `max_open` is the largest number of
    files that were open at the same time.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.delay = 0.0
        self.errors: dict[str, Exception] = {}
        self.read_errors: dict[str, LogStoreError] = {}
        self.opens: Counter[str] = Counter()
        self.open_now = 0
        self.max_open = 0

    @asynccontextmanager
    async def open(self, file: LogFile) -> AsyncIterator[_OpenLog]:
        self.opens[file.key] += 1
        self.open_now += 1
        self.max_open = max(self.max_open, self.open_now)
        try:
            await asyncio.sleep(self.delay)
            if error := self.errors.get(file.key):
                raise error
            data = self.objects.get((file.bucket, file.key))
            if data is None:
                raise LogMissing(f"s3://{file.bucket}/{file.key} is not there")
            yield _OpenLog(data, self.read_errors.get(file.key))
        finally:
            self.open_now -= 1
