"""Hostile input while Access Anywhere is slow: the service slows down, does not run out of memory, and loses nothing."""

import gzip
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.processes import PATIENCE, Started, eventually, started

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and cgroups are Linux's")

MIB = 1024 * 1024
LIMIT = 512 * MIB
"""Bytes: half of the limit in the deployment files."""
SCALE = int(os.environ.get("HOSTILE_SCALE", "1"))
"""How many times as much is sent."""
LARGE = 6
"""From this scale on, `limits.bytes_held` has its default."""
BYTES_HELD = 8 * MIB
"""A small limit, so that little input exceeds it several times."""
STOP = 60.0
"""Seconds for the end after SIGTERM: `drain_timeout`, the last calls to the queue, and some for a slow machine."""
RECEIVES = 6
"""Of one message. Answers that are too large use up one or two of them."""
BODY = MIB - 8192
"""Bytes of a large message. SQS takes a MiB, and a dead letter needs some of it for the reason."""
REGION = "us-east-1"
BUCKET = f"jibe-sandbox-{REGION}-media"
EMOJI = "\N{PILE OF POO}"
"""With it, a string of Python takes four bytes for each character."""


def filled(text: str) -> str:
    """The text with spaces at its end, and one emoji: a body of `BODY` bytes."""
    return text + " " * (BODY - len(text.encode()))


def nonsense(number: int) -> str:
    return filled(f"{number} {EMOJI}").replace("  ", "no")


def s3_event(keys: list[str], further: list | None = None) -> str:
    # An event from before the last sync of the provider would be skipped.
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    one = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "eventTime": now,
            "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}},
        }
        for key in keys
    ]
    return json.dumps({"Records": one + (further or [])}, ensure_ascii=False, separators=(",", ":"))


def many_folders(number: int) -> str:
    """Three hundred distinct folders, with an emoji. The folders are the same in each of these messages."""
    return filled(s3_event([f"folders {EMOJI} {i:04}/{'x' * 900}/{number}" for i in range(300)]))


def many_unreadable(number: int) -> str:
    """A record that waits for its refresh, and a hundred thousand records that are errors."""
    return s3_event([f"unreadable {EMOJI}/{number}"], [{}] * 100_000)


def record(key: str, **fields: object) -> dict:
    who = records.iam_user("eve", account=ACCOUNT, access_key="AKIAEVE")
    return records.put_object(Call(who, time.time(), REGION, ACCOUNT, Random(key)), BUCKET, key, 10) | fields


def trail(*found: dict | str) -> bytes:
    """A log file with these records, which may be JSON already."""
    texts = (each if isinstance(each, str) else json.dumps(each, separators=(",", ":")) for each in found)
    return gzip.compress(b'{"Records":[' + ",".join(texts).encode() + b"]}", 1)


def numbered(template: dict, count: int) -> Iterator[str]:
    """Records in which `#` is a number."""
    before = json.dumps(template, separators=(",", ":")).split("#")
    return (str(i).join(before) for i in range(count))


def hostile_files() -> dict[str, bytes]:
    """Log files, by kind. All are within the limits of the settings."""
    long_id = record("ids/a.txt", eventID="#" + "i" * 2000)
    deletes = record("x", eventName="DeleteObjects", eventID="#", userAgent="[" + "a" * 16_000 + "]") | {
        "requestParameters": {"bucketName": BUCKET, "delete": ""},
        "resources": [{"type": "AWS::S3::Object", "ARNPrefix": f"arn:aws:s3:::{BUCKET}/"}],
    }
    session = "arn:aws:sts::123456789012:assumed-role/eve/#"
    return {
        "folders": trail(*numbered(record("folder # " + "y" * 200 + "/a.txt", eventID="#"), 8000)),
        "ids": trail(*numbered(long_id, 4000)),
        "deletes": trail(*numbered(deletes, 600)),
        "principals": trail(
            *numbered(record("who/a.txt", eventID="#", userIdentity={"type": "AssumedRole", "arn": session}), 4000)
        ),
        "keys": trail(*numbered(record("key # " + "k" * 3500 + "/a.txt", eventID="#"), 800)),
        "large record": trail(record("large/a.txt", additionalEventData={"list": [{}] * 1_200_000})),
        "cut off": gzip.compress(b'{"Records":[' + json.dumps({"a": "x" * 3 * MIB}).encode()[:-20], 9),
        "bomb": gzip.compress(b'{"Records":[' + b" " * 24 * MIB, 9),
    }


REFUSED = ("cut off", "bomb")
"""Kinds of log files whose messages become dead letters. All others are done."""
IN_HAND = 23 if SCALE < LARGE else 45
"""Messages that must wait at the same time before Access Anywhere becomes quick again. Few more of them have room."""


@contextmanager
def memory_limit(size: int) -> Iterator[list[str]]:
    """A prefix for a command that runs in this memory limit. Where cgroups may not be made, only a limit of its data."""
    group = _cgroup(size)
    if group is None:
        # The stacks of threads count as data, although hardly any of it is used.
        yield ["sh", "-c", f'ulimit -d {2 * size // 1024} && exec "$@"', "sh"]
        return
    processes = group / "cgroup.procs"
    yield ["sh", "-c", f'echo $$ >{processes} && exec "$@"', "sh"]
    eventually(lambda: not processes.read_text(), "the end of the processes in the cgroup")
    group.rmdir()


def _cgroup(size: int) -> Path | None:
    """A new cgroup with this memory limit, of version 2 or 1."""
    for parent, name in (("", "memory.max"), ("memory", "memory.limit_in_bytes")):
        group = Path("/sys/fs/cgroup") / parent / f"jibe-sqs-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / name).exists():
                (group / name).write_text(str(size))
                return group
            group.rmdir()
    return None


def peak(service: Started) -> int:
    """Bytes: the largest resident set of the process so far."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


class Faults:
    """The faults of Access Anywhere in the sandbox."""

    def __init__(self, server: str) -> None:
        self._server = server

    def replace(self, **faults: dict) -> None:
        httpx.put(f"{self._server}/sandbox/faults", json=faults, timeout=PATIENCE).raise_for_status()

    def huge_answers(self) -> int:
        """The number of answers of 60 MB so far. The service refuses them, and receives their messages again."""
        stats = httpx.get(f"{self._server}/sandbox/stats", timeout=PATIENCE).raise_for_status().json()
        return stats["faults"].get("huge_answers", 0)


@pytest.fixture
def faults(sandbox):
    found = Faults(sandbox["access_anywhere"])
    yield found
    found.replace()


class Input:
    """What is sent. `done`, `rejected`: the ids of the messages by their right ends."""

    def __init__(self, sandbox: dict, world) -> None:
        self.done: set[str] = set()
        self.rejected: set[str] = set()
        self._world = world
        self._bucket = sandbox["log_bucket"]
        self._s3 = client(sandbox["aws"], "s3", REGION)

    def send_hostile(self) -> None:
        """Every kind, some of them several times."""
        for number in range(16 * SCALE):
            self.done.add(self._world.send(many_folders(number)))
        for number in range(4 * SCALE):
            self.rejected.add(self._world.send(nonsense(number)))
        for number in range(SCALE):
            self.rejected.add(self._world.send(many_unreadable(number)))
        for kind, body in hostile_files().items():
            ids = [self._announce(f"{kind}-{number}".replace(" ", "-"), body) for number in range(2 * SCALE)]
            (self.rejected if kind in REFUSED else self.done).update(ids)
        self.rejected.add(self._world.send(self._announcing(*(f"gone-{number}" for number in range(20)))))

    def send_innocent(self) -> None:
        for number in range(10):
            self.done.add(self._announce(f"innocent-{number}", trail(record(f"innocent {number}/a.txt"))))
            self.done.add(self._world.send(s3_event([f"innocent event {number}/a.txt"])))

    def _announce(self, name: str, body: bytes) -> str:
        self._s3.put_object(Bucket=self._bucket, Key=_key(name), Body=body)
        return self._world.send(self._announcing(name))

    def _announcing(self, *names: str) -> str:
        return json.dumps({"s3Bucket": self._bucket, "s3ObjectKey": [_key(name) for name in names]})


def _key(name: str) -> str:
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/{name}.json.gz"


def test_hostile_input_in_a_memory_limit_loses_nothing(sandbox, small_service, faults, tmp_path, record_property):
    """Every innocent message is done, the others end as documented, and the process lives and obeys SIGTERM."""
    world, sent = small_service, Input(sandbox, small_service)
    world.set_max_receives(RECEIVES)
    sent.send_innocent()
    sent.send_hostile()
    sent.send_innocent()
    # After slow refreshes, the folders would pause for minutes.
    quick = {"retry": {"first": 0.2, "longest": 1}, "sync": {"min_refresh_interval": 0}}
    configured = json.loads(world.config.read_text()) | quick
    if SCALE < LARGE:
        configured["limits"] = {"bytes_held": BYTES_HELD}
    world.config.write_text(json.dumps(configured))
    # Each call takes so long that messages wait for their refreshes.
    slow = {"seconds": 2.0}
    faults.replace(slow=slow)

    with memory_limit(LIMIT) as limited:
        command = [*limited, sys.executable, "-m", "jibe_sqs", "run", "--config", str(world.config)]
        environment = {**os.environ, **sandbox["environment"]}
        with started(command, tmp_path, cwd=tmp_path, env=environment) as service:

            def lives() -> bool:
                assert service.process.poll() is None, "the service died"
                return True

            eventually(lambda: lives() and world.in_hand() >= IN_HAND, "many messages that wait")
            waiting = peak(service)
            before = faults.huge_answers()
            faults.replace(slow=slow, huge_answers={"rate": 0.1})
            eventually(lambda: lives() and faults.huge_answers() > before + 1, "a few huge answers")
            faults.replace()
            eventually(lambda: lives() and not world.messages(), lambda: f"{world.messages()} messages are left")
            largest = peak(service)
            assert service.stop(within=STOP) == 0

    record_property("peak_mib", largest // MIB)
    print(f"peak memory: {largest / MIB:.0f} MiB; {waiting / MIB:.0f} MiB while Access Anywhere was slow")
    ended = {name: {line["message"] for line in service.events(name)} for name in ("message_done", "message_rejected")}
    assert ended == {"message_done": sent.done, "message_rejected": sent.rejected}
    assert world.dead_letters() == len(sent.rejected)
    assert largest < LIMIT
