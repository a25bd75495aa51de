"""The log files that the stub serves. Few bodies are made, once, and many keys share each of them.

A key shows the kind and the number of its file, so no list of a million keys is kept.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

import msgspec
from isal import igzip_lib, isal_zlib

from bench import logs, lyve_log

LOG_BUCKET: Final = "trail"
DATA_BUCKET: Final = "example-projects"
"""The bucket that the records are about, as `bench.logs` names it."""
TOPIC: Final = f"arn:aws:sns:{logs.REGION}:{logs.ACCOUNT}:trail"

_FOLDER: Final = f"AWSLogs/{logs.ACCOUNT}/CloudTrail/{logs.REGION}/2026/11/21"
_NAME: Final = f"{logs.ACCOUNT}_CloudTrail_{logs.REGION}_20261121T1005Z"
_SUFFIX: Final = ".json.gz"
_DIGITS: Final = 10


FOLDERS: Final = 50
"""The folders that the files of most kinds are about. Each is refreshed once or more often in a run."""


class Body(NamedTuple):
    """A log file as stored, and its number of object events. `folders`: those of the bucket that the events are in."""

    stored: bytes
    events: int
    folders: frozenset[str]


def key_of(kind: str, number: int) -> str:
    """The key of a CloudTrail file."""
    return f"{_FOLDER}/{_NAME}_{kind}{number:0{_DIGITS}}{_SUFFIX}"


class Kind(NamedTuple):
    """A kind of log file. `body` makes the body of a file from its number.

    `shared`: how many bodies the files share in turn. With 0, each file has a body of its own, with one event.
    `message`: makes a message that names its change by itself, so there is no file.
    """

    body: Callable[[int], Body]
    shared: int = 1
    key: Callable[[str, int], str] = key_of
    message: Callable[[int], str] | None = None


def _lyve_key(kind: str, number: int) -> str:
    # The name of the kind is in the folder: Lyve Cloud's names have no room for it.
    minute, second = divmod(number, 60)
    return f"{kind}/S3-{DATA_BUCKET}-2026-11-21-{minute // 60:02}-{minute % 60:02}-{second:02}.gz"


def announcement(kind: str, number: int) -> str:
    """The message about a file, as AWS sends it: CloudTrail's notice in the envelope of SNS. Or an event of S3."""
    made = KINDS[kind]
    if made.message is not None:
        return made.message(number)
    return _MESSAGE.replace("KEY", made.key(kind, number), 1).replace("NUMBER", f"{number:08x}", 1)


_ENVELOPE: Final = {
    "Type": "Notification",
    "MessageId": "",
    "TopicArn": TOPIC,
    "Subject": "[Example] CloudTrail log file delivered",
    "Message": "",
    "Timestamp": "2026-11-21T10:05:02.345Z",
    "SignatureVersion": "1",
    "Signature": "S" * 344,
    "SigningCertURL": f"https://sns.{logs.REGION}.amazonaws.com/SimpleNotificationService-{'0' * 32}.pem",
    "UnsubscribeURL": f"https://sns.{logs.REGION}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={TOPIC}:{'0' * 36}",
}


_NOTICE: Final = json.dumps({"s3Bucket": LOG_BUCKET, "s3ObjectKey": ["KEY"]}, separators=(",", ":"))
_MESSAGE: Final = json.dumps(_ENVELOPE | {"Message": _NOTICE, "MessageId": "NUMBER-1111-4000-8000-000000000000"})


def stored(bucket: str, key: str) -> Body | None:
    """The object with this key. None if there is no such object."""
    if bucket != LOG_BUCKET:
        return None
    if key.endswith(_SUFFIX):
        kind, number = key[: -len(_SUFFIX) - _DIGITS].rpartition("_")[2], key[-len(_SUFFIX) - _DIGITS : -len(_SUFFIX)]
        return KINDS[kind].body(int(number)) if kind in KINDS and number.isdecimal() else None
    kind = key.partition("/")[0]
    return KINDS[kind].body(0) if kind in KINDS else None


# The bodies


def compressed(text: bytes) -> bytes:
    """Text in gzip format, as AWS stores it."""
    return zlib.compress(text, 6, wbits=31)


def _cloudtrail(records: Sequence[bytes]) -> Body:
    return Body(compressed(b'{"Records":[%s]}' % b",".join(records)), *_events(records))


def _events(records: Sequence[bytes]) -> tuple[int, frozenset[str]]:
    """The number of object events, and their folders."""
    found = [json.loads(record) for record in records if b'"eventName":"PutObject"' in record]
    return len(found), frozenset(record["requestParameters"]["key"].rpartition("/")[0] for record in found)


def _pool(make: Callable[[int], Body], size: int) -> Callable[[int], Body]:
    """`size` bodies, which the numbers of files share in turn. They are made at the first use."""

    @cache
    def bodies() -> list[Body]:
        return [make(number) for number in range(size)]

    def body(number: int) -> Body:
        made = bodies()
        return made[number % len(made)]

    return body


def _tiny(number: int) -> Body:
    records = list(logs.texts(1 + number % 5, seed=number, changing=0.3, folders=FOLDERS))
    return _cloudtrail(records)


def _normal(changing: float) -> Callable[[int], Body]:
    return lambda number: _cloudtrail(list(logs.texts(300, seed=number, changing=changing, folders=FOLDERS)))


def _one_folder(number: int) -> Body:
    """A write, now, in a folder that is always the same."""
    return _cloudtrail(list(logs.texts(1, seed=number, changing=1.0, folders=1, began=time.time())))


_TEMPLATE: Final = next(logs.texts(1, changing=1.0, folders=1, began=1.7e9))


def _new_folder(number: int) -> Body:
    """A write, now, in a folder that no other file has."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()).encode()
    folder = f"many/{number // 1000:03}/{number:06}"
    record = _TEMPLATE.replace(b"projects/0/renders", folder.encode()).replace(b"2023-11-14T22:13:20Z", now)
    text = b'{"Records":[%s]}' % record
    return Body(igzip_lib.compress(text, 1, flag=igzip_lib.COMP_GZIP), 1, frozenset([folder]))


def _mixed(number: int) -> Body:
    """Of 100 files 90 are tiny, nine normal, and one has 3,000 records."""
    if number % 100 < 90:
        return KINDS["tiny"].body(number)
    if number % 100 < 99:
        return KINDS["normal10"].body(number)
    return _large(number)


_large = _pool(lambda number: _cloudtrail(list(logs.texts(3000, seed=number, changing=0.1, folders=FOLDERS))), 3)


def _s3_event(number: int) -> str:
    """An event of S3, as it sends it to a queue, about an object in one of the usual folders."""
    key = f"projects/{number % FOLDERS}/renders/frame-{number:08}.exr"
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": logs.REGION,
        "eventTime": "2026-11-21T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AROAEXAMPLE:render"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": f"{number:016X}", "x-amz-id-2": "i" * 76},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "changes",
            "bucket": {
                "name": DATA_BUCKET,
                "ownerIdentity": {"principalId": "EXAMPLE"},
                "arn": f"arn:aws:s3:::{DATA_BUCKET}",
            },
            "object": {"key": key, "size": 3_000_000, "eTag": f"{number:032x}", "sequencer": f"{number:018X}"},
        },
    }
    return json.dumps({"Records": [record]}, separators=(",", ":"))


HUGE_TEXT: Final = 500_000_000
"""Bytes of text of the largest files."""


@cache
def _huge(size: int) -> Body:
    """A CloudTrail file of about `size` bytes of text. Its records repeat after 64 MB, which is more than any window."""
    records = list(logs.texts(max(1, min(size, 64_000_000) // 1900), changing=0.3, folders=FOLDERS))
    block = b",".join(records)
    events, folders = _events(records)
    times = max(1, round(size / len(block)))
    return Body(_streamed(b'{"Records":[', [block] * times, b"]}", separator=b","), events * times, folders)


@cache
def _huge_lyve(size: int) -> Body:
    lines: list[bytes] = []
    total = 0
    for line in _lyve_lines():
        lines.append(line)
        total += len(line)
        if total >= min(size, 64_000_000):
            break
    times = max(1, round(size / total))
    events = sum(any(name in line for name in _LYVE_WRITES) and b'"statusCode":20' in line for line in lines)
    return Body(_streamed(b"", [b"".join(lines)] * times, b"", separator=b""), events * times, frozenset())


def _lyve_lines() -> Iterator[bytes]:
    return lyve_log.lines()


_LYVE_WRITES: Final = (b'"PutObject"', b'"DeleteObject"', b'"CompleteMultipartUpload"')


def _streamed(start: bytes, blocks: Sequence[bytes], end: bytes, *, separator: bytes) -> bytes:
    stream = isal_zlib.compressobj(3, isal_zlib.DEFLATED, 31)
    parts = [stream.compress(start)]
    for index, block in enumerate(blocks):
        parts.append(stream.compress(separator + block if index else block))
    return b"".join([*parts, stream.compress(end), stream.flush()])


class Sizes(msgspec.Struct):
    """What an option may change. `huge`: bytes of text of the largest files."""

    huge: int = HUGE_TEXT


SIZES: Final = Sizes()

KINDS: Final[dict[str, Kind]] = {
    "tiny": Kind(_pool(_tiny, 500), shared=500),
    "normal1": Kind(_pool(_normal(0.01), 20), shared=20),
    "normal10": Kind(_pool(_normal(0.1), 20), shared=20),
    "normal90": Kind(_pool(_normal(0.9), 20), shared=20),
    "mixed": Kind(_mixed, shared=1500),
    "onefolder": Kind(_one_folder, shared=0),
    "manyfolders": Kind(_new_folder, shared=0),
    "s3event": Kind(lambda _: Body(b"", 1, frozenset()), shared=0, message=_s3_event),
    "huge": Kind(lambda _: _huge(SIZES.huge)),
    "lyve": Kind(lambda _: _huge_lyve(SIZES.huge), key=_lyve_key),
}


def shared(kind: str, files: int) -> list[Body]:
    """The bodies that the first `files` files of this kind share. They are made now."""
    made = KINDS[kind]
    return [made.body(number) for number in range(min(files, made.shared))]


def events(kind: str, files: int) -> int:
    """The object events of the first `files` files."""
    counts = [body.events for body in shared(kind, files)]
    if not counts:
        return files
    whole, rest = divmod(files, len(counts))
    return whole * sum(counts) + sum(counts[:rest])
