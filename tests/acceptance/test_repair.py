"""The service repairs by itself: after a change of its settings, and after messages expired."""

import gzip
import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call

REGION = "us-east-1"
NUMBER = count(1)
RETENTION = 60
"""Seconds. The shortest that SQS accepts."""


class Installation:
    """A queue, the part of a log bucket below a prefix, and a ledger. Each is used by one test."""

    def __init__(self, sandbox, folder):
        self.sandbox = sandbox
        self.number = next(NUMBER)
        self.ledger = folder / "ledger.sqlite"
        self.path = folder / "config.json"
        self.bucket = f"jibe-sandbox-{REGION}-media"
        self.prefix = f"repair-{self.number}/"
        self.sqs = aws_client(sandbox["environment"], "sqs", REGION)
        self.s3 = client(sandbox["aws"], "s3", REGION)
        attributes = {"VisibilityTimeout": "600", "MessageRetentionPeriod": str(RETENTION)}
        self.queue = self.sqs.create_queue(QueueName=f"repair-test-{self.number}", Attributes=attributes)["QueueUrl"]

    def configure(self, **own_writes):
        settings = json.loads(Path(self.sandbox["config"]).read_text(encoding="utf-8"))
        settings |= {
            "queues": [{"url": self.queue}],
            "logs": [{"bucket": self.sandbox["log_bucket"], "prefix": self.prefix}],
            "ledger": {"path": str(self.ledger)},
            "poll": {"wait": 1},
            "drain_timeout": 20,
            "log": {"format": "json"},
        }
        settings["own_writes"] |= own_writes
        self.path.write_text(json.dumps(settings))
        return str(self.path)

    def write(self, key):
        """Write an object as the user `ana`. Returns the key of the log file that says so."""
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"a")
        who = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
        record = records.put_object(Call(who, time.time(), REGION, ACCOUNT, Random(self.number)), self.bucket, key, 1)
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        file = f"{self.prefix}AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{day}/{len(key)}.json.gz"
        body = gzip.compress(json.dumps({"Records": [record]}).encode())
        self.s3.put_object(Bucket=self.sandbox["log_bucket"], Key=file, Body=body)
        return file

    def announce(self, file):
        body = json.dumps({"s3Bucket": self.sandbox["log_bucket"], "s3ObjectKey": [file]})
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        eventually(lambda: self._left() == ["0", "0"], "the message is done")

    def shows(self, key):
        index = httpx.get(f"{self.sandbox['access_anywhere']}/sandbox/index", timeout=PATIENCE).json()
        return any((file["bucket"], file["key"]) == (self.bucket, key) for file in index)

    def let_time_pass(self, seconds):
        """Make what the ledger knows of the queue so much older."""
        with closing(sqlite3.connect(self.ledger)) as database, database:
            name, text = database.execute("SELECT name, text FROM notes WHERE name LIKE 'queue %'").fetchone()
            note = json.loads(text)
            note |= {each: note[each] - seconds for each in ("receive", "seen", "message")}
            database.execute("UPDATE notes SET text = ? WHERE name = ?", (json.dumps(note), name))

    def _left(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return [found[name] for name in names]


@pytest.fixture
def installation(sandbox, tmp_path):
    return Installation(sandbox, tmp_path)


@pytest.fixture
def start(start, sandbox):
    """Start a command that uses the sandbox's AWS."""
    return partial(start, **sandbox["environment"])


def test_a_file_that_was_finished_under_other_settings_is_read_again(installation, start):
    key = "repair settings/a.txt"
    service = start("run", "--config", installation.configure(principals=["*"]))
    file = installation.write(key)
    installation.announce(file)
    assert service.stop() == 0
    assert not service.events("settings_changed")
    assert not installation.shows(key)

    service = start("run", "--config", installation.configure())
    changed = service.wait_for("settings_changed")
    assert changed["changed"] == ["own_writes.principals"]
    assert changed["remedy"].startswith("jibe-sqs backfill --since 1d; ")
    installation.announce(file)
    eventually(lambda: installation.shows(key), "the change is shown")
    assert service.stop() == 0

    service = start("run", "--config", installation.configure())
    service.wait_for("started")
    assert service.stop() == 0
    assert not service.events("settings_changed")


def test_after_a_stop_that_was_longer_than_the_retention_the_service_catches_up(installation, start):
    """The message about the change expired, so only a listing of the log files finds it."""
    key = "repair retention/missed.txt"
    service = start("run", "--config", installation.configure())
    installation.announce(installation.write("repair retention/a.txt"))
    assert service.stop() == 0

    installation.write(key)
    installation.let_time_pass(RETENTION * 60)
    service = start("run", "--config", installation.configure())
    expired = service.wait_for("messages_expired")
    assert expired["queue"] == f"repair-test-{installation.number}"
    assert expired["retention"] == RETENTION
    assert service.wait_for("catch_up_began")["by"] == "log files"
    service.wait_for("caught_up")
    assert installation.shows(key)
    assert service.stop() == 0

    service = start("run", "--config", installation.configure())
    service.wait_for("started")
    assert service.stop() == 0
    assert not service.events("messages_expired")
