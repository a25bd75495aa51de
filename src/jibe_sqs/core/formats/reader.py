"""Reads one log file of any compression and format: chunks of bytes in, records out. The memory that it needs is bounded.

The format is decided by the object's key, else by the configuration of its source, else by the first bytes.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed
from jibe_sqs.core.formats.bad_records import BadRecords, OnBadRecord
from jibe_sqs.core.formats.decompressed import BLOCK, Decompressed, small_text
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits, MiB
from jibe_sqs.core.formats.registry import (
    BEGINNING_SIZE,
    FORMATS,
    MAX_DECOMPRESSED_SIZE,
    Parser,
    format_of,
    format_of_text,
)
from jibe_sqs.core.model import Record

RATIO_CHECKED_FROM: Final = 16 * MiB
"""Bytes of decompressed text. A smaller text is read, even if it is stored in very few bytes: padding and repeated records
expand a thousandfold. It is read in blocks, so it takes no more memory, only some seconds of CPU time at worst."""


class LogReader:
    """`feed` the file's chunks in order, then call `finish`. Both yield batches of records. Raises `LogError`s."""

    def __init__(
        self,
        key: str,
        limits: Limits,
        *,
        configured: Format | None = None,
        on_bad_record: OnBadRecord | None = None,
        hashed: bool = False,
        readers: bool = False,
    ) -> None:
        """`configured`, `on_bad_record`: the settings of the file's source. `hashed`: compute `sha256`.

        `readers`: records of reads have their caller, which takes time.
        """
        self.format = format_of(key) or configured
        self.records = 0
        self.stored = 0
        self._limits = limits
        self._on_bad_record = on_bad_record
        self._readers = readers
        self._hash = hashlib.sha256() if hashed else None
        self._whole: tuple[bytes, bytes] | None = None
        """The only chunk so far, and its text: probably the whole file."""
        self._text: Decompressed | None = None
        self._parser: Parser | None = None
        self._start = b""
        if self.format is not None:
            self._parser = self._choose(self.format)
        else:
            self.bad = BadRecords("reject")

    def feed(self, chunk: bytes) -> Iterator[list[Record]]:
        """The records that this chunk completes. A small file that is a single chunk is read by `finish`."""
        if not chunk:
            return iter(())
        is_first = not self.stored
        self.stored += len(chunk)
        if self.stored > self._limits.compressed_size:
            raise LogLimitExceeded(f"more than {self._limits.compressed_size:,} bytes stored")
        if is_first and len(chunk) <= BLOCK:
            text = small_text(chunk)
            if text is not None and len(text) <= self._decompressed_limit:
                self._whole = chunk, text
                return iter(())
        return self._stream(chunk)

    def finish(self) -> Iterator[list[Record]]:
        """The records that were still incomplete. Raises a `LogError` if the file cannot end here."""
        if self._whole is not None:
            return iter((self._read_whole(self._whole[1]),))
        return self._end_stream()

    def _read_whole(self, text: bytes) -> list[Record]:
        if self._hash is not None:
            self._hash.update(text)
        parser = self._parser or self._recognised(text)
        return self._counted(parser.whole(text))

    def _stream(self, chunk: bytes) -> Iterator[list[Record]]:
        if self._whole is not None:
            first, _ = self._whole
            self._whole = None
            yield from self._blocks(first, len(first))
        yield from self._blocks(chunk, self.stored)

    def _blocks(self, chunk: bytes, stored: int) -> Iterator[list[Record]]:
        """The records that each block of the chunk's text completes. `stored`: the size of the file up to this chunk."""
        text = self._decompressed
        for block in text.feed(chunk):
            if text.size > max(RATIO_CHECKED_FROM, stored * self._limits.ratio):
                raise LogLimitExceeded(f"expands to more than {self._limits.ratio} times its {stored:,} bytes")
            yield self._parsed(block)

    def _end_stream(self) -> Iterator[list[Record]]:
        for block in self._decompressed.finish():
            yield self._parsed(block)
        if self._parser is None:
            yield self._recognise(self._start)
        if self._parser is not None:
            yield self._counted(self._parser.finish())

    @property
    def sha256(self) -> str:
        """The hash of the decompressed text so far, in hexadecimal. Empty if the reader was made without `hashed`."""
        return self._hash.hexdigest() if self._hash is not None else ""

    def _parsed(self, text: bytes) -> list[Record]:
        if self._hash is not None:
            self._hash.update(text)
        if self._parser is not None:
            return self._counted(self._parser.feed(text))
        self._start += text
        return self._recognise(self._start) if len(self._start) >= BEGINNING_SIZE else []

    def _recognise(self, text: bytes) -> list[Record]:
        """Choose the format by the beginning of the text, and parse the text."""
        self._parser = self._recognised(text)
        self._start = b""
        return self._counted(self._parser.feed(text))

    def _recognised(self, text: bytes) -> Parser:
        found = format_of_text(text)
        if found is None:
            raise LogMalformed(f"the format is not recognised: the file begins with {text[:40]!r}")
        return self._choose(found)

    def _choose(self, format_: Format) -> Parser:
        spec = FORMATS[format_]
        self.format = format_
        self.bad = BadRecords(self._on_bad_record or spec.on_bad_record)
        if self._text is not None:
            self._text.limit = self._decompressed_limit
        return spec.parser(self._limits, self.bad, self._readers)

    @property
    def _decompressed(self) -> Decompressed:
        if self._text is None:
            self._text = Decompressed(limit=self._decompressed_limit)
        return self._text

    @property
    def _decompressed_limit(self) -> int:
        """Bytes of text."""
        default = MAX_DECOMPRESSED_SIZE if self.format is None else FORMATS[self.format].decompressed_size
        return self._limits.decompressed_size or default

    def _counted(self, records: list[Record]) -> list[Record]:
        self.records += len(records)
        if self.records > self._limits.records:
            raise LogLimitExceeded(f"more than {self._limits.records:,} records")
        return records
