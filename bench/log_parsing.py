"""Parsing of log files: our reader beside gzip and json of the standard library, and beside a bare isal and msgspec.

All find the same events. It prints the CPU time for a file: the lowest of many rounds in turn, because another process on
the machine can only make it longer.
"""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from isal import igzip_lib

from bench import logs, lyve_log
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Kind, ObjectEvent

ROUNDS = 15
RECORDS_A_ROUND = 600
TRAIL_CHANGES = frozenset({"PutObject"})
AUDIT_CHANGES = frozenset({"PutObject", "DeleteObject", "CompleteMultipartUpload"})


class Trail(msgspec.Struct, gc=False):
    """The fields of a CloudTrail record that our reader reads, too."""

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
    readOnly: bool
    userIdentity: msgspec.Raw
    requestParameters: dict[str, Any]
    resources: msgspec.Raw
    errorCode: str | None = None


class Api(msgspec.Struct, gc=False):
    name: str
    bucket: str
    object: str
    statusCode: int
    timeToResponse: str


class Audit(msgspec.Struct, gc=False):
    """The same of a record of Lyve Cloud."""

    api: Api
    time: str
    requestID: str
    userAgent: str
    remotehost: str
    responseHeader: msgspec.Raw


class Line(msgspec.Struct, gc=False):
    auditEntry: Audit
    serviceAccountName: str


class Document(msgspec.Struct):
    Records: list[Trail]


_documents = msgspec.json.Decoder(Document)
_lines = msgspec.json.Decoder(Line)


class Contenders(NamedTuple):
    """Each takes the stored bytes, and returns the number of events."""

    ours: Callable[[bytes], int]
    plain: Callable[[bytes], int]
    bare: Callable[[bytes], int]


def run() -> None:
    """CPU time from stored bytes to events, for a file of each kind."""
    for name, records, data, contenders in _files():
        repeat = max(1, RECORDS_A_ROUND // records)
        ours, plain, bare = _lowest(repeat, data, contenders)
        print(
            f"  {name:28} {len(data) / 1000:8.1f} KB   ours {ours:8.1f} µs   gzip + json {plain:8.1f} µs ({plain / ours:4.1f})"
            f"   isal + msgspec {bare:8.1f} µs ({bare / ours:4.2f})"
        )


def _files() -> Iterator[tuple[str, int, bytes, Contenders]]:
    trail = Contenders(_reader(logs.KEY), _plain_trail, _bare_trail)
    for size, records in (("tiny", 3), ("normal", 300)):
        for changing in (0.01, 0.1, 0.9):
            text = b'{"Records":[' + b",".join(logs.texts(records, changing=changing)) + b"]}"
            yield f"CloudTrail, {size}, {changing:.0%} writes", records, gzip.compress(text, 6), trail
    audit = Contenders(_reader(lyve_log.KEY), _plain_lines, _bare_lines)
    for size, records in (("tiny", 3), ("normal", 300)):
        text = b"".join(islice(lyve_log.lines(), records))
        yield f"audit log, {size}, 40% writes", records, gzip.compress(text, 6), audit


def _reader(key: str) -> Callable[[bytes], int]:
    def events(data: bytes) -> int:
        log = LogReader(key, Limits())
        return sum(
            isinstance(record, ObjectEvent) and not Kind(record.kind).is_unlisted
            for records in (*log.feed(data), *log.finish())
            for record in records
        )

    return events


def _plain_trail(data: bytes) -> int:
    records = json.loads(gzip.decompress(data))["Records"]
    return sum(record["eventName"] in TRAIL_CHANGES and "errorCode" not in record for record in records)


def _plain_lines(data: bytes) -> int:
    calls = [json.loads(line)["auditEntry"]["api"] for line in gzip.decompress(data).splitlines()]
    return sum(call["name"] in AUDIT_CHANGES and call["statusCode"] < 300 for call in calls)


def _bare_trail(data: bytes) -> int:
    records = _documents.decode(_text(data)).Records
    return sum(record.eventName in TRAIL_CHANGES and record.errorCode is None for record in records)


def _bare_lines(data: bytes) -> int:
    calls = [line.auditEntry.api for line in _lines.decode_lines(_text(data))]
    return sum(call.name in AUDIT_CHANGES and call.statusCode < 300 for call in calls)


def _text(data: bytes) -> bytes:
    return bytes(igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP).decompress(data))


def _lowest(repeat: int, data: bytes, contenders: Contenders) -> list[float]:
    """Microseconds a file, for each contender."""
    if len({each(data) for each in contenders}) != 1:
        raise SystemExit("the contenders find different events")
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(ROUNDS):
        for each, taken in zip(contenders, times, strict=True):
            began = time.process_time()
            for _ in range(repeat):
                each(data)
            taken.append((time.process_time() - began) / repeat * 1e6)
    return [min(taken) for taken in times]
