"""CloudTrail log files: `{"Records": […]}`, up to 50 MB compressed. They have the calls of every service, in any order.

A file is a set of independent records. A field that does not identify the object never makes a record bad. If the bucket
of a write or delete can be read and the key cannot, the whole bucket is stale. Records of other services are ignored,
even if they cannot be read.

Source: CloudTrail User Guide, record contents; S3 User Guide, "CloudTrail log file entries".
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.cloudtrail_calls import DELETE, DELETE_MANY, RENAME, WRITES, skip_reason
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
    Actors,
    Typed,
    Unreadable,
    activity_of,
    clear_hidden,
    is_missing,
    is_s3_source,
    loose_record,
    time_of,
)
from jibe_sqs.core.formats.cloudtrail_records import Record as Call
from jibe_sqs.core.formats.json_records import Batch, JsonRecords, RecordShape
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.loose_json import HIDDEN
from jibe_sqs.core.formats.recent import Recent
from jibe_sqs.core.formats.s3_calls import COPY, UNLISTED
from jibe_sqs.core.model import UNKNOWN_TIME, Kind, ObjectEvent, Record, SkipReason, Unchanged
from jibe_sqs.core.plan_sizes import text_size

_NO_COPIES = (WRITES - {COPY}) | {DELETE, RENAME}
_NAME_A_KEY = WRITES | {DELETE, RENAME}
_SERVICE_EVENT: Final = "AwsServiceEvent"

_SHAPE = RecordShape(Typed, array="Records", first_field="eventVersion")


class CloudTrailLog:
    """Parser of one log file. `feed` its text in order, then call `finish`. Both return records. Raises only `LogError`s.

    Keeps in memory: one block of text, the ids of the last ten thousand changes, and the `DeleteObjects` calls for
    which the file may still have a record per key. `readers`: records of reads have their caller.
    """

    def __init__(self, limits: Limits, bad: BadRecords, readers: bool = False) -> None:
        self._limits = limits
        self._bad = bad
        self._readers = readers
        self._records: JsonRecords[Typed] | None = None
        self._seen = Recent()
        self._bulk: _BulkDeletes | None = None
        self._actors = Actors()

    def feed(self, text: bytes) -> list[Record]:
        """The records that this text completes."""
        return self._read(self._stream().feed(text))

    def finish(self) -> list[Record]:
        """The records that were still incomplete. Raises a `LogError` if the text cannot end here."""
        found = self._read(self._stream().finish())
        return found + self._bulk.finish() if self._bulk else found

    def whole(self, text: bytes) -> list[Record]:
        """The records of a text that is the whole file."""
        batch = _SHAPE.whole(text, self._limits.record_size)
        if batch is None:
            return self.feed(text) + self.finish()
        found = self._read([batch])
        return found + self._bulk.finish() if self._bulk else found

    def _stream(self) -> JsonRecords[Typed]:
        if self._records is None:
            self._records = JsonRecords(_SHAPE, record_limit=self._limits.record_size)
        return self._records

    def _read(self, batches: Iterable[Batch[Typed]]) -> list[Record]:
        found: list[Record] = []
        unchanged = self._with_reader if self._readers else _unchanged
        for batch in batches:
            for at, record in enumerate(batch.records):
                try:
                    call = loose_record(record) if isinstance(record, bytes) else record
                    reason = skip_reason(call)
                    if reason is not None:
                        found.append(unchanged(call, reason))
                    else:
                        found += self._changes(call)
                except Unreadable as error:
                    found += error.events
                    index = batch.first + at
                    text = f"record {index}: {error}"
                    offset = batch.offset(at) if self._bad.keeps_next else None
                    self._bad.found(RecordMalformed(text, index=index, offset=offset, field=error.field))
        return found

    def _with_reader(self, record: Call, reason: SkipReason) -> Unchanged:
        """The same as `_unchanged`. A read of a bucket has its caller."""
        found = _unchanged(record, reason)
        if reason is not SkipReason.READ_ONLY or not found.bucket:
            return found
        return msgspec.structs.replace(found, actor=self._actors.actor_of(record))

    def _changes(self, record: Call) -> list[Record]:
        """The records of a call that changes objects."""
        if HIDDEN in (record.eventID, record.requestID):
            clear_hidden(record)
        if not self._seen.add(record.eventID):
            return [_unchanged(record, SkipReason.DUPLICATE)]
        name = record.eventName
        try:
            found = self._bulk_delete(record) if name == DELETE_MANY else self._events(record)
        except Unreadable:
            self._seen.discard(record.eventID)
            raise
        longest = max([len(each.key) for each in found]) if len(found) > 1 else len(found[0].key)
        if longest > self._limits.key_length:
            found = [self._without_long_key(each) for each in found]
        event = found[0]
        if name == DELETE_MANY and isinstance(event, ObjectEvent):
            found = self._bulk_deletes().hold(record.requestID or record.eventID, event)
        elif record.eventType == _SERVICE_EVENT and isinstance(event, ObjectEvent) and event.kind is Kind.DELETED:
            self._bulk_deletes().has_child(record.requestID, event.bucket)
        if longest > self._limits.key_length:
            what = f"a {name[:40]} of a key of {longest:,} characters"
            raise Unreadable(what, "requestParameters.key", found)
        return found

    def _bulk_deletes(self) -> "_BulkDeletes":
        if self._bulk is None:
            self._bulk = _BulkDeletes()
        return self._bulk

    def _without_long_key(self, record: Record) -> Record:
        """The record. If its key is too long, a record that makes the whole bucket stale."""
        if not isinstance(record, ObjectEvent) or len(record.key) <= self._limits.key_length:
            return record
        return msgspec.structs.replace(record, kind=UNLISTED.get(record.kind, record.kind), key="")

    def _events(self, record: Call) -> list[Record]:
        """The records of one call: several for a rename, and several if the record may mean several objects."""
        name = record.eventName
        kind = Kind.DELETED if name == DELETE else Kind.WRITTEN
        if name != RENAME and (named := requested_object(record.requestParameters)) is not None:
            return [self._event(record, kind, named)]
        request = request_of(record.requestParameters)
        resources = resources_of(record.resources)
        targets = find_targets(request, resources, may_copy=name not in _NO_COPIES)
        names_a_key = name in _NAME_A_KEY or is_missing(name)
        if not (names_a_key or resources.objects or request.key or request.key_unreadable):
            return [_unchanged(record, SkipReason.NOT_OBJECT_CHANGE)]
        if not targets:
            return [_without_bucket(record, is_access_point=names_access_point(request, resources))]
        events: list[Record] = [self._event(record, kind if each.key else UNLISTED[kind], each) for each in targets]
        if name == RENAME and len(targets) == 1 and targets[0].key:
            source = rename_source(targets[0], request, resources)
            if source is not None and source.key:
                events.insert(0, self._event(record, Kind.DELETED, source))
            else:
                events.insert(0, self._event(record, Kind.DELETED_UNLISTED, Target(targets[0].bucket, "")))
        return events

    def _bulk_delete(self, record: Call) -> list[Record]:
        """The event of `DeleteObjects`. The record does not name the deleted objects, only a prefix of their keys."""
        request, resources = request_of(record.requestParameters), resources_of(record.resources)
        target = find_prefix(request, resources)
        if target is None:
            return [_without_bucket(record, is_access_point=names_access_point(request, resources))]
        return [self._event(record, Kind.DELETED_UNLISTED, target)]

    def _event(self, record: Call, kind: Kind, target: Target) -> ObjectEvent:
        return ObjectEvent(
            kind,
            target.bucket,
            target.key,
            time_of(record.eventTime),
            record.eventID,
            record.awsRegion,
            self._actors.actor_of(record),
            None,
            record.eventName,
            record.requestID or "",
        )


def _without_bucket(record: Call, *, is_access_point: bool) -> Unchanged:
    """The record of a change whose bucket is not named. Raises `Unreadable` if it does not name an access point either."""
    if is_access_point:
        return _unchanged(record, SkipReason.NOT_MAPPED)
    name = record.eventName[:40] or "call without a readable name"
    raise Unreadable(f"a {name}, and neither this nor resources names a bucket", "requestParameters")


def _unchanged(record: Call, reason: SkipReason) -> Unchanged:
    """A skipped record with every field that can be read. A record that needs no refresh is never an error."""
    is_s3 = record.eventSource in S3_SOURCES or is_s3_source(record.eventSource)
    if not is_s3 and (activity := activity_of(record)) is not None:
        record, is_s3 = activity, True
    bucket, key = displayed_object(record.requestParameters) if is_s3 else ("", "")
    time = time_of(record.eventTime)
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

    def has_child(self, request: str | None, bucket: str) -> None:
        if request:
            self._with_children.add(f"{request} {bucket}")

    def finish(self) -> list[Record]:
        found = [self._resolve(request, event) for request, event in self._held]
        self._held.clear()
        return found

    def _resolve(self, request: str, event: ObjectEvent) -> Record:
        if f"{request} {event.bucket}" not in self._with_children:
            return event
        return Unchanged(SkipReason.NOT_OBJECT_CHANGE, event.bucket, event.key, event.time, event.event_id, event.name)


def _size(request: str, event: ObjectEvent) -> int:
    """Bytes of a held call."""
    actor = event.actor
    texts = (request, event.key, event.event_id, event.name, actor.principal, actor.user_agent, actor.source_address)
    return 400 + sum(map(text_size, texts))
