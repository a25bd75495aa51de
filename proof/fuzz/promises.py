"""What the targets share: the promises that an answer must keep, and inputs that are cut or stretched."""

import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import orjson

from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.model import ObjectEvent, Unchanged
from jibe_sqs.core.plan import Plan

STRETCHED_SIZE: Final = 12 * 1024 * 1024
"""The least number of bytes of a stretched input, unless it is compressed."""
STRETCHED_INTERVAL: Final = 4096
"""One of this many inputs is stretched, because that takes as long as hundreds of other inputs."""
MAX_MEMORY: Final = 8 * 1024 * 1024
"""Bytes in use for a stretched input, as Python counts them: a few blocks, all of tiny lines, and the last ids."""
DECISIONS: Final = Decisions()


class BrokenPromise(AssertionError):
    """The answer to an input breaks a promise."""


def promise(kept: bool, otherwise: str) -> None:
    """Raise `BrokenPromise` with the text `otherwise` unless the promise is kept."""
    if not kept:
        raise BrokenPromise(otherwise)


def cut_of(data: bytes) -> int:
    """Where to cut an input: at any place, but always at the same place for the same input."""
    return zlib.crc32(data) % (len(data) + 1)


def stretch(data: bytes) -> bytes:
    """The input with a part of it repeated many times, for a few inputs. Empty for all others."""
    chance = zlib.crc32(data, 1)
    if chance % STRETCHED_INTERVAL or not data:
        return b""
    start = (chance >> 8) % len(data)
    end = min(len(data), start + 1 + (chance >> 16) % (len(data) - start))
    return data[:start] + data[start:end] * (STRETCHED_SIZE // (end - start) + 1) + data[end:]


def check_peak(read: Callable[[], None]) -> None:
    """Check the memory that reading takes."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        read()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    promise(peak - before <= MAX_MEMORY, f"reading took {peak - before:,} bytes of memory")


def chunks_of(data: bytes) -> Iterator[bytes]:
    """The chunks that can be read within one second. Tracing the memory makes reading slow."""
    end = time.monotonic() + 1
    for at in range(0, len(data), 64 * 1024):
        if time.monotonic() > end:
            break
        yield data[at : at + 64 * 1024]


def is_prefix(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def check_record(record: object) -> None:
    """Check that all code after the parsers can handle a record: its texts can be encoded, and its time formatted."""
    promise(isinstance(record, ObjectEvent | Unchanged), f"{record!r} is not a record")
    if not isinstance(record, ObjectEvent | Unchanged):
        return
    orjson.dumps([record.bucket, record.key, record.event_id, record.name])
    datetime.fromtimestamp(record.time, UTC).isoformat()
    if isinstance(record, ObjectEvent):
        promise(bool(record.bucket), "an event without a bucket")
        promise(bool(record.key) or record.kind.is_unlisted, "an event without a key")
        actor = record.actor
        orjson.dumps([actor.principal, actor.access_key, actor.session_issuer, actor.source_address, actor.user_agent])
    Plan().add(record, DECISIONS.decide(record))
