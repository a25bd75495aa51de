"""Decodes the fields of one CloudTrail record that matter.

A record that follows the documentation is decoded by type. Every other record is decoded field by field: a field that has
another type, is hidden (`HIDDEN_DUE_TO_SECURITY_REASONS`) or is not UTF-8 counts as missing. So only a field that
identifies the object can make a record bad.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from jibe_sqs.core.event_times import event_time
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, HIDDEN, Broken, decoded, fields, readable
from jibe_sqs.core.model import Actor
from jibe_sqs.core.model import Record as EventRecord

_NULL = msgspec.Raw(b"null")
_MAX_TIME_LENGTH: Final = 40
"""Characters. A longer text is not a time, and the cache must not keep the long texts of a hostile file."""
_MAX_SOURCE_LENGTH: Final = 64
"""Characters of a name of a service that is remembered."""
_MAX_CALLER_LENGTH: Final = 2048
"""Bytes of a caller that is remembered."""

LIFECYCLE: Final = "s3lifecycle."
_SERVICES = frozenset({"s3", "s3express", "s3-outposts", "s3lifecycle"})
S3_SOURCES = frozenset(f"{service}.amazonaws.com" for service in _SERVICES)
_ISOLATED_DOMAINS = ("c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk", "csp.hci.ic.gov")
"""Domains of the partitions whose domain does not contain `amazonaws`."""
RENAME_SOURCE: Final = "x-amz-rename-source"
_SOURCE = re.compile(rb'"eventSource"\s*:\s*"([a-z0-9.-]+)"')


class Unreadable(Exception):
    """The record cannot be read. `field`: the first field that must be readable and is not.

    `events`: the events that are certain in spite of that.
    """

    def __init__(self, reason: str, field: str = "", events: Sequence[EventRecord] = ()) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.events = events


class Parameters(msgspec.Struct, gc=False):
    """The fields of `requestParameters` that name an object. A call of another service may have a `key` of any type."""

    bucketName: str | None = None
    key: object = None
    Key: object = None  # the spelling of S3 on Outposts
    rename_source: str | None = msgspec.field(default=None, name=RENAME_SOURCE)
    omitted: bool | None = None

    def values(self) -> dict[str, object]:
        """The fields by their names in the log."""
        return {
            "bucketName": self.bucketName,
            "key": self.key,
            "Key": self.Key,
            RENAME_SOURCE: self.rename_source,
            "omitted": self.omitted,
        }


class Typed(msgspec.Struct, gc=False):
    """A record as documented. A field that is seldom needed is raw."""

    eventVersion: str = ""
    eventTime: Annotated[str, msgspec.Meta(max_length=_MAX_TIME_LENGTH)] = ""
    eventSource: str = ""
    eventName: str = ""
    eventID: str = ""
    eventType: str = ""
    awsRegion: str = ""
    requestID: str | None = None
    sourceIPAddress: str | None = None
    userAgent: str | None = None
    errorCode: object = None
    readOnly: object = None
    userIdentity: msgspec.Raw = _NULL
    requestParameters: Parameters | None = None
    resources: msgspec.Raw = _NULL
    eventData: msgspec.Raw = _NULL


class Loose(msgspec.Struct, gc=False):
    """A record whose fields may have any types. A field that is not readable text is empty."""

    eventVersion: str
    eventTime: str
    eventSource: str
    eventName: str
    eventID: str
    eventType: str
    awsRegion: str
    requestID: str
    sourceIPAddress: str
    userAgent: str
    errorCode: object
    readOnly: object
    userIdentity: object
    requestParameters: object
    resources: object
    eventData: object


Record = Typed | Loose

_TEXT_FIELDS = (
    "eventVersion",
    "eventTime",
    "eventSource",
    "eventName",
    "eventID",
    "eventType",
    "awsRegion",
    "requestID",
    "sourceIPAddress",
    "userAgent",
)
_VALUE_FIELDS = ("errorCode", "readOnly", "userIdentity", "requestParameters", "resources", "eventData")


def loose_record(text: bytes) -> Record:
    """Decode a record that the typed decoder refused. Raises `Unreadable`."""
    try:
        record = decoded(text)
    except Broken as error:
        sources = {found[1].decode() for found in _SOURCE.finditer(text)}
        if len(sources) == 1 and not is_s3_source(source := sources.pop()):
            return Typed(eventSource=source)  # another service's record never matters
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise Unreadable("it is not a JSON object")
    return _loose(record)


def _loose(record: dict[str, Any]) -> Loose:
    found: dict[str, Any] = {name: record.get(name) for name in _VALUE_FIELDS}
    found |= {name: readable(record.get(name)) for name in _TEXT_FIELDS}
    if len(found["eventTime"]) > _MAX_TIME_LENGTH:
        found["eventTime"] = ""
    return Loose(**found)


def activity_of(record: Record) -> Record | None:
    """The event of another application in `eventData` of a CloudTrail Lake activity event. None in other records.

    `eventData` is an object, or a text with its JSON, as `PutAuditEvents` accepts it. The id is `UID`.
    Format: CloudTrail User Guide, "CloudTrail Lake integrations event schema".
    """
    if record.eventData in (_NULL, None):
        return None
    found = value_of(record.eventData)
    if isinstance(found, str):
        try:
            found = decoded(found.encode("utf-8", "surrogatepass"))
        except Broken:
            return None
    if not isinstance(found, dict):
        return None
    return _loose(found | {"eventID": found.get("UID")})


def clear_hidden(record: Record) -> None:
    """Empty the ids that are hidden, because two hidden ids are not the same id."""
    if record.eventID == HIDDEN:
        record.eventID = ""
    if record.requestID == HIDDEN:
        record.requestID = ""


def value_of(field: object) -> object:
    """A field's value, of any type. None if it cannot be decoded."""
    if not isinstance(field, msgspec.Raw):
        return field
    try:
        return decoded(bytes(field))
    except Broken:
        return None


def is_missing(text: str) -> bool:
    """Whether a text field is missing, hidden or unreadable."""
    return not text.strip() or text == HIDDEN


def is_s3_source(source: str) -> bool:
    """Whether this `eventSource` is S3 in any partition, with or without a domain."""
    # The cache must not keep the long texts of a hostile file.
    return _is_known_s3_source(source) if len(source) <= _MAX_SOURCE_LENGTH else _is_s3_source(source)


def _is_s3_source(source: str) -> bool:
    service, _, domain = source.strip().lower().partition(".")
    return service in _SERVICES and (not domain or ".amazonaws." in f".{domain}" or domain.endswith(_ISOLATED_DOMAINS))


_is_known_s3_source = lru_cache(maxsize=256)(_is_s3_source)


def has_failed(record: Record) -> bool:
    """Whether the record has an error code. An error code that is not a readable text does not count."""
    return record.errorCode is not None and bool(readable(record.errorCode))


time_of = lru_cache(maxsize=1024)(event_time)
"""Seconds since the epoch, of an `eventTime`; `UNKNOWN_TIME` if it cannot be read."""


class _SessionIssuer(msgspec.Struct, gc=False):
    arn: str | None = None


class _SessionContext(msgspec.Struct, gc=False):
    sessionIssuer: _SessionIssuer | None = None


class _Identity(msgspec.Struct, gc=False):
    arn: str | None = None
    accessKeyId: str | None = None
    invokedBy: str | None = None
    sessionContext: _SessionContext | None = None


_identity = msgspec.json.Decoder(_Identity | None)


class Actors:
    """Finds the caller of each record. Fields that cannot be read are empty. Consecutive records often have the same caller."""

    def __init__(self) -> None:
        self._last: Record | None = None
        self._actor = Actor()

    def actor_of(self, record: Record) -> Actor:
        """The caller of this record."""
        last = self._last
        if (
            last is None
            or record.userIdentity != last.userIdentity
            or record.sourceIPAddress != last.sourceIPAddress
            or record.userAgent != last.userAgent
        ):
            self._last, self._actor = record, _actor_of(record)
        return self._actor


def _actor_of(record: Record) -> Actor:
    identity, address, agent = record.userIdentity, record.sourceIPAddress, record.userAgent
    if isinstance(identity, msgspec.Raw):
        # The cache must not keep the long texts of a hostile file.
        text = bytes(identity)
        if len(text) + len(address or "") + len(agent or "") <= _MAX_CALLER_LENGTH:
            return _known_actor(text, address, agent)
    return _actor(identity, address, agent)


@lru_cache(maxsize=256)
def _known_actor(identity: bytes, address: str | None, agent: str | None) -> Actor:
    return _actor(msgspec.Raw(identity), address, agent)


def _actor(field: object, address: str | None, agent: str | None) -> Actor:
    identity = _identity_of(field)
    session = identity.sessionContext
    issuer = session.sessionIssuer if session else None
    return Actor(
        principal=_unless_hidden(identity.arn) or _unless_hidden(identity.invokedBy),
        access_key=_unless_hidden(identity.accessKeyId),
        session_issuer=_unless_hidden(issuer.arn) if issuer else "",
        source_address=_unless_hidden(address),
        # CloudTrail puts the user agent in brackets.
        user_agent=_unless_hidden(agent).removeprefix("[").removesuffix("]"),
    )


def _identity_of(field: object) -> _Identity:
    if isinstance(field, msgspec.Raw):
        try:
            return _identity.decode(field) or _Identity()
        except DECODE_ERRORS:
            pass
    identity = fields(value_of(field))
    issuer = fields(fields(identity.get("sessionContext")).get("sessionIssuer"))
    return _Identity(
        arn=readable(identity.get("arn")),
        accessKeyId=readable(identity.get("accessKeyId")),
        invokedBy=readable(identity.get("invokedBy")),
        sessionContext=_SessionContext(_SessionIssuer(readable(issuer.get("arn")))),
    )


def _unless_hidden(text: str | None) -> str:
    return "" if text is None or text == HIDDEN else text
