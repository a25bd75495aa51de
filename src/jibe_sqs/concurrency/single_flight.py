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
        self._keys: dict[Hashable, _Key[Answer]] = {}

    async def answer(self, key: Hashable, ask: Callable[[int], Awaitable[Answer]]) -> Answer:
        """Return or raise the result of a call of `ask` that begins from now on. `ask` gets the number of waiting callers."""
        of = self._keys.setdefault(key, _Key())
        came = next(self._moments)
        of.waiting += 1
        try:
            async with of.lock:
                if of.began < came:
                    await self._ask(of, ask)
                if of.error is not None:
                    # Many callers raise the same object, and each would add its own traceback to it.
                    raise of.error.with_traceback(None)
                return of.answer
        finally:
            of.waiting -= 1
            if not of.waiting:
                del self._keys[key]

    async def _ask(self, of: "_Key[Answer]", ask: Callable[[int], Awaitable[Answer]]) -> None:
        began = next(self._moments)
        error = None
        try:
            of.answer = await ask(of.waiting)
        except JibeError as failure:
            error = failure
        # Not reached if the call was cancelled or met a defect: then the next caller asks.
        of.began, of.error = began, error


class _Key(Generic[Answer]):
    """The callers of one key, and the last answer. `began`: when its call began."""

    answer: Answer

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.began = 0
        self.error: JibeError | None = None
