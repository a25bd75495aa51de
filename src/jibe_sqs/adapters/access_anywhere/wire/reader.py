"""Reads an answer in portions, so that a large one costs little memory and never holds up the event loop.

Only two functions can have large answers: lists of files and lists of tasks. Such a list is cut into its entries. Each
entry is decoded by itself, and only what is needed of it is kept. The other fields of an answer are small.

The text of a value ends where its brackets are closed. The decoder then checks the value. Nearly all answers are small, and
are decoded at once.
"""

import re
import sys
from collections.abc import Callable, Generator, Iterable
from itertools import zip_longest
from typing import Final

import msgspec

from jibe_sqs.core.errors import AnswerMalformed

Answer = dict[str, object]
Wait = Generator[bool, None, None]
"""A parser that yields True when it needs more text, and False at the end of a turn."""

PORTION: Final = 16 * 1024
"""Bytes to collect before they are parsed."""

SMALL: Final = 4 * 1024
"""Bytes of an answer that is decoded at once. It has at most 350 entries, so this takes no longer than a turn."""

TURN: Final = 16 * 1024
"""The work of one turn: a few milliseconds. A byte that is parsed counts as 1, and a value or a bracket as `STEP`."""

STEP: Final = 128

MAX_FIELDS_BYTES: Final = 1024 * 1024
"""Bytes of an answer without its list. The largest such answer is one file with its path: a name of 1,024 bytes has up to
6 KB as JSON, and a few fields repeat it. The rest is for fields that new releases may add."""

MAX_LIST_BYTES: Final = 64 * 1024 * 1024
"""Bytes of an answer with a list. We ask for 1,000 files (0.6 MB) or 20,000 tasks (12 to 40 MB). A server that ignores
`count` sends the whole folder: 100,000 files have about 60 MB."""

MAX_ENTRIES: Final = 100_000
"""Entries of a list, which are kept until the caller has used them: 200 bytes each, and their texts."""

MAX_KEPT_BYTES: Final = 64 * 1024 * 1024
"""Memory of the texts that are kept of a list. With one emoji in it, a text needs four bytes for each character."""

_SPACES = re.compile(rb"[ \t\n\r]*+")
_SCALAR = re.compile(rb'[^\s,:"\[\]{}]*+')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+[\[\]{}]', re.DOTALL)


class ListShape(msgspec.Struct, frozen=True):
    """The list in a function's answer.

    `name`: its field, at the top of the answer or in the object `inside`. `known_by`: a field of every entry. Where the
    list has one entry, the server may send the entry itself. `max_entry`: bytes of one entry.
    `kept` returns what is kept of an entry. It raises `AnswerMalformed`.
    """

    name: str
    known_by: str
    kept: Callable[[object], object]
    max_entry: int
    inside: str = ""


class AnswerReader:
    """`feed` it the text in order, then `end` it. After each, call `parse` until it returns False. Then take the `answer`.

    All raise `AnswerMalformed`, whose text never quotes the answer.

    In the answer, the list is a list of what was kept. If an entry is malformed, the error is in its place, because it
    concerns only the callers that need the list.
    """

    def __init__(self, shape: ListShape | None = None) -> None:
        self._shape = shape
        self._limit = MAX_LIST_BYTES if shape else MAX_FIELDS_BYTES
        self._answer: Answer = {}
        self._fed = 0
        self._field_bytes = 0
        self._new: list[bytes] = []
        self._new_bytes = 0
        self._text = b""
        self._at = 0
        self._is_whole = False
        self._work = 0
        self._parser = self._document()
        self._needs_text = next(self._parser)

    @property
    def fed(self) -> int:
        """How many bytes were fed."""
        return self._fed

    def feed(self, portion: bytes) -> None:
        """Take text."""
        self._fed += len(portion)
        if self._fed > self._limit:
            raise AnswerMalformed(f"has more than {self._limit:,} bytes; it was not read to its end")
        self._new.append(portion)
        self._new_bytes += len(portion)

    def end(self) -> None:
        """Report that no more text follows."""
        self._is_whole = True

    def parse(self) -> bool:
        """Parse for one turn. Returns whether there is more to parse, so that the caller may do other work before."""
        # An incomplete value is searched again, partly. So wait until its text has doubled.
        is_enough = self._new_bytes >= max(PORTION, len(self._text) - self._at)
        if self._needs_text and not is_enough and not self._is_whole:
            return False
        if self._is_whole and self._fed <= SMALL and not self._text and self._decoded_at_once(b"".join(self._new)):
            return False
        if self._needs_text:
            self._text = b"".join([self._text[self._at :], *self._new])
            self._at = 0
            self._new.clear()
            self._new_bytes = 0
        self._work = 0
        self._needs_text = next(self._parser, True)
        return not self._needs_text

    def answer(self) -> Answer:
        """The answer, with any `status`."""
        if not isinstance(self._answer.get("status"), str):
            raise AnswerMalformed("is JSON without a `status`, so not an answer of Access Anywhere's API")
        return self._answer

    def _decoded_at_once(self, text: bytes) -> bool:
        """Decode a whole answer. Returns False if it is not an object: the parser then finds out why."""
        try:
            answer = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if not isinstance(answer, dict):
            return False
        if self._shape is not None:
            _keep_list(answer, self._shape)
            if isinstance(inner := answer.get(self._shape.inside), dict):
                _keep_list(inner, self._shape)
        self._answer = answer
        return True

    def _more(self, limit: int = MAX_FIELDS_BYTES) -> Wait:
        """Wait for more text. `limit`: bytes of the incomplete value that begins here."""
        if self._is_whole:
            raise AnswerMalformed("is not JSON: it ends too early")
        if len(self._text) - self._at > limit:
            raise AnswerMalformed(f"has a value of more than {limit:,} bytes; it was not read to its end")
        yield True

    def _step(self, size: int = 0) -> Wait:
        """Count work, and end the turn if it was enough. `size`: bytes that were parsed."""
        self._work += STEP + size
        if self._work > TURN:
            yield False

    def _document(self) -> Wait:
        yield True
        if (yield from self._next()) != b"{":
            raise AnswerMalformed("is not a JSON object, so not an answer of Access Anywhere's")
        yield from self._container(lambda name: self._field(self._answer, name))
        while self._skip_spaces() < len(self._text) or not self._is_whole:
            if self._at < len(self._text):
                raise AnswerMalformed("is not JSON: text follows its end")
            yield from self._more()

    def _container(self, read_value: Callable[[str], Wait]) -> Wait:
        """Read the object or list that begins here. `read_value` reads each value; its name is empty in a list."""
        closing = b"}" if self._text[self._at : self._at + 1] == b"{" else b"]"
        self._at += 1
        if (yield from self._next()) == closing:
            self._at += 1
            return
        while True:
            name = ""
            if closing == b"}":
                name = yield from self._name()
            yield from read_value(name)
            after = yield from self._next()
            self._at += 1
            if after == closing:
                return
            if after != b",":
                raise AnswerMalformed("is not JSON: a comma is missing")

    def _name(self) -> Generator[bool, None, str]:
        if (yield from self._next()) != b'"':
            raise AnswerMalformed("is not JSON: the name of a field is missing")
        name = decoded_value((yield from self._value(MAX_FIELDS_BYTES)))
        if (yield from self._next()) != b":":
            raise AnswerMalformed("is not JSON: a colon is missing")
        self._at += 1
        return str(name)

    def _field(self, fields: Answer, name: str) -> Wait:
        first = yield from self._next()
        if self._shape and name == self._shape.name and first in b"[{":
            entries = _Entries(self._shape, may_be_one=first == b"{")
            yield from self._container(lambda key: self._entry(entries, key))
            yield from self._keep(entries, entries.rest())
            fields[name] = entries.found
        elif self._shape and name == self._shape.inside != "" and first == b"{" and fields is self._answer:
            inner: Answer = {}
            yield from self._container(lambda key: self._field(inner, key))
            fields[name] = inner
        else:
            text = yield from self._value(MAX_FIELDS_BYTES)
            self._field_bytes += len(text)
            if self._field_bytes > MAX_FIELDS_BYTES:
                raise AnswerMalformed(f"has more than {MAX_FIELDS_BYTES:,} bytes of fields; it was not read to its end")
            fields[name] = decoded_value(text)

    def _entry(self, entries: "_Entries", key: str) -> Wait:
        text = yield from self._value(entries.shape.max_entry)
        yield from self._keep(entries, entries.complete(key, text))

    def _keep(self, entries: "_Entries", values: Iterable[object]) -> Wait:
        for value in values:
            entries.keep(value)
            yield from self._step()

    def _next(self) -> Generator[bool, None, bytes]:
        """The next byte that is not a space. It is not consumed."""
        while self._skip_spaces() == len(self._text):
            yield from self._more()
        return self._text[self._at : self._at + 1]

    def _skip_spaces(self) -> int:
        spaces = _SPACES.match(self._text, self._at)
        self._at = spaces.end() if spaces else self._at
        return self._at

    def _value(self, limit: int) -> Generator[bool, None, bytes]:
        """The text of the next value, of at most `limit` bytes."""
        first = yield from self._next()
        # Where the search goes on, from the beginning of the value.
        searched = depth = 0
        while True:
            if first in b"[{":
                found = _TO_BRACKET.match(self._text, self._at + searched)
            else:
                found = (_STRING if first == b'"' else _SCALAR).match(self._text, self._at)
            if found is None or (found.end() == len(self._text) and not self._is_whole and first not in b'"[{'):
                yield from self._more(limit)
                continue
            yield from self._step(found.end() - self._at - searched)
            searched = found.end() - self._at
            if first in b"[{":
                depth += 1 if self._text[found.end() - 1] in b"[{" else -1
            if not depth:
                break
        if searched > limit:
            raise AnswerMalformed(f"has a value of more than {limit:,} bytes")
        text = self._text[self._at : self._at + searched]
        self._at += searched
        return text


def _keep_list(fields: Answer, shape: ListShape) -> None:
    """Replace the list in these fields by what is kept of it."""
    listed = fields.get(shape.name)
    if isinstance(listed, list | dict):
        entries = _Entries(shape, may_be_one=isinstance(listed, dict))
        for value in listed if isinstance(listed, list) else entries.of(listed):
            entries.keep(value)
        fields[shape.name] = entries.found


class _Entries:
    """The entries of a list, or of an object of `n0`, `n1`, … An object may also be the only entry itself."""

    def __init__(self, shape: ListShape, *, may_be_one: bool) -> None:
        self.shape = shape
        self._kept: list[object] = []
        self._kept_bytes = 0
        self._failure: AnswerMalformed | None = None
        self._may_be_one = may_be_one
        self._fields: Answer = {}
        self._field_bytes = 0

    @property
    def found(self) -> object:
        """What was kept, or the first error."""
        return self._failure or self._kept

    def complete(self, key: str, text: bytes) -> Iterable[object]:
        """The entries that are known to be complete with this value of the list or object."""
        value = decoded_value(text)
        if not self._may_be_one:
            return [value]
        self._fields[key] = value
        self._field_bytes += len(text)
        if self._field_bytes <= self.shape.max_entry:
            return []
        # This is too large for one entry.
        self._may_be_one = False
        return self.rest()

    def rest(self) -> Iterable[object]:
        """The other entries, at the end of the list or object."""
        fields, self._fields = self._fields, {}
        return self.of(fields)

    def of(self, fields: Answer) -> Iterable[object]:
        """The entries of an object, which may be the only entry itself."""
        return [fields] if self.shape.known_by in fields else fields.values()

    def keep(self, value: object) -> None:
        """Keep what is needed of an entry."""
        if self._failure is not None:
            return
        if len(self._kept) == MAX_ENTRIES:
            raise AnswerMalformed(f"has more than {MAX_ENTRIES:,} entries; it was not read to its end")
        try:
            kept = self.shape.kept(value)
        except AnswerMalformed as error:
            self._failure = error
            self._kept.clear()
            return
        self._kept_bytes += text_memory(kept, self._kept[-1] if self._kept else None)
        if self._kept_bytes > MAX_KEPT_BYTES:
            raise AnswerMalformed(
                f"has entries with more than {MAX_KEPT_BYTES:,} bytes of text; it was not read to its end"
            )
        self._kept.append(kept)


def text_memory(kept: object, before: object) -> int:
    """Bytes of the texts in what is kept of an entry, without those that the entry before it has, too."""
    if not isinstance(kept, msgspec.Struct):
        return 0
    old = msgspec.structs.astuple(before) if isinstance(before, msgspec.Struct) else ()
    fields = zip_longest(msgspec.structs.astuple(kept), old)
    return sum(sys.getsizeof(new) for new, same in fields if new is not same and isinstance(new, str))


def decoded_value(text: bytes) -> object:
    """Decode a value. Raises `AnswerMalformed`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerMalformed(f"is not JSON: {error}") from None
