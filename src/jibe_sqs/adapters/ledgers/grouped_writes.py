"""Writes that wait at the same time share one transaction, and so one fsync."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

Row = tuple[Any, ...]
Rows = Mapping[str, Sequence[Row]]
"""Statement -> the values for each time that it is executed."""


class GroupedWrites:
    """Runs one transaction at a time. What is added meanwhile is collected for the next one.

    So a write in a quiet time begins at once, and in a busy time the transactions become as large as they need to be.
    """

    def __init__(self, write: Callable[[Rows], Awaitable[None]]) -> None:
        """`write` runs a transaction that writes all rows, or none."""
        self._write = write
        self._rows: dict[str, list[Row]] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._working: asyncio.Task[None] | None = None

    @property
    def are_finished(self) -> bool:
        """Whether no transaction runs or waits."""
        return self._working is None

    def add(self, statement: str, row: Row) -> "asyncio.Future[None]":
        """Add a row. The future is done when the row is on the disk, or has the error of its transaction."""
        rows = self._rows.get(statement)
        if rows is None:
            rows = self._rows[statement] = []
        rows.append(row)
        return self.flush()

    def flush(self) -> "asyncio.Future[None]":
        """Begin a transaction soon, also if there are no rows. The future is done with this transaction."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(written)
        if self._working is None:
            # The task begins in the next turn of the event loop: what is added in this turn shares its transaction.
            self._working = asyncio.create_task(self._work(), name="ledger writes")
        return written

    async def _work(self) -> None:
        try:
            while self._waiting:
                rows, self._rows = self._rows, {}
                waiting, self._waiting = self._waiting, []
                await self._transaction(rows, waiting)
        finally:
            self._working = None

    async def _transaction(self, rows: Rows, waiting: "Sequence[asyncio.Future[None]]") -> None:
        try:
            await self._write(rows)
        except asyncio.CancelledError:
            for written in waiting:
                written.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised by each waiting write
            for written in waiting:
                if not written.done():
                    written.set_exception(error)
        else:
            for written in waiting:
                if not written.done():  # its caller was not cancelled
                    written.set_result(None)
