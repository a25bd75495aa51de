"""The certificates that SNS signs with, fetched from SNS and kept.

Whose they are is shown by where they come from: the address is SNS's own (`core.sns.CERTIFICATE`), and TLS proves it.
The certificate's own chain is not looked at, as in AWS's validators.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import httpx
import msgspec
from cachetools import TLRUCache
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import read_body
from jibe_sqs.concurrency.async_cache import AsyncCache
from jibe_sqs.core.errors import AnnouncementForged, SignatureUnavailable
from jibe_sqs.core.sns import CERTIFICATE, public_key

MAX_BYTES: Final = 64 * 1024
"""Bytes. They have two thousand or so."""
LIFETIME: Final = 86_400.0
"""Seconds for which a certificate is kept before it is fetched again."""
LIFETIME_IF_USELESS: Final = 60.0
"""Seconds for which an address without a certificate, or with an invalid one, is not fetched again."""
MAX_ADDRESSES: Final = 64
"""Addresses kept in memory. Anyone who can write to the queue can name any number of addresses."""
MAX_FETCHES: Final = 4
TIMEOUT: Final = 20.0
"""Seconds for all of one answer, however it trickles."""


class _Certificate(msgspec.Struct, frozen=True):
    """What is at an address: None if nothing is. `lifetime`: seconds for which this is kept."""

    pem: bytes | None
    lifetime: float


class SnsCertificates:
    """Public keys by their certificates' addresses. Raises `AnnouncementForged`, `SignatureUnavailable`."""

    def __init__(
        self,
        connections: Connections,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = connections
        self._now = now
        self._cache = AsyncCache[str, _Certificate](
            TLRUCache(MAX_ADDRESSES, ttu=lambda _, found, now: now + found.lifetime, timer=monotonic)
        )
        self._room = asyncio.Semaphore(MAX_FETCHES)

    async def key(self, address: str) -> RSAPublicKey:
        """The key of the certificate there, which is fetched once for all who ask at a time."""
        if not CERTIFICATE.fullmatch(address):
            raise AnnouncementForged(f"signed with a certificate that is not SNS's own: {address[:200]!r}")
        certificate = await self._cache.get(address, lambda: self._fetched(address))
        if certificate.pem is None:
            raise AnnouncementForged(f"signed with a certificate that SNS does not have: {address}")
        # Anew each time: what was valid when it was fetched may be so no more.
        return public_key(certificate.pem, self._now())

    async def _fetched(self, address: str) -> _Certificate:
        try:
            async with (
                self._room,
                asyncio.timeout(TIMEOUT),
                self._connections.one() as client,
                client.stream(
                    "GET", address, headers={"Accept-Encoding": "identity"}, follow_redirects=False
                ) as answer,
            ):
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return _Certificate(None, LIFETIME_IF_USELESS)
                if answer.status_code != httpx.codes.OK:
                    raise SignatureUnavailable(f"{address}: HTTP {answer.status_code}: may we reach it?")
                pem = await read_body(answer.aiter_raw(MAX_BYTES), MAX_BYTES)
                if len(pem) > MAX_BYTES:
                    raise SignatureUnavailable(f"{address}: more than {MAX_BYTES:,} bytes: that is no certificate")
        except TimeoutError as error:
            raise SignatureUnavailable(f"{address}: no end of the answer within {TIMEOUT:g} s") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise SignatureUnavailable(f"{address}: {type(error).__name__}: may we reach it?") from error
        return _Certificate(pem, self._lifetime(pem))

    def _lifetime(self, pem: bytes) -> float:
        """Seconds for which to keep it. A file that is not a valid certificate may be replaced soon."""
        try:
            public_key(pem, self._now())
        except AnnouncementForged:
            return LIFETIME_IF_USELESS
        return LIFETIME
