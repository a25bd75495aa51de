"""Parses one large `{"Records": […]}` document in batches of records. The whole document is never in memory.

A proper prefix of a JSON object is never valid JSON. So the parser cuts the text at a place that looks like the end of a
record, and the decoder confirms the cut. If the decoder refuses the text, the cut was inside a record.

The fast path cuts at the last `},{` before the field that every CloudTrail record starts with, and decodes all records
before it at once. If there is no such place, or the decoder refuses the text (other field orders, indented files, unusual
nesting, records that are not strict JSON), the slow path parses the rest of the array (`record_cuts`). It is ten times
slower and as exact. It returns the text of a record that cannot be decoded.

A document may have the array more than once, and a file may have several documents. All are read. The text around the
arrays must be readable for the standard library's decoder.
"""

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cached_property
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from jibe_sqs.core.errors import LogMalformed, LogTruncated
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, LOSSLESS, Broken, bracket_end, end_of_match, value_end
from jibe_sqs.core.formats.record_cuts import SCALAR, Cut, RecordCutter, ends_early, too_large

T = TypeVar("T")

HEAD_LIMIT = 64 * 1024
"""Bytes. The array must begin within this size, and only this much text after an array is inspected."""

_BOM = b"\xef\xbb\xbf"
_BETWEEN_FIELDS = re.compile(r"[ \t\n\r,\ufeff]*+")
_COLON = re.compile(r"[ \t\n\r]*+:[ \t\n\r]*+")


class _State(Enum):
    """The part of the file that the parser is in."""

    OUTSIDE = "before, between or after the arrays"
    FAST = "in an array, which is decoded in batches"
    SLOW = "in an array, whose records are cut one by one"


class Batch(Generic[T]):
    """Consecutive records. `first` is the index of the first of them in the document.

    A record that the typed decoder refuses is in the list as its text.
    """

    def __init__(self, first: int, records: list[T | bytes], offsets: Callable[[], list[int]]) -> None:
        self.first = first
        self.records = records
        self._find_offsets = offsets

    def offset(self, at: int) -> int | None:
        """The byte offset of `records[at]` in the document. None if it cannot be found. The first call is slow."""
        try:
            return self._offsets[at]
        except RecursionError:
            # A value is nested so deeply that only the decoding of the records, higher on the stack, succeeded.
            return None

    @cached_property
    def _offsets(self) -> list[int]:
        return self._find_offsets()


class RecordShape(Generic[T]):
    """The type of the records, and the name of their array. Made once: to make decoders takes longer than a small file."""

    def __init__(self, record_type: type[T], *, array: str, first_field: str) -> None:
        """`first_field`: the name of the first field of every record in the usual form."""
        self.array = array
        self.records = msgspec.json.Decoder(list[record_type])  # type: ignore[valid-type]
        self.record = msgspec.json.Decoder(record_type)
        self.raw = msgspec.json.Decoder(list[msgspec.Raw])
        self.first_field = first_field
        self.boundary = b'},{"%s"' % first_field.encode()
        self._start = b'{"%s":' % array.encode()

    def whole(self, text: bytes, record_limit: int) -> Batch[T] | None:
        """The records of a text that is a whole file, if it is one document in the usual form. Otherwise None.

        The text is the same to `JsonRecords`, which needs several times as long for a small file.
        """
        if len(text) > record_limit or not (text.startswith(self._start) and text.endswith(b"]}")):
            return None
        begins = len(self._start)
        array = text[begins:-1]
        try:
            records: list[T | bytes] = self.records.decode(array)
        except DECODE_ERRORS:
            return None
        return Batch(0, records, lambda: self.offsets(array, begins))

    def offsets(self, array: bytes, begins: int) -> list[int]:
        """The offset of each record of an array that begins at this offset. Between records are only spaces and a comma."""
        found, at = [], 0
        for raw in self.raw.decode(array):
            at = array.index(bytes(raw), at)
            found.append(begins + at)
            at += len(bytes(raw))
        return found


class JsonRecords(Generic[T]):
    """`feed` text in order, then call `finish`. Both return batches of records.

    Raises `LogTruncated`, `LogMalformed` and `LogLimitExceeded`.
    """

    def __init__(self, shape: RecordShape[T], *, record_limit: int) -> None:
        """`record_limit`: bytes of one record."""
        self.count = 0
        self._shape = shape
        self._record_limit = record_limit
        self._buffer = b""
        self._offset = 0  # of the beginning of the buffer
        self._state = _State.OUTSIDE
        self._place = _OUTSIDE
        self._has_array = False
        self._slow: RecordCutter | None = None

    def feed(self, text: bytes) -> list[Batch[T]]:
        """The records that this text completes."""
        if self._state is _State.FAST:
            found = self._decode_fast(text)
            return found + self._run() if self._state is not _State.FAST else found
        self._buffer += text
        return self._run()

    def finish(self) -> list[Batch[T]]:
        """The records that were still incomplete. Raises an error if the document cannot end here."""
        found: list[Batch[T]] = []
        while self._state is not _State.OUTSIDE:
            found += self._last()
            found += self._run()
        if not self._has_array:
            raise self._no_array()
        if self._place.is_inside:
            raise LogTruncated(f"the JSON ends before the object does, after {self.count:,} records")
        return found

    def _run(self) -> list[Batch[T]]:
        """Parse the buffer until the state does not change any more."""
        found: list[Batch[T]] = []
        state = None
        while state is not self._state:
            state = self._state
            found += self._step(state)
        return found

    def _step(self, state: _State) -> list[Batch[T]]:
        match state:
            case _State.OUTSIDE:
                return self._enter_array()
            case _State.FAST:
                return self._decode_fast()
            case _State.SLOW:
                return self._decode_slow()

    def _enter_array(self) -> list[Batch[T]]:
        if _BOM.startswith(self._buffer):
            return []
        text = self._buffer[:HEAD_LIMIT].decode("utf-8", LOSSLESS)
        try:
            place = _next_array(text, self._shape.array, is_inside=self._has_array)
        except Broken:
            raise self._no_array() from None
        self._place = place
        if place.array is not None:
            self._drop(len(text[: place.array].encode("utf-8", LOSSLESS)))
            self._has_array = True
            self._state = _State.FAST
        elif len(self._buffer) > HEAD_LIMIT:
            raise self._no_array()
        return []

    def _no_array(self) -> LogMalformed | LogTruncated:
        name = self._shape.array
        text = self._buffer[:HEAD_LIMIT].removeprefix(_BOM).lstrip()
        if self._has_array:
            return LogMalformed(f"after the array {name!r} comes {(b']' + text)[:40]!r}")
        if text and not text.startswith(b"{"):
            return LogMalformed(f"not a JSON object with {name!r}: it starts with {text[:20]!r}")
        if len(self._buffer) <= HEAD_LIMIT and ends_early(text):
            return LogTruncated(f"the JSON ends before its {name!r}")
        return LogMalformed(f"no array {name!r} in the JSON")

    def _decode_fast(self, text: bytes = b"") -> list[Batch[T]]:
        """The complete records in the buffer and in the text that follows it."""
        first, last = self._buffer, text
        cut = last.rfind(self._shape.boundary)
        if cut < 0:
            first, last = b"", first + last
            self._buffer = last
            cut = last.rfind(self._shape.boundary)
        if cut < 0:
            # The length of several records without a boundary: this file has another form.
            return self._turn_slow() if len(last) > HEAD_LIMIT * 4 else []
        try:
            batch = self._decode_batch(first, memoryview(last)[: cut + 1])
        except DECODE_ERRORS:
            self._buffer = first + last
            return self._turn_slow()
        self._offset += len(first) + cut + 2
        self._buffer = last[cut + 2 :]
        return [batch]

    def _drop(self, size: int) -> None:
        self._buffer = self._buffer[size:]
        self._offset += size

    def _decode_batch(self, *parts: bytes | memoryview) -> Batch[T]:
        """The records in these parts of the text. The first part begins where the buffer does. A record ends with the last."""
        text = b"".join((b"[", *parts, b"]"))
        begins = self._offset - 1
        try:
            # If the batch is within the limit, each of its records is too.
            records: list[T | bytes] | None = (
                self._shape.records.decode(text) if len(text) <= self._record_limit else None
            )
        except DECODE_ERRORS:
            records = None
        if records is None:
            records = [self._decode_one(bytes(raw)) for raw in self._shape.raw.decode(text)]
        self.count += len(records)
        return Batch(self.count - len(records), records, lambda: self._shape.offsets(text, begins))

    def _decode_one(self, text: bytes) -> T | bytes:
        if len(text) > self._record_limit:
            raise too_large(text, self._record_limit)
        try:
            return self._shape.record.decode(text)
        except DECODE_ERRORS:
            return text

    def _decode_each(self, found: Iterator[Cut]) -> list[Batch[T]]:
        records: list[T | bytes] = []
        offsets: list[int] = []
        for offset, text in found:
            records.append(self._decode_one(text))
            offsets.append(offset)
        self.count += len(records)
        return [Batch(self.count - len(records), records, lambda: offsets)]

    def _turn_slow(self) -> list[Batch[T]]:
        self._slow = RecordCutter(self._record_limit, self._offset, self._shape.first_field)
        self._state = _State.SLOW
        return []

    def _decode_slow(self) -> list[Batch[T]]:
        text, self._buffer = self._buffer, b""
        return self._cut(self._slow.feed(text)) if self._slow else []

    def _cut(self, cuts: Iterator[Cut]) -> list[Batch[T]]:
        batches = self._decode_each(cuts)
        if self._slow is not None and self._slow.has_ended:
            self._buffer, self._offset = self._slow.rest.encode("utf-8", LOSSLESS), self._slow.offset
            self._slow = None
            self._leave_array(0)
        return batches

    def _leave_array(self, end: int) -> None:
        """`end`: the place of the array's `]` in the buffer."""
        self._drop(end + 1)
        self._state = _State.OUTSIDE

    def _last(self) -> list[Batch[T]]:
        """The records that are still incomplete in the array, at the end of the file."""
        if self._slow is not None:
            return self._cut(self._slow.finish())
        end = self._buffer.rfind(b"]")
        try:
            batch = self._decode_batch(self._buffer[:end]) if end >= 0 else None
        except DECODE_ERRORS:
            batch = None
        if batch is None:
            # Either a record is broken, or text follows the array. The slow path finds out which.
            return self._turn_slow()
        self._leave_array(end)
        return [batch]


class _Place(NamedTuple):
    """`array`: where the first record of the next array may begin. None if the text ends before that.

    `is_inside`: whether this place is inside an object.
    """

    array: int | None
    is_inside: bool


_OUTSIDE: Final = _Place(array=None, is_inside=False)


def _next_array(text: str, name: str, *, is_inside: bool) -> _Place:
    """The next array of this name, in this object or in a later one. Raises `Broken`.

    `is_inside`: whether the text begins inside an object, after an array of this name.
    """
    has_array, at = is_inside, 0
    while (at := end_of_match(_BETWEEN_FIELDS, text, at)) < len(text):
        if not is_inside:
            if text[at] != "{":
                raise Broken("not an object")
            is_inside, has_array = True, False
            at += 1
        elif text[at] == "}":
            if not has_array:
                raise Broken("an object without the array")
            is_inside = False
            at += 1
        else:
            value = _value_of_field(text, at)
            if value is None:
                break
            if text[value] == "[" and text.startswith(f'"{name}"', at):
                return _Place(value + 1, is_inside=True)
            end = _field_end(text, value)
            if end is None:
                break
            at = end
    return _Place(None, is_inside)


def _value_of_field(text: str, at: int) -> int | None:
    """Where the value of the field at this place begins. None if the text ends before that. Raises `Broken`."""
    if text[at] != '"':
        raise Broken("not a field")
    end = value_end(text, at)
    if end is None:
        return None
    colon = _COLON.match(text, end)
    if colon is None:
        if text[end:].strip():
            raise Broken("a field without a value")
        return None
    return colon.end() if colon.end() < len(text) else None


def _field_end(text: str, value: int) -> int | None:
    if text[value] not in '{["':
        word = text[value : end_of_match(SCALAR, text, value)]
        if value + len(word) == len(text):
            return None
        if value_end(word + "\n", 0) != len(word):
            raise Broken("not a value")
        return value + len(word)
    try:
        return value_end(text, value)
    except Broken:
        if text[value] == '"':
            raise
        return bracket_end(text, value)
