"""The commands as processes, one sandbox for all tests that only need a world, and an environment without settings."""

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, Finished, Started, finished, started

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call

COMMAND = [sys.executable, "-m", "jibe_sqs"]
REGION = "us-east-1"
MEDIA = f"jibe-sandbox-{REGION}-media"
NUMBER = count(1)


@pytest.fixture
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory, and no JIBE_ variables."""
    for name in os.environ:
        if name.upper().startswith("JIBE_"):
            monkeypatch.delenv(name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def jibe(tmp_path: Path) -> Callable[..., Finished]:
    """Runs a command to its end, in an empty folder."""
    folder = tmp_path / "working-directory"
    folder.mkdir()

    def run(*arguments: str, stdin: str = "", within: float = PATIENCE, **variables: str) -> Finished:
        return finished([*COMMAND, *arguments], stdin=stdin, within=within, cwd=folder, env={**os.environ, **variables})

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts commands that run until they are stopped, or until the test ends."""
    with ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Started:
            environment = {**os.environ, **variables}
            return stack.enter_context(started([*COMMAND, *arguments], tmp_path, cwd=tmp_path, env=environment))

        yield start


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The output of `jibe-sqs sandbox --json`. The sandbox has no consumer; tests may consume its queues."""
    with started([*COMMAND, "sandbox", "--json"], tmp_path_factory.mktemp("sandbox")) as running:
        yield json.loads(running.line())
        assert running.stop() == 0


class SmallService:
    """A service with a queue of its own in the sandbox."""

    def __init__(self, sandbox: dict[str, Any], folder: Path) -> None:
        self._number = next(NUMBER)
        self.folder = folder
        self.log_bucket = sandbox["log_bucket"]
        self.environment = {**os.environ, **sandbox["environment"]}
        self._sqs = aws_client(sandbox["environment"], "sqs", REGION)
        self._s3 = client(sandbox["aws"], "s3", REGION)
        name = f"small-{self._number}"
        self._dead = self._sqs.create_queue(QueueName=f"{name}-dead")["QueueUrl"]
        dead = self._sqs.get_queue_attributes(QueueUrl=self._dead, AttributeNames=["QueueArn"])
        self._dead_arn = dead["Attributes"]["QueueArn"]
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        self.set_max_receives(3)
        self.config = folder / "small.json"
        configured = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8")) | {
            "queues": [{"url": self._queue}],
            "ledger": {"path": str(folder / "small.sqlite")},
            "poll": {"wait": 1},
            "drain_timeout": 20,
            "log": {"format": "json", "level": "debug"},
        }
        self.config.write_text(json.dumps(configured))

    def started(self, *, stderr: str = "") -> AbstractContextManager[Started]:
        """Start it. `stderr`: what follows `2>` in a shell: a path, or `&-` for none."""
        command = [*COMMAND, "run", "--config", str(self.config)]
        if stderr:
            command = ["sh", "-c", f'exec "$@" 2>{stderr}', "sh", *command]
        return started(command, self.folder, cwd=self.folder, env=self.environment)

    def set_max_receives(self, number: int) -> None:
        """Set the queue's redrive policy."""
        policy = json.dumps({"deadLetterTargetArn": self._dead_arn, "maxReceiveCount": number})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"RedrivePolicy": policy})

    def configure(self, **changes: Any) -> None:
        """Change its configuration, before it is started."""
        self.config.write_text(json.dumps(json.loads(self.config.read_text()) | changes))

    def announce_change(self) -> None:
        """Store a log file with one written object, and send a message about it."""
        self.announce(f"small {self._number}/a.txt")

    def announce(self, key: str, *, bucket: str = MEDIA, user: str = "ana", account: str = ACCOUNT) -> str:
        """Store a log file with one object that the user wrote, and send a message about it. Returns the message's id.

        `account`: the account in the log file's key.
        """
        who = records.iam_user(user, account=ACCOUNT, access_key=f"AKIA{user.upper()}")
        call = Call(who, time.time(), REGION, ACCOUNT, Random(self._number))
        return self.announce_records([records.put_object(call, bucket, key, 10)], account=account)

    def announce_records(self, found: list[records.Record], *, prefix: str = "", account: str = ACCOUNT) -> str:
        """Store a log file with these records, and send a message about it. `prefix`: of the trail. Returns its id."""
        name = f"{prefix}AWSLogs/{account}/CloudTrail/{REGION}/2026/01/01/small-{self._number}-{next(NUMBER)}.json.gz"
        self._s3.put_object(
            Bucket=self.log_bucket, Key=name, Body=gzip.compress(json.dumps({"Records": found}).encode())
        )
        return self.send(json.dumps({"s3Bucket": self.log_bucket, "s3ObjectKey": [name]}))

    def send(self, body: str) -> str:
        """Send a message, and return its id."""
        return str(self._sqs.send_message(QueueUrl=self._queue, MessageBody=body)["MessageId"])

    def messages(self) -> int:
        """The messages in the queue, also the received ones."""
        return self._count(self._queue)

    def in_hand(self) -> int:
        """The messages that were received, and are neither deleted nor visible."""
        return self._count(self._queue, "ApproximateNumberOfMessagesNotVisible")

    def dead_letters(self) -> int:
        return self._count(self._dead)

    def _count(self, queue: str, *names: str) -> int:
        names = names or ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        found = self._sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=list(names))["Attributes"]
        return sum(int(found[name]) for name in names)


@pytest.fixture
def small_service(sandbox: dict[str, Any], tmp_path: Path) -> SmallService:
    return SmallService(sandbox, tmp_path)
