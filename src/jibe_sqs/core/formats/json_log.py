"""Base of the parsers for logs that are a stream of JSON objects. Line ends may be anywhere between and in the objects.

Usually each line is one object, and is decoded at once. If the decoder refuses a line, `JsonObjects` finds the objects in
the stream. A format may also have lines of text between the objects.
"""

import codecs
import re
from abc import abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.json_objects import JsonObjects
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line, LineLog
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, LOSSLESS
from jibe_sqs.core.model import Record

_LONG_LINE_SIZE: Final = 64 * 1024
"""Bytes. A longer line is parsed before it is complete, because it may contain many objects."""
_JSON: Final = re.compile(rb"(?:[\s,\[\]\x1e]|\xef\xbb\xbf)*+(?:\{|\Z)")
"""The beginning of a line of JSON."""


class _LongLine(Enum):
    """What was done with the beginning of a long line that is not complete yet."""

    NOT_BEGUN = 0
    JSON = 1
    SKIPPED = 2


class JsonLog(LineLog):
    """Parser of one log file. It keeps one line in memory, or one object over several lines."""

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        super().__init__(limits, bad)
        self._limit = limits.record_size
        self._objects = JsonObjects(limit=limits.record_size, is_entry=self.is_entry)
        self._rest = b""
        self._number, self._offset = 1, 0
        self._long_line = _LongLine.NOT_BEGUN

    decode: Callable[[bytes], Any]
    """Decodes an object of the usual form. Raises one of `DECODE_ERRORS` for any other text."""

    @abstractmethod
    def read_value(self, line: Line, value: Any) -> list[Record]:
        """The records of an object that `decode` accepts."""

    @abstractmethod
    def read_refused(self, line: Line) -> list[Record]:
        """The records of an object that `decode` refuses."""

    @staticmethod
    @abstractmethod
    def is_entry(value: object) -> bool:
        """Whether a value looks like an entry of the log. After a broken object, parsing continues at such a value."""

    def read_usual(self, text: bytes) -> list[Record] | None:
        """The records of a line that is a complete record in the usual form. None if only the other methods can decide."""

    def read_text(self, line: Line) -> list[Record]:
        """The records of a line of text."""
        raise line.malformed("not JSON")

    def is_text(self, line: bytes, *, is_json: bool, within: bool) -> bool:  # noqa: ARG002 - for other formats
        """Whether this is a line of text. `is_json`: it begins like JSON. `within`: it may be a part of a broken object."""
        return False

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        *ended, rest = (self._rest + text).split(b"\n")
        found: list[Record] = []
        is_between = self._long_line is _LongLine.NOT_BEGUN and self._objects.is_empty
        for each in ended:
            records = self.read_usual(each) if is_between and len(each) <= self._limit else None
            if records is not None:
                found += records
                self.recognised = True
                self._offset += len(each) + 1
            else:
                found += self._take(each, b"\n")
                self._long_line = _LongLine.NOT_BEGUN
                is_between = self._objects.is_empty
            self._number += 1
        if len(rest) > _LONG_LINE_SIZE:
            found += self._begin_long_line(rest)
        else:
            self._rest = rest
        return found

    def finish(self) -> list[Record]:
        """The records that were still incomplete. Raises a `LogError` if no record of the file has this format."""
        records = self.drain()
        self.check_recognised()
        return records

    def drain(self) -> list[Record]:
        """The records that were still incomplete. Does not check whether the file has records of this format."""
        rest, self._rest = self._rest, b""
        return self._take(rest) + self._flush()

    def read(self, line: Line) -> list[Record]:
        """The records of one object."""
        try:
            value = self.decode(line.text)
        except DECODE_ERRORS:
            return self.read_refused(line)
        return self.read_value(line, value)

    def _begin_long_line(self, rest: bytes) -> list[Record]:
        """The records that the beginning of a long line completes. The rest of it is kept."""
        self._rest = b""
        if self._long_line is _LongLine.SKIPPED:
            self._offset += len(rest)
            return []
        if self._long_line is _LongLine.NOT_BEGUN and self.is_text(rest, is_json=bool(_JSON.match(rest)), within=False):
            if len(rest) <= self._limit:
                self._rest = rest
                return []
            found = self._take(rest)
            self._long_line = _LongLine.SKIPPED
            return found
        _, end = codecs.utf_8_decode(rest, LOSSLESS, False)
        found = self._take(rest[:end])
        self._long_line = _LongLine.JSON
        self._rest = rest[end:]
        return found

    def _take(self, text: bytes, end: bytes = b"") -> list[Record]:
        """The records that this line completes, or this part of a line. `end`: the line end, if the text has one."""
        offset, self._offset = self._offset, self._offset + len(text) + len(end)
        if self._long_line is _LongLine.SKIPPED:
            return []
        is_empty = self._objects.is_empty
        if is_empty and (not text or text.isspace()):
            return []
        if self._long_line is _LongLine.NOT_BEGUN:
            is_json = _JSON.match(text) is not None
            if self.is_text(text, is_json=is_json, within=not is_empty):
                is_long = len(text) > self._limit
                line = Line(self._number, offset, b"" if is_long else text.removesuffix(b"\r"), self._limit * is_long)
                return self._flush() + self._records_of(line, self.read_text)
            if is_empty and len(text) <= self._limit:
                try:
                    value = self.decode(text)
                except DECODE_ERRORS:
                    pass
                else:
                    line = Line(self._number, offset, text)
                    return self._records_of(line, lambda line: self.read_value(line, value))
        self._objects.add(self._number, offset, text + end)
        return self._read(self._objects.cut())

    def _flush(self) -> list[Record]:
        return [] if self._objects.is_empty else self._read(self._objects.cut(final=True))

    def _read(self, pieces: list[Line]) -> list[Record]:
        return [record for piece in pieces for record in self._records_of(piece, self.read)]
