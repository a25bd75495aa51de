"""The records of one large `{"Records": […]}` document, a batch at a time, without ever holding the whole.

An object's proper prefix is never valid JSON. So the text is cut at a place that looks like the end of a record, and
the decoder confirms it: where it refuses, the cut was inside a record.

The fast way cuts at the last `},{` that is followed by the field every CloudTrail record starts with, and decodes all
records before it at once. Where that finds nothing, or is refused (other field orders, indented files, odd nesting,
records that are not strictly JSON), the rest of the document goes the slow way: the standard library's decoder says
where each record ends. The slow way is ten times slower and as exact. What is no JSON for it either ends where its
brackets are closed, and what comes next must be another record or the array's end. So a record that nobody can read
does not take the others along.
"""

import codecs
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

import msgspec

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed, LogTruncated
from jibe_sqs.core.formats.loose_json import EXACT, Broken, bracket_end, value_end

T = TypeVar("T")

HEAD_LIMIT = 64 * 1024
"""Bytes within which the array must begin, and beyond which what follows it is not looked at."""

_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]*+")
_BOM = b"\xef\xbb\xbf"
_TRUNCATED = "truncated"
_SCALAR = re.compile(r"[^][{},:\"\s]+")
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RecordShape(Generic[T]):
    """What the records are, and in which array: made once, as decoders take longer to make than a small file to read."""

    def __init__(self, record_type: type[T], *, array: str, first_field: str) -> None:
        """`first_field`: what every record starts with, if it is written in the usual way."""
        self.array = array
        self.many = msgspec.json.Decoder(list[record_type])  # type: ignore[valid-type]
        self.one = msgspec.json.Decoder(record_type)
        self.raw = msgspec.json.Decoder(list[msgspec.Raw])
        self.beginning = re.compile(rb'"%s"\s*:\s*\[' % re.escape(array).encode())
        self.boundary = b'},{"%s"' % first_field.encode()


class Batch(Generic[T]):
    """Records that stand one after the other. `first` is the index of the first of them in the document.

    A record that the typed decoder refuses is here as its text.
    """

    def __init__(self, first: int, records: list[T | bytes], offsets: Callable[[], list[int]]) -> None:
        self.first = first
        self.records = records
        self._find_offsets = offsets

    def offset(self, at: int) -> int:
        """Where the record `records[at]` begins in the document, in bytes. The first call is slow."""
        return self._offsets[at]

    @cached_property
    def _offsets(self) -> list[int]:
        return self._find_offsets()


class JsonRecords(Generic[T]):
    """`feed` text, in order, then `finish`; both give batches of records.

    Raises `LogTruncated`, `LogMalformed` and `LogLimitExceeded`.
    """

    def __init__(self, shape: RecordShape[T], *, record_limit: int) -> None:
        """`record_limit`: bytes of one record."""
        self.count = 0
        self._shape = shape
        self._record_limit = record_limit
        self._buffer = b""
        self._offset = 0  # of the buffer's beginning
        self._step: Callable[[], list[Batch[T]]] = self._head
        self._slow: _SlowRecords | None = None

    def feed(self, text: bytes) -> list[Batch[T]]:
        """The records that this text completes."""
        if self._slow is not None:
            return self._decode_each(self._slow.feed(text))
        self._buffer += text
        return self._step()

    def finish(self) -> list[Batch[T]]:
        """The records that were still open. The document must end here, and rightly."""
        if self._step == self._head:
            records = self._head()
            if self._step == self._head:
                raise self._no_array()
            return records + self.finish()
        if self._slow is None:
            return self._last()
        records = self._decode_each(self._slow.finish())
        self._check_tail(self._slow.rest.encode("utf-8", EXACT))
        return records

    def _head(self) -> list[Batch[T]]:
        if _BOM.startswith(self._buffer):
            return []
        start = self._buffer.removeprefix(_BOM).lstrip()
        if start and not start.startswith(b"{"):
            raise LogMalformed(f"not a JSON object with {self._shape.array!r}: it starts with {start[:20]!r}")
        for found in self._shape.beginning.finditer(self._buffer[:HEAD_LIMIT]):
            head = self._buffer[: found.end()].removeprefix(_BOM)
            # Only if nothing is left open but the object and the array is this the array that we look for.
            if _is_json(head + b"]}"):
                self._drop(found.end())
                self._step = self._fast
                return self._fast()
        if len(self._buffer) > HEAD_LIMIT:
            raise self._no_array()
        return []

    def _no_array(self) -> LogMalformed | LogTruncated:
        text = self._buffer[:HEAD_LIMIT].removeprefix(_BOM)
        if len(self._buffer) <= HEAD_LIMIT and _ends_early(text):
            return LogTruncated(f"the JSON ends before its {self._shape.array!r}")
        return LogMalformed(f"no array {self._shape.array!r} in the JSON")

    def _fast(self) -> list[Batch[T]]:
        cut = self._buffer.rfind(self._shape.boundary)
        if cut < 0:
            # Short of a boundary for several records' length: this file is written in another way.
            return self._turn_slow() if len(self._buffer) > HEAD_LIMIT * 4 else []
        try:
            batch = self._decode_batch(cut + 1)
        except _REFUSED:
            return self._turn_slow()
        self._drop(cut + 2)
        return [batch]

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._offset += size

    def _decode_batch(self, end: int) -> Batch[T]:
        """The records that the buffer holds up to `end`, where a record ends."""
        text = b"[" + self._buffer[:end] + b"]"
        begins = self._offset - 1
        try:
            # A batch no longer than the limit holds no record that is.
            records: list[T | bytes] | None = self._shape.many.decode(text) if len(text) <= self._record_limit else None
        except msgspec.ValidationError:
            records = None
        if records is None:
            records = [self._decode_one(bytes(raw)) for raw in self._shape.raw.decode(text)]
        self.count += len(records)
        return Batch(self.count - len(records), records, lambda: self._offsets(text, begins))

    def _decode_one(self, text: bytes) -> T | bytes:
        if len(text) > self._record_limit:
            raise _too_large(text, self._record_limit)
        try:
            return self._shape.one.decode(text)
        except _REFUSED:
            return text

    def _decode_each(self, found: "Iterator[_Cut]") -> list[Batch[T]]:
        records: list[T | bytes] = []
        offsets: list[int] = []
        for offset, text in found:
            records.append(self._decode_one(text))
            offsets.append(offset)
        self.count += len(records)
        return [Batch(self.count - len(records), records, lambda: offsets)]

    def _offsets(self, text: bytes, begins: int) -> list[int]:
        """Where each record of an array begins. Between two of them is nothing but spaces and a comma."""
        found, at = [], 0
        for raw in self._shape.raw.decode(text):
            at = text.index(bytes(raw), at)
            found.append(begins + at)
            at += len(bytes(raw))
        return found

    def _turn_slow(self) -> list[Batch[T]]:
        self._slow = _SlowRecords(self._record_limit, self._offset)
        text, self._buffer = self._buffer, b""
        return self._decode_each(self._slow.feed(text))

    def _last(self) -> list[Batch[T]]:
        end = self._buffer.rfind(b"]")
        try:
            batch = self._decode_batch(end) if end >= 0 else None
        except _REFUSED:
            batch = None
        if batch is None:
            # Broken, or something follows the array: the slow way says which.
            records = self._turn_slow()
            return records + self.finish()
        self._check_tail(self._buffer[end:])
        return [batch]

    def _check_tail(self, tail: bytes) -> None:
        if len(tail) > HEAD_LIMIT:
            raise LogMalformed(f"{len(tail):,} bytes follow the array {self._shape.array!r}")
        if not _is_json(b'{"":[' + tail):
            if _ends_early(b'{"":[' + tail):
                raise LogTruncated(f"the JSON ends before the object does, after {self.count:,} records")
            raise LogMalformed(f"after the array {self._shape.array!r} comes {tail[:40]!r}")


class _Cut(NamedTuple):
    offset: int
    text: bytes


class _SlowRecords:
    """The text of each record, by the standard library's decoder. Ends at the array's `]`; then `rest` starts there."""

    def __init__(self, limit: int, offset: int) -> None:
        """`offset`: of the first byte that will be fed, in the document."""
        self.rest = ""
        self._limit = limit
        self._offset = offset  # of the rest's beginning
        self._utf8 = codecs.getincrementaldecoder("utf-8")(EXACT)
        self._ended = False
        self._first = True
        self._try_at = 0

    def feed(self, text: bytes, *, final: bool = False) -> Iterator[_Cut]:
        self.rest += self._utf8.decode(text, final)
        if self._ended:
            if len(self.rest) > HEAD_LIMIT:
                raise LogMalformed("something large follows the records")
            return
        # A record that is not complete is scanned from its start each time: so only when the text has doubled.
        if len(self.rest) < self._try_at and not final:
            return
        rest, at = self.rest, 0
        while (start := self._next_start(rest, at)) is not None:
            end = self._end(rest, start)
            if end is None:
                self._check_size(rest, start)
                break
            found = rest[start:end].encode("utf-8", EXACT)
            self._offset += start - at  # between two records is nothing but ASCII
            yield _Cut(self._offset, found)
            self._offset += len(found)
            self._first = False
            at = end
        self._keep(rest, at)

    def _keep(self, rest: str, at: int) -> None:
        """What is not decided yet. Of space between records there may be any amount: it is not kept."""
        self.rest = rest[at:].lstrip(_SPACE)
        if self.rest.startswith(","):
            self.rest = "," + self.rest[1:].lstrip(_SPACE)
        self._offset += len(rest) - at - len(self.rest)
        self._ended = self.rest.startswith("]")
        self._try_at = 0 if self._ended else 2 * len(self.rest)

    def _next_start(self, text: str, at: int) -> int | None:
        """Where the next record begins; None at the array's end, or where the text does not tell yet."""
        at = _skip_space(text, at)
        if not self._first and text.startswith(",", at):
            at = _skip_space(text, at + 1)
            if text.startswith("]", at):
                raise LogMalformed("a comma, and no record, ends the records")
        elif not self._first and not text.startswith("]", at) and at < len(text):
            raise LogMalformed(f"between two records stands {text[at : at + 20]!r}")
        if at >= len(text) or (text[at] == "]"):
            return None
        return at

    def _end(self, text: str, start: int) -> int | None:
        """Where the record ends. None if the text does not tell yet."""
        if text[start] not in '{["':
            # A number or a word is no record, but it is an element of the array. Its end is known by what follows it.
            found = _SCALAR.match(text, start)
            if found is None:
                raise LogMalformed(f"a record starts with {text[start : start + 20]!r}")
            return found.end() if found.end() < len(text) else None
        try:
            end = value_end(text, start)
        except Broken:
            end = None
        return bracket_end(text, start) if end is None and text[start] != '"' else end

    def _check_size(self, rest: str, start: int) -> None:
        begun = rest[start : start + self._limit + 1].encode("utf-8", EXACT)
        if len(begun) > self._limit:
            raise _too_large(begun, self._limit)

    def finish(self) -> Iterator[_Cut]:
        yield from self.feed(b"", final=True)
        if not self._ended:
            rest = self.rest.lstrip(_SPACE + ",").encode("utf-8", EXACT)
            if not rest or _ends_early(rest):
                raise LogTruncated("the JSON ends in the middle of its records")
            raise _not_json(rest)


def _too_large(text: bytes, limit: int) -> LogLimitExceeded | LogMalformed:
    """What is no JSON only seems large: it may be damaged, and be replaced."""
    if _ends_early(text) or _is_json(text):
        return LogLimitExceeded(f"a record of more than {limit:,} bytes")
    return _not_json(text)


def _not_json(text: bytes) -> LogMalformed:
    return LogMalformed(f"a record is not JSON: {text[:40]!r}")


def _skip_space(text: str, at: int) -> int:
    found = _SPACES.match(text, at)
    return found.end() if found else at


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except _REFUSED:
        return False
    return True


def _ends_early(text: bytes) -> bool:
    """Whether it is the beginning of JSON, and nothing is wrong with it but that it stops."""
    if _is_json(text):
        return False
    # A number that stops at its `-`, `.` or `e` counts as wrong; with a digit more, as what it is.
    return any(_TRUNCATED in _refusal(each) for each in (text, text + b"0")) or _may_go_on(text)


def _may_go_on(text: bytes) -> bool:
    """The same, for what only the standard library's decoder accepts."""
    try:
        return value_end(text.decode("utf-8", EXACT) + "\n", 0) is None
    except Broken:
        return False


def _refusal(text: bytes) -> str:
    try:
        msgspec.json.decode(text)
    except _REFUSED as error:
        return str(error)
    return ""
