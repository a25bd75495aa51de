"""Text in, JSON objects out, however they are broken into lines: over several, or several on one.

Commas between objects, brackets around them and a byte order mark are passed over. What is neither, up to the next
object or the end of its line, is a piece that is no object. So is an object that is broken: it ends where its brackets
are closed, or at the next line that begins an object and is indented no deeper, whichever comes first. So it does not
take the next ones along.
"""

import re
from bisect import bisect_right

from jibe_sqs.core.errors import LogLimitExceeded
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.loose_json import EXACT, Broken, bracket_end, value_end

_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*+")
_OTHER = re.compile(r'(?:(?!\{\s*["}])[^\n])*+')
_OBJECT_LINE = re.compile(r"\n([ \t]*+)\{")


class JsonObjects:
    """`add` text, in order; `cut` gives the pieces that are complete, with the line and offset where each begins."""

    def __init__(self, *, limit: int) -> None:
        """`limit`: bytes of one object."""
        self._limit = limit
        self._text = ""
        self._added: list[str] = []
        self._size = 0
        self._begins: list[int] = []  # of each line in the text
        self._positions: list[tuple[int, int]] = []  # of the same: its number, and its offset in the file
        self._try_at = 0

    @property
    def is_empty(self) -> bool:
        """Whether no object is begun that is not complete."""
        return not self._size

    def add(self, number: int, offset: int, line: bytes) -> None:
        """Take in the next line, with its end; or a part of one that does not end within a character."""
        text = line.decode("utf-8", EXACT)
        self._begins.append(self._size)
        self._positions.append((number, offset))
        self._added.append(text)
        self._size += len(text)

    def cut(self, *, final: bool = False) -> list[Line]:
        """The pieces that are complete; all of them if this is `final`. Raises `LogLimitExceeded`."""
        # An object that is not complete is scanned from its start each time: so only when the text has doubled.
        if self._size < self._try_at and not final:
            return []
        self._text = "".join([self._text, *self._added])
        self._added = []
        found, at = [], 0
        while (at := _after(_BETWEEN, self._text, at)) < len(self._text):
            end = self._end(at, final=final)
            piece = self._piece(at, len(self._text) if end is None else end)
            if len(piece.text) > self._limit:
                raise LogLimitExceeded(f"line {piece.number}: a record of more than {self._limit:,} bytes")
            if end is None:
                break
            found.append(piece)
            at = end
        self._forget(at)
        return found

    def _end(self, at: int, *, final: bool) -> int | None:
        text = self._text
        if text[at] != "{":
            end = _after(_OTHER, text, at)
            return end if end < len(text) or final else None
        try:
            if (found := value_end(text, at)) is not None or not final:
                return found
        except Broken:
            pass
        ends = [end for end in (bracket_end(text, at), self._next_object(at)) if end is not None]
        return min(ends) if ends else len(text) if final else None

    def _next_object(self, at: int) -> int | None:
        """The end of the last line before one that begins an object, and is indented no deeper than this one."""
        before = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        indent = len(before) if before.isspace() else 0
        others = (each.start() for each in _OBJECT_LINE.finditer(self._text, at) if len(each[1]) <= indent)
        return next(others, None)

    def _piece(self, start: int, end: int) -> Line:
        index = bisect_right(self._begins, start) - 1
        number, offset = self._positions[index]
        offset += len(self._text[self._begins[index] : start].encode("utf-8", EXACT))
        return Line(number, offset, self._text[start:end].encode("utf-8", EXACT).rstrip())

    def _forget(self, at: int) -> None:
        """Everything before this place; but the spaces before it in its line stay, as they are its indentation."""
        line = self._text.rfind("\n", 0, at) + 1
        if self._text[line:at].isspace():
            at = line
        rest = self._text[at:]
        if rest:
            number, offset, _ = self._piece(at, at)
            kept = bisect_right(self._begins, at)
            self._begins = [0, *(begin - at for begin in self._begins[kept:])]
            self._positions = [(number, offset), *self._positions[kept:]]
        else:
            self._begins, self._positions = [], []
        self._text, self._size, self._try_at = rest, len(rest), 2 * len(rest)


def _after(what: re.Pattern[str], text: str, at: int) -> int:
    found = what.match(text, at)
    return found.end() if found else at
