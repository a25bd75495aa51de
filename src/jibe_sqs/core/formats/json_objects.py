"""Finds JSON objects in text: an object may span several lines, and a line may have several objects.

Commas between objects, brackets around them, record separators (RS) and a byte order mark are skipped. Any other text, up
to the next object or the end of its line, is a piece that is not an object.

A broken object is a piece too. It ends at the first of these places: where its brackets are closed; before the next line
that begins an object and is not indented deeper; before the next object that looks like an entry of the log. So the
objects after it are not lost.

An object that is too large is a piece without its text. Parsing continues at the next line that begins an object, or at
the next object that looks like an entry.
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
"""Objects inside a broken one that are tried as the next entry. A text with more of them is not a damaged log."""
_KEPT_TAIL: Final = 128
"""Characters that are kept of an object that is too large. The beginning of the next object may be among them."""
_OBJECT_LINE = re.compile(r"\n([ \t]*+)\{")


class JsonObjects:
    """`add` text in order. `cut` returns the pieces that are complete, with the line and the offset where each begins."""

    def __init__(self, *, limit: int, is_entry: Callable[[object], bool]) -> None:
        """`limit`: bytes of one object. `is_entry`: tests whether a decoded value looks like an entry of the log."""
        self._limit = limit
        self._is_entry = is_entry
        self._is_skipping = False  # inside an object that is too large
        self._indent = 0  # of that object
        self._text = ""
        self._added: list[str] = []
        self._size = 0
        self._begins: list[int] = []  # where each line begins in the text
        self._positions: list[tuple[int, int]] = []  # of each of these lines: its number, and its offset in the file
        self._try_at = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is no incomplete object."""
        return not self._size

    def add(self, number: int, offset: int, line: bytes) -> None:
        """Add the next line with its end, or a part of a line that does not end inside a character."""
        text = line.decode("utf-8", LOSSLESS)
        self._begins.append(self._size)
        self._positions.append((number, offset))
        self._added.append(text)
        self._size += len(text)

    def cut(self, *, final: bool = False) -> list[Line]:
        """The pieces that are complete. If this is `final`, also the incomplete ones."""
        # An incomplete object is scanned from its start each time. So wait until the text has doubled.
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
            is_deep = True  # it may be complete: its brackets show where it ends
        except Broken:
            pass
        following = self._next_object(at)
        end = bracket_end(text, at, following) or following or (len(text) if final else None)
        return end if is_deep else self._entry_before(end, at + 1)

    def _entry_before(self, end: int | None, at: int) -> int | None:
        """Where the next entry of the log begins, from `at` on, if it is complete before `end`. Otherwise `end`.

        If `end` is None, the answer is None as soon as an object is incomplete, because more text may follow.
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
        """Where parsing continues after an object that is too large. The text before that place is not needed."""
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
        """Whether the object that begins here is the first in its line, and not indented deeper than the skipped one."""
        line = self._text.rfind("\n", 0, at) + 1
        return line > 0 and not self._text[line:at].strip(" \t") and at - line <= self._indent

    def _indent_at(self, at: int) -> int:
        before = self._text[self._text.rfind("\n", 0, at) + 1 : at]
        return len(before) if before.isspace() else 0

    def _next_object(self, at: int) -> int | None:
        """The end of the line before the next line that begins an object and is not indented deeper than this one."""
        indent = self._indent_at(at)
        others = (each.start() for each in _OBJECT_LINE.finditer(self._text, at) if len(each[1]) <= indent)
        return next(others, None)

    def _piece(self, start: int, end: int) -> Line:
        index = bisect_right(self._begins, start) - 1
        number, offset = self._positions[index]
        offset += len(self._text[self._begins[index] : start].encode("utf-8", LOSSLESS))
        return Line(number, offset, self._text[start:end].encode("utf-8", LOSSLESS).rstrip())

    def _forget(self, at: int) -> None:
        """Forget the text before this place. The spaces before it in its line stay: they are its indentation."""
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
