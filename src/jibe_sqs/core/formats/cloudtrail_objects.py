"""Finds the object of a CloudTrail record of S3, by the request and by the ARNs of the resources.

The request is the better source: `resources` has no order, and also lists the source of a copy. A request through an
access point names the access point. Then the bucket is the one whose ARN is in `resources`. There is no such ARN for an
access point of another account, of FSx, or of several regions.

Source: S3 User Guide, "CloudTrail log file entries", "Access point aliases"; S3 on Outposts User Guide, the same topics.
"""

import re
from types import NoneType
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from jibe_sqs.core.formats.cloudtrail_records import RENAME_SOURCE, Parameters, value_of
from jibe_sqs.core.formats.loose_json import DECODE_ERRORS, HIDDEN, fields, readable

ALIAS_ENDINGS: Final = (
    "-s3alias",
    "--op-s3",
    "--ol-s3",
    "--xa-s3",
    ".mrap",
    ".mrap.accesspoint.s3-global.amazonaws.com",
)
"""Endings of the aliases of access points. They are reserved: bucket names do not have them. FSx uses `-ext-s3alias`."""


_ON_OUTPOST = re.compile(r"outpost[:/][^:/]+[:/]bucket[:/]([^:/]+)(?:/object/(.+))?", re.DOTALL)
_ACCESS_POINT = re.compile(r"(?:accesspoint|outpost)[:/]")
_ACCESS_POINT_AND_KEY = re.compile(r"accesspoint[:/][^:/]+/(?:object/)?(.+)", re.DOTALL)
_DIRECTORY_BUCKET_ENDING: Final = "--x-s3"
"""The ending of the names of directory buckets."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """The object in `requestParameters`. `key_unreadable`: there may be a key that cannot be read."""

    bucket: str = ""
    key: str = ""
    rename_source: str = ""
    key_unreadable: bool = False


class _Resource(msgspec.Struct, gc=False):
    ARN: str | None = None
    ARNPrefix: str | None = None


class Target(msgspec.Struct, frozen=True, gc=False):
    """An object. An empty key stands for the whole bucket, if the key cannot be read."""

    bucket: str
    key: str


class Resources(NamedTuple):
    """What the ARNs of `resources` name.

    `has_access_point`: whether an ARN is of an access point. `unreadable`: whether an entry was left out.
    """

    objects: list[Target]
    buckets: list[str]
    prefixes: list[Target]
    has_access_point: bool
    unreadable: bool


_TEXT: Final = (str, NoneType)
_resources = msgspec.json.Decoder(list[_Resource] | None)


def request_of(field: object) -> Request:
    """The request of `requestParameters`."""
    if isinstance(field, Parameters):
        bucket, key, other_key, source = field.bucketName, field.key, field.Key, field.rename_source
        if (
            isinstance(key, _TEXT)
            and isinstance(other_key, _TEXT)
            and not field.omitted
            and HIDDEN not in (bucket, key, other_key, source)
        ):
            return Request(bucket or "", key or other_key or "", source or "")
        field = field.values()
    value = value_of(field)
    parameters = fields(value)
    keys = parameters.get("key"), parameters.get("Key")
    return Request(
        bucket=readable(parameters.get("bucketName")),
        key=readable(keys[0]) or readable(keys[1]),
        rename_source=readable(parameters.get(RENAME_SOURCE)),
        key_unreadable=not isinstance(value, dict | None)
        or bool(parameters.get("omitted"))
        or any(key not in (None, "") for key in keys),
    )


def displayed_object(field: object) -> tuple[str, str]:
    """Bucket and key of `requestParameters`, for display. Empty if they cannot be read."""
    if isinstance(field, Parameters):
        key = field.key or field.Key or ""
        if isinstance(key, str):
            return field.bucketName or "", key
    request = request_of(field)
    return request.bucket, request.key


def resources_of(field: object) -> Resources:
    """Parse `resources`. An entry that cannot be read is left out."""
    entries, unreadable = _entries(field)
    found = Resources(
        [], [], [], has_access_point=any(_is_access_point(arn or "") for arn, _ in entries), unreadable=unreadable
    )
    for arn, prefix in entries:
        if below := _parse_arn(prefix or ""):
            found.prefixes.append(below)
        if (target := _parse_arn(arn or "")) is None:
            continue
        if target.key:
            found.objects.append(target)
        else:
            found.buckets.append(target.bucket)
    return found


def _entries(field: object) -> tuple[list[tuple[str | None, str | None]], bool]:
    """ARN and ARNPrefix of each entry, and whether an entry was left out."""
    if isinstance(field, msgspec.Raw):
        try:
            return [(each.ARN, each.ARNPrefix) for each in _resources.decode(field) or ()], False
        except DECODE_ERRORS:
            pass
    value = value_of(field)
    entries = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    found = [(readable(fields(each).get("ARN")), readable(fields(each).get("ARNPrefix"))) for each in entries]
    read = [each for each in found if any(each)]
    return list(read), len(read) < len(found) or (value is not None and not entries and value != [])


def requested_object(field: object) -> Target | None:
    """The object, if `requestParameters` alone names it. Nearly every request does."""
    if isinstance(field, Parameters) and isinstance(field.key, str) and field.key not in ("", HIDDEN):
        bucket, key = field.bucketName, field.key
    else:
        request = request_of(field)
        bucket, key = request.bucket, request.key
    if not bucket or not key or bucket == HIDDEN or bucket.endswith(ALIAS_ENDINGS) or bucket.startswith("arn:"):
        return None
    return Target(bucket, key)


def find_targets(request: Request, resources: Resources, *, may_copy: bool = False) -> list[Target]:
    """The objects that the call may have changed. One, if the record follows the documentation.

    An empty key stands for the whole bucket. The list is empty if the record names no bucket. `may_copy`: each object
    among the resources may be the source of a copy, so the resources do not show which bucket was written.
    """
    bucket, key = _requested_bucket(request), request.key
    if bucket and key:
        return [Target(bucket, key)]
    if may_copy:
        named = [bucket] if bucket else [*resources.buckets, *(each.bucket for each in resources.objects)]
        return [Target(each, key) for each in dict.fromkeys(named)]
    objects = [each for each in dict.fromkeys(resources.objects) if not bucket or each.bucket == bucket]
    owners = [each.bucket for each in objects]
    if key:
        same = [each.bucket for each in objects if each.key == key]
        return [Target(each, key) for each in dict.fromkeys(same or resources.buckets or owners)]
    if len(objects) == 1:
        return objects
    return [Target(each, "") for each in dict.fromkeys([bucket] if bucket else resources.buckets or owners)]


def find_prefix(request: Request, resources: Resources) -> Target | None:
    """The bucket and the prefix in which `DeleteObjects` deleted. None if the record names no bucket."""
    named = [each.bucket for each in resources.prefixes] + resources.buckets
    bucket = _requested_bucket(request) or (named[0] if named else "")
    # We have never seen several prefixes. If there are several, only the whole bucket is certain to include them all.
    prefixes = [each.key for each in resources.prefixes if each.bucket == bucket]
    prefix = prefixes[0] if len(prefixes) == len(resources.prefixes) == 1 and not resources.unreadable else ""
    return Target(bucket, prefix) if bucket else None


def rename_source(target: Target, request: Request, resources: Resources) -> Target | None:
    """The object as it was named before a rename. None if the record does not name it with certainty."""
    if request.rename_source:
        try:
            source = unquote(request.rename_source, errors="strict")
        except UnicodeDecodeError:
            return None
        key = _key_of_source(source.removeprefix("/"), target.bucket, request.bucket)
        return Target(target.bucket, key) if key else None
    others = [each for each in resources.objects if each.key != target.key]
    return others[0] if len(others) == 1 else None


def _key_of_source(source: str, bucket: str, requested: str) -> str | None:
    """The key in the source of a rename. The name or the ARN of the bucket, or of its access point, may come before it.

    `requested`: the bucket or access point of the request. None if the text before the key may be another name.
    """
    for place in (bucket, requested, re.split("[:/]", requested)[-1]):
        if place and source.startswith(f"{place}/"):
            source = source.removeprefix(f"{place}/")
            return source.removeprefix("object/") if place.startswith("arn:") else source
    if source.startswith("arn:"):
        path = source.split(":", 5)[-1]
        if found := _ACCESS_POINT_AND_KEY.fullmatch(path):
            return found[1]
        named = _parse_arn(source)
        return named.key if named and named.bucket == bucket else None
    first, _, rest = source.partition("/")
    if first.endswith(ALIAS_ENDINGS):
        return rest
    return None if rest and first.endswith(_DIRECTORY_BUCKET_ENDING) else source


def names_access_point(request: Request, resources: Resources) -> bool:
    """Whether the record names an access point. If it does not name the bucket too, Access Anywhere cannot show it."""
    return resources.has_access_point or _is_access_point(request.bucket)


def _requested_bucket(request: Request) -> str:
    """The bucket that the request names. Empty if it names an access point, or nothing."""
    name = request.bucket
    if name.startswith("arn:"):
        found = _parse_arn(name)
        return found.bucket if found else ""
    return "" if name.endswith(ALIAS_ENDINGS) else name


def _is_access_point(name: str) -> bool:
    """Whether an ARN, or the name in the field of the bucket, is of an access point or on an outpost."""
    if name.startswith("arn:"):
        path = name.split(":", 5)[-1]
        return _ACCESS_POINT.match(path) is not None or path.partition("/")[0].endswith(ALIAS_ENDINGS)
    return name.endswith(ALIAS_ENDINGS)


def _parse_arn(arn: str) -> Target | None:
    """Bucket and key of an ARN. The key is empty in the ARN of a bucket. None if the ARN does not name a bucket.

    `arn:aws:s3:::BUCKET[/KEY]`, `arn:aws:s3express:REGION:ACCOUNT:[bucket/]BUCKET[/KEY]` or
    `arn:aws:s3-outposts:REGION:ACCOUNT:outpost/OUTPOST/bucket/BUCKET[/object/KEY]`.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        return None
    _, _, service, region, account, path = parts
    if service == "s3" and not region and not account:
        bucket, _, key = path.partition("/")
    elif service == "s3express":
        bucket, _, key = path.removeprefix("bucket/").partition("/")
        if not path.startswith("bucket/") and not bucket.endswith(_DIRECTORY_BUCKET_ENDING):
            return None
    elif service == "s3-outposts" and (found := _ON_OUTPOST.fullmatch(path)):
        bucket, key = found[1], found[2] or ""
    else:
        return None
    return Target(bucket, key) if bucket and not bucket.endswith(ALIAS_ENDINGS) else None
