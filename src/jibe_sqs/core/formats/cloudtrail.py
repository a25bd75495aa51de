"""CloudTrail log files: `{"Records": […]}`, in no order, up to 50 MB, with every service's calls in them.

Only the fields that decide are decoded. What another service writes under the same names may have other types, so
`requestParameters` and the like stay raw until the record is known to be S3's.

Source: CloudTrail User Guide, record contents; S3 User Guide, "CloudTrail log file entries".
"""

from collections import deque
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.json_records import JsonRecords, RecordShape
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.recent import Recent
from jibe_sqs.core.model import Actor, Kind, ObjectEvent, Record, SkipReason, Unchanged

S3_SOURCES = frozenset({"s3.amazonaws.com", "s3express.amazonaws.com", "s3-outposts.amazonaws.com"})

WRITES = frozenset({"PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload"})
DELETE = "DeleteObject"
DELETE_MANY = "DeleteObjects"
RENAME = "RenameObject"
_NAME_A_KEY = WRITES | {DELETE, RENAME}

NOT_CHANGES = frozenset(
    {
        "AbortMultipartUpload",
        "CreateMultipartUpload",
        "CreateSession",
        "RestoreObject",
        "UploadPart",
        "UploadPartCopy",
    }
)
NOT_CHANGE_ENDINGS = ("Tagging", "Acl", "ACL", "Retention", "LegalHold", "Annotation", "Annotations", "Encryption")
"""What is written beside an object and not shown in the index."""

READ_BEGINNINGS = ("Get", "Head", "List", "Select")

OBJECT_RESOURCES = frozenset({"AWS::S3::Object", "AWS::S3Express::Object", "AWS::S3Outposts::Object"})
BUCKET_RESOURCES = frozenset({"AWS::S3::Bucket", "AWS::S3Express::DirectoryBucket"})

T = TypeVar("T")

_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NONE = msgspec.Raw(b"null")
_TRUE = msgspec.Raw(b"true")
_NO_ERROR = (_NONE, msgspec.Raw(b'""'))


class _Record(msgspec.Struct, gc=False):
    """The fields that decide. Those that other services might type otherwise are raw."""

    eventVersion: str = ""
    eventTime: str = ""
    eventSource: str = ""
    eventName: str = ""
    eventID: str = ""
    eventType: str = ""
    awsRegion: str = ""
    requestID: str | None = None
    sourceIPAddress: str | None = None
    userAgent: str | None = None
    errorCode: msgspec.Raw = _NONE
    readOnly: msgspec.Raw = _NONE
    userIdentity: msgspec.Raw = _NONE
    requestParameters: msgspec.Raw = _NONE
    resources: msgspec.Raw = _NONE


_BAD = _Record()
"""Stands where a bad record was skipped."""

_SHAPE = RecordShape(_Record, array="Records", first_field="eventVersion")


class _Source(msgspec.Struct, gc=False):
    """Enough of a record to tell whether it concerns us, however odd the rest of it is."""

    eventSource: object = None


class _SessionIssuer(msgspec.Struct, gc=False):
    arn: str | None = None


class _SessionContext(msgspec.Struct, gc=False):
    sessionIssuer: _SessionIssuer | None = None


class _Identity(msgspec.Struct, gc=False):
    arn: str | None = None
    accessKeyId: str | None = None
    invokedBy: str | None = None
    sessionContext: _SessionContext | None = None


class _Parameters(msgspec.Struct, gc=False):
    bucketName: str | None = None
    key: str | None = None
    Key: str | None = None  # S3 on Outposts spells it so
    rename_source: str | None = msgspec.field(default=None, name="x-amz-rename-source")


class _Resource(msgspec.Struct, gc=False):
    type: str | None = None
    ARN: str | None = None
    ARNPrefix: str | None = None


class _Target(NamedTuple):
    bucket: str
    key: str


_parameters = msgspec.json.Decoder(_Parameters | None)
_resources = msgspec.json.Decoder(list[_Resource] | None)
_identity = msgspec.json.Decoder(_Identity | None)
_source = msgspec.json.Decoder(_Source)


class CloudTrailLog:
    """One log file's text. `feed` it, in order, then `finish`; both give its records. Raises `LogError`s only.

    Holds one block of text, the ids of the last hundred thousand changes, and the `DeleteObjects` calls whose children
    may still come.
    """

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        self._records = JsonRecords(_SHAPE, record_limit=limits.record_size, on_bad_record=self._on_bad_record)
        self._bad = bad
        self._seen = Recent(65_536)
        self._bulk = _BulkDeletes()

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        return self._interpreted(self._records.feed(text))

    def finish(self) -> list[Record]:
        """What was left open. The text must end here, and rightly."""
        return self._interpreted(self._records.finish()) + self._bulk.finish()

    def _interpreted(self, records: list[_Record]) -> list[Record]:
        found: list[Record] = []
        first = self._records.count - len(records)
        for index, record in enumerate(records, first):
            try:
                found += self._interpreted_one(record, index)
            except RecordMalformed as error:
                self._bad.found(error)
        return found

    def _interpreted_one(self, record: _Record, index: int) -> list[Record]:
        if record is _BAD:
            return []
        reason = _no_change(record, index)
        if reason is None and not self._seen.add(record.eventID):
            reason = SkipReason.DUPLICATE
        if reason is not None:
            return [_unchanged(record, reason)]
        if record.eventName == DELETE_MANY:
            return self._bulk.hold(record.requestID or record.eventID, _bulk_delete(record, index))
        if record.eventName == DELETE and record.eventType == "AwsServiceEvent" and record.requestID:
            self._bulk.has_children(record.requestID)
        return _changes(record, index)

    def _on_bad_record(self, index: int, text: bytes, error: msgspec.ValidationError) -> _Record:
        """A record with a field of another type than S3's have. Other services' are none of our business."""
        try:
            source = _source.decode(text).eventSource
        except _REFUSED:
            source = None
        if isinstance(source, str) and source not in S3_SOURCES:
            return _Record(eventSource=source)
        self._bad.found(RecordMalformed(f"record {index}: {error}", index=index))
        return _BAD


def _no_change(record: _Record, index: int) -> SkipReason | None:
    """The first reason that applies, in the order of the list, why a record changes no object."""
    name = record.eventName
    ours = record.eventSource in S3_SOURCES
    if record.readOnly == _TRUE or (ours and name.startswith(READ_BEGINNINGS)):
        return SkipReason.READ_ONLY
    if record.errorCode not in _NO_ERROR:
        return SkipReason.FAILED
    if not ours or not _may_change_an_object(name):
        return SkipReason.NOT_OBJECT_CHANGE
    if not record.eventVersion.startswith("1."):
        raise RecordMalformed(f"record {index} has the unknown version {record.eventVersion[:20]!r}", index=index)
    return None


def _may_change_an_object(name: str) -> bool:
    """A call that we have never heard of, on an object, is taken for a write: a needless refresh, never a lost one."""
    if name in WRITES:
        return True
    return "Object" in name and name not in NOT_CHANGES and not name.endswith(NOT_CHANGE_ENDINGS)


def _changes(record: _Record, index: int) -> list[Record]:
    parameters = _decode(_parameters, record.requestParameters, "requestParameters", index) or _Parameters()
    resources = _decode(_resources, record.resources, "resources", index) or []
    target = _target(parameters, resources)
    if target is None:
        if record.eventName not in _NAME_A_KEY and not any(r.type in OBJECT_RESOURCES for r in resources):
            return [_unchanged(record, SkipReason.NOT_OBJECT_CHANGE)]
        raise RecordMalformed(f"record {index}, a {record.eventName}, names no bucket and key", index=index)
    kind = Kind.DELETED if record.eventName == DELETE else Kind.WRITTEN
    events: list[Record] = [_event(record, kind, target, index)]
    if record.eventName == RENAME:
        events.insert(0, _event(record, Kind.DELETED, _renamed_from(target, parameters, resources, index), index))
    return events


def _target(parameters: _Parameters, resources: list[_Resource]) -> _Target | None:
    """Which object. The request says it best: `resources` has no order, and lists a copy's source as well."""
    bucket, key = parameters.bucketName, parameters.key or parameters.Key
    if bucket and _is_access_point(bucket):
        bucket = next((b for b in map(_bucket_of, resources) if b), None)
    if bucket and key:
        return _Target(bucket, key)
    objects = [r for r in resources if r.type in OBJECT_RESOURCES and r.ARN]
    if len(objects) != 1:
        return None
    found = _object_of(objects[0].ARN or "")
    return found if found and found.key else None


def _is_access_point(bucket: str) -> bool:
    return bucket.startswith("arn:") or bucket.endswith(("-s3alias", "--xa-s3"))


def _bucket_of(resource: _Resource) -> str | None:
    if resource.type not in BUCKET_RESOURCES or not resource.ARN:
        return None
    found = _object_of(resource.ARN)
    return found.bucket if found else None


def _object_of(arn: str) -> _Target | None:
    """Bucket and key of `arn:aws:s3:::BUCKET/KEY` or `arn:aws:s3express:REGION:ACCOUNT:bucket/BUCKET/KEY`."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        return None
    service, account, path = parts[2], parts[4], parts[5]
    if service == "s3express":
        path = path.removeprefix("bucket/")
    elif service != "s3" or account:
        # An access point, or a bucket on an outpost: what stands there is no bucket's name.
        return None
    bucket, _, key = path.partition("/")
    return _Target(bucket, key) if bucket else None


def _renamed_from(target: _Target, parameters: _Parameters, resources: list[_Resource], index: int) -> _Target:
    if parameters.rename_source:
        source = unquote(parameters.rename_source).removeprefix("/").removeprefix(f"{target.bucket}/")
        return _Target(target.bucket, source)
    for resource in resources:
        if resource.type in OBJECT_RESOURCES and (found := _object_of(resource.ARN or "")) and found.key != target.key:
            return found
    raise RecordMalformed(f"record {index}, a {RENAME}, does not say from which key", index=index)


def _bulk_delete(record: _Record, index: int) -> ObjectEvent:
    """Objects below a prefix were deleted; which ones, the record does not say."""
    parameters = _decode(_parameters, record.requestParameters, "requestParameters", index) or _Parameters()
    resources = _decode(_resources, record.resources, "resources", index) or []
    prefixes = [found for r in resources if r.ARNPrefix and (found := _object_of(r.ARNPrefix))]
    bucket = parameters.bucketName
    if not bucket or _is_access_point(bucket):
        buckets = [found.bucket for found in prefixes] + [b for b in map(_bucket_of, resources) if b]
        bucket = buckets[0] if buckets else None
    if not bucket:
        raise RecordMalformed(f"record {index}, a {DELETE_MANY}, names no bucket", index=index)
    # Several prefixes are never seen; if there were, only the whole bucket would be sure to hold them all.
    prefix = prefixes[0].key if len(prefixes) == 1 else ""
    return _event(record, Kind.DELETED_UNLISTED, _Target(bucket, prefix), index)


def _event(record: _Record, kind: Kind, target: _Target, index: int) -> ObjectEvent:
    return ObjectEvent(
        kind=kind,
        bucket=target.bucket,
        key=target.key,
        time=_time(record, index),
        event_id=record.eventID,
        region=record.awsRegion,
        actor=_actor(record, index),
        name=record.eventName,
    )


def _unchanged(record: _Record, reason: SkipReason) -> Unchanged:
    """Whatever of it can be read: a record that asks for nothing is never an error."""
    target = None
    if record.eventSource in S3_SOURCES:
        try:
            parameters = _parameters.decode(record.requestParameters) or _Parameters()
            target = _Target(parameters.bucketName or "", parameters.key or parameters.Key or "")
        except _REFUSED:
            pass
    bucket, key = target or ("", "")
    return Unchanged(reason, bucket, key, _epoch(record.eventTime) or 0.0, record.eventID, record.eventName)


def _actor(record: _Record, index: int) -> Actor:
    identity = _decode(_identity, record.userIdentity, "userIdentity", index) or _Identity()
    session = identity.sessionContext
    issuer = session.sessionIssuer if session else None
    return Actor(
        principal=identity.arn or identity.invokedBy or "",
        access_key=identity.accessKeyId or "",
        session_issuer=(issuer.arn if issuer else None) or "",
        source_address=record.sourceIPAddress or "",
        # CloudTrail puts it in brackets.
        user_agent=(record.userAgent or "").removeprefix("[").removesuffix("]"),
    )


def _decode(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, field: str, index: int) -> T:
    try:
        return decoder.decode(raw)
    except _REFUSED as error:
        raise RecordMalformed(f"record {index}: {field}: {error}", index=index) from error


def _time(record: _Record, index: int) -> float:
    moment = _epoch(record.eventTime)
    if moment is None:
        raise RecordMalformed(f"record {index}: eventTime {record.eventTime[:40]!r} is no time", index=index)
    return moment


@lru_cache(maxsize=1024)
def _epoch(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


class _BulkDeletes:
    """`DeleteObjects` calls, held until the file's end tells whether it names their keys in records of their own.

    Where it does, those say it all. Where too many are held, the first are let go: a needless refresh, never a lost one.
    """

    LIMIT = 10_000

    def __init__(self) -> None:
        self._held: deque[tuple[str, ObjectEvent]] = deque()
        self._with_children = Recent(65_536)

    def hold(self, request: str, event: ObjectEvent) -> list[Record]:
        self._held.append((request, event))
        return [self._settled(*self._held.popleft())] if len(self._held) > self.LIMIT else []

    def has_children(self, request: str) -> None:
        self._with_children.add(request)

    def finish(self) -> list[Record]:
        held, self._held = self._held, deque()
        return [self._settled(request, event) for request, event in held]

    def _settled(self, request: str, event: ObjectEvent) -> Record:
        if request not in self._with_children:
            return event
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, event.bucket, event.key, event.time, event.event_id, event.name)
