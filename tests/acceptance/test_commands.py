"""The commands, as an operator runs them: processes, exit codes, and what they write."""

import asyncio
import gzip
import json
import re
import signal
import socket
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

from jibe_sqs import __version__
from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.decisions import Seen
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, ACCOUNT, SECRET_KEY, client
from jibe_sqs.sandbox.aws.digests import SigningKey, TrailDigests, write_digest
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.processes import server

CANARIES = {"password": "PASSWORD-CANARY", "token": "TOKEN-CANARY", "aws": "AWS-SECRET-CANARY"}
REGION = "us-east-1"
NAMES = count(1)
DEADLINE = 600.0
"""Seconds; of a drain, in a test where it is not to be reached: nobody waits for a process so long."""
POLL = 1
"""Seconds of a long poll."""


def put_record(bucket="media", key="reports/2026/a b.txt", seed=0, caller=None, at=1_767_225_600.0):
    caller = caller or records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    return records.put_object(Call(caller, at, REGION, ACCOUNT, Random(seed)), bucket, key, 10)


def log_file(*entries):
    return json.dumps({"Records": entries}).encode()


# Without a world


def assert_told(result, *words):
    """As an operator wants to be told: on standard error, in ten lines, with no traceback."""
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 10
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("command", [("run",), ()])
def test_run_without_configuration_says_what_is_missing(jibe, command):
    assert_told(jibe(*command), "access_anywhere", "queues", "missing", "--config", "docs/reference/configuration.md")


def test_run_with_many_mistakes_is_brief_and_keeps_secrets(jibe):
    wrong = {f"JIBE_WRONG_{number}": CANARIES["password"] for number in range(20)}
    result = jibe("run", JIBE_ACCESS_ANYWHERE__PASSWORD=CANARIES["password"], JIBE_QUEUES=CANARIES["aws"], **wrong)
    assert_told(result, "JIBE_WRONG_0")
    assert len(result.stderr.splitlines()) == 10
    assert re.search(r"^  \(and \d+ more\)$", result.stderr, re.MULTILINE)
    assert "CANARY" not in result.stderr


def test_run_with_a_wrong_path_says_so(jibe, tmp_path):
    assert_told(jibe("run", "--config", str(tmp_path / "none.json")), str(tmp_path / "none.json"), "No such file")
    assert_told(jibe("run", JIBE_CONFIG=str(tmp_path)), str(tmp_path), "Is a directory")


def test_a_file_that_cannot_be_read_needs_no_advice_about_settings(jibe, tmp_path):
    result = jibe("run", "--config", str(tmp_path / "none.json"))
    assert "JIBE_ACCESS_ANYWHERE__ENDPOINT" not in result.stderr


def test_the_default_command_takes_the_configuration_too(jibe, tmp_path):
    assert_told(jibe("--config", str(tmp_path / "none.json")), str(tmp_path / "none.json"), "No such file")
    assert_told(jibe("--config", str(tmp_path / "none.json"), "principals"), "after the command")


@pytest.mark.parametrize(
    "command",
    [
        ("run",),
        ("dead-letters", "list"),
        ("verify", "--bucket", "trail", "--account", ACCOUNT, "--region", REGION, "--from", "2026-01-01"),
    ],
    ids=lambda command: command[0],
)
@pytest.mark.parametrize(("variable", "value"), [("AWS_PROFILE", "nosuch"), ("AWS_ENDPOINT_URL", "localhost:99")])
def test_a_mistake_in_the_environment_of_aws_is_one_line(jibe, tmp_path, command, variable, value):
    config = tmp_path / "config.json"
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/jibe"
    access = {"endpoint": "http://127.0.0.1:1", "login": "ana", "password": CANARIES["password"]}
    config.write_text(json.dumps({"access_anywhere": access, "queues": [{"url": url}], "buckets": {"media": "/a/b"}}))
    result = jibe(*command, "--config", str(config), **{variable: value})
    assert result.returncode == 2
    assert f"{variable}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_demo_on_a_server_that_is_not_there_ends_in_one_line(jibe):
    result = jibe("demo", "--aws-endpoint", "http://127.0.0.1:1")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "http://127.0.0.1:1" in result.stderr.splitlines()[-1]


def test_the_version_is_the_packages(jibe):
    result = jibe("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("arguments", [("nonsense",), ("run", "--nonsense"), ("demo", "--changes", "0")])
def test_a_wrong_word_is_a_mistake_of_the_operators(jibe, arguments):
    result = jibe(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


# Explain


@pytest.fixture
def a_log(tmp_path):
    path = tmp_path / "log.json.gz"
    reads = records.get_object(
        Call(records.iam_user("ana", account=ACCOUNT, access_key="A"), 0, REGION, ACCOUNT, Random(1)), "media", "x"
    )
    path.write_bytes(gzip.compress(log_file(put_record(), reads)))
    return path


def objects(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_explain_says_what_each_record_would_do(jibe, a_log):
    result = jibe("explain", "--json", str(a_log))
    assert (result.returncode, result.stderr) == (0, "")
    put, read = objects(result)
    assert (put["decision"], put["folders"], put["key"]) == ("refresh", ["/media/reports/2026"], "reports/2026/a b.txt")
    assert (read["decision"], read["reason"], read["folders"]) == ("skip", "read-only", [])


def test_explain_shows_a_table_to_people(jibe, a_log):
    result = jibe("explain", str(a_log))
    assert result.returncode == 0
    assert "PutObject" in result.stdout
    assert "skip: read-only" in result.stdout
    assert "2 records, 1 for a refresh of 1 folder, 1 read-only" in result.stdout


def test_explain_uses_the_configuration(jibe, a_log, tmp_path):
    """One of Jibe's, with a setting that is not ours: what it says of that is no part of the output."""
    config = tmp_path / "config.json"
    buckets = {"media": ["/Amazon S3/media", {"folder": "/Archive", "prefix": "reports/"}]}
    config.write_text(
        json.dumps({"endpoint": "https://x", "login": "a", "password": "b", "slack": "c", "buckets": buckets})
    )
    for result in (
        jibe("explain", "--json", "--config", str(config), str(a_log)),
        jibe("explain", "--json", str(a_log), JIBE_CONFIG=str(config)),
    ):
        assert result.returncode == 0
        assert objects(result)[0]["folders"] == ["/Amazon S3/media/reports/2026", "/Archive/2026"]
        assert "setting_ignored" in result.stderr


def test_explain_reads_standard_input(jibe, a_log):
    text = gzip.decompress(a_log.read_bytes()).decode()
    for arguments in (["-"], []):
        result = jibe("explain", "--json", *arguments, stdin=text)
        assert result.returncode == 0
        assert [each["source"] for each in objects(result)] == ["-", "-"]


def test_explain_of_a_truncated_file_is_one_object_with_its_error(jibe, a_log):
    """Not the records before the cut: nothing of such a file is done."""
    whole = a_log.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        a_log.write_bytes(whole[:cut])
        result = jibe("explain", "--json", str(a_log))
        assert result.returncode == 1
        (only,) = objects(result)
        assert only["error"] in ("LogTruncated", "LogMalformed")
        assert only["source"] == str(a_log)
        assert result.stderr == ""


def test_explain_goes_on_after_a_file_that_it_cannot_read(jibe, a_log, tmp_path):
    result = jibe("explain", "--json", str(tmp_path / "none.json"), str(a_log))
    assert result.returncode == 1
    assert [each.get("error") for each in objects(result)] == ["FileNotFoundError", None, None]


def test_explain_of_a_body_says_what_it_announces(jibe):
    key = "AWSLogs/123456789012/CloudTrail/us-east-1/2026/01/01/a.json.gz"
    body = json.dumps({"s3Bucket": "trail", "s3ObjectKey": [key, "second.json"]})
    envelope = json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": body})
    for arguments, stdin in (([body], ""), ([envelope], ""), (["-"], envelope)):
        result = jibe("explain", "--json", "--body", *arguments, stdin=stdin)
        assert result.returncode == 0
        assert [(each["announcement"], each["bucket"], each["key"]) for each in objects(result)] == [
            ("log-file", "trail", key),
            ("log-file", "trail", "second.json"),
        ]


def test_explain_of_a_body_that_announces_nothing(jibe):
    assert jibe("explain", "--body", "CloudTrail validation message.").returncode == 0
    result = jibe("explain", "--json", "--body", '{"hello": "world"}')
    assert (result.returncode, [each["error"] for each in objects(result)]) == (1, ["AnnouncementUnknown"])


def test_explain_goes_by_the_objects_key_where_the_file_is_called_otherwise(jibe, a_log):
    digest = "AWSLogs/123456789012/CloudTrail-Digest/us-east-1/2026/01/01/a.json.gz"
    (only,) = objects(jibe("explain", "--json", "--key", digest, str(a_log)))
    assert (only["announcement"], only["about"], only["key"]) == ("nothing", "CloudTrail digest", digest)


AUDIT_LINES = [
    {"time": "2026-01-31T12:00:00Z", "api": {"name": "PutObject", "bucket": "media", "object": "a/b.txt"}},
    {"time": "2026-01-31T12:00:01Z", "api": {"name": "GetObject", "bucket": "media", "object": "a/b.txt"}},
]
ACCESS_LINES = [
    f"0wner media [31/Jan/2026:12:00:00 +0000] 192.0.2.1 ana R{n} REST.{verb}.OBJECT a/b.txt "
    f'"{verb} /a/b.txt HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" - h= SigV4 c AuthHeader host TLSv1.3'
    for n, verb in enumerate(("PUT", "GET"))
]
A_LOG_OF_EACH = {
    "cloudtrail": (None, None),
    "audit-log": ("S3-media-2026-01-31-12-05-00.gz", "".join(f"{json.dumps(line)}\n" for line in AUDIT_LINES)),
    "access-log": ("2026-01-31-12-05-00-0123456789ABCDEF", "".join(f"{line}\n" for line in ACCESS_LINES)),
}


@pytest.mark.parametrize("named", [True, False], ids=["by its name", "by its first bytes"])
@pytest.mark.parametrize("format_", A_LOG_OF_EACH)
def test_explain_reads_a_log_of_each_format(jibe, a_log, tmp_path, format_, named):
    name, text = A_LOG_OF_EACH[format_]
    path = a_log
    if name is not None:
        path = tmp_path / (name if named else "some-log")
        path.write_bytes(gzip.compress(text.encode()) if format_ == "audit-log" else text.encode())
    result = jibe("explain", "--json", str(path))
    assert (result.returncode, result.stderr) == (0, "")
    write, read = objects(result)
    assert (write["kind"], write["decision"], len(write["folders"])) == ("written", "refresh", 1)
    assert (read["decision"], read["reason"]) == ("skip", "read-only")


def test_explain_tells_the_bad_records_that_it_skipped(jibe, tmp_path):
    path = tmp_path / "S3-media-2026-01-31-12-05-00.gz"
    path.write_text(json.dumps(AUDIT_LINES[0]) + "\nno line\n")
    result = jibe("explain", "--json", str(path))
    assert result.returncode == 0
    _, bad, note = objects(result)
    assert (bad["error"], bad["index"], note["bad_records"]) == ("RecordMalformed", 2, 1)
    assert re.search(r"RecordMalformed: line 2: .* \(offset \d+\): skipped\n", jibe("explain", str(path)).stdout)


def test_explain_of_a_body_goes_by_the_configured_logs_and_encodings(jibe, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"logs": [{"bucket": "lyve"}], "key_encodings": {"eventbridge": "url"}}))
    detail = {"bucket": {"name": "media"}, "object": {"key": "a+b/c"}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "time": "2026-01-31T12:00:00Z", "detail": detail}
    (found,) = objects(jibe("explain", "--json", "--body", "--config", str(config), json.dumps(event)))
    assert (found["kind"], found["key"], found["folders"]) == ("written", "a b/c", ["/media/a b"])
    detail["bucket"]["name"] = "lyve"
    (found,) = objects(jibe("explain", "--json", "--body", "--config", str(config), json.dumps(event)))
    assert (found["announcement"], found["bucket"], found["key"]) == ("log-file", "lyve", "a b/c")


# Principals


@pytest.fixture
def a_ledger(tmp_path):
    """A ledger with who was seen; gives the variables that name it."""
    path = tmp_path / "ledger.sqlite"
    at = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()

    async def fill():
        async with SqliteLedger(path) as ledger:
            await ledger.observe({"arn:aws:iam::1:user/bo": Seen(at, at), "[bold]ana": Seen(at, at + 3661, 1234)})

    asyncio.run(fill())
    return {"JIBE_LEDGER__PATH": str(path)}


def test_principals_are_told_as_json_the_most_active_first(jibe, a_ledger):
    result = jibe("principals", "--json", **a_ledger)
    assert (result.returncode, result.stderr) == (0, "")
    assert objects(result) == [
        {"principal": "[bold]ana", "first": "2026-01-31T12:00:00Z", "last": "2026-01-31T13:01:01Z", "count": 1234},
        {
            "principal": "arn:aws:iam::1:user/bo",
            "first": "2026-01-31T12:00:00Z",
            "last": "2026-01-31T12:00:00Z",
            "count": 1,
        },
    ]


def test_principals_are_a_table_to_people(jibe, a_ledger):
    result = jibe("principals", **a_ledger)
    assert result.returncode == 0
    header, ana, bo = result.stdout.splitlines()
    assert header.split() == ["changes", "first", "seen", "last", "seen", "who"]
    assert ana.split() == ["1234", "2026-01-31T12:00:00Z", "2026-01-31T13:01:01Z", "[bold]ana"]
    assert bo.split()[0] == "1"


def test_a_ledger_in_which_nobody_was_seen_says_so(jibe, tmp_path):
    async def make():
        async with SqliteLedger(tmp_path / "ledger.sqlite"):
            pass

    asyncio.run(make())
    result = jibe("principals", JIBE_LEDGER__PATH=str(tmp_path / "ledger.sqlite"))
    assert (result.returncode, result.stdout) == (0, "no changes of objects are recorded yet\n")


def test_to_look_for_principals_makes_no_ledger(jibe, tmp_path):
    """Found by this test: in another directory it made an empty one, and said that nobody was seen."""
    result = jibe("principals", JIBE_LEDGER__PATH=str(tmp_path / "none" / "ledger.sqlite"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "LedgerError" in result.stderr
    assert "ledger.path" in result.stderr
    assert not (tmp_path / "none").exists()


# Verify

TRAIL_BUCKET = "verified-trail"
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def endpoint():
    """The sandbox's AWS."""
    with server("jibe_sqs.sandbox.aws") as endpoint:
        yield endpoint


@pytest.fixture
def trail(endpoint, tmp_path):
    """Three hours of yesterday, with a log file and a digest each."""
    httpx.post(f"{endpoint}/moto-api/reset", timeout=PATIENCE)
    s3 = client(endpoint, "s3", REGION)
    s3.create_bucket(Bucket=TRAIL_BUCKET)
    signing = SigningKey(YESTERDAY - 24 * HOUR, YESTERDAY + 240 * HOUR)
    deployment = SimpleNamespace(
        topics={REGION: ""}, client=lambda service, region=REGION: client(endpoint, service, region)
    )
    TrailDigests(deployment, None, keys={REGION: signing}).publish_keys()
    made = SimpleNamespace(s3=s3, logs=[], digests=[], config=tmp_path / "verify.json")
    for number in range(3):
        start = YESTERDAY + number * HOUR
        at = start + HOUR / 2
        name = f"{ACCOUNT}_CloudTrail_{REGION}_{at:%Y%m%dT%H%MZ}_{number}.json.gz"
        log = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{at:%Y/%m/%d}/{name}"
        text = log_file(put_record(seed=number, at=at.timestamp()))
        s3.put_object(Bucket=TRAIL_BUCKET, Key=log, Body=gzip.compress(text))
        digest = write_digest(
            signing, bucket=TRAIL_BUCKET, account=ACCOUNT, region=REGION, trail="jibe", home=REGION, start=start,
            end=start + HOUR, logs=[(TRAIL_BUCKET, log, text)], previous=made.digests[-1] if made.digests else None,
        )  # fmt: skip
        s3.put_object(Bucket=TRAIL_BUCKET, Key=digest.key, Body=digest.body, Metadata=digest.metadata)
        made.logs.append(log)
        made.digests.append(digest)
    made.config.write_text(
        json.dumps(
            {
                "aws": {
                    "endpoint": endpoint,
                    "region": REGION,
                    "access_key_id": ACCESS_KEY,
                    "secret_access_key": SECRET_KEY,
                }
            }
        )
    )
    return made


def verified(jibe, trail, *more):
    where = ["--bucket", TRAIL_BUCKET, "--account", ACCOUNT, "--region", REGION, "--config", str(trail.config)]
    times = ["--from", f"{YESTERDAY:%Y-%m-%dT%H:%MZ}", "--to", f"{YESTERDAY + 3 * HOUR:%Y-%m-%dT%H:%M:%SZ}"]
    return jibe("verify", *where, *times, *more)


def test_verify_finds_what_cloudtrail_delivered_valid(jibe, trail):
    """Found by this test: times as the documentation writes them were refused."""
    result = verified(jibe, trail)
    assert result.returncode == 0, result.stderr
    assert "3 digests: 3 valid" in result.stdout
    assert "3 log files: 3 valid" in result.stdout
    *found, summary = objects(verified(jibe, trail, "--json"))
    assert summary["exit_code"] == 0
    assert {each["key"] for each in found} == {*trail.logs, *(digest.key for digest in trail.digests)}
    assert {each["status"] for each in found} == {"valid"}


def test_verify_tells_a_changed_log_and_a_missing_one_and_one_too_many(jibe, trail):
    changed, missing, _ = trail.logs
    trail.s3.put_object(Bucket=TRAIL_BUCKET, Key=changed, Body=gzip.compress(log_file()))
    trail.s3.delete_object(Bucket=TRAIL_BUCKET, Key=missing)
    added = missing.replace("_1.json.gz", "_x.json.gz")
    trail.s3.put_object(Bucket=TRAIL_BUCKET, Key=added, Body=gzip.compress(log_file()))
    result = verified(jibe, trail, "--json")
    assert result.returncode == 1
    *found, summary = objects(result)
    statuses = {each["key"]: each["status"] for each in found}
    assert (statuses[changed], statuses[missing], statuses[added]) == ("invalid", "missing", "unlisted")
    assert summary["summary"]["log file"] == {"invalid": 1, "missing": 1, "unlisted": 1, "valid": 1}
    told = verified(jibe, trail)
    assert told.returncode == 1
    assert "log file: INVALID" in told.stdout


def test_verify_tells_a_digest_that_cloudtrail_did_not_sign(jibe, trail):
    first = trail.digests[0]
    trail.s3.put_object(
        Bucket=TRAIL_BUCKET, Key=first.key, Body=first.body, Metadata={**first.metadata, "signature": "00" * 256}
    )
    result = verified(jibe, trail, "--json")
    assert result.returncode == 1
    assert [each["status"] for each in objects(result)[:-1] if each.get("key") == first.key] == ["invalid"]


def test_verify_of_a_bucket_that_is_not_there_is_told_in_a_line(jibe, trail):
    result = verified(jibe, trail, "--bucket", "no-such-bucket")
    assert result.returncode == 1
    assert "no-such-bucket" in result.stderr
    assert "Traceback" not in result.stderr


def test_verify_needs_to_be_told_whose_logs(jibe):
    result = jibe("verify", "--from", "2026-01-01")
    assert result.returncode == 2
    assert "--bucket" in result.stderr


# Run, against the sandbox


class World:
    """The sandbox, with a queue of the test's own and a service that reads it."""

    def __init__(self, sandbox, start, tmp_path):
        self.sandbox = sandbox
        self._start = start
        self._folder = tmp_path
        self.s3 = client(sandbox["aws"], "s3", REGION)
        self.sqs = aws_client(sandbox["environment"], "sqs", REGION)
        self.bucket = f"jibe-sandbox-{REGION}-media"
        self.number = next(NAMES)
        # Long: what shows again before the end of a test was made to.
        self.queue = self.sqs.create_queue(
            QueueName=f"commands-{self.number}", Attributes={"VisibilityTimeout": "600"}
        )["QueueUrl"]

    def run(self, **changes):
        """A service with the sandbox's configuration, but for the changes; its log says all."""
        config = json.loads(Path(self.sandbox["config"]).read_text(encoding="utf-8"))
        config |= {
            "queues": [{"url": self.queue}],
            "ledger": {"path": str(self._folder / "ledger.sqlite")},
            "poll": {"wait": POLL},
            "retry": {"first": 1, "longest": 1},
            "drain_timeout": DEADLINE,
            "log": {"format": "json"},
        }
        for name, value in changes.items():
            config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
        path = self._folder / "jibe-config.json"
        path.write_text(json.dumps(config))
        environment = {**self.sandbox["environment"], "AWS_SECRET_ACCESS_KEY": CANARIES["aws"]}
        return self._start("run", "--config", str(path), **environment, JIBE_LOG__LEVEL="debug")

    def change(self, name):
        """Somebody writes an object past Access Anywhere; the bytes of the log file that tells of it."""
        key = f"commands {self.number}/{name}"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=name.encode())
        return key, gzip.compress(log_file(put_record(self.bucket, key, self.number, at=time.time())))

    def store(self, name, body):
        """Stores a log file; gives its key."""
        key = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/{self.number}_{name}.json.gz"
        self.s3.put_object(Bucket=self.sandbox["log_bucket"], Key=key, Body=body)
        return key

    def announce(self, *keys):
        message = json.dumps({"s3Bucket": self.sandbox["log_bucket"], "s3ObjectKey": keys})
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=message)

    def receives(self):
        """How often a message was received, as SQS counts; the test's own look counts as well."""
        (message,) = self.sqs.receive_message(
            QueueUrl=self.queue, WaitTimeSeconds=5, VisibilityTimeout=0, AttributeNames=["ApproximateReceiveCount"]
        )["Messages"]
        return int(message["Attributes"]["ApproximateReceiveCount"]) - 1

    def left(self):
        """Messages that show, and that are hidden."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return tuple(int(attributes[name]) for name in names)

    def shows(self, key):
        index = httpx.get(f"{self.sandbox['access_anywhere']}/sandbox/index", timeout=PATIENCE).json()
        return any((file["bucket"], file["key"]) == (self.bucket, key) for file in index)


@pytest.fixture
def world(sandbox, start, tmp_path):
    return World(sandbox, start, tmp_path)


@pytest.fixture
def silence():
    """An address that takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def assert_no_secrets(service, sandbox):
    assert service.output
    for secret in (*CANARIES.values(), sandbox["password"], sandbox["permanent_token"]):
        assert secret not in service.output


def test_a_change_is_shown_and_its_message_deleted_and_the_service_stops(world, sandbox):
    key, body = world.change("hello.txt")
    service = world.run()
    assert not world.shows(key)
    world.announce(world.store("good", body))
    eventually(lambda: world.shows(key), "the change in Access Anywhere's index")
    service.wait_for("message_done")
    eventually(lambda: world.left() == (0, 0), "an empty queue")
    assert service.stop() == 0
    (stopped,) = service.events("stopped")
    assert (stopped["messages"], stopped["done"], stopped["files"], stopped["errors"]) == (1, 1, 1, {})
    assert service.said == ""
    assert_no_secrets(service, sandbox)


def test_one_bad_file_of_two_leaves_the_message_until_it_is_mended(world):
    """Delete only when every record in the message succeeded: otel-collector-contrib #45153."""
    good_key, good_body = world.change("good.txt")
    bad_key, bad_body = world.change("bad.txt")
    good, bad = world.store("good", good_body), world.store("bad", bad_body[: len(bad_body) // 2])
    service = world.run()
    world.announce(good, bad)
    service.wait_for("file_failed", key=bad, error="LogTruncated")
    eventually(lambda: len(service.events("message_retried")) >= 2, "a second try")
    assert sum(world.left()) == 1
    assert world.shows(good_key)
    assert not service.events("message_done")
    world.store("bad", bad_body)
    service.wait_for("message_done")
    eventually(lambda: world.left() == (0, 0), "an empty queue")
    assert world.shows(bad_key)
    # Fetched once, and known from then on.
    assert len(service.events("file_read", key=good)) == 1
    assert service.events("file_known", key=good)
    assert len(service.events("file_read", key=bad)) == 1
    assert service.stop() == 0


def test_a_restart_fetches_no_finished_file_again(world):
    _, body = world.change("once.txt")
    file = world.store("once", body)
    first = world.run()
    world.announce(file)
    first.wait_for("message_done")
    assert first.stop() == 0
    second = world.run()
    world.announce(file)
    second.wait_for("file_known", key=file)
    second.wait_for("message_done")
    assert second.stop() == 0
    assert not second.events("file_read")


def test_messages_that_are_held_at_the_drain_deadline_show_again_at_once(world, silence):
    _, body = world.change("held.txt")
    service = world.run(access_anywhere={"endpoint": silence}, drain_timeout=2)
    for number in range(3):
        world.announce(world.store(f"held-{number}", body))
    eventually(lambda: len(service.events("file_read")) == 3, "three messages in its hands")
    assert world.left() == (0, 3)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began >= 2
    assert world.left() == (3, 0)
    assert service.events("drain_deadline_over")
    assert service.events("given_back", messages=3)


def test_a_second_signal_ends_it_at_once(world, silence):
    _, body = world.change("held.txt")
    service = world.run(access_anywhere={"endpoint": silence}, drain_timeout=600)
    world.announce(world.store("held", body))
    service.wait_for("file_read")
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("stopping")
    assert service.stop() == 1
    assert service.events("stopped_at_once")
    assert "Traceback" not in service.output


def test_an_idle_service_stops_within_its_long_poll(world):
    service = world.run()
    service.wait_for("started")
    assert service.stop(signal.SIGINT) == 0


def test_a_wrong_password_leaves_the_messages_in_their_queue_and_says_so(world, sandbox):
    key, body = world.change("unseen.txt")
    service = world.run(access_anywhere={"password": CANARIES["password"]}, drain_timeout=2)
    opened = service.wait_for("circuit_opened")
    assert "check the login and password" in opened["reason"]
    world.announce(world.store("unseen", body))
    time.sleep(2 * POLL)  # for what must not happen
    assert service.stop() == 0
    assert world.receives() <= 1  # a long poll that had begun before
    assert sum(world.left()) == 1
    assert not world.shows(key)
    assert_no_secrets(service, sandbox)


def test_while_access_anywhere_is_down_it_is_not_ready_and_receives_nothing(world):
    """And goes on by itself when it is there again."""
    service = world.run(health={"port": 0, "host": "127.0.0.1"})
    health = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}"
    eventually(lambda: httpx.get(f"{health}/readyz", timeout=PATIENCE).status_code == 200, "it is ready")
    faults = f"{world.sandbox['access_anywhere']}/sandbox/faults"
    httpx.put(faults, json={"down": {}}, timeout=PATIENCE).raise_for_status()
    try:
        first, body = world.change("during-the-outage.txt")
        world.announce(world.store("first", body))
        service.wait_for("circuit_opened")
        answer = httpx.get(f"{health}/readyz", timeout=PATIENCE)
        assert (answer.status_code, answer.json()["ready"]) == (503, False)
        assert "503" in answer.json()["reasons"][0]
        assert httpx.get(f"{health}/livez", timeout=PATIENCE).status_code == 200
        second, body = world.change("later.txt")
        time.sleep(2 * POLL)  # the long poll under way ends
        world.announce(world.store("second", body))
    finally:
        httpx.delete(faults, timeout=PATIENCE).raise_for_status()
    service.wait_for("circuit_closed")
    eventually(lambda: world.shows(first) and world.shows(second), "both are shown")
    eventually(lambda: sum(world.left()) == 0, "both messages are gone")
    assert httpx.get(f"{health}/readyz", timeout=PATIENCE).status_code == 200
    assert service.stop() == 0
    assert not service.events("message_retried")
    assert all(event["receives"] in ({}, {"1": 1}, {"1": 2}) for event in service.events("stopped"))


def test_a_permanent_token_is_no_part_of_the_output(world, sandbox):
    key, body = world.change("by-token.txt")
    token = sandbox["permanent_token"]
    service = world.run(access_anywhere={"login": "", "password": "", "permanent_token": token})
    world.announce(world.store("by-token", body))
    service.wait_for("message_done")
    assert world.shows(key)
    assert service.stop() == 0
    assert_no_secrets(service, sandbox)


def test_a_file_of_a_bucket_that_is_no_log_source_is_never_fetched(world):
    """Whoever can write to the queue does not choose which files are read."""
    service = world.run()
    world.sqs.send_message(
        QueueUrl=world.queue, MessageBody=json.dumps({"s3Bucket": world.bucket, "s3ObjectKey": ["a.json.gz"]})
    )
    rejected = service.wait_for("message_rejected")
    assert (rejected["error"], rejected["dead_lettered"]) == ("BucketNotAllowed", False)
    assert service.stop() == 0
    # There are no dead letters here: the queue keeps it.
    assert sum(world.left()) == 1


def test_a_queue_that_is_not_there_ends_the_service_in_one_line(world):
    service = world.run(queues=[{"url": world.queue + "-gone"}])
    assert service.ended() == 1
    assert "QueueRefused" in service.output
    assert "Traceback" not in service.output
