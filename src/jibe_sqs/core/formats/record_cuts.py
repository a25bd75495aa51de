"""Finds the end of each record in a JSON array, with the standard library's decoder. Slow, but it accepts every form.

A record that the decoder refuses ends where its brackets are closed, if another record or the end of the array follows.
If its quotes or brackets do not match, it ends where the next record begins: an object that starts with the same field,
is complete, and is followed by another record or by the end of the array. Missing and repeated commas do not matter.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed, LogTruncated
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, LOSSLESS, Broken, bracket_end, end_of_match, value_end

_BETWEEN = re.compile(r"[ \t\n\r,]*+")
_SPACES = re.compile(r"[ \t\n\r]*+")
_FIRST_KEY = re.compile(r'\{\s*+("[^"\\]++")')
SCALAR: Final = re.compile(r"[^][{},:\"\s]+")
_NEXT_OR_END = re.compile(r'[\s,]*+(?:\{|\]\s*+(?:,\s*+"|\}\s*+(?:\{|\Z)))')
_MAX_SPACE: Final = 256
"""Characters after a record. With more of them, the parser does not wait for more text to see what follows."""
_WINDOW: Final = 64 * 1024
"""Characters in which the end of an object is searched first, because the decoder counts the lines before each error."""
_MAX_BROKEN: Final = 10
"""Consecutive broken records that can become one piece. The limit keeps the time proportional to the file's size."""
_TRUNCATED: Final = "truncated"


class Cut(NamedTuple):
    """The text of one record, or of other text in the place of a record, and its offset in the document."""

    offset: int
    text: bytes


class RecordCutter:
    """Cuts an array into the texts of its records. `has_ended`: the array's `]` was found, and `rest` starts with it."""

    def __init__(self, limit: int, offset: int, first_field: str) -> None:
        """`offset`: of the first byte that will be fed. `first_field`: the name of the first field of most records."""
        self.rest = ""
        self.has_ended = False
        self.offset = offset  # of the beginning of `rest`
        self._limit = limit
        self._first_key = f'"{first_field}"'
        self._utf8 = codecs.getincrementaldecoder("utf-8")(LOSSLESS)
        self._try_at = 0

    def feed(self, text: bytes, *, final: bool = False) -> Iterator[Cut]:
        """The records that this text completes."""
        self.rest += self._utf8.decode(text, final)
        # An incomplete record is scanned from its start each time. So wait until the text has doubled.
        if self.has_ended or (len(self.rest) < self._try_at and not final):
            return
        rest, at = self.rest, 0
        while (start := end_of_match(_BETWEEN, rest, at)) < len(rest) and rest[start] != "]":
            end = self._end(rest, start, final=final)
            if end is None:
                self._check_size(rest, start)
                break
            found = rest[start:end].encode("utf-8", LOSSLESS)
            self.offset += start - at  # the text between two records is ASCII
            yield Cut(self.offset, found)
            self.offset += len(found)
            at = end
        # Do not keep the spaces and commas between records: there may be very many.
        start = end_of_match(_BETWEEN, rest, at)
        self.rest, self.offset = rest[start:], self.offset + start - at
        self.has_ended = self.rest.startswith("]")
        self._try_at = 2 * len(self.rest)

    def finish(self) -> Iterator[Cut]:
        """The records that were still incomplete. Raises an error if the array does not end here."""
        yield from self.feed(b"", final=True)
        if not self.has_ended:
            rest = self.rest.encode("utf-8", LOSSLESS)
            if not rest or ends_early(rest):
                raise LogTruncated("the JSON ends in the middle of its records")
            raise _not_json(rest)

    def _end(self, text: str, start: int, *, final: bool) -> int | None:
        """Where the record ends. None if more text is needed."""
        try:
            end = _value_end(text + "\n" if final else text, start)
        except Broken:
            return self._broken_end(text, start, final=final)
        if end is None:
            end = bracket_end(text, start) if text[start] in "{[" else None
            return end if end is not None and _is_followed(text, end, final=final) else None
        is_followed = _is_followed(text, end, final=final)
        if is_followed is False:
            return self._broken_end(text, start, final=final)
        return end if is_followed else None

    def _broken_end(self, text: str, start: int, *, final: bool) -> int | None:
        following = self._next_record(text, start, final=final)
        closed = bracket_end(text[start:following], 0) if text[start] in "{[" else None
        end = None if closed is None else start + closed
        if end is not None and _is_followed(text, end, final=False):
            return end
        if following is not None or not final:
            return following
        # After the last record comes the end of the array. It is certain only if the document ends with it.
        last = text.rfind("]")
        is_last = text[start] in '{["' and last > start and is_json(b'{"":[' + text[last:].encode("utf-8", LOSSLESS))
        return last if is_last else end

    def _next_record(self, text: str, start: int, *, final: bool) -> int | None:
        """Where the text before the next complete record ends. None if no record follows, or if more text is needed."""
        first = _FIRST_KEY.match(text, start)
        key = re.escape(first[1] if first else self._first_key)
        beginnings = re.compile(rf"(?:,|(?<=}}))\s*+({{)\s*+{key}\s*+:").finditer(text, start + 1)
        for count, found in enumerate(beginnings):
            if count == _MAX_BROKEN:
                return found.start()
            begin = found.start(1)
            try:
                end = _object_end(text, begin)
            except Broken:
                continue
            if end is not None and _NEXT_OR_END.match(text, end):
                return found.start()
            if not final and (end is None or len(text) - end < _MAX_SPACE):
                return None
        return None

    def _check_size(self, rest: str, start: int) -> None:
        begun = rest[start : start + self._limit + 1].encode("utf-8", LOSSLESS)
        if len(begun) > self._limit:
            raise too_large(begun, self._limit)


def _value_end(text: str, start: int) -> int | None:
    if text[start] in '{["':
        return value_end(text, start)
    # A number or a word is not a record, but it is an element of the array. The text after it shows where it ends.
    found = SCALAR.match(text, start)
    if found is None:
        raise Broken("no value")
    return found.end() if found.end() < len(text) else None


def _object_end(text: str, begin: int) -> int | None:
    end = value_end(text[begin : begin + _WINDOW], 0)
    if end is not None:
        return begin + end
    return value_end(text, begin) if begin + _WINDOW < len(text) else None


def _is_followed(text: str, end: int, *, final: bool) -> bool | None:
    """Whether another record or the end of the array follows. None if more text is needed."""
    at = end_of_match(_SPACES, text, end)
    if at == len(text):
        return True if final else None
    return text[at] in ",{]"


def too_large(text: bytes, limit: int) -> LogLimitExceeded | LogMalformed:
    """The error for a record that is too large. If it is not JSON, the file is damaged, and may be replaced later."""
    if ends_early(text) or is_json(text):
        return LogLimitExceeded(f"a record of more than {limit:,} bytes")
    return _not_json(text)


def _not_json(text: bytes) -> LogMalformed:
    return LogMalformed(f"a record is not JSON: {text[:40]!r}")


def is_json(text: bytes) -> bool:
    """Whether the strict decoder accepts it."""
    try:
        msgspec.json.decode(text)
    except DECODE_ERRORS:
        return False
    return True


def ends_early(text: bytes) -> bool:
    """Whether the text is a valid beginning of JSON that only ends too early."""
    if is_json(text):
        return False
    # The decoder reports a number that stops at `-`, `.` or `e` as invalid. One more digit shows that it is incomplete.
    return any(_TRUNCATED in _refusal(each) for each in (text, text + b"0")) or _is_incomplete(text)


def _is_incomplete(text: bytes) -> bool:
    """The same for texts that only the standard library's decoder accepts."""
    try:
        return value_end(text.decode("utf-8", LOSSLESS) + "\n", 0) is None
    except Broken:
        return False


def _refusal(text: bytes) -> str:
    try:
        msgspec.json.decode(text)
    except DECODE_ERRORS as error:
        return str(error)
    return ""
