"""Base of the parsers for log files with independent records: lines, bad records, and recognition of the format."""

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
    """One line without its end, or another part of the text that is one record.

    `number`: of the line where it begins, from 1. `offset`: of its first byte in the decompressed text. `limit`: the limit
    in bytes that the text exceeds. Then the text is not kept. 0 if it does not exceed a limit.
    """

    number: int
    offset: int
    text: bytes
    limit: int = 0

    def malformed(self, reason: str, field: str = "") -> RecordMalformed:
        """The error for this line. `field`: the field that cannot be read, if the reason is a single field."""
        return RecordMalformed(f"line {self.number}: {reason}", index=self.number, offset=self.offset, field=field)


class LineLog(ABC):
    """Parser of one log file. `feed` its decompressed text in order, then call `finish`. Both return records.

    Raises only `LogError`s. Bad records are counted, and the others are read. But a file in which not a single record has
    this format is refused: otherwise it would look like a file that was read.
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
        """The records that were still incomplete."""

    def whole(self, text: bytes) -> list[Record]:
        """The records of a text that is the whole file."""
        return self.feed(text) + self.finish()

    def check_recognised(self) -> None:
        """Raise a `LogError` if not a single record in the whole file has this format."""
        if self._refused and not self.recognised:
            reason = f"0 of {self._refused:,} lines are records of this format: {self._first_reason}"
            # If all records are too long, reading the file again does not help.
            raise LogLimitExceeded(reason) if self._too_long == self._refused else LogMalformed(reason)

    def without_bucket(self, line: Line, reason: str, field: str = "") -> RecordMalformed:
        """The error for a record of this format that does not name its bucket."""
        self.recognised = True
        return line.malformed(reason, field)

    def _records_of(self, line: Line, read: Callable[[Line], list[Record]]) -> list[Record]:
        """The records that `read` finds in one line. If the line is bad, it is counted and gives no records."""
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
        # Only events count: a caller may ask for a key that is too long for every store, and that is not an error.
        if any(len(each.key) > self._max_key_length and isinstance(each, ObjectEvent) for each in records):
            return self._without_long_keys(line, records)
        return records

    def _without_long_keys(self, line: Line, records: list[Record]) -> list[Record]:
        """The records, with the whole bucket in place of each key that is too long. Such a line also counts as bad."""
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
