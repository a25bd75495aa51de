"""A cache fetches a missing value once for all callers that wait for it."""

import asyncio

import pytest
from cachetools import LRUCache, TTLCache

from jibe_sqs.concurrency.async_cache import AsyncCache
from jibe_sqs.core.errors import LogStoreUnavailable


class Store:
    """Answers with the number of the fetch, after `go` is set."""

    def __init__(self):
        self.fetches = 0
        self.go = asyncio.Event()
        self.go.set()
        self.error = None

    async def fetch(self):
        self.fetches += 1
        number = self.fetches
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_callers_at_the_same_time_share_one_fetch(flow):
    """Also callers that come while the fetch runs, and after a caller was cancelled while it waited."""
    store, cache = Store(), AsyncCache(LRUCache(10))
    store.go.clear()
    early = [asyncio.create_task(cache.get("key", store.fetch)) for _ in range(10)]
    await flow.settled()
    late = [asyncio.create_task(cache.get("key", store.fetch)) for _ in range(10)]
    await flow.settled()
    early[5].cancel()
    store.go.set()
    outcomes = await asyncio.gather(*early, *late, return_exceptions=True)
    assert {outcome for outcome in outcomes if isinstance(outcome, int)} == {1}
    assert store.fetches == 1
    assert not cache._fetches._flights


async def test_a_value_is_fetched_again_after_its_lifetime():
    now = 0.0
    store, cache = Store(), AsyncCache(TTLCache(10, ttl=60, timer=lambda: now))
    assert [await cache.get("key", store.fetch) for _ in range(2)] == [1, 1]
    now = 60.0
    assert await cache.get("key", store.fetch) == 2


async def test_a_value_that_the_cache_does_not_keep_is_still_returned():
    store, cache = Store(), AsyncCache(TTLCache(10, ttl=0))
    assert [await cache.get("key", store.fetch) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(("error", "fetches"), [(LogStoreUnavailable("503"), 2), (ZeroDivisionError(), 11)])
async def test_an_error_is_not_cached(flow, error, fetches):
    """Callers that wait share one of our errors. After any other error, each caller fetches for itself."""
    store, cache = Store(), AsyncCache(LRUCache(10))
    store.error = error
    store.go.clear()
    waiting = [asyncio.create_task(cache.get("key", store.fetch)) for _ in range(11)]
    await flow.settled()
    store.go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {type(error)}
    assert store.fetches == fetches
    store.error = None
    assert await cache.get("key", store.fetch) == fetches + 1
