"""The targets for compressed data."""

import gzip
import random
import zlib
from functools import partial
from typing import Final

from backports import zstd

from jibe_sqs.core.errors import LogError
from jibe_sqs.core.formats.decompressed import BLOCK, Decompressed
from proof.fuzz.promises import check_peak, chunks_of, cut_of, is_prefix, promise, stretch

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"
MAGIC: Final = (GZIP, ZSTD)
SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Marks a zstd frame without data. We refuse such frames."""
MAX_TEXT: Final = 256 * 1024
"""Bytes of decompressed text."""


def decompressed(data: bytes) -> None:
    """Compressed data gives the same text as another library, or a `LogError`, and the same wherever it is cut."""
    whole, error = _decompress(data, len(data))
    for at in (cut_of(data), 1, max(0, len(data) - 1)):
        text, cut_error = _decompress(data, at)
        # If the data is damaged and also has too much text, the cut decides which is found first.
        alike = cut_error == error or {cut_error, error} == {"LogCorrupt", "LogLimitExceeded"}
        promise(alike, f"whole: {error or 'read'}; cut at {at}: {cut_error or 'read'}")
        promise(text == whole or (error != "" and is_prefix(text, whole)), f"cut at {at} it gives another text")
    if not error and data.startswith(GZIP):
        promise(whole == gzip.decompress(data), "the standard library gives another text")
    if data.startswith(ZSTD) and SKIPPABLE not in data:
        reference = _by_zstd(data)
        promise(reference is None or reference == whole or error != "", "libzstd gives another text")
    if stretched := stretch(data):
        check_peak(partial(_decompress_and_forget, stretched))


def _by_zstd(data: bytes) -> bytes | None:
    """The text by libzstd, in pieces. Given a whole frame, libzstd also accepts blocks that no compressor writes."""
    found = []
    try:
        while data:
            frame = zstd.ZstdDecompressor()
            found.append(frame.decompress(data[:5]))
            found.append(frame.decompress(data[5:]))
            if not frame.eof:
                return None
            data = frame.unused_data
    except (zstd.ZstdError, EOFError, MemoryError):
        return None
    return b"".join(found)


def recompressed(data: bytes) -> None:
    """Data that is compressed in pieces and decompressed is unchanged. Without its end it is a `LogError`."""
    chance = random.Random(zlib.crc32(data))
    kind = chance.choice(("gzip", "zstd"))
    pieces: list[bytes] = []
    rest = data
    while rest and len(pieces) < 5:
        at = chance.randint(1, len(rest))
        pieces.append(rest[:at])
        rest = rest[at:]
    text = b"".join(pieces)
    members = [_member(kind, piece, chance) for piece in pieces] or [_member(kind, b"", chance)]
    stored = members[0] + b"".join(b"\0" * chance.choice((0, 0, 1, 9)) + each for each in members[1:])
    whole, error = _decompress(stored, len(stored))
    promise(not error, f"our own {kind} data is refused: {error}")
    promise(whole == text, "decompressing gives another text")
    short = stored[: chance.randrange(len(stored))]
    for at in (cut_of(short), len(short)):
        part, error = _decompress(short, at)
        promise(is_prefix(part, text), "decompressing its beginning gives another text")
        promise(error in ("", "LogTruncated"), f"its beginning gives {error}")
        promise(
            error != "" or part != text or len(short) >= len(stored) - len(members[-1]), "a missing end is not found"
        )
    broken = bytearray(stored)
    broken[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
    decompressed(bytes(broken))


def _member(kind: str, text: bytes, chance: random.Random) -> bytes:
    if kind == "zstd":
        level, checksum = chance.randint(-5, 9), chance.randint(0, 1)
        parameter = zstd.CompressionParameter
        return zstd.compress(text, options={parameter.compression_level: level, parameter.checksum_flag: checksum})
    flags = chance.choice((0, 0, 0, 31)) & chance.randrange(32) & ~1
    extra = chance.randbytes(chance.choice((0, 3, 300)))
    header = b"\x1f\x8b\x08" + bytes((flags,)) + b"\0\0\0\0\0\xff"
    header += (len(extra).to_bytes(2, "little") + extra) if flags & 4 else b""
    header += b"a-name.json\0" if flags & 8 else b""
    header += b"a comment\0" if flags & 16 else b""
    header += (zlib.crc32(header) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    deflate = zlib.compressobj(chance.randint(0, 9), zlib.DEFLATED, -15)
    at = chance.randint(0, len(text))
    body = deflate.compress(text[:at]) + deflate.flush(chance.choice((zlib.Z_SYNC_FLUSH, zlib.Z_NO_FLUSH)))
    body += deflate.compress(text[at:]) + deflate.flush()
    return header + body + zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")


def _decompress(data: bytes, at: int) -> tuple[bytes, str]:
    stream, found = Decompressed(limit=MAX_TEXT), []
    error = ""
    try:
        for chunk in (data[:at], data[at:]):
            for block in stream.feed(chunk):
                promise(len(block) <= BLOCK, f"a block of {len(block)} bytes")
                found.append(block)
        found += stream.finish()
    except LogError as raised:
        str(raised).encode()
        error = type(raised).__name__
    text = b"".join(found)
    promise(len(text) <= MAX_TEXT, "more text than the limit")
    return text, error


def _decompress_and_forget(data: bytes) -> None:
    stream = Decompressed(limit=1024 * 1024 * 1024)
    try:
        for chunk in chunks_of(data):
            for _ in stream.feed(chunk):
                pass
        for _ in stream.finish():
            pass
    except LogError:
        pass
