"""Connections to one server, each a client of httpx's with a pool of one.

A pool of httpx's looks through all of its connections whenever one of them begins or ends its work, and asks the system
about each that is idle: with dozens, that costs more than the calls themselves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import httpx

from jibe_sqs.adapters.authorities import trusted
from jibe_sqs.core.errors import SettingsError

KEEP_ALIVE: Final = 5.0
"""Seconds for which a connection that nobody uses is kept, as httpx does by itself."""
PROXIES_UNUSABLE: Final = (
    "the environment's proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) cannot be used: a proxy is an "
    "address such as http://proxy.example.com:3128, not of SOCKS, with %2F for a / in its password"
)


class Connections:
    """As many as are in use at a time: how many these may be is for others to say. Proxies come from the environment."""

    def __init__(self, **options: Any) -> None:
        """The options of each client. Raises `SettingsError` for proxies or certificates that cannot be used."""
        if "verify" not in options:
            # Once: to read the certificates takes longer than all the rest of a client.
            options["verify"] = trusted()
        self._options = options
        # The one used last is the next: so those that are too many grow old, the oldest first.
        self._idle: deque[tuple[httpx.AsyncClient, float]] = deque([(self._made(), _now())])

    async def __aenter__(self) -> Self:
        """Nothing is connected yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all. Nobody uses one any more."""
        await self._close_older_than(float("inf"))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one call, to its end. One whose call failed is not used again."""
        client = self._idle.pop()[0] if self._idle else self._made()
        try:
            yield client
        except BaseException:
            # Through a proxy, one whose encryption was refused stays in its pool for ever: encode/httpcore#1023.
            await client.aclose()
            raise
        now = _now()
        self._idle.append((client, now))
        await self._close_older_than(now - KEEP_ALIVE)

    def _made(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
        try:
            return httpx.AsyncClient(limits=limits, **self._options)
        except (httpx.InvalidURL, ValueError, ImportError):
            # Its own words may quote a password.
            raise SettingsError([PROXIES_UNUSABLE]) from None

    async def _close_older_than(self, moment: float) -> None:
        while self._idle and self._idle[0][1] < moment:
            client, _ = self._idle.popleft()
            await client.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()
