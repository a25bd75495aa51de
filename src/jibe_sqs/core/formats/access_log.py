"""S3 server access logs: a request a line, fields between spaces, `-` for none.

Nothing in them is escaped. Quotes may stand in the quoted fields, and bytes that are not UTF-8 anywhere; so the fields
before the request are counted from the start of the line, and the request ends where a quote is followed by what can
only be the status and its numbers. Fields are added at the end over the years, and are left alone.

The time is when the request began, in whole seconds, cut off. The event's is when it ended, as far as the line tells:
with the milliseconds that it took. Who compares it with another clock adds the second.

Source: S3 User Guide, "Server access log format".
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line, LineLog
from jibe_sqs.core.formats.recent import Recent
from jibe_sqs.core.model import LATEST, Actor, Kind, ObjectEvent, Record, SkipReason, Unchanged

OPERATIONS: Final[dict[str, Kind | SkipReason]] = {
    "REST.PUT.OBJECT": Kind.WRITTEN,
    "REST.COPY.OBJECT": Kind.WRITTEN,
    "REST.POST.OBJECT": Kind.WRITTEN,  # a form
    "REST.POST.UPLOAD": Kind.WRITTEN,  # completes a multipart upload
    "REST.DELETE.OBJECT": Kind.DELETED,
    "BATCH.DELETE.OBJECT": Kind.DELETED,  # one for each key of a REST.POST.MULTI_OBJECT_DELETE
    "S3.EXPIRE.OBJECT": Kind.DELETED,
    "S3.CREATE.DELETEMARKER": Kind.DELETED,
    "REST.COPY.OBJECT_GET": SkipReason.READ_ONLY,  # the source's side of a copy
    "REST.COPY.PART_GET": SkipReason.READ_ONLY,
    "S3.RESTORE.OBJECT": SkipReason.NOT_OBJECT_CHANGE,
}
"""By name; what is not here is told by the parts of its name."""

READ_VERBS = frozenset({"GET", "HEAD", "OPTIONS", "SELECT"})
OBJECT = "OBJECT"
TRANSITION = "TRANSITION"

ENCODED_ONCE: Final = frozenset({"BATCH.DELETE.OBJECT", "S3.EXPIRE.OBJECT", "S3.CREATE.DELETEMARKER"})
"""Operations whose keys are percent-encoded once; all others' are twice.

Observed for the first two. A delete marker of a lifecycle rule comes from the same service inside S3 as an expiry, by
the same rules, so it is taken to be written alike; queries published for both decode both once.
"""

NULL: Final = b"-"
LONGEST_OPERATION: Final = 64

MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}

_REQUEST = rb'(?:"(?:.*?)"|-) '
_OUTCOME = re.compile(
    # The status; error code, bytes sent, object size; total time; turn-around time; all that follows.
    _REQUEST + rb"([0-9]{3}|-) [A-Za-z0-9.-]++ (?:[0-9]++|-) (?:[0-9]++|-) ([0-9]{1,15}|-) (?:[0-9]++|-)(?: (.*))?$",
    re.DOTALL,
)
# Here a `-` is no status: it may be what follows the user agent, where the request's own end was not found.
_SHORT_OUTCOME = re.compile(_REQUEST + rb"([0-9]{3})(?: [A-Za-z0-9.-]++){0,4} ?()()$", re.DOTALL)
_DAY = re.compile(rb"\[([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}):([0-9]{2}):([0-9]{2})")
_ZONE = re.compile(rb"([+-])([0-9]{2})([0-9]{2})\]")


class AccessLog(LineLog):
    """One log file. Besides a line, it holds the ids of the last changes."""

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        super().__init__(limits, bad)
        self._seen = Recent(8_192)

    def read(self, line: Line) -> list[Record]:
        """The record of a line: always one."""
        fields = line.text.split(b" ", 9)
        if len(fields) < 10:
            raise line.malformed(f"it ends after {len(fields)} fields")
        _, bucket, day, zone, address, requester, request, operation, key, rest = fields
        start = _start(day, zone)
        if start is None:
            raise line.malformed(f"the time {(day + b' ' + zone)[:40]!r} is no time")
        outcome = _OUTCOME.match(rest) or _SHORT_OUTCOME.match(rest)
        if outcome is None:
            raise line.malformed("no request and status follow the key")
        if len(operation) > LONGEST_OPERATION:
            raise line.malformed(f"the operation {operation[:40]!r} is too long for one")
        name, meaning = _meaning(operation)
        if meaning is not SkipReason.READ_ONLY and not _succeeded(outcome[1], name):
            meaning = SkipReason.FAILED
        if isinstance(meaning, SkipReason):
            key_text = _decoded(key, name).decode("utf-8", "replace")
            return [Unchanged(meaning, _text(bucket), key_text, start, _text(request), name)]
        time = start + int(outcome[2]) / 1000 if outcome[2] and outcome[2] != NULL else start
        if time > LATEST:
            raise line.malformed(f"it took {outcome[2].decode()} ms")
        return [self._change(line, meaning, bucket, key, time, request, name, address, requester, outcome[3] or b"")]

    def _change(
        self,
        line: Line,
        kind: Kind,
        bucket_field: bytes,
        key_field: bytes,
        time: float,
        request_field: bytes,
        name: str,
        address: bytes,
        requester: bytes,
        tail: bytes,
    ) -> Record:
        if bucket_field in (NULL, b"") or not bucket_field.isascii():
            raise line.malformed(f"a {name} on the bucket {bucket_field[:40]!r}")
        if not key_field:
            raise line.malformed(f"a {name} on an empty key")
        bucket, request = bucket_field.decode("ascii"), _text(request_field)
        if key_field == NULL:
            # None, or the object named `-`: not to be told apart. All of the bucket being stale is right for both.
            kind, key = Kind.DELETED_UNLISTED, ""
        else:
            try:
                key = _decoded(key_field, name).decode()
            except UnicodeDecodeError as error:
                raise line.malformed(f"the key of a {name} is not UTF-8") from error
        if request and not self._seen.add(f"{request} {name} {key}"):
            return Unchanged(SkipReason.DUPLICATE, bucket, key, time, request, name)
        user_agent, version = _agent_and_version(tail)
        actor = Actor(principal=_text(requester), source_address=_text(address), user_agent=_text(user_agent))
        return ObjectEvent(kind, bucket, key, time, request, "", actor, _text(version) or None, name)


@lru_cache(maxsize=256)
def _meaning(operation: bytes) -> tuple[str, Kind | SkipReason]:
    """What an operation does to an object that is shown in the index.

    One that we have never heard of, on an object, is taken for a write: a needless refresh, never a lost one.
    """
    name = operation.decode("ascii", "replace")
    if name in OPERATIONS:
        return name, OPERATIONS[name]
    _, verb, what, *_ = [*name.split(".", 2), "", ""]
    if verb in READ_VERBS:
        return name, SkipReason.READ_ONLY
    if what == OBJECT and not verb.startswith(TRANSITION):
        return name, Kind.WRITTEN
    return name, SkipReason.NOT_OBJECT_CHANGE


def _succeeded(status: bytes, name: str) -> bool:
    """What S3 does by itself, for a lifecycle rule, has no status."""
    return status.startswith(b"2") or (status == NULL and name.startswith("S3."))


def _decoded(key: bytes, name: str) -> bytes:
    """A `+` is a plus: the encoding is percent-encoding, not a form's."""
    if b"%" not in key:
        return b"" if key == NULL else key
    once = unquote_to_bytes(key)
    return once if name in ENCODED_ONCE else unquote_to_bytes(once)


def _agent_and_version(tail: bytes) -> tuple[bytes, bytes]:
    """Of `"referer" "user agent" version …`, where the quoted two may hold quotes, or be a bare `-`.

    No field after them holds a quote; so the user agent ends at the last one.
    """
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


def _start(day: bytes, zone: bytes) -> float | None:
    # Of these lengths only: the cache must not hold what a file made to harm us puts here.
    return _epoch(day, zone) if len(day) == 21 and len(zone) == 6 else None


@lru_cache(maxsize=4096)
def _epoch(day: bytes, zone: bytes) -> float | None:
    found, offset = _DAY.fullmatch(day), _ZONE.fullmatch(zone)
    month = MONTHS.get(found[2]) if found else None
    if found is None or offset is None or month is None:
        return None
    try:
        ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        tz = timezone(-ahead if offset[1] == b"-" else ahead) if ahead else UTC
        moment = datetime(int(found[3]), month, int(found[1]), int(found[4]), int(found[5]), int(found[6]), tzinfo=tz)
        return moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
