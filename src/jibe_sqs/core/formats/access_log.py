"""S3 server access logs: text lines, as S3 writes them, or JSON, as CloudWatch Logs delivers them. One file may have both.

A record has the time when the request began. The event gets the time when the request ended, because a refresh during a
long upload did not see the new object.
"""

import re
from typing import Any, Final

import msgspec

from jibe_sqs.core.errors import LogMalformed, RecordMalformed
from jibe_sqs.core.formats.access_log_json import JsonRequests, is_entry, loose_object
from jibe_sqs.core.formats.access_log_lines import TextRequests, names_operation
from jibe_sqs.core.formats.access_log_records import SeenChanges
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.json_log import JsonLog
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.model import Record

PARQUET: Final = b"PAR1"
_MAX_NESTING: Final = 4
"""Levels of messages inside messages."""
_TEXT: Final = re.compile(rb"\S+[ \t]+\S+[ \t]+\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:")
"""The beginning of a line of text. It is also searched for after a broken object."""


class AccessLog(JsonLog):
    """Parser of one log file. It remembers the ids of the last changes. `readers`: records of reads have their caller."""

    decode = msgspec.json.Decoder(dict[str, Any]).decode

    def __init__(
        self,
        limits: Limits,
        bad: BadRecords,
        readers: bool = False,
        changes: SeenChanges | None = None,
        level: int = 0,
    ) -> None:
        """`changes`, `level`: for a log inside a message. The changes of the outer log, and the depth of nesting."""
        super().__init__(limits, bad)
        self._limits = limits
        self._readers = readers
        self._level = level
        self._changes = changes or SeenChanges()
        self._json = JsonRequests(self._changes, bad, self.without_bucket, self._nested, readers=readers)
        self._text = TextRequests(self._changes, self.without_bucket, readers=readers)
        self._start: bytes | None = b""

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        if self._start is not None:
            text = self._start + text
            if text.startswith(PARQUET):
                raise LogMalformed("Parquet access logs are not supported: deliver JSON or plain text")
            self._start = text if len(text) < len(PARQUET) else None
            if self._start is not None:
                return []
        return super().feed(text)

    def drain(self) -> list[Record]:
        """The records that were still incomplete."""
        start, self._start = self._start, None
        return (super().feed(start) if start else []) + super().drain()

    def read_usual(self, text: bytes) -> list[Record] | None:
        """The records of a line of text."""
        # The key of a shorter line cannot be too long.
        if b"{" in text or len(text) > self._max_key_length:
            return None
        return self._text.read_usual(text.removesuffix(b"\r"))

    def read_value(self, line: Line, value: dict[str, Any]) -> list[Record]:
        """The records of an object that strict JSON accepts."""
        return self._json.read(line, value)

    def read_refused(self, line: Line) -> list[Record]:
        """The records of an object that strict JSON refuses."""
        return self._json.read(line, loose_object(line))

    def read_text(self, line: Line) -> list[Record]:
        """The records of a line of text."""
        return self._text.read(line)

    def is_text(self, line: bytes, *, is_json: bool, within: bool) -> bool:
        """Whether this is a line of text. Other writers put words before the JSON of a line."""
        if within:
            return _TEXT.match(line) is not None
        return not is_json and (b"{" not in line or names_operation(line))

    is_entry = staticmethod(is_entry)

    def _nested(self, line: Line, text: bytes) -> tuple[list[Record], list[RecordMalformed]]:
        """The records and the errors of a text inside a message."""
        if self._level == _MAX_NESTING:
            raise line.malformed("its messages are nested too deeply")
        bad = BadRecords("skip")
        log = AccessLog(self._limits, bad, self._readers, self._changes, self._level + 1)
        records = log.feed(text) + log.drain()
        self.recognised = self.recognised or log.recognised
        errors = [line.malformed(str(each).partition(": ")[2], each.field) for each in bad.first]
        if not errors and not records and not log.recognised:
            errors = [line.malformed("a message without a request")]
        return records, errors
