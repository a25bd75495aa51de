"""Audit logs: a stream of JSON objects. MinIO writes them. Seagate Lyve Cloud wraps each record in an `auditEntry`.

An object that follows the documentation is decoded by type. Every other object is read field by field, so that a field
that does not identify the object never makes a record bad. If the bucket of a write or delete can be read and the key
cannot, the whole bucket is stale. One file may have both forms.

`time` is the start of the request. The change became visible at the end of the request, so the event gets that time,
rounded up: a refresh during a long upload did not see the new object.

Source: MinIO, docs/logging; Lyve Cloud, "S3 API audit log".
"""

from functools import lru_cache
from typing import Final

from jibe_sqs.core.formats import s3_calls
from jibe_sqs.core.formats.audit_records import (
    NO_OBJECTS,
    WHOLE_BUCKET,
    Call,
    Target,
    TypedRecord,
    listed_objects,
    loose_call,
    start_time,
    typed_call,
    typed_decoder,
    usual_call,
    version_of,
    visible_at,
)
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.json_log import JsonLog
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, fields
from jibe_sqs.core.formats.recent import Recent, change_id
from jibe_sqs.core.formats.s3_calls import UNLISTED
from jibe_sqs.core.formats.statuses import is_failure
from jibe_sqs.core.model import Actor, Kind, ObjectEvent, Record, SkipReason, Unchanged

POST_FORM = "PostPolicyBucket"
UNPACK = "PutObjectExtract"
DELETE_MANY = "DeleteMultipleObjects"
EXPIRE = "ILMExpiry"

WRITES = s3_calls.WRITES | {POST_FORM, UNPACK}
DELETES = frozenset({s3_calls.DELETE, DELETE_MANY, EXPIRE})

NOT_CHANGES = s3_calls.NOT_CHANGES | {
    "CopyObjectPart",
    "ILMFreeVersionDelete",
    "ILMTransition",
    "NewMultipartUpload",
    "PostRestoreObject",
    "PutObjectPart",
}

EXPIRY_EVENT = "ilm:expiry"
HOUSEKEEPING_EVENTS = frozenset(
    {"HealObject", "decommission", "ilm:free-version-delete", "ilm:transition", "rebalance"}
)
"""MinIO moves objects between its drives and tiers. The objects stay the same."""


_MAX_NAME_LENGTH: Final = 64
"""Characters of the name of a call or event that is remembered."""


class AuditLog(JsonLog):
    """Parser of one log file. It remembers the ids of the last changes. `readers`: records of reads have their caller."""

    decode = typed_decoder.decode

    def __init__(self, limits: Limits, bad: BadRecords, readers: bool = False) -> None:
        super().__init__(limits, bad)
        self._readers = readers
        self._seen = Recent()

    def read_usual(self, text: bytes) -> list[Record] | None:
        """The records of a line with one object that the typed decoder accepts."""
        try:
            record = typed_decoder.decode(text)
        except DECODE_ERRORS:
            return None
        call = usual_call(record)
        if call is None or call.objects not in NO_OBJECTS or len(call.api.object or "") > self._max_key_length:
            return None
        return self._read_call(call)

    def read_value(self, line: Line, value: TypedRecord) -> list[Record]:
        """The records of an object that the typed decoder accepts: one for each S3 object that the call names."""
        return self._read_line(line, typed_call(line, value))

    def read_refused(self, line: Line) -> list[Record]:
        """The records of an object that the typed decoder refuses."""
        return self._read_line(line, loose_call(line))

    @staticmethod
    def is_entry(value: object) -> bool:
        """Whether the value has a call, in the field `api`."""
        return isinstance((fields(fields(value).get("auditEntry")) or fields(value)).get("api"), dict)

    def _read_line(self, line: Line, call: Call) -> list[Record]:
        found = self._read_call(call)
        if found is None:
            name = _call_name(call.api.name, call.entry.event)
            raise self.without_bucket(line, f"a {name[:40] or 'call'} without api.bucket", "api.bucket")
        return found

    def _read_call(self, call: Call) -> list[Record] | None:
        """The records of a call. None if it changes an object, but does not name the bucket."""
        entry, api = call.entry, call.api
        name = _call_name(api.name, entry.event)
        names_an_object = call.object_unreadable or bool(api.object) or call.objects not in NO_OBJECTS
        on_object = names_an_object and (bool(api.bucket) or call.bucket_unreadable)
        reason = _skip_reason_of(name, entry.event or "", api.statusCode, on_object)
        if reason is not None:
            time = start_time(entry.time)
            actor = _actor_of(call) if self._readers and reason is SkipReason.READ_ONLY else None
            return [Unchanged(reason, api.bucket or "", api.object or "", time, entry.requestID or "", name, actor)]
        return self._events(call, name, api.bucket) if api.bucket else None

    def _events(self, call: Call, name: str, bucket: str) -> list[Record]:
        entry, api = call.entry, call.api
        moment = visible_at(entry.time or "", api)
        request = entry.requestID or ""
        actor = _actor_of(call)
        kind = Kind.DELETED if name in DELETES else Kind.WRITTEN
        found: list[Record] = []
        for target in _targets(call, name):
            key, version = target.key, target.version
            if request and not self._seen.add(change_id(request, name, bucket, key)):
                found.append(Unchanged(SkipReason.DUPLICATE, bucket, key, moment, request, name))
            else:
                effect = kind if key else UNLISTED[kind]
                found.append(ObjectEvent(effect, bucket, key, moment, request, "", actor, version, name, request))
        return found


def _actor_of(call: Call) -> Actor:
    entry = call.entry
    address = _without_port(entry.remotehost or "")
    return Actor(entry.parentUser or call.account, entry.accessKey or "", "", address, entry.userAgent or "")


def _call_name(name: str | None, event: str | None) -> str:
    return EXPIRE if event == EXPIRY_EVENT else name or event or ""


def _skip_reason_of(name: str, event: str, status: int | None, on_object: bool) -> SkipReason | None:
    """Why the call changes no object: the first reason that applies. None if it changes an object.

    An unknown call on an object counts as a write: a refresh too many is harmless, a missing one is not.
    """
    # The cache must not keep the long texts of a hostile file.
    is_short = len(name) <= _MAX_NAME_LENGTH and len(event) <= _MAX_NAME_LENGTH
    return (_known_skip_reason if is_short else _skip_reason)(name, event, status, on_object)


def _skip_reason(name: str, event: str, status: int | None, on_object: bool) -> SkipReason | None:
    if s3_calls.is_read(name):
        return SkipReason.READ_ONLY
    # Calls that MinIO itself makes have no status. Go writes a missing status as 0.
    if is_failure(status):
        return SkipReason.FAILED
    if event in HOUSEKEEPING_EVENTS or name in NOT_CHANGES or s3_calls.changes_side_data(name):
        return SkipReason.NOT_OBJECT_CHANGE
    if on_object or name in WRITES or name in DELETES:
        return None
    return SkipReason.NOT_OBJECT_CHANGE


_known_skip_reason = lru_cache(maxsize=1024)(_skip_reason)


def _targets(call: Call, name: str) -> list[Target]:
    """The objects of the call. `WHOLE_BUCKET` is among them if the call also changed objects that the record does not name.

    The key of a form may be only in its body, and the keys of an archive are in the archive.
    """
    if name == UNPACK:
        return [WHOLE_BUCKET]
    if call.objects in NO_OBJECTS and call.api.object and name != DELETE_MANY:
        return [Target(call.api.object, version_of(call.headers))]
    listed, is_complete = listed_objects(call.objects)
    named = call.api.object or ""
    # If the list names other objects, `api.object` is one more object.
    if listed and named and named not in (each.key for each in listed):
        listed = [*listed, Target(named)]
    rest = [] if is_complete and not (listed and call.object_unreadable) else [WHOLE_BUCKET]
    if len(listed) > 1:
        return listed + rest
    key = listed[0].key if listed else "" if name == DELETE_MANY else named
    if not key:
        return [WHOLE_BUCKET]
    version = (listed[0].version if listed else None) or version_of(call.headers)
    return [Target(key, version), *rest]


def _without_port(host: str) -> str:
    """The address of `192.0.2.1:9000` or `[2001:db8::1]:9000`, or of the same without a port."""
    before, _, after = host.partition(":")
    if before.startswith("["):
        return host[1:].partition("]")[0]
    return host if ":" in after else before
