"""What all HTTP clients here read from an answer: the wish of its Retry-After header, and a body of limited size."""

from collections.abc import AsyncIterable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds. A longer wish that is written in seconds counts as this one."""


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
