"""Bad files whose format does not matter: damaged compression, too much data, and files that are not logs."""

import bz2
import gzip
import io
import lzma
import zipfile
from functools import partial
from random import Random
from typing import Final

from backports import zstd

from jibe_sqs.core.formats.limits import MiB

from .cases import TRAIL, UNNAMED, Case, done, file, log, put, reject, retry, text

GOOD: Final = log(put())
STORED: Final = gzip.compress(text(put()), 0, mtime=0)
"""Level 0: every compression library gives the same bytes."""
compressed = partial(file, "Files: compression and size", TRAIL)
unnamed = partial(file, "Files: compression and size", UNNAMED)


def zipped() -> bytes:
    with zipfile.ZipFile(found := io.BytesIO(), "w") as archive:
        archive.writestr(zipfile.ZipInfo("log.json"), text(put()))
    return found.getvalue()


def ciphertext() -> bytes:
    return b"\x01\x02\x02\x00\x78" + Random(1).randbytes(2000)


def damaged(at: int) -> bytes:
    return STORED[:at] + b"x" + STORED[at + 1 :]


def padded(size: int) -> bytes:
    """The start of a log, with this many spaces in place of the first record."""
    return b'{"Records": [' + b" " * size


CASES: Final[list[Case]] = [
    compressed("empty", b"", retry("LogTruncated", "the file is empty")),
    compressed("one byte", b"\x1f", retry("LogTruncated", "ends in its first bytes")),
    compressed("gzip, truncated in its header", GOOD[:6], retry("LogTruncated", "the gzip data ends in a header")),
    compressed(
        "gzip, truncated in the middle", STORED[: len(STORED) // 2], retry("LogTruncated", "ends before its trailer")
    ),
    compressed("gzip, truncated in its trailer", GOOD[:-3], retry("LogTruncated", "ends before its trailer")),
    compressed("gzip with a changed byte", lambda: damaged(len(STORED) // 2), retry("LogCorrupt", "not valid gzip")),
    compressed(
        "a gzip header, and other data after it",
        GOOD[:10] + b"\xff" * 99,
        retry("LogCorrupt", "not valid gzip after 0 bytes"),
    ),
    compressed(
        "gzip with a wrong checksum", GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:], retry("LogCorrupt", "not valid gzip")
    ),
    compressed(
        "gzip with a header of 1 MiB",
        b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 900_000,
        retry("LogCorrupt", "a gzip header of more than 131,072 bytes"),
    ),
    compressed(
        "gzip with other data after it", GOOD + b"garbage", retry("LogCorrupt", "not gzip follows the gzip data")
    ),
    compressed("gzip with zeros after it", GOOD + bytes(512), done("refreshed: ")),
    compressed(
        "several gzip members",
        gzip.compress(text(put())[:99], mtime=0) + gzip.compress(text(put())[99:], mtime=0),
        done("refreshed: "),
    ),
    compressed(
        "gzip with a truncated second member", GOOD + GOOD[:20], retry("LogTruncated", "ends before its trailer")
    ),
    compressed("gzip of gzip", gzip.compress(GOOD, mtime=0), retry("LogMalformed", r"starts with b'\\x1f\\x8b")),
    compressed(
        "gzip of nothing", gzip.compress(b"", mtime=0), retry("LogTruncated", "the JSON ends before its 'Records'")
    ),
    compressed("text without compression", text(put()), done("refreshed: ")),
    compressed(
        "zstd, truncated in the middle",
        lambda: zstd.compress(text(put()))[:60],
        retry("LogTruncated", "the zstd data ends before its trailer"),
    ),
    compressed(
        "zstd with only a skippable frame",
        b"\x50\x2a\x4d\x18\x04\0\0\0skip",
        retry("LogMalformed", "not a JSON object"),
    ),
    compressed("zip", zipped, retry("LogMalformed", "not a JSON object .*starts with b'PK")),
    compressed(
        "bzip2", lambda: bz2.compress(text(put())), retry("LogMalformed", "not a JSON object .*starts with b'BZh")
    ),
    compressed("xz", lambda: lzma.compress(text(put())), retry("LogMalformed", "not a JSON object .*starts with ")),
    compressed("encrypted data", ciphertext, retry("LogMalformed", "not a JSON object")),
    compressed("a JPEG", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(999), retry("LogMalformed", "not a JSON object")),
    compressed(
        "3 MiB of spaces in 3 KiB of gzip",
        lambda: gzip.compress(padded(3 * MiB), mtime=0),
        retry("LogTruncated", "ends in the middle"),
    ),
    compressed(
        "a zstd bomb: 64 MiB of spaces",
        lambda: zstd.compress(padded(64 * MiB)),
        reject("LogLimitExceeded", "more than 4,194,304 bytes decompressed"),
    ),
    compressed(
        "more decompressed data than the limit",
        lambda: log(*[put()] * 4_000),
        reject("LogLimitExceeded", "more than 4,194,304 bytes decompressed"),
    ),
    compressed(
        "more stored data than the limit",
        lambda: b'{"Records": [' + b" " * MiB,
        reject("LogLimitExceeded", "more than 1,048,576 bytes stored"),
    ),
    unnamed(
        "a JPEG, and its key does not say the format",
        b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(9999),
        retry("LogMalformed", "the format is not recognised"),
    ),
    unnamed("empty, and its key does not say the format", b"", retry("LogTruncated", "the file is empty")),
    unnamed(
        "a web page, and its key does not say the format",
        b"<!DOCTYPE html><title>503</title>",
        retry("LogMalformed", "the format is not recognised: the file begins with b'<!DOCTYPE"),
    ),
]
