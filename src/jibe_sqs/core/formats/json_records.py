"""The records of one large `{"Records": […]}` document, a batch at a time, without ever holding the whole.

An object's proper prefix is never valid JSON. So the text is cut at a place that looks like the end of a record, and
the decoder confirms it: where it refuses, the cut was inside a record. No scanner of our own decides anything.

The fast way cuts at the last `},{` that is followed by the field every CloudTrail record starts with, and decodes all
records before it at once. Where that finds nothing, or is refused (other field orders, indented files, odd nesting),
the rest of the document goes the slow way: the standard library's decoder says where each record ends. The slow way is
ten times slower and as exact.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import msgspec

from jibe_sqs.core.errors import LogLimitExceeded, LogMalformed, LogTruncated

T = TypeVar("T")

HEAD_LIMIT = 64 * 1024
"""Bytes within which the array must begin, and beyond which what follows it is not looked at."""

_SPACE = " \t\n\r"
_SPACES = re.compile(r"[ \t\n\r]*+")
_BOM = b"\xef\xbb\xbf"
_TRUNCATED = "truncated"
_EXACT = "surrogateescape"  # bytes that are not UTF-8 come out as they went in: the typed decoder judges them
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


class JsonRecords(Generic[T]):
    """`feed` text, in order, then `finish`; both give lists of decoded records.

    Raises `LogTruncated`, `LogMalformed`, `LogLimitExceeded`, and what `on_bad_record` raises.
    """

    def __init__(
        self,
        shape: RecordShape[T],
        *,
        record_limit: int,
        on_bad_record: Callable[[int, bytes, msgspec.ValidationError], T],
    ) -> None:
        """`on_bad_record(index, text, error)` is asked about valid JSON that is no such record.

        `record_limit`: bytes of one record.
        """
        self.count = 0
        self._shape = shape
        self._record_limit = record_limit
        self._on_bad_record = on_bad_record
        self._buffer = b""
        self._step: Callable[[], list[T]] = self._head
        self._slow: _SlowRecords | None = None

    def feed(self, text: bytes) -> list[T]:
        """The records that this text completes."""
        if self._slow is not None:
            return self._decode_each(self._slow.feed(text))
        self._buffer += text
        return self._step()

    def finish(self) -> list[T]:
        """The records that were still open. The document must end here, and rightly."""
        if self._step == self._head:
            records = self._head()
            if self._step == self._head:
                raise self._no_array()
            return records + self.finish()
        if self._slow is None:
            return self._last()
        records = self._decode_each(self._slow.finish())
        self._check_tail(self._slow.rest.encode("utf-8", _EXACT))
        return records

    def _head(self) -> list[T]:
        if _BOM.startswith(self._buffer):
            return []
        start = self._buffer.removeprefix(_BOM).lstrip()
        if start and not start.startswith(b"{"):
            raise LogMalformed(f"not a JSON object with {self._shape.array!r}: it starts with {start[:20]!r}")
        for found in self._shape.beginning.finditer(self._buffer[:HEAD_LIMIT]):
            head = self._buffer[: found.end()].removeprefix(_BOM)
            # Only if nothing is left open but the object and the array is this the array that we look for.
            if _is_json(head + b"]}"):
                self._buffer = self._buffer[found.end() :]
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

    def _fast(self) -> list[T]:
        cut = self._buffer.rfind(self._shape.boundary)
        if cut < 0:
            # Short of a boundary for several records' length: this file is written in another way.
            return self._turn_slow() if len(self._buffer) > HEAD_LIMIT * 4 else []
        batch = b"[" + self._buffer[: cut + 1] + b"]"
        try:
            records = self._decode_batch(batch)
        except _REFUSED:
            return self._turn_slow()
        self._buffer = self._buffer[cut + 2 :]
        return records

    def _decode_batch(self, batch: bytes) -> list[T]:
        try:
            # A batch no longer than the limit holds no record that is.
            records = self._shape.many.decode(batch) if len(batch) <= self._record_limit else None
        except msgspec.ValidationError:
            records = None
        if records is None:
            return self._decode_each(bytes(raw) for raw in self._shape.raw.decode(batch))
        self.count += len(records)
        return records

    def _decode_each(self, texts: Iterator[bytes]) -> list[T]:
        records = []
        for text in texts:
            if len(text) > self._record_limit:
                raise _too_large(self._record_limit)
            try:
                record = self._shape.one.decode(text)
            except msgspec.ValidationError as error:
                record = self._on_bad_record(self.count, text, error)
            except _REFUSED as error:
                raise LogMalformed(f"record {self.count} is not JSON: {error}") from error
            self.count += 1
            records.append(record)
        return records

    def _turn_slow(self) -> list[T]:
        self._slow = _SlowRecords(self._record_limit)
        text, self._buffer = self._buffer, b""
        return self._decode_each(self._slow.feed(text))

    def _last(self) -> list[T]:
        end = self._buffer.rfind(b"]")
        try:
            records = self._decode_batch(b"[" + self._buffer[: end + 1]) if end >= 0 else None
        except _REFUSED:
            records = None
        if records is None:
            # Broken, or something follows the array: the slow way says which.
            records = self._turn_slow()
            return records + self.finish()
        self._check_tail(self._buffer[end:])
        return records

    def _check_tail(self, tail: bytes) -> None:
        if len(tail) > HEAD_LIMIT:
            raise LogMalformed(f"{len(tail):,} bytes follow the array {self._shape.array!r}")
        if not _is_json(b'{"":[' + tail):
            if _ends_early(b'{"":[' + tail):
                raise LogTruncated(f"the JSON ends before the object does, after {self.count:,} records")
            raise LogMalformed(f"after the array {self._shape.array!r} comes {tail[:40]!r}")


class _SlowRecords:
    """The text of each record, by the standard library's decoder. Ends at the array's `]`; then `rest` starts there."""

    def __init__(self, limit: int) -> None:
        self.rest = ""
        self._limit = limit
        self._utf8 = codecs.getincrementaldecoder("utf-8")(_EXACT)
        # Numbers stay text: only the ends of records matter here, and a number of 5,000 digits is no error of JSON.
        self._scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode
        self._ended = False
        self._first = True
        self._try_at = 0

    def feed(self, text: bytes, *, final: bool = False) -> Iterator[bytes]:
        self.rest += self._utf8.decode(text, final)
        if self._ended:
            if len(self.rest) > HEAD_LIMIT:
                raise LogMalformed("something large follows the records")
            return
        # A record that is not complete is scanned from its start each time: so only when the text has doubled.
        if len(self.rest) < self._try_at and not final:
            return
        rest, at, start = self.rest, 0, 0
        try:
            while (found := self._next_start(rest, at)) is not None:
                start = found
                _, end = self._scan(rest, start)
                yield rest[start:end].encode("utf-8", _EXACT)
                self._first = False
                at = end
        except json.JSONDecodeError:
            begun = rest[start : start + self._limit + 1].encode("utf-8", _EXACT)
            if len(begun) > self._limit:
                if not _ends_early(begun):
                    raise _not_json(begun) from None
                raise _too_large(self._limit) from None
        except RecursionError:
            raise LogMalformed("a record is nested too deeply") from None
        self.rest = rest[at:].lstrip(_SPACE)
        if self.rest.startswith(","):
            self.rest = "," + self.rest[1:].lstrip(_SPACE)  # of which there may be any amount
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
        if text[at] != "{":
            raise LogMalformed(f"a record starts with {text[at : at + 20]!r}")
        return at

    def finish(self) -> Iterator[bytes]:
        yield from self.feed(b"", final=True)
        if not self._ended:
            rest = self.rest.lstrip(_SPACE + ",").encode("utf-8", _EXACT)
            if not rest or _ends_early(rest):
                raise LogTruncated("the JSON ends in the middle of its records")
            raise _not_json(rest)


def _too_large(limit: int) -> LogLimitExceeded:
    return LogLimitExceeded(f"a record of more than {limit:,} bytes")


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
    return any(_TRUNCATED in _refusal(each) for each in (text, text + b"0"))


def _refusal(text: bytes) -> str:
    try:
        msgspec.json.decode(text)
    except _REFUSED as error:
        return str(error)
    return ""
