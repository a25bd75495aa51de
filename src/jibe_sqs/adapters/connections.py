"""Connections to one server. Each is an httpx client with a pool of one connection.

At the beginning and the end of each request, a pool of httpx goes through all its connections, and asks the system about
each idle one. With dozens of connections, that costs more than the requests themselves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import httpx

from jibe_sqs.adapters.authorities import trusted
from jibe_sqs.adapters.proxies import UNUSABLE
from jibe_sqs.core.errors import SettingsError

KEEP_ALIVE: Final = 5.0
"""Seconds for which an idle connection is kept. httpx's default."""


class Connections:
    """As many connections as callers use at a time; it sets no limit. Proxies come from the environment."""

    def __init__(self, **options: Any) -> None:
        """`options`: of each httpx client. Raises `SettingsError` for proxies or certificates that cannot be used."""
        if "verify" not in options:
            # Shared: reading the certificates takes longer than everything else about a client.
            options["verify"] = trusted()()
        self._options = options
        # The connection used last is used next, so surplus ones grow old, and the oldest is the first.
        self._idle: deque[tuple[httpx.AsyncClient, float]] = deque([(self._made(), _now())])

    async def __aenter__(self) -> Self:
        """Connections are opened later, when they are used."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all. The caller uses no connection any more."""
        await self._close_older_than(float("inf"))

    @asynccontextmanager
    async def one(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client for one request. A client whose request failed is closed."""
        client = self._idle.pop()[0] if self._idle else self._made()
        try:
            yield client
        except BaseException:
            # After a failed TLS handshake through a proxy, a connection never leaves its pool: encode/httpcore#1023.
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
            # The error's text may contain a password.
            raise SettingsError([UNUSABLE]) from None

    async def _close_older_than(self, moment: float) -> None:
        while self._idle and self._idle[0][1] < moment:
            client, _ = self._idle.popleft()
            await client.aclose()


def _now() -> float:
    return asyncio.get_running_loop().time()
