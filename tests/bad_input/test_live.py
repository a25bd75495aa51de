"""All cases through one running service, in a random order, mixed with good messages."""

import gzip
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from tests.aws_clients import aws_client
from tests.processes import PATIENCE

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.world import World

from .cases import DATA, DONE, FOLDER, LIMITS, LOGS, REGION, RETRY, TRAIL, Case, announcing, put, text
from .corpus import CORPUS

GOOD_MESSAGES = 40
MAX_RECEIVES = 3
SEED = 1


class Live:
    """A queue with a dead-letter queue, and a service that reads it."""

    def __init__(self, sandbox: World, folder: Path) -> None:
        self._sandbox = sandbox
        self._folder = folder
        self.s3 = sandbox.deployment.client("s3", REGION)
        self.sqs = aws_client(sandbox.environment, "sqs", REGION)
        self.s3.create_bucket(Bucket=LOGS)
        self.dead_letters = self._queue("bad-input-dlq")
        redrive = {"deadLetterTargetArn": self._arn(self.dead_letters), "maxReceiveCount": "100"}
        self.queue = self._queue("bad-input", RedrivePolicy=json.dumps(redrive), VisibilityTimeout="300")
        self.log = folder / "log"

    @contextmanager
    def service(self) -> Iterator["subprocess.Popen[bytes]"]:
        """Run `jibe-sqs run`, and stop it at the end of the block."""
        config = json.loads(self._sandbox.config.read_text(encoding="utf-8"))
        config |= {
            "logs": [{"bucket": LOGS}],
            "buckets": {DATA: FOLDER},
            "limits": msgspec.structs.asdict(LIMITS),
            "queues": [{"url": self.queue}],
            "retry": {"first": 1, "longest": 1, "max_receives": MAX_RECEIVES},
            "poll": {"wait": 1},
            "sync": {"min_refresh_interval": 0},
            "ledger": {"path": str(self._folder / "ledger.sqlite")},
            "log": {"format": "json", "level": "debug"},
        }
        path = self._folder / "config.json"
        path.write_text(json.dumps(config), encoding="utf-8")
        ours = msgspec.structs.replace(self._sandbox, config=path)
        with self.log.open("wb") as output, world.consumer(ours, output) as process:
            yield process

    def send(self, body: str) -> str:
        """Returns the message id."""
        return self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)["MessageId"]

    def store(self, key: str, data: bytes) -> None:
        self.s3.put_object(Bucket=LOGS, Key=key, Body=data)

    def unsettled(self) -> int:
        """How many messages are in the queue, hidden or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def rejected(self) -> dict[str, dict[str, str]]:
        """Message id in the queue -> attributes of the dead letter."""
        found = {}
        while received := self._received():
            for letter in received:
                attributes = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
                found[attributes["JibeMessageId"]] = attributes | {"body": letter["Body"]}
        return found

    def shown(self) -> set[str]:
        return {file["key"] for file in self._sandbox.get_state("index") if file["bucket"] == DATA}

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [event for line in lines if (event := json.loads(line))["event"] == name]

    def _received(self) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letters, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=600
        )
        return answer.get("Messages", [])

    def _queue(self, name: str, **attributes: str) -> str:
        return self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def _arn(self, queue: str) -> str:
        return self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def good(live: Live, number: int) -> tuple[str, str]:
    """Write an object without Access Anywhere. Returns its key, and the body that announces its log file."""
    key, log = f"good/{number % 7}/{number}.txt", TRAIL.format(f"good-{number}")
    live.s3.put_object(Bucket=DATA, Key=key, Body=b"good")
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    live.store(log, gzip.compress(text(put(key, seed=1_000 + number, eventTime=now))))
    return key, announcing(log)


def wait_until_all_are_settled(service: "subprocess.Popen[bytes]", live: Live) -> None:
    """Fails if the service settles no message for PATIENCE seconds. How long all of them take depends on the machine."""
    before, deadline = 0, 0.0
    while unsettled := live.unsettled():
        assert service.poll() is None, f"it ended:\n{live.log.read_text()[-3000:]}"
        if unsettled != before:
            before, deadline = unsettled, time.monotonic() + PATIENCE
        reason = f"{unsettled} messages are left, and none was settled for {PATIENCE:g} s"
        assert time.monotonic() < deadline, f"{reason}:\n{live.log.read_text()[-3000:]}"
        time.sleep(0.1)


def test_a_running_service_settles_every_case_and_processes_the_good_messages(sandbox: World, tmp_path: Path):
    live = Live(sandbox, tmp_path)
    keys = set()
    bodies: list[tuple[Case | None, str]] = [(case, case.body()) for case in CORPUS if not case.unsendable]
    for case in CORPUS:
        for key, data in case.files().items():
            live.store(key, data)
    for number in range(GOOD_MESSAGES):
        key, body = good(live, number)
        keys.add(key)
        bodies.append((None, body))
    Random(SEED).shuffle(bodies)
    assert not keys & live.shown()

    with live.service() as service:
        sent = {live.send(body): case for case, body in bodies}
        wait_until_all_are_settled(service, live)
        assert keys <= live.shown()
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE) == 0

    rejected = live.rejected()
    done = {event["message"] for event in live.events("message_done")}
    retried = [event["message"] for event in live.events("message_retried")]
    assert done | set(rejected) == set(sent)
    assert not done & set(rejected)
    mismatches = [
        f"{case or 'a good message'}: {rejected.get(id_, 'done')}, retried {retried.count(id_)} times"
        for id_, case in sent.items()
        if not is_expected(case, rejected.get(id_), retried.count(id_))
    ]
    assert not mismatches
    bodies_sent = sorted(case.body() for case in CORPUS if not case.unsendable and case.end.verdict != DONE)
    assert sorted(letter["body"] for letter in rejected.values()) == bodies_sent
    output = live.log.read_text(encoding="utf-8")
    assert "Traceback" not in output
    assert not live.events("handling_crashed")
    assert len(live.events("stopped")) == 1


def is_expected(case: Case | None, letter: dict[str, str] | None, retries: int) -> bool:
    if case is None or case.end.verdict == DONE:
        return letter is None and retries == 0
    return (
        letter is not None
        and re.fullmatch(case.end.error, letter["JibeError"]) is not None
        and re.search(case.end.reason, letter["JibeReason"], re.DOTALL) is not None
        # On a busy machine a message may be received again before its retry; that receive counts too.
        and (1 <= retries < MAX_RECEIVES if case.end.verdict == RETRY else retries == 0)
    )
