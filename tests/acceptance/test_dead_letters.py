"""The dead-letter commands as an operator uses them: list with reasons, show, repair the cause, redrive."""

import gzip
import json
import signal
import time
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call

REGION = "us-east-1"
NUMBER = count(1)


@pytest.fixture
def jibe(jibe, sandbox):
    """Run a command that uses the sandbox's AWS."""
    return partial(jibe, **sandbox["environment"])


@pytest.fixture
def start(start, sandbox):
    """Start a command that uses the sandbox's AWS."""
    return partial(start, **sandbox["environment"])


@pytest.fixture
def world(sandbox, tmp_path):
    """A queue with its own dead-letter queue for one test, and the configuration of a service that reads it."""
    sqs = aws_client(sandbox["environment"], "sqs", REGION)
    number = next(NUMBER)
    dead = sqs.create_queue(QueueName=f"dead-letters-test-{number}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    attributes = {"VisibilityTimeout": "600", "RedrivePolicy": policy}
    queue = sqs.create_queue(QueueName=f"dead-letters-test-{number}", Attributes=attributes)["QueueUrl"]
    config = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8"))
    config |= {
        "queues": [{"url": queue}],
        "ledger": {"path": str(tmp_path / "ledger.sqlite")},
        "poll": {"wait": 1},
        "retry": {"first": 1, "longest": 1},
        "drain_timeout": 20,
        "log": {"format": "json"},
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return SimpleNamespace(
        sqs=sqs,
        s3=client(sandbox["aws"], "s3", REGION),
        queue=queue,
        dead=dead,
        config=str(path),
        sandbox=sandbox,
        number=number,
        log_bucket=sandbox["log_bucket"],
        bucket=f"jibe-sandbox-{REGION}-media",
    )


def left(world, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = world.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(found[name]) for name in names)


def log_of(world, key):
    who = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    record = records.put_object(Call(who, time.time(), REGION, ACCOUNT, Random(world.number)), world.bucket, key, 10)
    return gzip.compress(json.dumps({"Records": [record]}).encode())


def shows(world, key):
    index = httpx.get(f"{world.sandbox['access_anywhere']}/sandbox/index", timeout=PATIENCE).json()
    return any((file["bucket"], file["key"]) == (world.bucket, key) for file in index)


def objects(result):
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_rejected_message_is_listed_shown_repaired_redriven_and_done(world, jibe, start):
    key = f"dead letters {world.number}/a.txt"
    file = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/dead-letters-{world.number}.json.gz"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"a")
    body = json.dumps({"s3Bucket": world.log_bucket, "s3ObjectKey": [file]})
    world.sqs.send_message(QueueUrl=world.queue, MessageBody=body)
    world.sqs.send_message(QueueUrl=world.queue, MessageBody="nonsense")
    service = start("run", "--config", world.config)
    eventually(lambda: left(world, world.dead) == (2, 0), "two dead letters")
    eventually(lambda: left(world, world.queue) == (0, 0), "an empty queue")

    letters = objects(jibe("dead-letters", "list", "--json", "--config", world.config))
    by_error = {letter["error"]: letter for letter in letters}
    missing, unknown = by_error["LogMissing"], by_error["AnnouncementMalformed"]
    assert missing["source"] == f"s3://{world.log_bucket}/{file}"
    assert file in missing["reason"]
    assert (missing["receives"], unknown["receives"]) == (2, 1)
    assert unknown["source"] == "message"
    table = jibe("dead-letters", "list", "--config", world.config)
    assert "2 dead letters: 1 " in table.stdout
    assert all(letter["id"][:8] in table.stdout for letter in letters)
    assert max(map(len, table.stdout.splitlines())) <= 80

    shown = jibe("dead-letters", "show", missing["id"][:8], "--config", world.config)
    assert shown.returncode == 0
    assert body in shown.stdout
    assert "LogMissing" in shown.stdout
    (whole,) = objects(jibe("dead-letters", "show", missing["id"], "--json", "--config", world.config))
    assert whole == {**missing, "body": body}
    assert left(world, world.dead) == (2, 0)

    # Repair the cause. A dry run sends nothing back.
    world.s3.put_object(Bucket=world.log_bucket, Key=file, Body=log_of(world, key))
    dry = jibe("dead-letters", "redrive", "--reason", "LogMissing", "--dry-run", "--config", world.config)
    assert "would be sent back: 1 dead letter: 1 LogMissing" in dry.stdout
    assert left(world, world.dead) == (2, 0)
    assert not shows(world, key)
    (sent,) = objects(jibe("dead-letters", "redrive", "--reason", "LogMissing", "--json", "--config", world.config))
    assert (sent["id"], sent["redriven"]) == (missing["id"], True)
    eventually(lambda: shows(world, key), "the change in Access Anywhere's index")
    eventually(lambda: left(world, world.queue) == (0, 0), "an empty queue")
    assert left(world, world.dead) == (1, 0)
    assert service.stop() == 0
    (stopped,) = service.events("stopped")
    assert stopped["receives"]["1"] == 3  # both messages, and the redriven one, whose receive count starts anew


def test_ctrl_c_makes_received_letters_visible_again(world, start):
    for number in range(25):
        world.sqs.send_message(QueueUrl=world.dead, MessageBody=str(number))
    looking = start("dead-letters", "list", "--config", world.config)
    eventually(lambda: left(world, world.dead)[1] > 0, "received letters")
    looking.stop(signal.SIGINT)
    assert left(world, world.dead) == (25, 0)


def test_an_unknown_id_is_an_error_of_one_line(world, jibe):
    result = jibe("dead-letters", "show", "no-such-id", "--config", world.config)
    assert (result.returncode, result.stdout) == (1, "")
    assert "no dead letter" in result.stderr
    world.sqs.send_message(QueueUrl=world.dead, MessageBody="any body")
    (letter,) = objects(jibe("dead-letters", "list", "--json", "--config", world.config))
    result = jibe("dead-letters", "redrive", letter["id"], "no-such-id", "--dry-run", "--config", world.config)
    assert result.returncode == 1
    assert "would be sent back: 1 dead letter" in result.stdout
    assert "no dead letter has an id that begins with no-such-id" in result.stderr
    assert letter["id"] not in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--all", "--reason", "LogMissing"), ("--all", "an-id")])
def test_a_redrive_needs_exactly_one_selection(jibe, arguments):
    result = jibe("dead-letters", "redrive", *arguments)
    assert result.returncode == 2
    assert "--reason" in result.stderr


def test_a_queue_without_a_dead_letter_queue_is_an_error_with_its_remedy(world, jibe):
    world.sqs.set_queue_attributes(QueueUrl=world.queue, Attributes={"RedrivePolicy": ""})
    result = jibe("dead-letters", "list", "--config", world.config)
    assert (result.returncode, result.stdout) == (1, "")
    assert "redrive policy" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_queues_the_error_names_the_missing_setting(jibe):
    result = jibe("dead-letters", "list")
    assert result.returncode == 2
    assert "queues" in result.stderr
    assert "access_anywhere:" not in result.stderr


def test_with_sns_signatures_unsigned_and_forged_messages_announce_nothing(world, start):
    config = json.loads(Path(world.config).read_text(encoding="utf-8"))
    config["sns"] = {"verify": True, "topics": world.sandbox["topics"][REGION]}
    Path(world.config).write_text(json.dumps(config))
    service = start("run", "--config", world.config)
    file = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/signatures-{world.number}.json.gz"
    body = json.dumps({"s3Bucket": world.log_bucket, "s3ObjectKey": [file]})
    forged = {
        "Type": "Notification",
        "MessageId": "id",
        "TopicArn": world.sandbox["topics"][REGION],
        "Message": body,
        "Timestamp": "2026-11-21T10:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "AAAA",
        "SigningCertURL": "https://sns.evil.example.com/a.pem",
    }
    for each in (body, json.dumps(forged), json.dumps({"swept": {"bucket": world.log_bucket, "key": file}})):
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=each)
    eventually(lambda: left(world, world.dead) == (3, 0), "three dead letters")
    assert service.stop() == 0
    errors = sorted(event["error"] for event in service.events("message_rejected"))
    assert errors == ["AnnouncementForged", "AnnouncementUnsigned", "AnnouncementUnsigned"]
    assert not service.events("topics_not_restricted")
    assert not service.events("file_failed")  # the file is not even fetched
