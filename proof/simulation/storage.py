"""The model of what really happens: objects in the buckets, changes, log files, and messages that announce them."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from random import Random

from jibe_sqs.core.model import Folder
from proof.simulation.judge import Judge
from proof.simulation.kinds import DAY
from proof.simulation.loop import SeededLoop
from proof.simulation.network import later

EPOCH = 1_767_225_600.0
"""2026-01-01, the beginning of the virtual time, in seconds since the epoch."""
BUCKET = "data"
LOGS = "trail-logs"
REGION = "AWSLogs/111122223333/CloudTrail/eu-west-1/"
AGENTS = ("aws-cli/2.0", "batch/1.0", "aws-sdk/1.0")
OTHER_AGENT = "batch/1.0"
"""The user agent of a program whose writes may look like Access Anywhere's own."""


@dataclass(eq=False)
class Event:
    """A write or a delete of an object. `moment`: when storage changed."""

    folder: Folder
    moment: int
    time: int
    """The time in its record, in seconds since the epoch."""
    key: str = ""
    """The key of the object; empty if the record has no key."""
    source: str = ""
    """The key of the log file with its record; empty if a message has the record."""
    agent: str = ""
    """The user agent of the writer."""
    is_reported: bool = False
    """Whether it was reported to Access Anywhere, which accepted it."""

    @property
    def id(self) -> str:
        return f"event-{self.moment}"


@dataclass(eq=False)
class File:
    """A log file. It can be read from `readable_at` on, and listings show it from `listed_at` on."""

    key: str
    readable_at: float
    listed_at: float
    events: list[Event] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)
    bucket: str = LOGS
    is_refused: bool = False
    """Whether each read of it fails with a permanent error."""
    is_rejected: bool = False
    """Whether it was rejected after a sweep had found it."""

    @cached_property
    def content(self) -> bytes:
        """Its bytes. Asked for only when it can be read: from then on, no record is added."""
        return json.dumps({"Records": self.records}).encode()

    @cached_property
    def etag(self) -> str:
        return f"{zlib.crc32(self.content):08x}"


@dataclass(eq=False)
class Announcement:
    """The content of one message."""

    body: str
    files: list[File] = field(default_factory=list)
    events_in_body: list[Event] = field(default_factory=list)
    """Events in the message body itself."""
    is_readable: bool = True
    """Whether its body can be read."""
    must_be_rejected: bool = False
    """Whether it can never be done, so that it must become a dead letter."""

    @property
    def events(self) -> list[Event]:
        return [*self.events_in_body, *(event for file in self.files for event in file.events)]


Sender = Callable[[Announcement], None]


class Storage:
    """A bucket with some folders. Writers change it for a while, and messages announce all changes.

    If `is_swept`, some of the messages are lost or come late: sweeps must find their log files.
    """

    def __init__(self, chance: Random, judge: Judge, loop: SeededLoop, *, is_swept: bool) -> None:
        self._chance = chance
        self._judge = judge
        self._loop = loop
        self._is_swept = is_swept
        self.folders: dict[str, dict[str, int]] = {f"/{BUCKET}": {}}
        names = chance.sample(["a", "b", "c", "d", "a/b", "c/d/e"], chance.choice([1, 1, 2, 6]))
        self._prefixes = ["", *(f"{name}/" for name in sorted(names))]
        for prefix in self._prefixes:
            path = path_of(prefix)
            while path:
                self.folders.setdefault(path, {})
                path = path.rpartition("/")[0]
        self.files: dict[str, File] = {}
        self.events: dict[str, Event] = {}
        self.skew = chance.choice([2.0, 15.0])
        """The largest error of a clock of S3, in seconds."""
        self.log_buckets = [LOGS]
        self.paddings = [0]
        """Bytes that are added to message bodies."""
        self.unsent = 0
        self.faults_are_over = False

    def plan(self, messages: int, span: float, senders: list[Sender], *, begin: float = 0.0, first: int = 0) -> None:
        """Plan the changes of about `span` seconds and the messages that announce them. `first`: number of the first."""
        chance = self._chance
        for number in range(first, first + messages):
            send = chance.choice(senders)
            start = begin + chance.random() * span
            kind = chance.random()
            self.unsent += 1
            if kind < 0.04:
                later(start, self._send, send, Announcement("no JSON", is_readable=False, must_be_rejected=True))
            elif kind < 0.2:
                later(start, self._write_and_notify, send)
            else:
                self._plan_files(number, start, send)

    def plan_burst(self, messages: int, begin: float, send: Sender) -> None:
        """Plan changes that are all announced at about the same time."""
        self.unsent += messages
        for _ in range(messages):
            later(begin, self._write_and_notify, send, 0.5)

    def _plan_files(self, number: int, start: float, send: Sender) -> None:
        """Plan one to three log files that one message announces. Some of them are announced by another message, too."""
        chance = self._chance
        announced_at = start + 20.0 + chance.random() * chance.choice([2.0, 100.0])
        files: list[File] = []
        bucket = self.log_buckets[number % len(self.log_buckets)]
        for part in range(chance.choice([1, 1, 1, 2, 3])):
            if self.files and chance.random() < 0.15:
                other = self.files[chance.choice(list(self.files))]
                # A message announces files of one bucket.
                if other.bucket == bucket:
                    files.append(other)
                    continue
            late = chance.random() * 60 if chance.random() < 0.1 else 0.0
            file = self._file(f"{number:02}-{part}.json", announced_at + late)
            file.bucket = bucket
            for _ in range(chance.randint(0, 5)):
                later(start + chance.random() * 19, self._write_into, file)
            self.files[file.key] = file
            files.append(file)
        # A file of another message may be missing at first, but not for so long that the message is rejected.
        announced_at = max(announced_at, *(file.readable_at - 60 for file in files))
        luck = chance.random() if self._is_swept else 1.0
        if luck < 0.3:
            later(announced_at, self._lose, files)
        else:
            late = chance.random() * 300 if luck < 0.5 else 0.0
            later(announced_at + late, self._announce, send, files)

    def _file(self, name: str, readable_at: float) -> File:
        chance, is_swept = self._chance, self._is_swept
        written = EPOCH + readable_at - (DAY if is_swept and chance.random() < 0.2 else 0.0)
        day = f"{datetime.fromtimestamp(written, UTC):%Y/%m/%d/}"
        lag = chance.random() * 60 if is_swept and chance.random() < 0.5 else 0.0
        return File(f"{REGION}{day}{name}", readable_at, readable_at + lag, is_refused=chance.random() < 0.02)

    def paths_of(self, folder: Folder) -> list[str]:
        """The paths of the folders that are stale if this folder or tree is stale."""
        return list(self.folders) if folder.tree else [folder.path]

    def previous_change(self, event: Event, skips: Callable[[Event], bool]) -> Event | None:
        """The change of the same object before this one in the same log file, by the times of the records.

        `skips`: whether a change is skipped, because settings are wrong.
        """
        if not event.source:
            return None
        line = [each for each in self.files[event.source].events if each.key == event.key and not skips(each)]
        line.sort(key=lambda each: each.time)
        at = line.index(event)
        return line[at - 1] if at else None

    def _send(self, send: Sender, announcement: Announcement) -> None:
        self.unsent -= 1
        send(announcement)

    def _lose(self, files: list[File]) -> None:
        self.unsent -= 1
        self._judge.record("announcement lost", *(file.key[-9:-5] for file in files))

    def _announce(self, send: Sender, files: list[File]) -> None:
        files = list(dict.fromkeys(files))
        # S3 announces files that exist, with their ETags. CloudTrail may announce earlier, and without ETags.
        are_there = all(file.readable_at <= self._loop.time() for file in files)
        is_s3_notification = self._is_swept and are_there and self._chance.random() < 0.5
        body: dict[str, object] = (
            _s3_notification(files)
            if is_s3_notification
            else {"s3Bucket": files[0].bucket, "s3ObjectKey": [file.key for file in files]}
        )
        if len(self.paddings) > 1:
            body["padding"] = "x" * self._chance.choice(self.paddings)
        self._send(send, Announcement(json.dumps(body), files, must_be_rejected=any(file.is_refused for file in files)))

    def _write_into(self, file: File) -> None:
        event, record = self._write()
        event.source = file.key
        file.events.append(event)
        file.records.append(record)

    def _write_and_notify(self, send: Sender, longest: float = 20.0) -> None:
        event, record = self._write(is_named=True)
        name = "ObjectCreated:Put" if record["eventName"] == "PutObject" else "ObjectRemoved:Delete"
        object_ = {"key": event.key, "sequencer": event.id}
        body = json.dumps({"Records": [_record(name, record["eventTime"], BUCKET, object_)]})
        later(self._chance.random() * longest, self._send, send, Announcement(body, events_in_body=[event]))

    def _write(self, *, is_named: bool = False) -> tuple[Event, dict[str, object]]:
        """Change an object. Returns the event, and CloudTrail's record of it."""
        chance = self._chance
        prefix = chance.choice(self._prefixes)
        path = path_of(prefix)
        moment = self._judge.moment()
        luck = chance.random()
        key: str | None = f"{prefix}{chance.randrange(4)}"
        folder = Folder(path)
        if luck < 0.04 and not is_named:
            name, key, folder = "DeleteObjects", None, Folder(f"/{BUCKET}", tree=True)
            for objects in self.folders.values():
                for each in list(objects):
                    if chance.random() < 0.5:
                        del objects[each]
        elif luck < 0.3:
            name = "DeleteObject"
            self.folders[path].pop(str(key), None)
        else:
            name = "PutObject"
            self.folders[path][str(key)] = moment
        seen = int(EPOCH + self._loop.time() + chance.uniform(-self.skew, self.skew))
        self._judge.record(name, folder, key or "")
        event = Event(folder, moment, seen, key or "", agent=AGENTS[moment % len(AGENTS)])
        self.events[event.id] = event
        return event, {
            "eventVersion": "1.11",
            "eventTime": f"{datetime.fromtimestamp(seen, UTC):%Y-%m-%dT%H:%M:%SZ}",
            "eventSource": "s3.amazonaws.com",
            "eventName": name,
            "eventID": event.id,
            "requestID": f"request-{moment}",
            "awsRegion": "eu-west-1",
            "readOnly": False,
            "userAgent": event.agent,
            "requestParameters": {"bucketName": BUCKET} | ({"key": key} if key else {}),
        }


def _s3_notification(files: list[File]) -> dict[str, object]:
    objects = [{"key": file.key, "eTag": file.etag, "size": len(file.content)} for file in files]
    return {"Records": [_record("ObjectCreated:Put", "2026-01-01T00:00:00Z", LOGS, object_) for object_ in objects]}


def _record(name: str, time: object, bucket: str, object_: Mapping[str, object]) -> dict[str, object]:
    what = {"bucket": {"name": bucket}, "object": object_}
    return {"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": name, "eventTime": time, "s3": what}


def path_of(prefix: str) -> str:
    """The path at which Access Anywhere shows a prefix."""
    return f"/{BUCKET}/{prefix}".rstrip("/")
