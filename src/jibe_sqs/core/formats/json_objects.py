"""Text in, JSON objects out, however they are broken into lines: over several, or several on one.

Commas between objects, brackets around them, record separators (RS) and a byte order mark are passed over. What is none
of these, up to the next object or the end of its line, is a piece that is no object. So is an object that is broken: it
ends where its brackets are closed, at the next line that begins an object and is indented no deeper, or at the next
object that looks like an entry of the log, whichever comes first. So it does not take the next ones along.

An object that is too large is a piece without its text. Reading goes on at the next line that begins an object, or at the
next object that looks like an entry.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.loose_json import LOSSLESS, Broken, TooDeep, bracket_end, end_of_match, value_at, value_end

_BETWEEN = re.compile(r"[\s,\[\]\x1e\ufeff]*+")
_OTHER = re.compile(r'(?:(?!\{\s*["}])[^\n])*+')
_OBJECT = re.compile(r'\{\s*"')
_MAX_TRIED: Final = 100
"""Objects in a broken one that may be the next entry. With more it is not text that was a log."""
_KEPT_TAIL: Final = 128
"""Characters that are kept of an object that is too large: in them, the beginning of the next one may be incomplete."""
_OBJECT_LINE = re.compile(r"\n([ \t]*+)\{")


class JsonObjects:
    """`add` text, in order; `cut` gives the pieces that are complete, with the line and offset where each begins."""

    def __init__(self, *, limit: int, is_entry: Callable[[object], bool]) -> None:
        """`limit`: bytes of one object. `is_entry`: whether a decoded value looks like an entry of the log."""
        self._limit = limit
        self._is_entry = is_entry
        self._is_skipping = False  # the rest of an object that is too large
        self._indent = 0  # of that one
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
        text = line.decode("utf-8", LOSSLESS)
        self._begins.append(self._size)
        self._positions.append((number, offset))
        self._added.append(text)
        self._size += len(text)

    def cut(self, *, final: bool = False) -> list[Line]:
        """The pieces that are complete; all of them if this is `final`."""
        # An object that is not complete is scanned from its start each time: so only when the text has doubled.
        if self._size < self._try_at and not final:
            return []
        self._text = "".join([self._text, *self._added])
        self._added = []
        found: list[Line] = []
        at = self._after_skipped(0, final=final) if self._is_skipping else 0
        while not self._is_skipping and (at := end_of_match(_BETWEEN, self._text, at)) < len(self._text):
            end = self._end(at, final=final)
            piece = self._piece(at, len(self._text) if end is None else end)
            if len(piece.text) > self._limit:
                found.append(Line(piece.number, piece.offset, b"", self._limit))
                self._is_skipping, self._indent = True, self._indent_at(at)
                at = self._after_skipped(at + 1, final=final)
            elif end is None:
                break
            else:
                found.append(piece)
                at = end
        self._forget(at)
        return found

    def _end(self, at: int, *, final: bool) -> int | None:
        text = self._text
        if text[at] != "{":
            other = end_of_match(_OTHER, text, at)
            return other if other < len(text) or final else None
        is_deep = False
        try:
            if (found := value_end(text, at)) is not None or not final:
                return found
        except TooDeep:
            is_deep = True  # it may be whole, and be read by its brackets
        except Broken:
            pass
        following = self._next_object(at)
        end = bracket_end(text, at, following) or following or (len(text) if final else None)
        return end if is_deep else self._entry_before(end, at + 1)

    def _entry_before(self, end: int | None, at: int) -> int | None:
        """Where an entry of the log begins, from `at` on, that is complete before `end`; else `end`.

        If that is None, so is the answer if an object is not complete in the text.
        """
        stop = len(self._text) if end is None else end
        for tried, candidate in enumerate(_OBJECT.finditer(self._text, at, stop)):
            if tried == _MAX_TRIED:
                break
            try:
                found = value_at(self._text, candidate.start())
            except Broken:
                continue
            if found is None and end is None:
                return None
            if found is not None and found[1] <= stop and self._is_entry(found[0]):
                return candidate.start()
        return end

    def _after_skipped(self, at: int, *, final: bool) -> int:
        """Where reading goes on after an object that is too large; what is before that place is not needed."""
        for tried, candidate in enumerate(_OBJECT.finditer(self._text, at)):
            start = candidate.start()
            if self._begins_line(start):
                self._is_skipping = False
                return start
            # A field of the skipped object is not the next entry.
            if tried >= _MAX_TRIED or self._text[max(0, start - _KEPT_TAIL) : start].rstrip().endswith(":"):
                continue
            try:
                found = value_at(self._text, start)
            except Broken:
                continue
            if found is None and not final and len(self._text) - start <= self._limit:
                return start
            if found is not None and self._is_entry(found[0]):
                self._is_skipping = False
                return start
        return len(self._text) if final else max(at, len(self._text) - _KEPT_TAIL)

    def _begins_line(self, at: int) -> bool:
        """Whether the object that begins here is the first in its line, and indented no deeper than the skipped one."""
        line = self._text.rfind("\n", 0, at) + 1
        return line > 0 and not self._text[line:at].strip(" \t") and at - line <= self._indent

    def _indent_at(self, at: int) -> int:
        before = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return len(before) if before.isspace() else 0

    def _next_object(self, at: int) -> int | None:
        """The end of the last line before one that begins an object, and is indented no deeper than this one."""
        indent = self._indent_at(at)
        others = (each.start() for each in _OBJECT_LINE.finditer(self._text, at) if len(each[1]) <= indent)
        return next(others, None)

    def _piece(self, start: int, end: int) -> Line:
        index = bisect_right(self._begins, start) - 1
        number, offset = self._positions[index]
        offset += len(self._text[self._begins[index] : start].encode("utf-8", LOSSLESS))
        return Line(number, offset, self._text[start:end].encode("utf-8", LOSSLESS).rstrip())

    def _forget(self, at: int) -> None:
        """Everything before this place; but the spaces before it in its line stay, as they are its indentation."""
        line = self._text.rfind("\n", 0, at) + 1
        if self._text[line:at].isspace():
            at = line
        rest = self._text[at:]
        if rest:
            number, offset, *_ = self._piece(at, at)
            kept = bisect_right(self._begins, at)
            self._begins = [0, *(begin - at for begin in self._begins[kept:])]
            self._positions = [(number, offset), *self._positions[kept:]]
        else:
            self._begins, self._positions = [], []
        self._text, self._size, self._try_at = rest, len(rest), 2 * len(rest)
