"""One answer for all callers that ask the same question at once, and never an answer older than the question."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from jibe_sqs.core.errors import JibeError

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """At most one call at a time for each key. The first caller makes it; callers that come meanwhile share the next one.

    An answer serves only the callers that came before its call began: it may not show what happened later.
    """

    def __init__(self) -> None:
        self._moments = itertools.count(1)
        self._flights: dict[Hashable, _Flight[Answer]] = {}

    async def answer(self, key: Hashable, ask: Callable[[int], Awaitable[Answer]]) -> Answer:
        """Return or raise the result of a call of `ask` that begins from now on. `ask` gets the number of waiting callers."""
        flight = self._flights.setdefault(key, _Flight())
        came = next(self._moments)
        flight.waiting += 1
        try:
            async with flight.lock:
                if flight.began < came:
                    await self._ask(flight, ask)
                if flight.error is not None:
                    # Many callers raise the same object, and each would add its own traceback to it.
                    raise flight.error.with_traceback(None)
                return flight.answer
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[key]

    async def _ask(self, flight: "_Flight[Answer]", ask: Callable[[int], Awaitable[Answer]]) -> None:
        began = next(self._moments)
        error = None
        try:
            flight.answer = await ask(flight.waiting)
        except JibeError as failure:
            error = failure
        # Not reached if the call was cancelled or met a defect: then the next caller asks.
        flight.began, flight.error = began, error


class _Flight(Generic[Answer]):
    """The callers of one key, and the last answer. `began`: when its call began."""

    answer: Answer

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.began = 0
        self.error: JibeError | None = None
