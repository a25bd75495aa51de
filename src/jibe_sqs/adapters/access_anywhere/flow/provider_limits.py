"""Limits of single providers: how many of their refreshes run at a time, and how many calls a second these make.

They count beside the limits of the whole server. Slots of a provider are given in the same order as those of the server.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.core.pauses import provider_named, provider_of
from jibe_sqs.ports import Clock

UNLIMITED = 1_000_000
"""Slots of a provider without a limit of its own."""


@dataclass(frozen=True, slots=True)
class ProviderLimit:
    """`concurrency`: refreshes at a time. `calls_per_second`: of these refreshes. None for no limit."""

    concurrency: int | None = None
    calls_per_second: float | None = None


class ProviderLimits:
    """The limits of all providers that have some."""

    def __init__(self, clock: Clock, limits: Mapping[str, ProviderLimit] | None = None) -> None:
        """`limits`: by the names of providers."""
        self._clock = clock
        self._limited: dict[str, _Limited] = {}
        self.reconfigure(limits or {})

    def reconfigure(self, limits: Mapping[str, ProviderLimit]) -> None:
        """Other limits count from now on. What runs goes on to its end."""
        wanted = {provider_named(name): limit for name, limit in limits.items()}
        for name in self._limited.keys() - wanted.keys():
            self._limited.pop(name).change(ProviderLimit())
        for name, limit in wanted.items():
            if name not in self._limited:
                self._limited[name] = _Limited(self._clock)
            self._limited[name].change(limit)

    @asynccontextmanager
    async def slot(self, path: str, cost: float, newest: float) -> AsyncIterator[None]:
        """Hold a slot of the provider that shows this folder. `cost`, `newest`: as for `AdaptiveConcurrency.slot`."""
        limited = self._limited.get(provider_of(path)) if self._limited else None
        if limited is None:
            yield
            return
        async with limited.slots.slot(cost, newest):
            yield

    @contextmanager
    def paced(self, path: str) -> Iterator[None]:
        """Calls of this task, and of tasks that it creates, count for the provider that shows this folder."""
        limited = self._limited.get(provider_of(path)) if self._limited else None
        token = _PROVIDER.set(limited)
        try:
            yield
        finally:
            _PROVIDER.reset(token)


class _Limited:
    """One provider. Its parts stay the same through changes of its limits, because tasks wait for them."""

    def __init__(self, clock: Clock) -> None:
        self.slots = AdaptiveConcurrency(1, clock=clock)
        self.limiter: AsyncLimiter | None = None

    def change(self, limit: ProviderLimit) -> None:
        self.slots.reconfigure(limit.concurrency or UNLIMITED)
        rate = limit.calls_per_second
        # Evenly spaced, as all calls.
        self.limiter = AsyncLimiter(1, 1 / rate) if rate else None


_PROVIDER: ContextVar[_Limited | None] = ContextVar("provider", default=None)
"""The provider that a task works for. None if it has no limits."""


async def turn_of_provider() -> None:
    """Wait until the provider that this task works for may be called."""
    limited = _PROVIDER.get()
    if limited is not None and limited.limiter is not None:
        await limited.limiter.acquire()
