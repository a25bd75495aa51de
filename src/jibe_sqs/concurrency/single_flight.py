"""One answer for all who ask the same thing at once, and never one that is older than the question."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from jibe_sqs.core.errors import JibeError

Answer = TypeVar("Answer")


class SingleFlight(Generic[Answer]):
    """Asks at a time of one key: the first asks, and all who came meanwhile share the next answer.

    An answer is good for those only who came before its asking began: it may not show what happened later.
    """

    def __init__(self) -> None:
        self._moments = itertools.count(1)
        self._keys: dict[Hashable, _Key[Answer]] = {}

    async def answer(self, key: Hashable, ask: Callable[[int], Awaitable[Answer]]) -> Answer:
        """What `ask`, begun from now on, returned or raised; it is given the number of those who wait for it."""
        of = self._keys.setdefault(key, _Key())
        came = next(self._moments)
        of.waiting += 1
        try:
            async with of.lock:
                if of.began < came:
                    await self._ask(of, ask)
                if of.error is not None:
                    # Many raise the same one, and each would add its own traceback to it.
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
        # Not if it was cancelled, or met a defect: then the next one asks.
        of.began, of.error = began, error


class _Key(Generic[Answer]):
    """Who asks for one thing, and what the last of them was answered, `began` being when that one began to ask."""

    answer: Answer

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.began = 0
        self.error: JibeError | None = None
