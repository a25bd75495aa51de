"""S3 server access logs: text lines, as S3 writes them, or JSON, as CloudWatch Logs delivers them.

The first bytes of a file decide. The time is when the request began. The event's time is when it ended, as far as the
file shows: a refresh that ran during a long upload has not seen it.
"""

from typing import Final

from jibe_sqs.core.errors import LogMalformed
from jibe_sqs.core.formats.access_log_json import AccessLogJson
from jibe_sqs.core.formats.access_log_lines import AccessLogLines
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.model import Record

PARQUET: Final = b"PAR1"
_BOM: Final = b"\xef\xbb\xbf"
_LOOK: Final = 4096
"""Bytes within which a file must begin."""


class AccessLog:
    """One log file. `feed` its text in order, then `finish`; both return records. Raises `LogError`s only."""

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        self._limits = limits
        self._bad = bad
        self._start = b""
        self._parser: AccessLogLines | AccessLogJson | None = None

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        if self._parser is not None:
            return self._parser.feed(text)
        self._start += text
        beginning = self._start[:_LOOK].removeprefix(_BOM).lstrip()
        return self._begin(beginning) if len(beginning) >= len(PARQUET) or len(self._start) >= _LOOK else []

    def finish(self) -> list[Record]:
        """The record of a last line that no newline ends."""
        records = self._begin(self._start.lstrip()) if self._parser is None else []
        return records + self._parser.finish() if self._parser is not None else records

    def _begin(self, beginning: bytes) -> list[Record]:
        if beginning.startswith(PARQUET):
            raise LogMalformed("Parquet access logs are not supported: deliver JSON or plain text")
        is_json = beginning.startswith(b"{")
        self._parser = AccessLogJson(self._limits, self._bad) if is_json else AccessLogLines(self._limits, self._bad)
        text, self._start = self._start, b""
        # Spaces in place of the byte order mark: positions in errors stay right.
        return self._parser.feed(b"   " + text.removeprefix(_BOM) if is_json and text.startswith(_BOM) else text)
