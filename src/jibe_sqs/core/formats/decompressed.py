"""Compressed chunks in, text out, a block at a time, however much a chunk expands to.

A gzip file may have several members, one after the other; one that ends before its trailer is an error, not an end.
Whether the bytes are gzip at all is told by their first two, not by a name or a header: some HTTP layers gunzip by
themselves what has `Content-Encoding: gzip`.
"""

from collections.abc import Iterator

from isal import igzip_lib

from jibe_sqs.core.errors import LogCorrupt, LogLimitExceeded, LogTruncated

GZIP = b"\x1f\x8b"
_HCRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
HEADER_LIMIT = 128 * 1024
"""Bytes of a member's header: its extra field has up to 64 KiB, and who writes longer names is up to something."""
BLOCK = 64 * 1024
"""Bytes of output at a time: the fastest in our measurements, and what bounds the memory."""
STEP = 16 * 1024
"""Bytes of input at a time: the decompressor copies what it could not use yet."""


class Decompressed:
    """`feed` chunks, in order, then `finish`. Both raise `LogCorrupt`, `LogTruncated`, `LogLimitExceeded`."""

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes of output."""
        self.size = 0
        self._limit = limit
        self._start = b""
        self._gzipped: bool | None = None
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._unused = b""
        self._members = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The blocks of output that this chunk makes possible."""
        if self._gzipped is None:
            self._start += chunk
            if len(self._start) < len(GZIP):
                return
            chunk, self._start = self._start, b""
            self._gzipped = chunk.startswith(GZIP)
        blocks = self._gunzip(chunk) if self._gzipped else self._cut(chunk)
        for block in blocks:
            self.size += len(block)
            if self.size > self._limit:
                raise LogLimitExceeded(f"more than {self._limit:,} bytes decompressed")
            yield block

    def finish(self) -> Iterator[bytes]:
        """What is left. An empty file is a truncated one."""
        if self._gzipped is None:
            if not self._start:
                raise LogTruncated("the file is empty")
            if self._start == GZIP[:1]:
                raise LogTruncated("the file ends after one byte")
            yield self._start
        elif self._gzipped and self._member is not None:
            raise LogTruncated(f"the gzip data ends before its trailer, after {self.size:,} bytes decompressed")
        elif self._gzipped and self._start:
            raise LogTruncated(f"the gzip data ends in a member's header, after {self.size:,} bytes decompressed")

    def _cut(self, chunk: bytes) -> Iterator[bytes]:
        for at in range(0, len(chunk), BLOCK):
            yield chunk[at : at + BLOCK]

    def _gunzip(self, chunk: bytes) -> Iterator[bytes]:
        view = memoryview(chunk)
        for at in range(0, len(view), STEP):
            data = bytes(view[at : at + STEP])
            while data:
                if self._member is None:
                    data = self._next_member(data)
                if self._member is None:
                    break
                yield from self._expand(self._member, data)
                data = self._unused
        # A member may end exactly with the chunk; then the next chunk starts the next one.

    def _next_member(self, data: bytes) -> bytes:
        """Start a member. Zero padding between and after members is allowed, as by every gzip."""
        data = self._start + data
        self._start = b""
        if self._members:
            data = data.lstrip(b"\0")
        if len(data) < len(GZIP) and GZIP.startswith(data):
            self._start = data
            return b""
        if not data.startswith(GZIP):
            raise LogCorrupt("something that is not gzip follows the gzip data")
        # isal loses its place in a header of several fields, or with a checksum, that comes in pieces: it gets it whole.
        if not _has_whole_header(data):
            if len(data) > HEADER_LIMIT:
                raise LogCorrupt(f"a gzip header of more than {HEADER_LIMIT:,} bytes")
            self._start = data
            return b""
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return data

    def _expand(self, member: igzip_lib.IgzipDecompressor, data: bytes) -> Iterator[bytes]:
        try:
            block = member.decompress(data, BLOCK)
            while block:
                yield block
                if member.eof or member.needs_input:
                    break
                block = member.decompress(b"", BLOCK)
        except igzip_lib.IsalError as error:  # type: ignore[misc]
            raise LogCorrupt(f"not valid gzip after {self.size:,} bytes decompressed: {error}") from error
        self._unused = b""
        if member.eof:
            self._unused = member.unused_data
            self._member = None
            self._members += 1


def _has_whole_header(member: bytes) -> bool:
    """Whether nothing is missing of the header that a member begins with. Format: RFC 1952."""
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
