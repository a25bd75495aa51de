"""Decodes one record of an audit log.

A record that follows the documentation is decoded by type. Every other record is decoded field by field: a field that has
another type, or is not UTF-8, counts as missing.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from jibe_sqs.core.event_times import event_time
from jibe_sqs.core.formats.lines import Line
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, HIDDEN, Broken, decoded, fields, readable
from jibe_sqs.core.model import LATEST, UNKNOWN_TIME

_NULL = msgspec.Raw(b"null")
NO_OBJECTS: Final[tuple[object, ...]] = (_NULL, msgspec.Raw(b"[]"), None, [])

_NS_PER_SECOND = 1_000_000_000
_MAX_DURATION = 10**18


class _Api(msgspec.Struct, gc=False):
    name: str | None = None
    bucket: str | None = None
    object: str | None = None
    objects: msgspec.Raw = _NULL
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
    responseHeader: msgspec.Raw = _NULL


class TypedRecord(_Entry, gc=False):
    """One object of the stream, as documented: a record of MinIO, or Lyve Cloud's wrapper around such a record."""

    auditEntry: _Entry | None = None
    serviceAccountName: str | None = None


class _Object(msgspec.Struct, gc=False):
    objectName: str | None = None
    versionId: str | None = None


class _ResponseHeader(msgspec.Struct, gc=False):
    version: str | None = msgspec.field(default=None, name="x-amz-version-id")
    version_canonical: str | None = msgspec.field(default=None, name="X-Amz-Version-Id")


class Target(msgspec.Struct, frozen=True, gc=False):
    """An object. An empty key stands for the whole bucket, if the record does not name the object."""

    key: str
    version: str | None = None


WHOLE_BUCKET: Final = Target("")


class Call(msgspec.Struct, frozen=True, gc=False):
    """One record. `bucket_unreadable`, `object_unreadable`: the field is there, but is not a readable name.

    `objects`, `headers`: `api.objects` and `responseHeader`, raw or decoded.
    """

    entry: _Entry
    api: _Api
    account: str
    objects: object
    headers: object
    bucket_unreadable: bool = False
    object_unreadable: bool = False


typed_decoder = msgspec.json.Decoder(TypedRecord)
_objects = msgspec.json.Decoder(list[_Object] | None)
_response_header = msgspec.json.Decoder(_ResponseHeader | None)


def listed_objects(field: object) -> tuple[list[Target], bool]:
    """The objects of `api.objects`, and whether all of its entries could be read."""
    if field in NO_OBJECTS:
        return [], True
    value: object = field
    if isinstance(field, msgspec.Raw):
        try:
            objects = _objects.decode(field) or []
        except DECODE_ERRORS:
            value = _value_of(field)
        else:
            names = [(each.objectName, each.versionId or None) for each in objects]
            found = [Target(name, version) for name, version in names if name and name != HIDDEN]
            return found, len(found) == len(objects)
    entries = value if isinstance(value, list) else [value]
    pairs = [(readable(fields(each).get("objectName")), fields(each).get("versionId")) for each in entries]
    return [Target(key, readable(version) or None) for key, version in pairs if key], all(key for key, _ in pairs)


def version_of(field: object) -> str | None:
    """The version from the response headers. MinIO and Go spell the header's name differently."""
    if field in (_NULL, None):
        return None
    if isinstance(field, msgspec.Raw):
        try:
            header = _response_header.decode(field)
        except DECODE_ERRORS:
            field = _value_of(field)
        else:
            return (header.version or header.version_canonical or None) if header else None
    headers = fields(field)
    return readable(headers.get("x-amz-version-id")) or readable(headers.get("X-Amz-Version-Id")) or None


def _value_of(raw: msgspec.Raw) -> object:
    try:
        return decoded(bytes(raw))
    except Broken:
        return None


def usual_call(record: TypedRecord) -> Call | None:
    """The call of a record that follows the documentation. None if it is missing, or names are hidden."""
    entry = record.auditEntry or record
    api = entry.api
    if api is None or HIDDEN in (api.bucket, api.object):
        return None
    return Call(entry, api, record.serviceAccountName or "", api.objects, entry.responseHeader)


def typed_call(line: Line, record: TypedRecord) -> Call:
    """The call of a record that the typed decoder accepts."""
    if (record.auditEntry or record).api is None:
        raise line.malformed("the record has no field `api`", "api")
    return usual_call(record) or loose_call(line)


def loose_call(line: Line) -> Call:
    """The call of a record whose fields may have any types. Unreadable fields count as missing."""
    try:
        record = decoded(line.text)
    except Broken as error:
        raise line.malformed(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise line.malformed("it is not a JSON object")
    entry = fields(record.get("auditEntry")) or record
    api = entry.get("api")
    if not isinstance(api, dict):
        raise line.malformed(
            "the record has no field `api`" if api is None else "the field `api` is not a JSON object", "api"
        )
    found = _Entry(
        event=readable(entry.get("event")) or None,
        time=readable(entry.get("time")),
        requestID=readable(entry.get("requestID")),
        remotehost=readable(entry.get("remotehost")),
        userAgent=readable(entry.get("userAgent")),
        accessKey=readable(entry.get("accessKey")),
        parentUser=readable(entry.get("parentUser")),
    )
    call = _Api(
        name=readable(api.get("name")) or None,
        bucket=readable(api.get("bucket")),
        object=readable(api.get("object")),
        statusCode=_number(api.get("statusCode")),
        timeToResponse=_duration_text(api.get("timeToResponse")),
        timeToResponseInNS=_number(api.get("timeToResponseInNS")) or _duration_text(api.get("timeToResponseInNS")),
    )
    bucket_unreadable, object_unreadable = (
        api.get(name) not in (None, "") and not read
        for name, read in (("bucket", call.bucket), ("object", call.object))
    )
    account = readable(record.get("serviceAccountName"))
    return Call(
        found, call, account, api.get("objects"), entry.get("responseHeader"), bucket_unreadable, object_unreadable
    )


def _number(value: object) -> int | None:
    """A whole number, or a text with its digits. None for anything else.

    `decoded` makes a float of every number, so a number is never an `int` here.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _duration_text(value: object) -> str | None:
    """None if the duration is missing. `?`, which is not a duration, if it cannot be read."""
    return None if value is None else readable(value) or "?"


_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(?:([Zz])|([+-][0-9]{2}:[0-9]{2}))"
)
_NO_DURATION: Final = (None, "")
_MAX_DIGITS: Final = 18
"""Digits of a duration that is a text."""


def visible_at(time: str, api: _Api) -> float:
    """The end of the request, in seconds since the epoch. `UNKNOWN_TIME` if its time or duration cannot be read."""
    start = _nanoseconds(time)
    if start is None:
        return UNKNOWN_TIME
    taken = _duration(api.timeToResponseInNS)
    if taken is None:
        taken = _duration(api.timeToResponse)
    if taken is None and (api.timeToResponseInNS not in _NO_DURATION or api.timeToResponse not in _NO_DURATION):
        return UNKNOWN_TIME
    return min(_seconds(start + (taken or 0)), LATEST)


def _duration(value: str | int | None) -> int | None:
    """Nanoseconds. None if the value is not a duration."""
    if isinstance(value, int):
        return value if 0 <= value < _MAX_DURATION else None
    digits = (value or "").removesuffix("ns")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS else None


def start_time(text: str | None) -> float:
    """The start of the request, in seconds since the epoch, for display. 0.0 if it cannot be read."""
    moment = _nanoseconds(text or "")
    return 0.0 if moment is None else _seconds(moment)


def _nanoseconds(text: str) -> int | None:
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    day, clock, fraction, _, offset = found.groups()
    whole = _epoch(day, clock, offset)
    return None if whole is None else whole * _NS_PER_SECOND + int((fraction or "").ljust(9, "0"))


@lru_cache(maxsize=1024)
def _epoch(day: str, clock: str, offset: str | None) -> int | None:
    time = event_time(f"{day}T{clock}{offset or '+00:00'}")
    return None if time == UNKNOWN_TIME else int(time)


def _seconds(nanoseconds: int) -> float:
    """Seconds, rounded up to 2**-20 s, just under a microsecond. A float represents that exactly until the year 2242.

    A time that was rounded down could be earlier than a refresh that began before the change, and the change would be
    skipped.
    """
    return -((-nanoseconds << 20) // _NS_PER_SECOND) / (1 << 20)
