"""S3: GET and HEAD of objects and buckets, in path style and in virtual-host style."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import unquote

from bench.stub.http import XML, Request, head, response
from bench.stub.log_files import LOG_BUCKET, Body, stored

_GZIP: Final = b"application/x-gzip"
_HEADERS: Final = {
    b"x-amz-id-2": b"i" * 76,
    b"x-amz-request-id": b"0123456789ABCDEF",
    b"Last-Modified": b"Sat, 21 Nov 2026 10:05:00 GMT",
    b"x-amz-server-side-encryption": b"AES256",
    b"Accept-Ranges": b"bytes",
    b"Server": b"AmazonS3",
}
_MAX_KEPT: Final = 10_000


class S3:
    """The log bucket. Its objects are never written: their keys say what they contain."""

    def __init__(self, counts: Counter[str], created: Callable[[str], None]) -> None:
        """`created` is called with each folder that a log file reports, when the file is fetched first."""
        self._counts = counts
        self._created = created
        self._headers_of: dict[int, tuple[Body, Mapping[bytes, bytes]]] = {}

    def answer(self, request: Request) -> bytes:
        path, _, query = request.target.decode("ascii").partition("?")
        bucket, key = _bucket_and_key(path, request)
        if not key:
            return self._bucket(request, bucket, query)
        self._counts[f"s3 {request.method.decode()}"] += 1
        found = stored(bucket, key)
        if found is None:
            return response(b"<Error><Code>NoSuchKey</Code></Error>", status=404, kind=XML)
        answer = head(len(found.stored), kind=_GZIP, headers=self._headers(found))
        return answer if request.method == b"HEAD" else answer + found.stored

    def _bucket(self, request: Request, bucket: str, query: str) -> bytes:
        self._counts[f"s3 {request.method.decode()} bucket {query.partition('=')[0]}".rstrip()] += 1
        if bucket != LOG_BUCKET:
            return response(b"<Error><Code>NoSuchBucket</Code></Error>", status=404, kind=XML)
        if query.startswith("list-type"):
            empty = b"<ListBucketResult><Name>%s</Name><KeyCount>0</KeyCount></ListBucketResult>" % bucket.encode()
            return response(empty, kind=XML)
        return response(b"", kind=XML, headers={b"x-amz-bucket-region": b"us-east-1"})

    def _headers(self, body: Body) -> Mapping[bytes, bytes]:
        """The headers that S3 sends. They are kept for bodies that many keys share."""
        kept = self._headers_of.get(id(body))
        if kept is not None and kept[0] is body:
            return kept[1]
        for folder in body.folders:
            self._created(folder)
        headers = _HEADERS | {b"ETag": b'"%s"' % hashlib.md5(body.stored, usedforsecurity=False).hexdigest().encode()}
        if len(self._headers_of) < _MAX_KEPT:
            self._headers_of[id(body)] = body, headers
        return headers


def _bucket_and_key(path: str, request: Request) -> tuple[str, str]:
    """A host with the name of the log bucket in front is virtual-host style."""
    if "%" in path:
        path = unquote(path)
    host = request.header(b"host:").decode()
    if host.startswith(f"{LOG_BUCKET}."):
        return LOG_BUCKET, path[1:]
    bucket, _, key = path[1:].partition("/")
    return bucket, key
