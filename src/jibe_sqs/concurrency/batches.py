"""Batches: one call for up to ten items, as SQS offers, without a wait for items that cannot come."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """`add` waits for the answer about its own item, independent of the other items in its batch."""

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[Sequence[Exception | None]]],
        *,
        size: int = 10,
        linger: float = 0.05,
        expected: Callable[[], int] | None = None,
    ) -> None:
        """`send` returns None or an error for each item, in order. `linger`: seconds to wait for a full batch.

        `expected`: the number of items that are added already, and not answered yet, or that may be added soon. A batch of all
        of them does not wait.
        """
        self._send = send
        self._size = size
        self._linger = linger
        self._expected = expected
        self._in_flight = 0
        """Items that are being sent."""
        self._open: list[tuple[T, asyncio.Future[None]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def add(self, item: T) -> None:
        """Return when the batch of this item was sent. Raises the error of this item."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._open.append((item, answer))
        if len(self._open) >= self._size or self._is_complete():
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(self._linger, self._flush)
        await answer

    async def finished(self) -> None:
        """Send the open batch, and wait for all calls in flight, also for those whose callers were cancelled."""
        self._flush()
        if self._sending:
            await asyncio.wait(self._sending)

    def _is_complete(self) -> bool:
        return self._expected is not None and len(self._open) >= self._expected() - self._in_flight

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._open = self._open, []
        if batch:
            task = asyncio.create_task(self._send_batch(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _send_batch(self, batch: "list[tuple[T, asyncio.Future[None]]]") -> None:
        outcomes: Sequence[BaseException | None]
        self._in_flight += len(batch)
        try:
            outcomes = await self._send([item for item, _ in batch])
            if len(outcomes) != len(batch):
                raise ValueError(f"{len(outcomes)} answers for {len(batch)} items")
        except BaseException as error:  # noqa: BLE001 - raised by each waiting `add`
            outcomes = [error] * len(batch)
        self._in_flight -= len(batch)
        for (_, answer), outcome in zip(batch, outcomes, strict=True):
            if answer.done():
                continue  # its caller was cancelled
            if outcome is None:
                answer.set_result(None)
            else:
                answer.set_exception(outcome)
