"""The certificates that SNS signs with, fetched from SNS and kept.

Whose they are is shown by where they come from: the address is SNS's own (`core.sns.CERTIFICATE`), and TLS proves it.
The certificate's own chain is not looked at, as in AWS's validators.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from weakref import WeakValueDictionary

import httpx
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import read_body
from jibe_sqs.core.errors import AnnouncementForged, SignatureUnavailable
from jibe_sqs.core.sns import CERTIFICATE, public_key

LARGEST: Final = 64 * 1024
"""Bytes. They have two thousand or so."""
KEPT: Final = 86_400.0
"""Seconds: then a certificate is fetched anew."""
KEPT_WRONG: Final = 60.0
"""Seconds for which an address with no certificate, or a useless one, is not asked again."""
MOST: Final = 64
"""Addresses that are remembered: whoever writes to the queue may name as many as he likes."""
AT_A_TIME: Final = 4
TIMEOUT: Final = 20.0
"""Seconds for all of one answer, however it trickles."""


class _Known(msgspec.Struct, frozen=True):
    pem: bytes | None
    until: float


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
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._room = asyncio.Semaphore(AT_A_TIME)

    async def key(self, address: str) -> RSAPublicKey:
        """The key of the certificate there, which is fetched once for all who ask at a time."""
        if not CERTIFICATE.fullmatch(address):
            raise AnnouncementForged(f"signed with a certificate that is not SNS's own: {address[:200]!r}")
        lock = self._fetching.get(address) or self._fetching.setdefault(address, asyncio.Lock())
        async with lock:
            known = self._known.get(address)
            if known is None or self._monotonic() >= known.until:
                known = await self._fetched(address)
                self._known[address] = known
                self._known.move_to_end(address)
                while len(self._known) > MOST:
                    self._known.popitem(last=False)
        if known.pem is None:
            raise AnnouncementForged(f"signed with a certificate that SNS does not have: {address}")
        # Anew each time: what was valid when it was fetched may be so no more.
        return public_key(known.pem, self._now())

    async def _fetched(self, address: str) -> _Known:
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
                    return _Known(None, self._monotonic() + KEPT_WRONG)
                if answer.status_code != httpx.codes.OK:
                    raise SignatureUnavailable(f"{address}: HTTP {answer.status_code}: may we reach it?")
                pem = await read_body(answer.aiter_raw(LARGEST), LARGEST)
                if len(pem) > LARGEST:
                    raise SignatureUnavailable(f"{address}: more than {LARGEST:,} bytes: that is no certificate")
        except TimeoutError as error:
            raise SignatureUnavailable(f"{address}: no end of the answer within {TIMEOUT:g} s") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise SignatureUnavailable(f"{address}: {type(error).__name__}: may we reach it?") from error
        return _Known(pem, self._monotonic() + self._worth(pem))

    def _worth(self, pem: bytes) -> float:
        """For how long to keep it, in seconds: not what proves nothing, for it may be mended."""
        try:
            public_key(pem, self._now())
        except AnnouncementForged:
            return KEPT_WRONG
        return KEPT
