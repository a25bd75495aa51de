"""Recognises the requests to S3 that change objects, as a trail with data events would log them."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree as ET

import msgspec
from moto.s3.models import FakeKey
from werkzeug.wrappers import Request

from jibe_sqs.sandbox.aws.regions import s3_address, stored_bucket
from jibe_sqs.sandbox.aws.s3_calls import CallKind, ObjectAddress

WRITES: Final = "/moto-api/sandbox/writes"
"""At this path the sandbox's AWS returns the writes that came through its tunnels. `?since=N`: only newer ones."""
_ASPECTS: Final = frozenset(
    {"acl", "tagging", "retention", "legal-hold", "encryption", "annotation", "partNumber", "uploadId"}
)
"""With one of these query parameters, a PUT or DELETE changes not the object, but its attributes or a part of an
upload.
"""


class ObjectWrite(msgspec.Struct, frozen=True):
    """A request that changes objects."""

    kind: CallKind
    bucket: str
    keys: tuple[str, ...]
    source: ObjectAddress | None = None
    """The source of a copy."""
    upload: str = ""
    """The id of a multipart upload."""

    def stored(self, host: str) -> tuple[int, str]:
        """Size and ETag of the one object that was written, as it is stored now. (0, "") if there is no such object."""
        bucket = stored_bucket(host, self.bucket)
        made = None if bucket is None or self.kind is CallKind.DELETE_MANY else bucket.keys.get(self.keys[0])
        return (made.size, made.etag.strip('"')) if isinstance(made, FakeKey) else (0, "")


def object_write(environ: Mapping[str, Any], body: bytes) -> ObjectWrite | None:
    """The change of a request that S3 has carried out. None if it changed no object."""
    # PATH_INFO would lack the second slash of `//key`.
    path, _, query_string = str(environ["REQUEST_URI"]).partition("?")
    address = s3_address(str(environ["HTTP_HOST"]), unquote(path))
    if address is None:
        return None
    bucket, key = address
    query = parse_qs(query_string, keep_blank_values=True)
    match environ["REQUEST_METHOD"]:
        case "PUT" if key and not query.keys() & _ASPECTS:
            source = environ.get("HTTP_X_AMZ_COPY_SOURCE")
            if source is None:
                return ObjectWrite(CallKind.PUT, bucket, (key,))
            return ObjectWrite(CallKind.COPY, bucket, (key,), source=_source(source))
        case "DELETE" if key and not query.keys() & _ASPECTS:
            return ObjectWrite(CallKind.DELETE, bucket, (key,))
        case "POST" if key and "uploadId" in query:
            return ObjectWrite(CallKind.MULTIPART, bucket, (key,), upload=query["uploadId"][0])
        case "POST" if not key and "delete" in query:
            return ObjectWrite(CallKind.DELETE_MANY, bucket, _listed(body))
        case "POST" if not key and (sent := _in_form(environ, body)):
            return ObjectWrite(CallKind.POST, bucket, (sent,))
    return None


def _source(header: str) -> tuple[str, str]:
    """Bucket and key of a copy's source, without the version."""
    bucket, _, key = unquote(header.partition("?")[0]).lstrip("/").partition("/")
    return bucket, key


def _listed(body: bytes) -> tuple[str, ...]:
    """The keys of a bulk delete."""
    # moto has already parsed this XML, and the program that sent it is the user's own.
    return tuple(key.text or "" for key in ET.fromstring(body).iterfind("{*}Object/{*}Key"))  # noqa: S314


def _in_form(environ: Mapping[str, Any], body: bytes) -> str:
    """The key in a form upload."""
    return Request({**environ, "wsgi.input": BytesIO(body)}).form.get("key", "")
