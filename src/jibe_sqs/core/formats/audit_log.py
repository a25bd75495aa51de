"""Audit logs of MinIO, a JSON object a line, and of Seagate Lyve Cloud, which wraps each in an `auditEntry`.

Both forms may stand in one file. Only the fields that decide are decoded; a field of another type than the format's
makes a bad record only of a line that would otherwise be a change.

`time` is when the request began. The change became visible at its end, so that is the event's time, rounded up: a
folder refreshed during a long upload must not count as having seen it.

Source: MinIO, docs/logging; Lyve Cloud, "S3 API audit log".
"""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgspec

from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line, LineLog
from jibe_sqs.core.formats.recent import Recent
from jibe_sqs.core.model import LATEST, Actor, Kind, ObjectEvent, Record, SkipReason, Unchanged

POST_FORM = "PostPolicyBucket"
UNPACK = "PutObjectExtract"
DELETE_MANY = "DeleteMultipleObjects"
EXPIRE = "ILMExpiry"

WRITES = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", POST_FORM, UNPACK})
DELETES = frozenset({"DeleteObject", DELETE_MANY, EXPIRE})

UNLISTED = frozenset({DELETE_MANY, POST_FORM, UNPACK})
"""Calls on a bucket that need not say which objects: a form's key is in its body, an archive's are in the archive.

Where they don't, all of the bucket is stale.
"""

NOT_CHANGES = frozenset(
    {
        "AbortMultipartUpload",
        "CopyObjectPart",
        "ILMFreeVersionDelete",
        "ILMTransition",
        "NewMultipartUpload",
        "PostRestoreObject",
        "PutObjectPart",
    }
)
NOT_CHANGE_ENDINGS = ("Tagging", "ACL", "Acl", "Retention", "LegalHold")
"""What is written beside an object and not shown in the index."""

READ_BEGINNINGS = ("Get", "Head", "List", "Select")

EXPIRY_EVENT = "ilm:expiry"
HOUSEKEEPING_EVENTS = frozenset(
    {"HealObject", "decommission", "ilm:free-version-delete", "ilm:transition", "rebalance"}
)
"""MinIO's own work on its drives and tiers: objects move between them, and stay the same."""

T = TypeVar("T")

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NONE = msgspec.Raw(b"null")
_NO_OBJECTS = (_NONE, msgspec.Raw(b"[]"))

_NS = 1_000_000_000


class _Api(msgspec.Struct, gc=False):
    name: str | None = None
    bucket: str | None = None
    object: str | None = None
    objects: msgspec.Raw = _NONE
    statusCode: int | None = None
    timeToResponse: str | None = None
    timeToResponseInNS: str | int | None = None


class _Entry(msgspec.Struct, gc=False):
    api: _Api | None = None
    event: str | None = None
    time: str | None = None
    requestID: str | None = None
    remotehost: str | None = None
    userAgent: str | None = None
    accessKey: str | None = None
    parentUser: str | None = None
    responseHeader: msgspec.Raw = _NONE


class _Line(_Entry, gc=False):
    auditEntry: _Entry | None = None
    serviceAccountName: str | None = None


class _Object(msgspec.Struct, gc=False):
    objectName: str | None = None
    versionId: str | None = None


class _ResponseHeader(msgspec.Struct, gc=False):
    version: str | None = msgspec.field(default=None, name="x-amz-version-id")
    version_canonical: str | None = msgspec.field(default=None, name="X-Amz-Version-Id")


class _Target(NamedTuple):
    key: str
    version: str | None


_line = msgspec.json.Decoder(_Line)
_objects = msgspec.json.Decoder(list[_Object] | None)
_response_header = msgspec.json.Decoder(_ResponseHeader | None)


class AuditLog(LineLog):
    """One log file. Besides a line, it holds the ids of the last changes."""

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        super().__init__(limits, bad)
        self._seen = Recent(8_192)

    def read(self, line: Line) -> list[Record]:
        """The record of a line; several for a call that names several objects."""
        try:
            decoded = _line.decode(line.text)
        except msgspec.ValidationError as error:
            unchanged = _unchanged_of_any_types(line.text)
            if unchanged is None:
                raise line.malformed(str(error)) from error
            return [unchanged]
        except _REFUSED as error:
            raise line.malformed(f"not JSON: {error}") from error
        entry = decoded.auditEntry or decoded
        api = entry.api
        if api is None:
            raise line.malformed("it has no api")
        name = _name(api.name, entry.event)
        on_object = bool(api.bucket) and (bool(api.object) or api.objects not in _NO_OBJECTS)
        reason = _no_change(name, entry.event, api.statusCode, on_object=on_object)
        if reason is not None:
            return [
                Unchanged(reason, api.bucket or "", api.object or "", _start(entry.time), entry.requestID or "", name)
            ]
        return self._changes(line, entry, api, name, decoded.serviceAccountName)

    def _changes(self, line: Line, entry: _Entry, api: _Api, name: str, account: str | None) -> list[Record]:
        if not api.bucket:
            raise line.malformed(f"a {name[:40]} without api.bucket")
        targets = _targets(line, entry, api, name)
        kind = Kind.DELETED if name in DELETES else Kind.WRITTEN
        if not targets:
            kind, targets = Kind.DELETED_UNLISTED, [_Target("", None)]
        moment = _visible_at(line, entry, api)
        request = entry.requestID or ""
        actor = Actor(
            principal=entry.parentUser or account or "",
            access_key=entry.accessKey or "",
            source_address=_address(entry.remotehost or ""),
            user_agent=entry.userAgent or "",
        )
        found: list[Record] = []
        for key, version in targets:
            if request and not self._seen.add(f"{request} {name} {api.bucket}/{key}"):
                found.append(Unchanged(SkipReason.DUPLICATE, api.bucket, key, moment, request, name))
            else:
                found.append(ObjectEvent(kind, api.bucket, key, moment, request, "", actor, version, name))
        return found


def _name(name: str | None, event: str | None) -> str:
    return EXPIRE if event == EXPIRY_EVENT else name or event or ""


def _no_change(name: str, event: str | None, status: int | None, *, on_object: bool) -> SkipReason | None:
    """The first reason that applies, in the order of the list, why a line changes no object.

    A call that we have never heard of, on an object, is taken for a write: a needless refresh, never a lost one.
    """
    if name.startswith(READ_BEGINNINGS):
        return SkipReason.READ_ONLY
    # MinIO's own acts have no status; 0 is how Go writes none.
    if status and not 200 <= status < 300:
        return SkipReason.FAILED
    if event in HOUSEKEEPING_EVENTS or name in NOT_CHANGES or name.endswith(NOT_CHANGE_ENDINGS):
        return SkipReason.NOT_OBJECT_CHANGE
    if on_object or name in WRITES or name in DELETES:
        return None
    return SkipReason.NOT_OBJECT_CHANGE


def _targets(line: Line, entry: _Entry, api: _Api, name: str) -> list[_Target]:
    """Which objects. None at all: the call doesn't say, and need not."""
    if name == UNPACK:
        return []
    listed = (_decode(_objects, api.objects, "api.objects", line) or []) if api.objects not in _NO_OBJECTS else []
    if not all(each.objectName for each in listed):
        raise line.malformed(f"a {name[:40]} with an object without api.objects[].objectName")
    if len(listed) > 1:
        return [_Target(each.objectName or "", each.versionId or None) for each in listed]
    unlisted = None if name == DELETE_MANY else api.object
    key = (listed[0].objectName if listed else unlisted) or ""
    if not key:
        if name in UNLISTED:
            return []
        raise line.malformed(f"a {name[:40]} without api.object")
    version = (listed[0].versionId if listed else None) or None
    if version is None and entry.responseHeader != _NONE:
        header = _decode(_response_header, entry.responseHeader, "responseHeader", line)
        version = (header.version or header.version_canonical or None) if header else None
    return [_Target(key, version)]


def _unchanged_of_any_types(text: bytes) -> Unchanged | None:
    """A line with a field of another type than the format's: whether it is sure to change nothing all the same."""
    try:
        line = msgspec.json.decode(text)
    except _REFUSED:
        return None
    entry = (line.get("auditEntry") or line) if isinstance(line, dict) else None
    api = entry.get("api") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(api, dict):
        return None
    event, status = _if_str(entry.get("event")), api.get("statusCode")
    name = _name(_if_str(api.get("name")), event)
    reason = _no_change(
        name,
        event,
        status if isinstance(status, int) else None,
        on_object=bool(api.get("object") or api.get("objects")) or not name,
    )
    if reason is None:
        return None
    bucket, key, request = (
        _if_str(each) or "" for each in (api.get("bucket"), api.get("object"), entry.get("requestID"))
    )
    return Unchanged(reason, bucket, key, _start(_if_str(entry.get("time"))), request, name)


def _if_str(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _decode(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, field: str, line: Line) -> T:
    try:
        return decoder.decode(raw)
    except _REFUSED as error:
        raise line.malformed(f"{field}: {error}") from error


def _address(host: str) -> str:
    """Without its port: of `192.0.2.1:9000`, `[2001:db8::1]:9000`, and the bare forms of both."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:([Zz])|([+-][0-9]{2}:[0-9]{2}))"
)
_DURATION = re.compile(r"([0-9]{1,18})(?:ns)?")


def _visible_at(line: Line, entry: _Entry, api: _Api) -> float:
    start = _nanoseconds(entry.time or "")
    if start is None:
        raise line.malformed(f"time {(entry.time or '')[:40]!r} is no time")
    duration = api.timeToResponseInNS
    if duration is None or duration == "":
        duration = api.timeToResponse or 0
    if not isinstance(duration, int):
        found = _DURATION.fullmatch(duration)
        if found is None:
            raise line.malformed(f"api.timeToResponse {duration[:40]!r} is no duration")
        duration = int(found[1])
    if not 0 <= duration < 10**18:
        raise line.malformed("api.timeToResponseInNS is no duration")
    moment = _seconds(start + duration)
    if moment > LATEST:
        raise line.malformed(f"api.timeToResponse {duration} ends after the year 9999")
    return moment


def _start(text: str | None) -> float:
    """For people; 0.0 if it cannot be read."""
    moment = _nanoseconds(text or "")
    return 0.0 if moment is None else _seconds(moment)


def _nanoseconds(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, _, offset = found.groups()
    whole = _epoch(day, clock, offset)
    return None if whole is None else whole * _NS + int((fraction or "").ljust(9, "0"))


@lru_cache(maxsize=1024)
def _epoch(day: str, clock: str, offset: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset or '+00:00'}")
        return int(moment.astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        return None


def _seconds(nanoseconds: int) -> float:
    """Rounded up to 2**-20 s, just under a microsecond: a float holds that exactly until the year 2242."""
    return -((-nanoseconds << 20) // _NS) / (1 << 20)
