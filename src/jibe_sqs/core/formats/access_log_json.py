"""S3 server access logs as JSON: one object per request, as CloudWatch Logs delivers them to S3, also through Firehose.

The documented names are `bucket_name`, `key_name`, `request_time` and so on. The operator chooses the fields. Other
writers use the names from the documentation of the text format. So names are compared without case, `_`, `-` and spaces.

A Firehose subscription of a log group wraps the objects:
`{"messageType": "DATA_MESSAGE", "logEvents": [{"message": …}]}`. Other writers use `{"message": …}` or `{"Records": […]}`.
A message is an object, or a text that contains objects or lines.

Source: S3 User Guide, "Log format in CloudWatch Logs"; CloudWatch Logs User Guide, "Subscription filters".
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from jibe_sqs.core.errors import RecordMalformed
from jibe_sqs.core.formats.access_log_keys import keys_in_json
from jibe_sqs.core.formats.access_log_records import SeenChanges, effect_of, parse_bucket
from jibe_sqs.core.formats.access_log_times import time_in_json, visible_at
from jibe_sqs.core.formats.bad_records import BadRecords
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.loose_json import shallow
from jibe_sqs.core.formats.s3_calls import UNLISTED
from jibe_sqs.core.formats.statuses import is_failure
from jibe_sqs.core.model import Actor, ObjectEvent, Record, SkipReason, Unchanged

FIELDS: Final = {
    "bucket": ("bucket", "bucketname", "sourcebucket", "sourcebucketname"),
    "bucket_arn": ("bucketarn", "sourcebucketarn"),
    "key": ("key", "keyname", "objectkey"),
    "operation": ("operation",),
    "status": ("httpstatus", "httpstatuscode", "statuscode", "status"),
    "time": ("requesttime", "time", "requestdatetime", "timestamp"),
    "total_time": ("totalduration", "totaltime", "totaldurationms", "totaltimems"),
    "turn_around_time": ("turnaroundduration", "turnaroundtime", "turnarounddurationms", "turnaroundtimems"),
    "request_id": ("requestid",),
    "requester": ("requester",),
    "remote_ip": ("remoteip",),
    "user_agent": ("useragent",),
    "version": ("versionid",),
}
"""Our name of each field -> its names in the files, in small letters and digits only."""
_BY_NAME: Final = {name: field for field, names in FIELDS.items() for name in names}
_NULLS: Final = (None, "", "-")
_MAX_NAME_LENGTH: Final = 64

_EVENTS: Final = "logEvents"

_Fields = dict[str, Any]
WithoutBucket = Callable[[Line, str], RecordMalformed]
Nested = Callable[[Line, bytes], tuple[list[Record], list[RecordMalformed]]]


def is_entry(value: object) -> bool:
    """Whether the value looks like an object of a request, or like a wrapper of such objects."""
    names = value if isinstance(value, dict) else {}
    return _EVENTS in names or any(len(name) <= _MAX_NAME_LENGTH and _normalised(name) == "operation" for name in names)


class JsonRequests:
    """Parses the objects of one file. `nested` parses the text of a `message`, and returns its records and errors.

    `readers`: records of reads have their caller.
    """

    def __init__(
        self,
        changes: SeenChanges,
        bad: BadRecords,
        without_bucket: WithoutBucket,
        nested: Nested,
        *,
        readers: bool = False,
    ) -> None:
        self._changes = changes
        self._readers = readers
        self._bad = bad
        self._without_bucket = without_bucket
        self._nested = nested

    def read(self, line: Line, found: dict[str, Any]) -> list[Record]:
        """The records of an object: one for each possible key, or the records of the requests that it wraps."""
        if found.get("messageType") == "CONTROL_MESSAGE":
            return []
        if _EVENTS in found:
            events = found[_EVENTS] if isinstance(found[_EVENTS], list) else []
            return self._read_messages(line, [each.get("message") for each in events if isinstance(each, dict)])
        fields = _fields(found)
        if "operation" not in fields and isinstance(found.get("Records"), list) and found["Records"]:
            return self._read_messages(line, found["Records"])
        if "operation" not in fields and "message" in found:
            return self._read_messages(line, [found["message"]])
        return self._read_fields(line, fields)

    def _read_messages(self, line: Line, messages: list[object]) -> list[Record]:
        records: list[Record] = []
        errors: list[RecordMalformed] = []
        for message in messages:
            try:
                if isinstance(message, dict):
                    records += self._read_fields(line, _fields(message))
                else:
                    text = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else b""
                    found, bad = self._nested(line, text)
                    records += found
                    errors += bad
            except RecordMalformed as error:
                errors.append(error)
        # If no message can be read, the whole line is bad: the log group may belong to another service.
        for bad_one in errors if records else errors[1:]:
            self._bad.found(bad_one)
        if errors and not records:
            raise errors[0]
        return records

    def _read_fields(self, line: Line, fields: _Fields) -> list[Record]:
        operation, key = fields.get("operation"), fields.get("key")
        name, change = effect_of(operation.encode("utf-8", "replace")) if isinstance(operation, str) else ("", None)
        if change is None:
            found = "missing" if operation is None else f"{shallow(operation)!r:.80}"
            raise line.malformed(f"its operation is {found}, not a name such as REST.PUT.OBJECT")
        if change is not SkipReason.READ_ONLY and _failed(fields.get("status")):
            change = SkipReason.FAILED
        start, bucket, request_id = fields.get("time"), _bucket(fields), _text(fields.get("request_id"))
        if isinstance(change, SkipReason):
            actor = _actor(fields) if self._readers and change is SkipReason.READ_ONLY else None
            return [Unchanged(change, bucket, _text(key), start or 0.0, request_id, name, actor)]
        if not bucket:
            raise self._without_bucket(line, f"a {name} without a bucket")
        keys = keys_in_json(key, name) if isinstance(key, str) else ()
        kind = change if keys else UNLISTED[change]
        time, version = visible_at(start, _milliseconds(fields), change), _text(fields.get("version")) or None
        first, actor = keys[0] if keys else "", _actor(fields)
        event = ObjectEvent(kind, bucket, first, time, request_id, "", actor, version, name, request_id)
        return self._changes.records(event, keys)


def _actor(fields: _Fields) -> Actor:
    return Actor(
        principal=_text(fields.get("requester")),
        source_address=_text(fields.get("remote_ip")),
        user_agent=_text(fields.get("user_agent")),
    )


def loose_object(line: Line) -> dict[str, Any]:
    """The object of a line that strict JSON refuses. Raises `RecordMalformed`."""
    found = _decode_lenient(line.text)
    if found is None:
        raise line.malformed("not JSON")
    if not isinstance(found, dict):
        raise line.malformed("not a JSON object")
    return found


def _decode_lenient(text: bytes) -> Any:
    """Decode what strict JSON refuses: bytes that are not UTF-8, half surrogate pairs, `NaN`. None if it is not JSON."""
    try:
        return json.loads(text.decode("utf-8", "surrogateescape"), strict=False, parse_int=float)
    except (ValueError, RecursionError, OverflowError):
        return None


def _fields(found: dict[str, Any]) -> _Fields:
    """The values of the known fields, by our names. Null fields and unreadable times are left out. Times are converted."""
    fields: _Fields = {}
    for name, value in found.items():
        field = _BY_NAME.get(_normalised(name)) if len(name) <= _MAX_NAME_LENGTH else None
        if field is None or field in fields or (isinstance(value, str) and value in _NULLS) or value is None:
            continue
        if field == "time":
            value = time_in_json(value)  # noqa: PLW2901 - the same value, converted
            if value is None:
                continue
        fields[field] = value
    return fields


@lru_cache(maxsize=1024)
def _normalised(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _bucket(fields: _Fields) -> str:
    values = (fields.get("bucket"), fields.get("bucket_arn"))
    names = (parse_bucket(each) for each in values if isinstance(each, str) and each.isascii())
    return next((name for name in names if name), "")


def _failed(status: object) -> bool:
    """Whether the status is a failure. A null or unreadable status does not count as a failure."""
    text = str(shallow(status))[:8].removesuffix(".0")
    return len(text) == 3 and text.isascii() and text.isdecimal() and is_failure(int(text))


def _milliseconds(fields: _Fields) -> float | None:
    """The duration of the request. None if it is missing or unreadable."""
    try:
        milliseconds = float(str(shallow(fields.get("total_time", fields.get("turn_around_time"))))[:32])
    except ValueError:
        return None
    return milliseconds if 0 <= milliseconds < 1e15 else None


def _text(value: object) -> str:
    """The text, with replacements for characters that UTF-8 cannot encode. For identities and for display."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
