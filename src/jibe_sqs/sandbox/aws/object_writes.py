"""Which requests to S3 change objects: what a trail with data events would log of them."""

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
"""The path at which the sandbox's AWS answers with the writes that came through its tunnels; `?since=N`: newer ones."""
_ASPECTS: Final = frozenset(
    {"acl", "tagging", "retention", "legal-hold", "encryption", "annotation", "partNumber", "uploadId"}
)
"""Query parameters by which PUT and DELETE concern not an object, but what belongs to it, or a part of an upload."""


class ObjectWrite(msgspec.Struct, frozen=True):
    """What a request asks for."""

    kind: CallKind
    bucket: str
    keys: tuple[str, ...]
    source: ObjectAddress | None = None
    """The bucket and key that a copy is made of."""
    upload: str = ""
    """The id of a multipart upload."""

    def stored(self, host: str) -> tuple[int, str]:
        """Size and ETag of the one object that it made, as it is stored now. 0 and nothing: there is none."""
        bucket = stored_bucket(host, self.bucket)
        made = None if bucket is None or self.kind is CallKind.DELETE_MANY else bucket.keys.get(self.keys[0])
        return (made.size, made.etag.strip('"')) if isinstance(made, FakeKey) else (0, "")


def object_write(environ: Mapping[str, Any], body: bytes) -> ObjectWrite | None:
    """What the request, which S3 has carried out, changed. None: no object."""
    # Not PATH_INFO: it lacks the second slash of `//key`.
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
    """Bucket and key, without the version."""
    bucket, _, key = unquote(header.partition("?")[0]).lstrip("/").partition("/")
    return bucket, key


def _listed(body: bytes) -> tuple[str, ...]:
    """The keys of a bulk delete."""
    # moto has parsed it before, and the program that sent it is the user's own.
    return tuple(key.text or "" for key in ET.fromstring(body).iterfind("{*}Object/{*}Key"))  # noqa: S314


def _in_form(environ: Mapping[str, Any], body: bytes) -> str:
    """The key of a form that a browser sends."""
    return Request({**environ, "wsgi.input": BytesIO(body)}).form.get("key", "")
