"""The records of a log file whose records do not depend on each other, and what makes it a log of its format."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed, RecordMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.s3_calls import UNLISTED
from jibe_sqs.core.model import ObjectEvent, Record


class Line(NamedTuple):
    """One line, without its end, or a part of the text that is one record.

    `number`: of the line where it begins, from 1. `offset`: of its first byte in the decompressed text. `limit`: what it
    exceeds, in bytes; then its text is not kept.
    """

    number: int
    offset: int
    text: bytes
    limit: int = 0

    def malformed(self, reason: str, field: str = "") -> RecordMalformed:
        """The error to raise for this line. `field`: the one that cannot be read, if it is one field."""
        return RecordMalformed(f"line {self.number}: {reason}", index=self.number, offset=self.offset, field=field)


class LineLog(ABC):
    """A log of records. `feed` its text, decompressed, in order, then `finish`; both give its records.

    Raises `LogError`s only. Bad records are counted, and the others read. But a file of which no record is of this format
    is refused: otherwise it would look like one that was read.
    """

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        self._max_key_length = limits.key_length
        self._bad = bad
        self.recognised = False
        self._too_long = 0
        self._refused = 0
        self._first_reason = ""

    @abstractmethod
    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""

    @abstractmethod
    def finish(self) -> list[Record]:
        """The records that were still open."""

    def check_recognised(self) -> None:
        """Raise an error if nothing in the whole file is of this format."""
        if self._refused and not self.recognised:
            reason = f"none of {self._refused:,} lines is a record of this format: {self._first_reason}"
            # A file whose records are all too long would be the same when it is read again.
            raise LogLimitExceeded(reason) if self._too_long == self._refused else LogMalformed(reason)

    def without_bucket(self, line: Line, reason: str, field: str = "") -> RecordMalformed:
        """The error to raise for a record of this format that does not name its bucket."""
        self.recognised = True
        return line.malformed(reason, field)

    def _records_of(self, line: Line, read: Callable[[Line], list[Record]]) -> list[Record]:
        """What one line says by `read`; nothing if it is bad, which is counted."""
        try:
            if line.limit:
                self._too_long += 1
                raise line.malformed(f"a record of more than {line.limit:,} bytes")
            records = read(line)
            self.recognised = True
        except RecordMalformed as error:
            self._bad.found(error)
            self._refused += 1
            self._first_reason = self._first_reason or str(error)
            return []
        # A record that asks for nothing is never an error: anybody may ask for a key that no store would take.
        if any(len(each.key) > self._max_key_length and isinstance(each, ObjectEvent) for each in records):
            return self._without_long_keys(line, records)
        return records

    def _without_long_keys(self, line: Line, records: list[Record]) -> list[Record]:
        """The records, with all of the bucket in place of each key that is too long: these make the line bad."""
        found: list[Record] = []
        reason = ""
        for each in records:
            kept = each
            if isinstance(each, ObjectEvent) and len(each.key) > self._max_key_length:
                reason = reason or f"a {each.name[:40]} of a key of {len(each.key):,} characters"
                kept = msgspec.structs.replace(each, kind=UNLISTED[each.kind], key="", version=None)
            if kept not in found:
                found.append(kept)
        self._bad.found(line.malformed(reason, "key"))
        return found
