"""Text in blocks, lines out: for formats of a record a line."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Kind, ObjectEvent, Record

RECOGNISED_WITHIN: Final = 20
"""Lines. A file that starts with so many bad ones, and no good one, is of another format."""


UNLISTED: Final = {Kind.WRITTEN: Kind.WRITTEN_UNLISTED, Kind.DELETED: Kind.DELETED_UNLISTED}
"""The kind of an event whose key cannot be read: everything in its bucket is stale."""


class Line(NamedTuple):
    """One line, without its end. `number` counts from 1; `offset` is of its first byte in the decompressed text."""

    number: int
    offset: int
    text: bytes

    def malformed(self, reason: str, field: str = "") -> RecordMalformed:
        """The error to raise for this line. `field`: the one that cannot be read, if it is one field."""
        return RecordMalformed(f"line {self.number}: {reason}", index=self.number, offset=self.offset, field=field)


class Lines:
    """`feed` blocks of text, in order, then `finish`; both give lines. Empty lines count, and are not given.

    A line ends with a newline, or with the file; a carriage return before it is of the end. Raises `LogLimitExceeded`
    for a line longer than the limit, in bytes, as soon as that is known.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._number = 0
        self._offset = 0

    def feed(self, text: bytes) -> list[Line]:
        """The lines that this block completes."""
        *ended, rest = text.split(b"\n")
        if not ended:
            self._keep(rest)
            return []
        ended[0] = b"".join([*self._rest, ended[0]])
        self._rest, self._rest_size = [], 0
        lines = [line for text in ended if (line := self._line(text, 1)) is not None]
        self._keep(rest)
        return lines

    def finish(self) -> list[Line]:
        """A last line that no newline ends."""
        rest, self._rest = b"".join(self._rest), []
        line = self._line(rest, 0) if rest else None
        return [line] if line else []

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._rest.append(rest)
            self._rest_size += len(rest)
        if self._rest_size > self._limit:
            raise self._too_long(self._rest_size)

    def _line(self, text: bytes, end: int) -> Line | None:
        if len(text) > self._limit:
            raise self._too_long(len(text))
        self._number += 1
        offset, self._offset = self._offset, self._offset + len(text) + end
        text = text.removesuffix(b"\r")
        return Line(self._number, offset, text) if text else None

    def _too_long(self, size: int) -> LogLimitExceeded:
        return LogLimitExceeded(f"line {self._number + 1} is longer than {self._limit:,} bytes ({size:,} so far)")


class LineLog(ABC):
    """A log of a record a line. `feed` its text, decompressed, in order, then `finish`; both give its records.

    Raises `LogError`s only. Bad lines are counted, and the others read; but a file without a single good line is no log
    of this format: it would look like one that was read.
    """

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        self._lines = Lines(limit=limits.record_size)
        self._longest_key = limits.key_length
        self._bad = bad
        self._recognised = False
        self._bad_at_start = 0
        self._first_reason = ""

    @abstractmethod
    def read(self, line: Line) -> list[Record]:
        """What one line says. Raises `line.malformed(…)`."""

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        return self._records(self._lines.feed(text))

    def finish(self) -> list[Record]:
        """The record of a last line that no newline ends."""
        records = self._records(self._lines.finish())
        if self._bad_at_start and not self._recognised:
            raise self._unrecognised()
        return records

    def _records(self, lines: list[Line]) -> list[Record]:
        found: list[Record] = []
        for line in lines:
            if not line.text.isspace():
                found += self._records_of(line, self.read)
        return found

    def _records_of(self, line: Line, read: Callable[[Line], list[Record]]) -> list[Record]:
        """What one line says by `read`; nothing if it is bad, which is counted."""
        try:
            records = read(line)
            self._recognised = True
        except RecordMalformed as error:
            self._bad.found(error)
            if not self._recognised:
                self._bad_at_start += 1
                self._first_reason = self._first_reason or str(error)
                if self._bad_at_start == RECOGNISED_WITHIN:
                    raise self._unrecognised() from error
            return []
        # A record that asks for nothing is never an error: anybody may ask for a key that no store would take.
        if any(len(each.key) > self._longest_key and isinstance(each, ObjectEvent) for each in records):
            return self._without_long_keys(line, records)
        return records

    def _without_long_keys(self, line: Line, records: list[Record]) -> list[Record]:
        """The records, with all of the bucket in place of each key that is too long: these make the line bad."""
        found: list[Record] = []
        reason = ""
        for each in records:
            kept = each
            if isinstance(each, ObjectEvent) and len(each.key) > self._longest_key:
                reason = reason or f"a {each.name[:40]} of a key of {len(each.key):,} characters"
                kept = msgspec.structs.replace(each, kind=UNLISTED[each.kind], key="", version=None)
            if kept not in found:
                found.append(kept)
        self._bad.found(line.malformed(reason, "key"))
        return found

    def _unrecognised(self) -> LogMalformed:
        return LogMalformed(f"none of {self._bad_at_start} lines is a record of this format: {self._first_reason}")
