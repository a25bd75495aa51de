"""A cache whose missing values are fetched once for all callers that wait for them."""

from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from typing import Generic, TypeVar

from jibe_sqs.concurrency.single_flight import SingleFlight

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class AsyncCache(Generic[Key, Value]):
    """`values`, usually a cache of cachetools, decides how many values are kept and for how long."""

    def __init__(self, values: MutableMapping[Key, Value]) -> None:
        self.values = values
        self._fetches: SingleFlight[Value] = SingleFlight()

    async def get(self, key: Key, fetch: Callable[[], Awaitable[Value]]) -> Value:
        """The cached value, or else what `fetch` returns, which is cached. Errors are raised and not cached."""

        async def cached_or_fetched(_: int) -> Value:
            # The caller before this one may have fetched it.
            if (value := self.values.get(key)) is None:
                value = self.values[key] = await fetch()
            return value

        return await self._fetches.answer(key, cached_or_fetched)
