"""The commands as an operator runs them: as processes, with their exit codes and their output."""

import asyncio
import gzip
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
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
from jibe_sqs.core.principals import Seen
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, ACCOUNT, SECRET_KEY, client
from jibe_sqs.sandbox.aws.digests import SigningKey, TrailDigests, write_digest
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.processes import server

CANARIES = {"password": "PASSWORD-CANARY", "token": "TOKEN-CANARY", "aws": "AWS-SECRET-CANARY"}
REGION = "us-east-1"
NAMES = count(1)
DEADLINE = 600.0
"""Seconds of a drain in tests that must not reach its end. No test waits this long for a process."""
POLL = 1
"""Seconds of a long poll."""


def put_record(bucket="media", key="reports/2026/a b.txt", seed=0, caller=None, at=1_767_225_600.0):
    caller = caller or records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    return records.put_object(Call(caller, at, REGION, ACCOUNT, Random(seed)), bucket, key, 10)


def log_file(*entries):
    return json.dumps({"Records": entries}).encode()


# Without AWS and Access Anywhere


def assert_mistake(result, *words):
    """The mistake is on standard error, in at most ten lines, without a traceback."""
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) <= 10
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("command", [("run",), ()])
def test_run_without_configuration_names_the_missing_settings(jibe, command):
    assert_mistake(jibe(*command), "access_anywhere", "missing", "--config", "docs/reference/configuration.md")


def test_run_with_many_mistakes_prints_ten_lines_and_no_secrets(jibe):
    wrong = {f"JIBE_WRONG_{number}": CANARIES["password"] for number in range(20)}
    result = jibe("run", JIBE_ACCESS_ANYWHERE__PASSWORD=CANARIES["password"], JIBE_QUEUES=CANARIES["aws"], **wrong)
    assert_mistake(result, "JIBE_WRONG_0")
    assert len(result.stderr.splitlines()) == 10
    assert re.search(r"^  \(and \d+ more\)$", result.stderr, re.MULTILINE)
    assert "CANARY" not in result.stderr


def test_run_with_a_wrong_path_names_the_path(jibe, tmp_path):
    assert_mistake(
        jibe("run", "--config", str(tmp_path / "missing.json")), str(tmp_path / "missing.json"), "No such file"
    )
    assert_mistake(jibe("run", JIBE_CONFIG=str(tmp_path)), str(tmp_path), "Is a directory")


def test_an_unreadable_configuration_file_prints_no_advice_about_settings(jibe, tmp_path):
    result = jibe("run", "--config", str(tmp_path / "missing.json"))
    assert "JIBE_ACCESS_ANYWHERE__ENDPOINT" not in result.stderr


def test_an_unknown_setting_alone_prints_no_advice_about_missing_settings(jibe):
    assert "JIBE_ACCESS_ANYWHERE__ENDPOINT" in jibe("run").stderr
    access = {"JIBE_ENDPOINT": "https://files.example.com", "JIBE_LOGIN": "ana", "JIBE_PASSWORD": CANARIES["password"]}
    result = jibe("run", **access, JIBE_BUKETS="{}")
    assert_mistake(result, "JIBE_BUKETS: no such setting")
    assert "JIBE_ACCESS_ANYWHERE__ENDPOINT" not in result.stderr


def test_the_default_command_accepts_a_configuration_file(jibe, tmp_path):
    assert_mistake(jibe("--config", str(tmp_path / "missing.json")), str(tmp_path / "missing.json"), "No such file")
    assert_mistake(jibe("--config", str(tmp_path / "missing.json"), "principals"), "after the command")


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
def test_a_wrong_aws_variable_is_named_without_a_traceback(jibe, tmp_path, command, variable, value):
    config = tmp_path / "config.json"
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/jibe"
    access = {"endpoint": "http://127.0.0.1:1", "login": "ana", "password": CANARIES["password"]}
    config.write_text(json.dumps({"access_anywhere": access, "queues": [{"url": url}], "buckets": {"media": "/a/b"}}))
    result = jibe(*command, "--config", str(config), **{variable: value})
    assert result.returncode == 2
    assert f"{variable}: " in result.stderr
    assert "Traceback" not in result.stderr


def test_a_demo_with_an_unreachable_server_ends_with_one_line(jibe):
    result = jibe("demo", "--aws-endpoint", "http://127.0.0.1:1")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "http://127.0.0.1:1" in result.stderr.splitlines()[-1]


def test_the_version_is_the_version_of_the_package(jibe):
    result = jibe("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize("arguments", [("nonsense",), ("run", "--nonsense"), ("demo", "--changes", "0")])
def test_a_wrong_argument_exits_with_2(jibe, arguments):
    result = jibe(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


# Explain


@pytest.fixture
def log_path(tmp_path):
    path = tmp_path / "log.json.gz"
    reads = records.get_object(
        Call(records.iam_user("ana", account=ACCOUNT, access_key="A"), 0, REGION, ACCOUNT, Random(1)), "media", "x"
    )
    path.write_bytes(gzip.compress(log_file(put_record(), reads)))
    return path


def objects(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_explain_shows_the_decision_for_each_record(jibe, log_path):
    result = jibe("explain", "--json", str(log_path))
    assert (result.returncode, result.stderr) == (0, "")
    put, read = objects(result)
    assert (put["decision"], put["folders"], put["key"]) == ("refresh", ["/media/reports/2026"], "reports/2026/a b.txt")
    assert (read["decision"], read["reason"], read["folders"]) == ("skip", "read-only", [])


def test_explain_without_json_prints_a_table(jibe, log_path):
    result = jibe("explain", str(log_path))
    assert result.returncode == 0
    assert "PutObject" in result.stdout
    assert "skip: read-only" in result.stdout
    assert "2 records, 1 for a refresh of 1 folder, 1 read-only" in result.stdout
    assert result.stderr == "jibe-sqs: no configuration: each bucket is shown as the folder /BUCKET\n"


def test_explain_without_arguments_asks_for_input_on_a_terminal():
    ours, theirs = pty.openpty()
    try:
        os.write(ours, b"\x04")  # Ctrl-D
        command = [sys.executable, "-m", "jibe_sqs", "explain", "--json"]
        result = subprocess.run(command, stdin=theirs, capture_output=True, text=True, check=False, timeout=PATIENCE)
    finally:
        os.close(ours)
        os.close(theirs)
    assert result.stderr == "jibe-sqs: reading standard input; end with Ctrl-D\n"


def test_explain_uses_the_configuration(jibe, log_path, tmp_path):
    """The file is one of Jibe's, with a setting that does not exist here. The warning is not part of the output."""
    config = tmp_path / "config.json"
    buckets = {"media": ["/Amazon S3/media", {"folder": "/Archive", "prefix": "reports/"}]}
    config.write_text(
        json.dumps({"endpoint": "https://x", "login": "a", "password": "b", "slack": "c", "buckets": buckets})
    )
    for result in (
        jibe("explain", "--json", "--config", str(config), str(log_path)),
        jibe("explain", "--json", str(log_path), JIBE_CONFIG=str(config)),
    ):
        assert result.returncode == 0
        assert objects(result)[0]["folders"] == ["/Amazon S3/media/reports/2026", "/Archive/2026"]
        assert "setting_ignored" in result.stderr


def test_explain_reads_standard_input(jibe, log_path):
    text = gzip.decompress(log_path.read_bytes()).decode()
    for arguments in (["-"], []):
        result = jibe("explain", "--json", *arguments, stdin=text)
        assert result.returncode == 0
        assert [each["source"] for each in objects(result)] == ["-", "-"]


def test_explain_of_a_truncated_file_gives_one_object_with_its_error(jibe, log_path):
    """The records before the cut are not explained, because the service does nothing with such a file."""
    whole = log_path.read_bytes()
    for cut in (1, len(whole) // 2, len(whole) - 1):
        log_path.write_bytes(whole[:cut])
        result = jibe("explain", "--json", str(log_path))
        assert result.returncode == 1
        (only,) = objects(result)
        assert only["error"] in ("LogTruncated", "LogMalformed")
        assert only["source"] == str(log_path)
        assert result.stderr == ""


def test_explain_continues_after_a_file_that_it_cannot_read(jibe, log_path, tmp_path):
    result = jibe("explain", "--json", str(tmp_path / "missing.json"), str(log_path))
    assert result.returncode == 1
    assert [each.get("error") for each in objects(result)] == ["FileNotFoundError", None, None]


def test_explain_of_a_body_shows_the_announced_files(jibe):
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


def test_explain_uses_the_given_key_instead_of_the_file_name(jibe, log_path):
    digest = "AWSLogs/123456789012/CloudTrail-Digest/us-east-1/2026/01/01/a.json.gz"
    (only,) = objects(jibe("explain", "--json", "--key", digest, str(log_path)))
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
def test_explain_reads_a_log_of_each_format(jibe, log_path, tmp_path, format_, named):
    name, text = A_LOG_OF_EACH[format_]
    path = log_path
    if name is not None:
        path = tmp_path / (name if named else "some-log")
        path.write_bytes(gzip.compress(text.encode()) if format_ == "audit-log" else text.encode())
    result = jibe("explain", "--json", str(path))
    assert (result.returncode, result.stderr) == (0, "")
    write, read = objects(result)
    assert (write["kind"], write["decision"], len(write["folders"])) == ("written", "refresh", 1)
    assert (read["decision"], read["reason"]) == ("skip", "read-only")


def test_explain_shows_the_skipped_bad_records(jibe, tmp_path):
    path = tmp_path / "S3-media-2026-01-31-12-05-00.gz"
    path.write_text(json.dumps(AUDIT_LINES[0]) + "\nno line\n")
    result = jibe("explain", "--json", str(path))
    assert result.returncode == 0
    _, bad, note = objects(result)
    assert (bad["error"], bad["index"], note["bad_records"]) == ("RecordMalformed", 2, 1)
    assert re.search(r"RecordMalformed: line 2: .* \(offset \d+\): skipped\n", jibe("explain", str(path)).stdout)


def test_explain_of_a_body_uses_the_configured_logs_and_encodings(jibe, tmp_path):
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
def ledger_variables(tmp_path):
    """A ledger with principals. Returns the variables that configure it."""
    path = tmp_path / "ledger.sqlite"
    at = datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()

    async def fill():
        async with SqliteLedger(path) as ledger:
            await ledger.observe({"arn:aws:iam::1:user/bo": Seen(at, at), "[bold]ana": Seen(at, at + 3661, 1234)})

    asyncio.run(fill())
    return {"JIBE_LEDGER__PATH": str(path)}


def test_principals_as_json_come_most_active_first(jibe, ledger_variables):
    nothing = {"first": "2026-01-31T12:00:00Z", "reads": 0, "evidence": []}
    nothing |= dict.fromkeys(("rule", "user_agent", "source_address", "hint", "own_writes"))
    result = jibe("principals", "--json", **ledger_variables)
    assert (result.returncode, result.stderr) == (0, "")
    assert objects(result) == [
        nothing | {"principal": "[bold]ana", "last": "2026-01-31T13:01:01Z", "count": 1234},
        nothing | {"principal": "arn:aws:iam::1:user/bo", "last": "2026-01-31T12:00:00Z", "count": 1},
    ]


def test_principals_without_json_are_a_table(jibe, ledger_variables):
    result = jibe("principals", **ledger_variables)
    assert result.returncode == 0
    header, ana, bo, _, *sentences = result.stdout.splitlines()
    assert header.split()[:7] == ["changes", "reads", "first", "seen", "last", "seen", "who"]
    assert ana.split() == ["1234", "0", "01-31", "12:00", "01-31", "13:01", "[bold]ana"]
    assert bo.split()[0] == "1"
    assert "none looks like Access Anywhere" in " ".join(sentences)


def test_a_ledger_without_principals_gives_a_sentence(jibe, tmp_path):
    async def make():
        async with SqliteLedger(tmp_path / "ledger.sqlite"):
            pass

    asyncio.run(make())
    result = jibe("principals", JIBE_LEDGER__PATH=str(tmp_path / "ledger.sqlite"))
    assert (result.returncode, result.stdout) == (0, "no changes of objects are recorded yet\n")


def test_principals_does_not_create_a_ledger(jibe, tmp_path):
    """Regression: in another directory, the command created an empty ledger and found no principals."""
    result = jibe("principals", JIBE_LEDGER__PATH=str(tmp_path / "missing" / "ledger.sqlite"))
    assert (result.returncode, result.stdout) == (1, "")
    assert "LedgerError" in result.stderr
    assert "ledger.path" in result.stderr
    assert not (tmp_path / "missing").exists()


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


def test_verify_finds_delivered_files_valid(jibe, trail):
    """Regression: times in the format of the documentation were refused."""
    result = verified(jibe, trail)
    assert result.returncode == 0, result.stderr
    assert "3 digests: 3 valid" in result.stdout
    assert "3 log files: 3 valid" in result.stdout
    *found, summary = objects(verified(jibe, trail, "--json"))
    assert summary["exit_code"] == 0
    assert {each["key"] for each in found} == {*trail.logs, *(digest.key for digest in trail.digests)}
    assert {each["status"] for each in found} == {"valid"}


def test_verify_finds_changed_missing_and_added_log_files(jibe, trail):
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
    as_text = verified(jibe, trail)
    assert as_text.returncode == 1
    assert "log file: INVALID" in as_text.stdout


def test_verify_finds_a_digest_with_a_wrong_signature(jibe, trail):
    first = trail.digests[0]
    trail.s3.put_object(
        Bucket=TRAIL_BUCKET, Key=first.key, Body=first.body, Metadata={**first.metadata, "signature": "00" * 256}
    )
    result = verified(jibe, trail, "--json")
    assert result.returncode == 1
    assert [each["status"] for each in objects(result)[:-1] if each.get("key") == first.key] == ["invalid"]


def test_verify_of_a_missing_bucket_names_the_bucket(jibe, trail):
    result = verified(jibe, trail, "--bucket", "no-such-bucket")
    assert result.returncode == 1
    assert "no-such-bucket" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--from", "2026-02-01", "--to", "2026-01-01"), "--from must be before --to"),
        (("--from", "9999-12-31"), "--from must be before --to"),
        (("--from", "2026-01-01", "--account", "x"), "account id of 12 digits"),
    ],
)
def test_verify_refuses_a_scope_that_holds_nothing(jibe, wrong, message):
    """A check with exchanged times would succeed for ever."""
    result = jibe("verify", "--bucket", "trail", "--account", ACCOUNT, "--region", REGION, *wrong)
    assert result.returncode == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_verify_without_a_bucket_names_the_missing_option(jibe):
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
        # Long, so a message that is visible again during a test was made visible.
        self.queue = self.sqs.create_queue(
            QueueName=f"commands-{self.number}", Attributes={"VisibilityTimeout": "600"}
        )["QueueUrl"]

    def run(self, **changes):
        """Start a service with the sandbox's configuration and these changes, and with debug logs."""
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
        """Write an object directly to S3. Returns its key, and the bytes of a log file with this event."""
        key = f"commands {self.number}/{name}"
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=name.encode())
        return key, gzip.compress(log_file(put_record(self.bucket, key, self.number, at=time.time())))

    def store(self, name, body):
        """Store a log file. Returns its key."""
        key = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/{self.number}_{name}.json.gz"
        self.s3.put_object(Bucket=self.sandbox["log_bucket"], Key=key, Body=body)
        return key

    def announce(self, *keys):
        message = json.dumps({"s3Bucket": self.sandbox["log_bucket"], "s3ObjectKey": keys})
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=message)

    def receives(self):
        """How often the service received the message. The receive of this method is subtracted from SQS's count."""
        (message,) = self.sqs.receive_message(
            QueueUrl=self.queue, WaitTimeSeconds=5, VisibilityTimeout=0, AttributeNames=["ApproximateReceiveCount"]
        )["Messages"]
        return int(message["Attributes"]["ApproximateReceiveCount"]) - 1

    def left(self):
        """The number of visible messages, and of hidden messages."""
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
def silent_address():
    """An address that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def assert_no_secrets(service, sandbox):
    assert service.output
    for secret in (*CANARIES.values(), sandbox["password"], sandbox["permanent_token"]):
        assert secret not in service.output


def test_a_change_is_refreshed_its_message_is_deleted_and_the_service_stops(world, sandbox):
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


def test_one_bad_file_of_two_keeps_the_message_until_it_is_repaired(world):
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
    # The good file is fetched once, and is in the ledger from then on.
    assert len(service.events("file_read", key=good)) == 1
    assert service.events("file_known", key=good)
    assert len(service.events("file_read", key=bad)) == 1
    assert service.stop() == 0


def test_a_finished_file_is_not_fetched_again_after_a_restart(world):
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


def test_messages_held_at_the_drain_deadline_are_visible_again_at_once(world, silent_address):
    _, body = world.change("held.txt")
    service = world.run(access_anywhere={"endpoint": silent_address}, drain_timeout=2)
    for number in range(3):
        world.announce(world.store(f"held-{number}", body))
    eventually(lambda: len(service.events("file_read")) == 3, "three messages held")
    assert world.left() == (0, 3)
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began >= 2
    assert world.left() == (3, 0)
    assert service.events("drain_deadline_over")
    assert service.events("given_back", messages=3)


def test_a_second_signal_ends_the_service_at_once(world, silent_address):
    _, body = world.change("held.txt")
    service = world.run(access_anywhere={"endpoint": silent_address}, drain_timeout=600)
    world.announce(world.store("held", body))
    service.wait_for("file_read")
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("stopping")
    assert service.stop() == 1
    assert service.events("stopped_at_once")
    assert "Traceback" not in service.output


def test_an_idle_service_stops_after_sigint(world):
    service = world.run()
    service.wait_for("started")
    assert service.stop(signal.SIGINT) == 0


def test_with_a_wrong_password_messages_stay_in_the_queue_and_the_log_names_the_cause(world, sandbox):
    key, body = world.change("unseen.txt")
    service = world.run(access_anywhere={"password": CANARIES["password"]}, drain_timeout=2)
    opened = service.wait_for("circuit_opened")
    assert "check the login and password" in opened["reason"]
    world.announce(world.store("unseen", body))
    time.sleep(2 * POLL)  # time for a receive, which must not happen
    assert service.stop() == 0
    assert world.receives() <= 1  # by a long poll that had begun before
    assert sum(world.left()) == 1
    assert not world.shows(key)
    assert_no_secrets(service, sandbox)


def test_while_access_anywhere_is_down_the_service_is_not_ready_and_receives_nothing(world):
    """It continues by itself when Access Anywhere answers again."""
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
        time.sleep(2 * POLL)  # until the running long poll ends
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


def test_a_permanent_token_is_not_in_the_output(world, sandbox):
    key, body = world.change("by-token.txt")
    token = sandbox["permanent_token"]
    service = world.run(access_anywhere={"login": "", "password": "", "permanent_token": token})
    world.announce(world.store("by-token", body))
    service.wait_for("message_done")
    assert world.shows(key)
    assert service.stop() == 0
    assert_no_secrets(service, sandbox)


def test_a_file_in_a_bucket_that_is_not_configured_is_never_fetched(world):
    """Permission to write to the queue does not allow to choose which files are read."""
    service = world.run()
    world.sqs.send_message(
        QueueUrl=world.queue, MessageBody=json.dumps({"s3Bucket": world.bucket, "s3ObjectKey": ["a.json.gz"]})
    )
    rejected = service.wait_for("message_rejected")
    assert (rejected["error"], rejected["dead_lettered"]) == ("BucketNotAllowed", False)
    assert service.stop() == 0
    # There is no dead-letter queue, so the message stays in its queue.
    assert sum(world.left()) == 1


def test_a_missing_queue_ends_the_service_with_one_line(world):
    service = world.run(queues=[{"url": world.queue + "-gone"}])
    assert service.ended() == 1
    assert "QueueRefused" in service.output
    assert "Traceback" not in service.output
