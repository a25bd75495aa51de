"""One log file, whatever its compression and format: chunks of bytes in, records out, in bounded memory.

Its format is told by its key's name first, then by what the operator says of the source, then by its first bytes.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed
from jibe_sqs.core.formats.access_log import AccessLog
from jibe_sqs.core.formats.audit_log import AuditLog
from jibe_sqs.core.formats.bad_records import BadRecords, OnBadRecord
from jibe_sqs.core.formats.cloudtrail import CloudTrailLog
from jibe_sqs.core.formats.decompressed import Decompressed
from jibe_sqs.core.formats.limits import GiB, Limits
from jibe_sqs.core.log_names import Format, format_of
from jibe_sqs.core.model import Record


class Parser(Protocol):
    """A format: text in, records out."""

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""

    def finish(self) -> list[Record]:
        """Those that were still open. The text must end here, and rightly."""


PARSERS: Final[dict[Format, Callable[[Limits, BadRecords], Parser]]] = {
    Format.CLOUDTRAIL: CloudTrailLog,
    Format.AUDIT_LOG: AuditLog,
    Format.ACCESS_LOG: AccessLog,
}

DEFAULT_ON_BAD_RECORD: Final[dict[Format, OnBadRecord]] = {
    Format.CLOUDTRAIL: "reject",
    Format.AUDIT_LOG: "skip",
    Format.ACCESS_LOG: "skip",
}

DECOMPRESSED_SIZE: Final = {
    Format.CLOUDTRAIL: 2 * GiB,
    Format.AUDIT_LOG: 16 * GiB,
    Format.ACCESS_LOG: 16 * GiB,
}
"""Limits where the operator sets none: CloudTrail's files are of 50 MB at most, Lyve's of 500 MB, and expand tenfold."""

_LOOK: Final = 4096
"""Bytes of text that are enough to tell a format."""
_SMALL: Final = 1024 * 1024
"""Bytes of text that are no bomb, however few are stored."""
_BEGINNINGS: Final = (
    (re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"Records"\s*:'), Format.CLOUDTRAIL),
    (
        # JSON: `operation` and `bucket_name` (or the like), and not an audit log's fields.
        re.compile(
            rb'(?is)(?:\xef\xbb\xbf)?[\s\x1e]*(?:\[\s*)?\{(?!.*?"(?:auditEntry|api)"\s*:)(?=.*?\\?"operation\\?"\s*:)'
            rb'(?=.*?\\?"(?:source)?[-_ ]?bucket[-_ ]?(?:name|arn)?\\?"\s*:)'
        ),
        Format.ACCESS_LOG,
    ),
    (
        # `Records` after other fields, and not an audit log's fields.
        re.compile(rb'(?s)(?:\xef\xbb\xbf)?\s*\{(?!.*?"(?:auditEntry|api)"\s*:).*?"Records"\s*:\s*\['),
        Format.CLOUDTRAIL,
    ),
    (re.compile(rb"(?:\xef\xbb\xbf)?[\s\x1e]*(?:\[\s*)?\{"), Format.AUDIT_LOG),
    (re.compile(rb"\S+[ \t]+\S+[ \t]+\[\d\d/[A-Z][a-z]{2}/\d{4}:|PAR1"), Format.ACCESS_LOG),
)


class LogReader:
    """`feed` a file's chunks, in order, then `finish`; both give its records, a batch at a time. Raises `LogError`s."""

    def __init__(
        self,
        key: str,
        limits: Limits,
        *,
        configured: Format | None = None,
        on_bad_record: OnBadRecord | None = None,
        hashed: bool = False,
    ) -> None:
        """`configured`, `on_bad_record`: what the operator says of the source, if anything. `hashed`: keep a `sha256`."""
        self.format = format_of(key) or configured
        self.bad = BadRecords("reject")
        self.records = 0
        self._limits = limits
        self._on_bad_record = on_bad_record
        self.stored = 0
        self._hash = hashlib.sha256() if hashed else None
        self._text = Decompressed(limit=limits.decompressed_size or max(DECOMPRESSED_SIZE.values()))
        self._parser: Parser | None = None
        self._start = b""
        if self.format is not None:
            self._choose(self.format)

    def feed(self, chunk: bytes) -> Iterator[list[Record]]:
        """The records that this chunk completes."""
        self.stored += len(chunk)
        if self.stored > self._limits.compressed_size:
            raise LogLimitExceeded(f"more than {self._limits.compressed_size:,} bytes stored")
        for block in self._text.feed(chunk):
            if self._text.size > max(_SMALL, self.stored * self._limits.ratio):
                raise LogLimitExceeded(f"expands to more than {self._limits.ratio} times its {self.stored:,} bytes")
            yield self._parsed(block)

    def finish(self) -> Iterator[list[Record]]:
        """What was left open. The file must end here, and rightly."""
        for block in self._text.finish():
            yield self._parsed(block)
        if self._parser is None:
            yield self._told(self._start)
        if self._parser is not None:
            yield self._counted(self._parser.finish())

    @property
    def sha256(self) -> str:
        """Of the decompressed text so far, in hex; empty unless asked for."""
        return self._hash.hexdigest() if self._hash is not None else ""

    def _parsed(self, text: bytes) -> list[Record]:
        if self._hash is not None:
            self._hash.update(text)
        if self._parser is not None:
            return self._counted(self._parser.feed(text))
        self._start += text
        return self._told(self._start) if len(self._start) >= _LOOK else []

    def _told(self, text: bytes) -> list[Record]:
        """Choose the format by how the text begins, and read on with it."""
        found = next((format_ for beginning, format_ in _BEGINNINGS if beginning.match(text, 0, _LOOK)), None)
        if found is None:
            raise LogMalformed(f"of no format that we know: it begins with {text[:40]!r}")
        self._start = b""
        return self._counted(self._choose(found).feed(text))

    def _choose(self, format_: Format) -> Parser:
        self.format = format_
        self.bad = BadRecords(self._on_bad_record or DEFAULT_ON_BAD_RECORD[format_])
        self._text.limit = self._limits.decompressed_size or DECOMPRESSED_SIZE[format_]
        self._parser = PARSERS[format_](self._limits, self.bad)
        return self._parser

    def _counted(self, records: list[Record]) -> list[Record]:
        self.records += len(records)
        if self.records > self._limits.records:
            raise LogLimitExceeded(f"more than {self._limits.records:,} records")
        return records
