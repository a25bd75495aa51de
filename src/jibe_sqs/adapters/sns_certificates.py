"""Fetches the certificates with which SNS signs, and caches them.

A certificate is trusted because of its address: `core.sns.signed` accepts only SNS's own hosts, and TLS authenticates
the host. The certificate's own chain is not verified, as in AWS's validators.
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
from jibe_sqs.core.sns import Signed, public_key

MAX_BYTES: Final = 64 * 1024
"""Bytes of a certificate. Real ones have about two thousand."""
LIFETIME: Final = 86_400.0
"""Seconds for which a certificate is kept before it is fetched again."""
LIFETIME_IF_USELESS: Final = 60.0
"""Seconds for which an address without a certificate, or with an invalid one, is not fetched again."""
MAX_ADDRESSES: Final = 64
"""Addresses kept in memory. Anyone who can write to the queue can name any number of addresses."""
MAX_FETCHES: Final = 4
TIMEOUT: Final = 20.0
"""Seconds for one whole answer, also if it arrives slowly."""


class _Certificate(msgspec.Struct, frozen=True):
    """The file at an address. `pem`: None if there is no file. `lifetime`: seconds for which this is cached."""

    pem: bytes | None
    lifetime: float


class SnsCertificates:
    """The public keys of messages. Raises `AnnouncementForged`, `SignatureUnavailable`."""

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

    async def key(self, message: Signed) -> RSAPublicKey:
        """The key of the certificate that the message names. Callers at the same time share one fetch."""
        address = message.certificate
        certificate = await self._cache.get(address, lambda: self._fetched(address))
        if certificate.pem is None:
            raise AnnouncementForged(f"signed with a certificate that SNS does not have: {address}")
        # Checked each time: the certificate may have expired since it was fetched.
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
                    raise SignatureUnavailable(
                        f"{address}: HTTP {answer.status_code}: does a proxy or a firewall block it?"
                    )
                pem = await read_body(answer.aiter_raw(MAX_BYTES), MAX_BYTES)
                if len(pem) > MAX_BYTES:
                    raise SignatureUnavailable(f"{address}: more than {MAX_BYTES:,} bytes: not a certificate")
        except TimeoutError as error:
            raise SignatureUnavailable(f"{address}: the answer is not complete after {TIMEOUT:g} s") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise SignatureUnavailable(
                f"{address}: {type(error).__name__}: does a proxy or a firewall block it?"
            ) from error
        return _Certificate(pem, self._lifetime(pem))

    def _lifetime(self, pem: bytes) -> float:
        """Seconds for which to keep it. A file that is not a valid certificate may be replaced soon."""
        try:
            public_key(pem, self._now())
        except AnnouncementForged:
            return LIFETIME_IF_USELESS
        return LIFETIME
