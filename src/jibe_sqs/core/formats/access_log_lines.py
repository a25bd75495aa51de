"""S3 server access logs as text: one request per line, spaces between the fields, `-` for null.

S3 escapes nothing. Quoted fields may contain quotes, and every field may contain bytes that are not UTF-8. So the fields
before the request are counted from the start of the line. The request ends at a quote that the status and its numbers
follow. S3 adds fields at the end over the years: they are ignored.

Only operation, bucket, key and status matter for the decision. If another field is unreadable or shifts the fields after
it, the parser searches for the operation's name, and takes bucket and key from their places beside it.

Source: S3 User Guide, "Server access log format".
"""

import re
from collections.abc import Callable
from typing import Final

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.access_log_keys import keys_in_line
from jibe_sqs.core.formats.access_log_records import MAX_OPERATION_LENGTH, SeenChanges, effect_of, parse_bucket
from jibe_sqs.core.formats.access_log_times import time_in_line, visible_at
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.s3_calls import UNLISTED
from jibe_sqs.core.formats.statuses import is_failure
from jibe_sqs.core.model import Actor, ObjectEvent, Record, SkipReason, Unchanged

NULL: Final = b"-"
_REQUEST_STARTS: Final = (b'"', NULL)
_FIELDS: Final = 10
"""The nine fields before the request, and the rest of the line."""

_REQUEST = rb'(?:"[^"]*+(?:"[^"]*+)*?"|-) '
_NUMBER = rb"(?:[0-9]++|-) "
_MILLISECONDS = rb"([0-9]{1,15}|-)(?:ms)?"
_OUTCOME = re.compile(
    # The status; error code, bytes sent, object size; total time, turn-around time; everything that follows.
    _REQUEST + rb'([0-9]{3}|-) [^ "]++ ' + _NUMBER * 2 + _MILLISECONDS + rb" " + _MILLISECONDS + rb"(?: (.*))?$",
    re.DOTALL,
)
# A request may contain text that looks like a failure. `_LATER_SUCCESS` finds the real status after it.
# A `-` does not count as a status here: it may be the field after the user agent, if the request's end was not found.
_SHORT_OUTCOME = re.compile(_REQUEST + rb'([0-9]{3})(?: [^ "]++){0,4} ?$', re.DOTALL)
_LATER_SUCCESS = re.compile(rb'" 2[0-9]{2} [^ "]++ ' + _NUMBER * 3 + rb"(?:[0-9]++|-)(?: |$)")

_REGULAR_TAIL = re.compile(rb'(?:"[^"]*+"|-) "([^"]*+)" ([^ "]++)(?: [^"]*+)?$')
"""A quoted user agent that contains no quotes."""

_SPACED_HEAD = re.compile(rb"\S+[ \t]+\S+[ \t]+\[")
"""Owner, bucket and time. If owner or bucket is empty, several blanks are not one separator."""
_BLANKS = re.compile(rb"\t[ \t]*| [ \t]+")
_OPERATION = re.compile(rb" ((?:REST|WEBSITE|BATCH|S3|SOAP)\.[A-Za-z0-9_.]{1,%d})(?: |$)" % (MAX_OPERATION_LENGTH - 8))
_BUCKET = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/$-]{0,254}")


def names_operation(text: bytes) -> bool:
    """Whether one of the fields is an operation."""
    return _OPERATION.search(text) is not None


class TextRequests:
    """Parses the lines of one file. `readers`: records of reads have their caller."""

    def __init__(
        self, changes: SeenChanges, without_bucket: Callable[[Line, str], RecordMalformed], *, readers: bool = False
    ) -> None:
        self._changes = changes
        self._readers = readers
        self._without_bucket = without_bucket

    def read(self, line: Line) -> list[Record]:
        """The records of a line: one for each possible key."""
        try:
            return self._read(line)
        except RecordMalformed:
            # Other writers put tabs, or several spaces, between the fields.
            text = _BLANKS.sub(b" ", line.text)
            if text == line.text or not _SPACED_HEAD.match(line.text):
                raise
        return self._read(line._replace(text=text))

    def _read(self, line: Line) -> list[Record]:
        found = self.read_usual(line.text)
        if found is not None:
            return found
        fields = line.text.split(b" ", _FIELDS - 1)
        name, change = effect_of(fields[7]) if len(fields) == _FIELDS else ("", None)
        if change is None:
            return self._read_around_operation(line)
        raise self._without_bucket(line, f"a {name} on the bucket {fields[1][:40]!r}")

    def read_usual(self, text: bytes) -> list[Record] | None:
        """The records of a line whose fields are in their places. None if its operation or its bucket cannot be read there."""
        fields = text.split(b" ", _FIELDS - 1)
        if len(fields) < _FIELDS:
            return None
        _, bucket, day, zone, address, requester, request, operation, key, rest = fields
        name, change = effect_of(operation)
        if change is None:
            return None
        start = time_in_line(day, zone)
        milliseconds, tail = None, b""
        if change is not SkipReason.READ_ONLY:
            failed, milliseconds, tail = _outcome(rest)
            change = SkipReason.FAILED if failed else change
        if isinstance(change, SkipReason):
            actor = None
            if self._readers and change is SkipReason.READ_ONLY:
                agent, _ = _agent_and_version(_outcome(rest)[2])
                actor = Actor(principal=_text(requester), source_address=_text(address), user_agent=_text(agent))
            return [
                Unchanged(change, _text(bucket), _displayed_key(key, name), start or 0.0, _text(request), name, actor)
            ]
        bucket_name = "" if bucket == NULL or not bucket.isascii() else parse_bucket(bucket.decode("ascii"))
        if not bucket_name:
            return None
        keys = _keys(key, rest, name)
        agent, version = _agent_and_version(tail)
        actor = Actor(principal=_text(requester), source_address=_text(address), user_agent=_text(agent))
        event = ObjectEvent(
            change if keys else UNLISTED[change],
            bucket_name,
            keys[0] if keys else "",
            visible_at(start, milliseconds, change),
            _text(request),
            "",
            actor,
            _text(version) or None,
            name,
            _text(request),
        )
        return self._changes.records(event, keys)

    def _read_around_operation(self, line: Line) -> list[Record]:
        """The records of a line whose fields are shifted. Its request id and identities are not used."""
        found = _OPERATION.search(line.text)
        if found is None:
            raise line.malformed("it names no operation, such as REST.PUT.OBJECT")
        name, change = effect_of(found[1])
        bucket, start = _bucket_and_time(line.text[: found.start()])
        key, _, rest = line.text[found.end() :].partition(b" ")
        if change is None or (change is SkipReason.NOT_OBJECT_CHANGE and not key):
            raise line.malformed(f"it ends with the operation {name}, which may be cut off")
        failed, milliseconds, _ = _outcome(rest)
        if failed and change is not SkipReason.READ_ONLY:
            change = SkipReason.FAILED
        if isinstance(change, SkipReason):
            return [Unchanged(change, _text(bucket), _displayed_key(key, name), start or 0.0, "", name)]
        bucket_name = parse_bucket(bucket.decode("ascii")) if _BUCKET.fullmatch(bucket) else ""
        if not bucket_name:
            raise self._without_bucket(line, f"a {name} on the bucket {bucket[:40]!r}")
        keys = _keys(key, rest, name)
        kind, time = change if keys else UNLISTED[change], visible_at(start, milliseconds, change)
        event = ObjectEvent(kind, bucket_name, keys[0] if keys else "", time, name=name)
        return self._changes.records(event, keys)


def _keys(key: bytes, rest: bytes, name: str) -> tuple[str, ...]:
    """All possible keys. Empty if the field is null, may be cut off, or is not followed by the request.

    S3 also writes the key of an object named `-` as `-`. The whole bucket is stale then, which is right for both.
    """
    return keys_in_line(key, name) if key and key != NULL and rest.startswith(_REQUEST_STARTS) else ()


def _outcome(rest: bytes) -> tuple[bool, float | None, bytes]:
    """Whether the request failed, its duration in milliseconds or None, and the fields from the referer on.

    A status that is null or cannot be found does not count as a failure.
    """
    found = _OUTCOME.match(rest)
    if found is not None:
        status, total, turn_around, tail = found.groups()
        taken = total if total != NULL else turn_around
        failed = status != NULL and is_failure(int(status)) and not _LATER_SUCCESS.search(rest, found.end(1))
        return failed, int(taken) if taken != NULL else None, tail or b""
    found = _SHORT_OUTCOME.match(rest)
    failed = found is not None and is_failure(int(found[1])) and not _LATER_SUCCESS.search(rest, found.end(1))
    return failed, None, b""


def _bucket_and_time(head: bytes) -> tuple[bytes, float | None]:
    """Bucket and time from the fields before the operation. The bucket is before the bracket of the time, else second."""
    before, bracket, after = head.partition(b" [")
    if bracket:
        day, _, zone = after.partition(b"]")[0].partition(b" ")
        return before.rpartition(b" ")[2], time_in_line(b"[" + day, zone + b"]")
    _, bucket, *_ = [*head.split(b" ", 2), b""]
    return bucket, None


def _displayed_key(key: bytes, name: str) -> str:
    """The key of a request that changes nothing, for display."""
    if b"%" not in key and b"+" not in key:
        return _text(key)
    return next(iter(keys_in_line(key, name)), _text(key))


def _agent_and_version(tail: bytes) -> tuple[bytes, bytes]:
    """The user agent and the version of `"referer" "user agent" version …`. The quoted fields may contain quotes, or be `-`.

    No field after the user agent contains a quote, so the user agent ends at the last quote.
    """
    if found := _REGULAR_TAIL.match(tail):
        return found[1], found[2]
    if tail.startswith(b'"'):
        at = tail.find(b'" "')
        tail = tail[at + 2 :] if at >= 0 else tail.partition(b'" ')[2]
    else:
        tail = tail.partition(b" ")[2]
    if tail.startswith(b'"'):
        end = tail.rfind(b'"', 1)
        agent, after = (tail[1:end], tail[end + 1 :].lstrip(b" ")) if end > 0 else (tail[1:], b"")
    else:
        agent, _, after = tail.partition(b" ")
    return agent, after.partition(b" ")[0]


def _text(field: bytes) -> str:
    return "" if field == NULL else field.decode("utf-8", "replace")
