"""JSON objects in lines, or one directly after the other."""

import re
from typing import Final

from jibe_sqs.core.formats.lines import Line, Lines

_END: Final = re.compile(rb'\n|\}(?=[ \t\r]{0,16}\{[ \t]{0,16}"[A-Za-z0-9_@])')
"""A line's end, or an object's end before the next object.

Inside valid JSON the second cannot match: a quote inside a text is escaped, and after the closing quote of a text there
is never a letter.
"""
_LOOKAHEAD: Final = 64
"""Bytes at the end of a block in which an object's end may not be recognisable yet."""


class JsonLines(Lines):
    """Lines that also end between two objects: Firehose does not write newlines. Each object counts as a line."""

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        self._open = b""

    def feed(self, text: bytes) -> list[Line]:
        """The lines that this block completes."""
        searched = max(0, len(self._open) - _LOOKAHEAD)
        text = self._open + text
        lines: list[Line] = []
        start = 0
        for found in _END.finditer(text, searched):
            newline = found[0] == b"\n"
            line = self._line(text[start : found.start() if newline else found.end()], int(newline))
            if line is not None:
                lines.append(line)
            start = found.end()
        self._open = text[start:]
        if len(self._open) > self._limit + _LOOKAHEAD:
            raise self._too_long(len(self._open))
        return lines

    def finish(self) -> list[Line]:
        """The last line, if no newline ends it."""
        text, self._open = self._open, b""
        line = self._line(text, 0) if text else None
        return [line] if line else []
