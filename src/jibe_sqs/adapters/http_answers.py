"""What all HTTP clients here read from an answer: the wish of its Retry-After header, and a body of limited size."""

import zlib
from collections.abc import AsyncIterable, Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds. A longer wish that is written in seconds counts as this one."""


PORTION: Final = 16 * 1024
"""Bytes of a decompressed body at a time."""


class BodyMalformed(ValueError):
    """A body is not what its Content-Encoding says, or has an encoding that was not asked for."""


class Decompression:
    """Cuts a body into small portions, and removes its Content-Encoding. Only gzip is understood, so ask for no other.

    The clients here would decompress each chunk at once: 64 KiB from the network may be 64 MiB then, or far more if a body
    is compressed several times.
    """

    def __init__(self, encoding: str) -> None:
        """`encoding`: the header's value. Raises `BodyMalformed` if it is not understood."""
        encoding = encoding.strip().lower()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise BodyMalformed("the body has an encoding that was not asked for")
        self._gzip = zlib.decompressobj(wbits=31) if encoding.endswith("gzip") else None

    def portions(self, chunk: bytes) -> Iterator[bytes]:
        """The portions of the next chunk. None of them is empty. Raises `BodyMalformed`."""
        if self._gzip is None:
            return _cut(chunk)
        return _expanded(self._gzip, chunk)


def _expanded(gzip: "zlib._Decompress", chunk: bytes) -> Iterator[bytes]:
    portion = b""
    # After a full portion, more output may be waiting although all of the chunk was taken.
    while (chunk or len(portion) == PORTION) and not gzip.eof:
        try:
            portion = gzip.decompress(chunk, PORTION)
        except zlib.error as error:
            raise BodyMalformed(str(error)) from error
        chunk = gzip.unconsumed_tail
        if portion:
            yield portion


def _cut(chunk: bytes) -> Iterator[bytes]:
    if len(chunk) <= PORTION:
        return iter((chunk,)) if chunk else iter(())
    return (chunk[at : at + PORTION] for at in range(0, len(chunk), PORTION))


async def read_body(chunks: AsyncIterable[bytes], limit: int) -> bytes:
    """Read a body to its end, but stop once it exceeds `limit` bytes.

    If the result is longer than `limit`, its end is missing.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


def retry_after(header: str | None, now: float) -> float | None:
    """The seconds that a Retry-After header asks for, from its number of seconds or its date.

    `now` is in seconds since the epoch; 0 if it is unknown. Returns None for a missing or malformed header, and for a
    date if `now` is unknown. Format: RFC 9110, section 10.2.3.
    """
    if header and header.strip().isdecimal():
        return min(float(header), MAX_RETRY_AFTER)
    when = http_date(header)
    return max(0.0, when - now) if when and now else None


def http_date(header: str | None) -> float | None:
    """The time of a header, in seconds since the epoch. Returns None if the header is missing or not a date."""
    try:
        when = parsedate_to_datetime(header or "")
        # HTTP's dates are UTC. The obsolete asctime form does not say so.
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
