"""Decompresses a log file: compressed chunks in, blocks of text out. A block is small even if a chunk expands very much.

A file may have several members (gzip) or frames (zstd), one after the other. If one of them ends before its trailer, that
is an error, not the end of the file. The first bytes show the compression. Names and headers do not count: some HTTP
layers decompress a body with `Content-Encoding: gzip` by themselves.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from backports import zstd
from isal import igzip_lib

from jibe_sqs.core.errors import LogCorrupt, LogLimitExceeded, LogTruncated

_GZIP: Final = b"\x1f\x8b"
_HCRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
HEADER_LIMIT = 128 * 1024
"""Bytes of a member's header. Its extra field has up to 64 KiB. A header with much longer names is an attack."""
BLOCK = 64 * 1024
"""Bytes of output at a time. It bounds the memory, and was the fastest size in our measurements."""
_TINY: Final = 8 * 1024
"""Bytes of a text that zlib expands in less time than isal, whose state is large."""
_ZLIB_GZIP: Final = 31
"""`wbits` of zlib for the format of gzip."""
STEP = 16 * 1024
"""Bytes of input at a time. The decompressor copies the input that it has not used yet."""


class _Member(Protocol):
    """An incremental decompressor, with the interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes: ...


class _Compression(NamedTuple):
    name: str
    magic: bytes
    member: Callable[[], _Member]
    has_whole_header: Callable[[bytes], bool]


class Decompressed:
    """`feed` chunks in order, then call `finish`. Both raise `LogCorrupt`, `LogTruncated`, `LogLimitExceeded`."""

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes of output. It may be changed between two chunks."""
        self.size = 0
        self.limit = limit
        self._start = b""
        self._is_recognised = False
        self._compression: _Compression | None = None
        self._member: _Member | None = None
        self._unused = b""
        self._members = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The blocks of output that this chunk completes."""
        if not self._is_recognised:
            self._start += chunk
            if any(each.magic.startswith(self._start) and each.magic != self._start for each in _COMPRESSIONS):
                return
            chunk, self._start = self._start, b""
            self._compression = next((each for each in _COMPRESSIONS if chunk.startswith(each.magic)), None)
            self._is_recognised = True
        compression = self._compression
        for block in self._cut(chunk) if compression is None else self._expanded(compression, chunk):
            self.size += len(block)
            if self.size > self.limit:
                raise LogLimitExceeded(f"more than {self.limit:,} bytes decompressed")
            yield block

    def finish(self) -> Iterator[bytes]:
        """The rest of the output. Raises `LogTruncated` if the file cannot end here. An empty file is truncated."""
        if not self._is_recognised:
            if not self._start:
                raise LogTruncated("the file is empty")
            raise LogTruncated("the file ends in its first bytes")
        if self._compression is None:
            return
        if self._member is not None:
            raise LogTruncated(
                f"the {self._compression.name} data ends before its trailer, after {self.size:,} bytes decompressed"
            )
        if self._start:
            raise LogTruncated(
                f"the {self._compression.name} data ends in a header, after {self.size:,} bytes decompressed"
            )
        yield from ()

    def _cut(self, chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), BLOCK):
            yield chunk[at : at + BLOCK]

    def _expanded(self, compression: _Compression, chunk: bytes) -> Iterator[bytes]:
        view = memoryview(chunk)
        for at in range(0, len(view), STEP):
            data = bytes(view[at : at + STEP])
            while data:
                if self._member is None:
                    data = self._next_member(compression, data)
                if self._member is None:
                    break
                yield from self._expand(compression, self._member, data)
                data = self._unused
        # If a member ends exactly with the chunk, the next chunk starts the next member.

    def _next_member(self, compression: _Compression, data: bytes) -> bytes:
        """Start a member. Zero padding between and after members is allowed, as in every implementation of gzip."""
        data = self._start + data
        self._start = b""
        if self._members:
            data = data.lstrip(b"\0")
        if len(data) < len(compression.magic) and compression.magic.startswith(data):
            self._start = data
            return b""
        if not data.startswith(compression.magic):
            raise LogCorrupt(f"something that is not {compression.name} follows the {compression.name} data")
        if not compression.has_whole_header(data):
            if len(data) > HEADER_LIMIT:
                raise LogCorrupt(f"a {compression.name} header of more than {HEADER_LIMIT:,} bytes")
            self._start = data
            return b""
        self._member = compression.member()
        return data

    def _expand(self, compression: _Compression, member: _Member, data: bytes) -> Iterator[bytes]:
        try:
            block = member.decompress(data, BLOCK)
            while block:
                yield block
                if member.eof or member.needs_input:
                    break
                block = member.decompress(b"", BLOCK)
        except (igzip_lib.IsalError, zstd.ZstdError) as error:  # type: ignore[misc]
            raise LogCorrupt(f"not valid {compression.name} after {self.size:,} bytes decompressed: {error}") from error
        self._unused = b""
        if member.eof:
            self._unused = member.unused_data
            self._member = None
            self._members += 1


def small_text(stored: bytes) -> bytes | None:
    """The text of bytes that may be a whole file, in one step.

    None if the text has more than `BLOCK` bytes, and whenever only `Decompressed` can decide: the file has several members,
    is not complete or not valid, or has another compression than gzip.
    """
    if not stored.startswith(_GZIP):
        is_text = bool(stored) and not any(
            stored.startswith(each.magic) or each.magic.startswith(stored) for each in _COMPRESSIONS
        )
        return stored if is_text and len(stored) <= BLOCK else None
    # The last four bytes are the size of the text, if the file has one member. If not, an attempt is useless or slower.
    size = int.from_bytes(stored[-4:], "little")
    if size > BLOCK or not _has_whole_header(stored):
        return None
    member: Any = zlib.decompressobj(_ZLIB_GZIP) if size <= _TINY else _gzip_member()
    try:
        text: bytes = member.decompress(stored, BLOCK)
    except (zlib.error, igzip_lib.IsalError):  # type: ignore[misc]
        return None
    return text if member.eof and not member.unused_data else None


def _has_whole_header(member: bytes) -> bool:
    """Whether the header of a gzip member is complete. Format: RFC 1952.

    isal fails on a header in pieces if it has several fields or a checksum. So it gets the header in one piece.
    """
    if len(member) < 10:
        return False
    flags, end = member[3], 10
    if flags & _EXTRA:
        end += 2 + int.from_bytes(member[end : end + 2], "little")
    for text in (_NAME, _COMMENT):
        if flags & text:
            end = member.find(b"\0", end) + 1
            if not end:
                return False
    return end + (2 if flags & _HCRC else 0) <= len(member)


def _gzip_member() -> _Member:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


class _ZstdFrame:
    """A zstd frame that gives the same result in one piece and in several.

    libzstd has a second code path for a frame in one piece. It refuses a frame whose last block is empty and leaves out
    text, which the streaming path accepts. So libzstd gets the header alone first, which selects the streaming path, and
    this class compares the size with the header.
    """

    def __init__(self) -> None:
        self._frame = zstd.ZstdDecompressor()
        self._expected: int | None = None
        self._size = 0
        self._has_started = False

    @property
    def eof(self) -> bool:
        return self._frame.eof

    @property
    def needs_input(self) -> bool:
        return self._frame.needs_input

    @property
    def unused_data(self) -> bytes:
        return self._frame.unused_data

    def decompress(self, data: bytes, max_length: int = -1, /) -> bytes:
        if not self._has_started:
            self._has_started = True
            self._expected = zstd.get_frame_info(data).decompressed_size
            end = _frame_header_size(data)
            self._frame.decompress(data[:end])
            data = data[end:]
        text = self._frame.decompress(data, max_length)
        self._size += len(text)
        if self.eof and self._expected not in (None, self._size):
            raise zstd.ZstdError(f"the frame has {self._size:,} bytes, but its header says {self._expected:,}")
        return text


def _frame_header_size(frame: bytes) -> int:
    """Bytes of the header of a zstd frame. The first five bytes show it. Format: RFC 8878."""
    if len(frame) < 5:
        return 5
    size_flag, is_single, dictionary_flag = frame[4] >> 6, frame[4] >> 5 & 1, frame[4] & 3
    size = 1 if is_single and not size_flag else (0, 2, 4, 8)[size_flag]
    return 5 + (not is_single) + (0, 1, 2, 4)[dictionary_flag] + size


_COMPRESSIONS = (
    _Compression("gzip", _GZIP, lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), _has_whole_header),
    _Compression("zstd", b"\x28\xb5\x2f\xfd", _ZstdFrame, lambda frame: len(frame) >= _frame_header_size(frame)),
)
