"""CloudTrail log files: `{"Records": […]}`, up to 50 MB compressed. They have the calls of every service, in any order.

A file is a set of independent records. A field that does not identify the object never makes a record bad. If the bucket
of a write or delete can be read and the key cannot, the whole bucket is stale. Records of other services are ignored,
even if they cannot be read.

Source: CloudTrail User Guide, record contents; S3 User Guide, "CloudTrail log file entries".
"""

import re
from collections import deque
from collections.abc import Iterable

import msgspec

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats import s3_calls
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.cloudtrail_objects import (
    Target,
    displayed_object,
    find_prefix,
    find_targets,
    names_access_point,
    rename_source,
    request_of,
    requested_object,
    resources_of,
)
from jibe_sqs.core.formats.cloudtrail_records import (
    S3_SOURCES,
    TRUE,
    Typed,
    Unreadable,
    activity_of,
    actor_of,
    clear_hidden,
    has_failed,
    is_missing,
    is_s3_source,
    loose_record,
    time_of,
)
from jibe_sqs.core.formats.cloudtrail_records import Record as Call
from jibe_sqs.core.formats.json_records import Batch, JsonRecords, RecordShape
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.recent import Recent
from jibe_sqs.core.formats.s3_calls import UNLISTED
from jibe_sqs.core.model import UNKNOWN_TIME, Kind, ObjectEvent, Record, SkipReason, Unchanged
from jibe_sqs.core.plan_sizes import text_size

WRITES = s3_calls.WRITES | {"PostObject"}
DELETE = s3_calls.DELETE
DELETE_MANY = "DeleteObjects"
RENAME = "RenameObject"
_NO_COPIES = (WRITES - {s3_calls.COPY}) | {DELETE, RENAME}
_NAME_A_KEY = WRITES | {DELETE, RENAME}

NOT_CHANGES = s3_calls.NOT_CHANGES | {
    "CreateMultipartUpload",
    "CreateSession",
    "RestoreObject",
    "UploadPart",
    "UploadPartCopy",
}

_SHAPE = RecordShape(Typed, array="Records", first_field="eventVersion")
_VERSION = re.compile(r"([0-9]+)(?:\.|$)")


class CloudTrailLog:
    """Parser of one log file. `feed` its text in order, then call `finish`. Both return records. Raises only `LogError`s.

    Keeps in memory: one block of text, the ids of the last ten thousand changes, and the `DeleteObjects` calls for
    which the file may still have a record per key.
    """

    def __init__(self, limits: Limits, bad: BadRecords) -> None:
        self._records = JsonRecords(_SHAPE, record_limit=limits.record_size)
        self._max_key_length = limits.key_length
        self._bad = bad
        self._seen = Recent()
        self._bulk = _BulkDeletes()

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        return self._read_batches(self._records.feed(text))

    def finish(self) -> list[Record]:
        """The records that were still incomplete. Raises a `LogError` if the text cannot end here."""
        return self._read_batches(self._records.finish()) + self._bulk.finish()

    def _read_batches(self, batches: Iterable[Batch[Typed]]) -> list[Record]:
        found: list[Record] = []
        for batch in batches:
            for at, record in enumerate(batch.records):
                try:
                    found += self._read_record(loose_record(record) if isinstance(record, bytes) else record)
                except Unreadable as error:
                    found += error.events
                    index = batch.first + at
                    text = f"record {index}: {error}"
                    offset = batch.offset(at) if self._bad.keeps_next else None
                    self._bad.found(RecordMalformed(text, index=index, offset=offset, field=error.field))
        return found

    def _read_record(self, record: Call) -> list[Record]:
        reason = _skip_reason(record)
        if reason is not None:
            return [_unchanged(record, reason)]
        clear_hidden(record)
        if record.eventID in self._seen:
            return [_unchanged(record, SkipReason.DUPLICATE)]
        found = _bulk_delete(record) if record.eventName == DELETE_MANY else _events(record)
        self._seen.add(record.eventID)
        longest = max([len(each.key) for each in found])
        if longest > self._max_key_length:
            found = [self._without_long_key(each) for each in found]
        event = found[0]
        if isinstance(event, ObjectEvent):
            if record.eventName == DELETE_MANY:
                found = self._bulk.hold(record.requestID or record.eventID, event)
            elif event.kind is Kind.DELETED and record.eventType == "AwsServiceEvent" and record.requestID:
                self._bulk.has_child(record.requestID, event.bucket)
        if longest > self._max_key_length:
            what = f"a {record.eventName[:40]} of a key of {longest:,} characters"
            raise Unreadable(what, "requestParameters.key", found)
        return found

    def _without_long_key(self, record: Record) -> Record:
        """The record. If its key is too long, a record that makes the whole bucket stale."""
        if not isinstance(record, ObjectEvent) or len(record.key) <= self._max_key_length:
            return record
        return msgspec.structs.replace(record, kind=UNLISTED.get(record.kind, record.kind), key="")


def _skip_reason(record: Call) -> SkipReason | None:
    """Why the record changes no object: the first reason that applies. None if it changes an object."""
    name, source = record.eventName, record.eventSource
    # A record without its service counts as S3's if it may be a change: a refresh too many is harmless.
    is_s3 = source in S3_SOURCES or is_s3_source(source) or (is_missing(source) and _may_be_s3(record))
    if record.readOnly == TRUE or (is_s3 and s3_calls.is_read(name)):
        return SkipReason.READ_ONLY
    if has_failed(record):
        return SkipReason.FAILED
    if not is_s3 or not _may_change_an_object(name):
        return SkipReason.NOT_OBJECT_CHANGE
    version = _VERSION.match(record.eventVersion)
    if version is not None and version[1] != "1":
        raise Unreadable(f"the unknown version {record.eventVersion[:20]!r}", "eventVersion")
    return None


def _may_be_s3(record: Call) -> bool:
    """Whether a record without a service may be a change in S3: its call may change an object, or it has only an object."""
    if is_missing(record.eventName):
        return all(displayed_object(record.requestParameters))
    return _may_change_an_object(record.eventName)


def _may_change_an_object(name: str) -> bool:
    """Whether the call may change an object. An unknown call on an object counts as a write, and so does a missing name."""
    if name in WRITES or is_missing(name):
        return True
    return "Object" in name and name not in NOT_CHANGES and not s3_calls.changes_side_data(name)


def _events(record: Call) -> list[Record]:
    """The records of one call: several for a rename, and several if the record may mean several objects."""
    name = record.eventName
    request = request_of(record.requestParameters)
    kind = Kind.DELETED if name == DELETE else Kind.WRITTEN
    if (whole := requested_object(request)) is not None and name != RENAME:
        return [_event(record, kind, whole)]
    resources = resources_of(record.resources)
    targets = find_targets(request, resources, may_copy=name not in _NO_COPIES)
    names_a_key = name in _NAME_A_KEY or is_missing(name)
    if not (names_a_key or resources.objects or request.key or request.key_unreadable):
        return [_unchanged(record, SkipReason.NOT_OBJECT_CHANGE)]
    if not targets:
        return [_without_bucket(record, is_access_point=names_access_point(request, resources))]
    events: list[Record] = [_event(record, kind if each.key else UNLISTED[kind], each) for each in targets]
    if name == RENAME and len(targets) == 1 and targets[0].key:
        source = rename_source(targets[0], request, resources)
        if source is not None and source.key:
            events.insert(0, _event(record, Kind.DELETED, source))
        else:
            events.insert(0, _event(record, Kind.DELETED_UNLISTED, Target(targets[0].bucket, "")))
    return events


def _bulk_delete(record: Call) -> list[Record]:
    """The event of `DeleteObjects`. The record does not name the deleted objects, only a prefix of their keys."""
    request, resources = request_of(record.requestParameters), resources_of(record.resources)
    target = find_prefix(request, resources)
    if target is None:
        return [_without_bucket(record, is_access_point=names_access_point(request, resources))]
    return [_event(record, Kind.DELETED_UNLISTED, target)]


def _without_bucket(record: Call, *, is_access_point: bool) -> Unchanged:
    """The record of a change whose bucket is not named. Raises `Unreadable` if it does not name an access point either."""
    if is_access_point:
        return _unchanged(record, SkipReason.NOT_MAPPED)
    name = record.eventName[:40] or "call without a readable name"
    raise Unreadable(f"a {name}, and neither this nor resources names a bucket", "requestParameters")


def _event(record: Call, kind: Kind, target: Target) -> ObjectEvent:
    return ObjectEvent(
        kind=kind,
        bucket=target.bucket,
        key=target.key,
        time=time_of(record),
        event_id=record.eventID,
        region=record.awsRegion,
        actor=actor_of(record),
        name=record.eventName,
    )


def _unchanged(record: Call, reason: SkipReason) -> Unchanged:
    """A skipped record with every field that can be read. A record that needs no refresh is never an error."""
    source = record.eventSource
    is_s3 = source in S3_SOURCES or is_s3_source(source)
    if not is_s3 and (activity := activity_of(record)) is not None:
        record, is_s3 = activity, True
    bucket, key = displayed_object(record.requestParameters) if is_s3 else ("", "")
    time = time_of(record)
    return Unchanged(reason, bucket, key, 0.0 if time == UNKNOWN_TIME else time, record.eventID, record.eventName)


class _BulkDeletes:
    """`DeleteObjects` calls, held until the end of the file shows whether each deleted key has a record of its own.

    If there are such records of the same request and bucket, the held call is skipped. If too many calls are held, the
    first ones become events: a refresh too many is harmless.
    """

    LIMIT = 2 * 1024 * 1024
    """Bytes of the held calls. A usual call takes about 700."""

    def __init__(self) -> None:
        self._held: deque[tuple[str, ObjectEvent]] = deque()
        self._size = 0
        self._with_children = Recent()

    def hold(self, request: str, event: ObjectEvent) -> list[Record]:
        self._held.append((request, event))
        self._size += _size(request, event)
        found: list[Record] = []
        while self._size > self.LIMIT:
            request, event = self._held.popleft()
            self._size -= _size(request, event)
            found.append(self._resolve(request, event))
        return found

    def has_child(self, request: str, bucket: str) -> None:
        self._with_children.add(f"{request} {bucket}")

    def finish(self) -> list[Record]:
        held, self._held = self._held, deque()
        return [self._resolve(request, event) for request, event in held]

    def _resolve(self, request: str, event: ObjectEvent) -> Record:
        if f"{request} {event.bucket}" not in self._with_children:
            return event
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, event.bucket, event.key, event.time, event.event_id, event.name)


def _size(request: str, event: ObjectEvent) -> int:
    """Bytes of a held call."""
    actor = event.actor
    texts = (request, event.key, event.event_id, event.name, actor.principal, actor.user_agent, actor.source_address)
    return 400 + sum(map(text_size, texts))
