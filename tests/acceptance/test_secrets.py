"""Every secret setting contains a canary text. No output of the service or of a command may contain one."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import get_args, get_origin

import httpx
import pytest
from pydantic import BaseModel, SecretStr
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

from jibe_sqs.compose import stores
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.settings import Settings, load
from jibe_sqs.settings.types import _url as plain_url

REGION = "us-east-1"
NUMBER = count(1)
QUEUE = "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"

SettingPath = tuple[str, ...]
"""The path of a setting. A list stands for all of its entries."""


def secrets(model: type[BaseModel], above: SettingPath = ()) -> Iterator[SettingPath]:
    """The paths of all secret settings. New settings are found automatically."""
    for name, field in model.model_fields.items():
        for kind in kinds(field.annotation):
            if kind is SecretStr:
                yield (*above, name)
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from secrets(kind, (*above, name))


def kinds(annotation: object) -> set[object]:
    """The types in an annotation."""
    if get_origin(annotation) is None:
        return {annotation}
    return {kind for part in get_args(annotation) for kind in kinds(part)}


SECRETS = sorted(set(secrets(Settings)))


def addresses(model: type[BaseModel], above: SettingPath = ()) -> Iterator[SettingPath]:
    """The paths of all addresses that are not secrets. Such addresses are logged."""
    for name, field in model.model_fields.items():
        annotated = [field, *get_args(field.annotation)]
        checks = [check for each in annotated for check in getattr(each, "metadata", getattr(each, "__metadata__", ()))]
        if any(getattr(check, "func", None) is plain_url for check in checks):
            yield (*above, name)
        for kind in kinds(field.annotation):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from addresses(kind, (*above, name))


ADDRESSES = sorted(set(addresses(Settings)))


def canary(path: SettingPath) -> str:
    return f"CANARY-{'-'.join(path)}-CANARY"


def plant(config: dict, given: dict[SettingPath, str]) -> list[str]:
    """Puts a canary, or the given value, into every secret of a configuration. Returns these values."""
    planted = []
    for path in SECRETS:
        *above, name = path
        value = given.get(path, canary(path))
        groups = [config]
        for part in above:
            found = [group.setdefault(part, {}) for group in groups]
            groups = [entry for each in found for entry in (each if isinstance(each, list) else [each])]
        assert groups, path
        for group in groups:
            group[name] = value
            if name == "secret_access_key":
                group.setdefault("access_key_id", "AKIACANARYFIELD")
            if path == ("http", "password"):
                group.setdefault("login", "ana")
        if value:
            planted.append(value)
    return planted


def leaked(text: str, canaries: list[str]) -> list[str]:
    """The canaries that are in the text, also in the encodings of URLs and JSON."""
    return [each for each in canaries if each in text or each.rpartition("/")[2] in text]


# Without a service


def minimal() -> dict:
    return {
        "access_anywhere": {"endpoint": "https://files.example.com", "login": "ana"},
        "queues": [{"url": QUEUE}],
        "logs": [{"bucket": "trail"}],
        "buckets": {"media": "/Amazon S3/media"},
    }


@pytest.fixture
def configured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def configured(**changes):
        config = minimal()
        canaries = plant(config, {("alerts", "webhook"): f"https://hooks.example.com/{canary(('alerts', 'webhook'))}"})
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**config, **changes}))
        return path, canaries

    return configured


def test_the_known_secrets_are_found():
    known = {("access_anywhere", "password"), ("access_anywhere", "permanent_token"), ("alerts", "webhook")}
    for group in ("aws", "queues", "logs"):
        known |= {(group, "secret_access_key"), (group, "session_token")}
    assert known <= set(SECRETS)


def test_every_setting_named_like_a_secret_is_a_secret():
    def named(model, above=()):
        for name, field in model.model_fields.items():
            for kind in kinds(field.annotation):
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    yield from named(kind, (*above, name))
            if any(word in name for word in ("password", "secret", "token", "webhook")):
                yield (*above, name)

    assert set(named(Settings)) <= set(SECRETS)


def test_settings_show_no_secret_in_any_text_form(configured):
    path, canaries = configured()
    settings = load(Settings, config=path)
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    shown += [repr(stores.account_of(settings.aws, each)) for each in (None, *settings.queues, *settings.logs)]
    shown += [repr(stores._source(settings, each)) for each in settings.logs]
    assert not leaked("\n".join(shown), canaries)


def test_mistakes_beside_secrets_show_no_secret(configured):
    path, canaries = configured(poll={"wait": 99}, queues=[{"url": "no address", "secret_access_key": "x"}], no={})
    with pytest.raises(SettingsError) as raised:
        load(Settings, config=path)
    assert len(raised.value.problems) >= 3
    assert not leaked(str(raised.value), canaries)


def test_the_known_addresses_are_found():
    known = {("access_anywhere", "endpoint"), ("aws", "endpoint"), ("queues", "url"), ("queues", "endpoint")}
    assert known | {("logs", "endpoint"), ("ledger", "endpoint")} <= set(ADDRESSES)


def with_address(path: SettingPath, address: str) -> dict:
    """A configuration with this address at the path."""
    config = minimal()
    group = config.setdefault(path[0], {})
    (group[0] if isinstance(group, list) else group)[path[1]] = address
    config["access_anywhere"]["password"] = "x"
    return config


@pytest.mark.parametrize("path", ADDRESSES, ids=".".join)
@pytest.mark.parametrize(
    "address",
    [
        "https://CANARY@sqs.us-east-1.amazonaws.com/1/q",
        "https://ana:CANARY@sqs.us-east-1.amazonaws.com/1/q",
        "https://:CANARY@sqs.us-east-1.amazonaws.com/1/q",
        "https://sqs.us-east-1.amazonaws.com/1/q?X-Amz-Security-Token=CANARY",
        "https://sqs.us-east-1.amazonaws.com?CANARY",
        "https://sqs.us-east-1.amazonaws.com/1/q#CANARY",
        "https://ana:CANARY/x@sqs.us-east-1.amazonaws.com/1/q",
        "https://sqs.us-east-1.amazonaws.com\\@CANARY/1/q",
    ],
)
def test_an_address_with_a_login_or_a_query_is_refused_and_not_shown(path, address, tmp_path, monkeypatch):
    """Queues, errors, log lines and dead letters name their addresses."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(with_address(path, address)))
    with pytest.raises(SettingsError) as raised:
        load(Settings, config=file)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{path[0]}.")
    assert "CANARY" not in str(raised.value)


@pytest.mark.parametrize("command", [("run",), ("dead-letters", "list")], ids=" ".join)
def test_a_process_does_not_show_the_token_of_a_queues_signed_address(tmp_path, command, jibe):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(with_address(("queues", "url"), f"{QUEUE}?X-Amz-Security-Token=CANARY")))
    result = jibe(*command, "--config", str(file))
    assert result.returncode == 2
    assert "queues.0.url: contains a query" in result.stderr
    assert "CANARY" not in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_secret_that_cannot_be_read_is_a_mistake_with_its_remedy_and_shows_nothing(tmp_path, command, jibe):
    """The other secret can be read. Its content is not shown, either."""
    (tmp_path / "hook").write_text("https://hooks.example.com/CANARY")
    (tmp_path / "kept").write_text('{"pasword": "CANARY"}')
    config = minimal()
    config["access_anywhere"]["password"] = f"file:{tmp_path / 'kept'}"
    config["alerts"] = {"webhook": f"file:{tmp_path / 'hook'}"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = jibe(command, "--config", str(tmp_path / "config.json"), *(["--json"] if command == "check" else []))
    said = result.stdout + result.stderr
    assert "name one of its keys, such as …#password" in said
    assert "CANARY" not in said
    if command == "run":
        assert result.returncode == 2
        assert f"access_anywhere.password: file:{tmp_path / 'kept'}: " in said
        return
    assert result.returncode == 1
    (problem,) = json.loads(result.stdout)["problems"]
    assert (problem["code"], problem["subject"]) == ("secret-unreadable", "access_anywhere.password")


# A service, and all the commands


class Slack(ThreadingHTTPServer):
    """A webhook that fails once, and keeps the bodies of all requests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Hook)
        self.bodies = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/services/{canary(('alerts', 'webhook'))}"


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(500 if len(self.server.bodies) == 1 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def slack():
    with Slack() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def world(sandbox, slack, tmp_path):
    """A queue with dead letters, and a configuration. The test adds canaries and one valid login."""
    sqs, number = aws_client(sandbox["environment"], "sqs", REGION), next(NUMBER)
    dead = sqs.create_queue(QueueName=f"secrets-{number}-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName=f"secrets-{number}", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    bucket = f"jibe-sandbox-{REGION}-media"
    config = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8")) | {
        "queues": [{"url": queue}],
        "ledger": {"path": str(tmp_path / "ledger.sqlite")},
        "poll": {"wait": 1},
        "retry": {"first": 1, "longest": 1},
        "drain_timeout": 20,
        "log": {"format": "json", "level": "debug"},
        "health": {"port": 0, "host": "127.0.0.1"},
        "report": {"interval": 2, "folder": sandbox["buckets"][bucket]},
    }
    config["alerts"] = {"interval": 1}
    return SimpleNamespace(
        sandbox=sandbox, sqs=sqs, s3=client(sandbox["aws"], "s3", REGION), dead=dead, queue=queue, config=config,
        bucket=bucket, number=number, slack=slack, path=tmp_path / "config.json", folder=tmp_path,
    )  # fmt: skip


def log_of(world, key):
    who = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    record = records.put_object(Call(who, time.time(), REGION, ACCOUNT, Random(world.number)), world.bucket, key, 10)
    return gzip.compress(json.dumps({"Records": [record]}).encode())


@pytest.fixture
def faulty_access_anywhere(sandbox):
    """Access Anywhere fails in several ways, from time to time."""
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    some = {"rate": 0.15}
    modes = ("too_many_requests", "server_error", "resets", "error_background", "expired_tokens")
    httpx.put(faults, json=dict.fromkeys(modes, some), timeout=PATIENCE).raise_for_status()
    yield
    httpx.delete(faults, timeout=PATIENCE).raise_for_status()


@pytest.mark.parametrize("login", ["password", "permanent_token"])
def test_no_output_contains_a_secret(world, login, jibe, start, faulty_access_anywhere):
    given = {
        ("access_anywhere", login): world.sandbox[login],
        ("alerts", "webhook"): world.slack.url,
    }
    if login == "password":
        given["access_anywhere", "permanent_token"] = ""  # a token wins over the password
    canaries = plant(world.config, given)
    canaries += [world.sandbox["password"], world.sandbox["permanent_token"]]
    world.path.write_text(json.dumps(world.config))

    emitted = {}
    config = ("--config", str(world.path))
    service = start("run", *config, **world.sandbox["environment"])
    key = f"secrets {world.number}/a.txt"
    world.s3.put_object(Bucket=world.bucket, Key=key, Body=b"a")
    folder = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/secrets-{world.number}"
    good, bad, gone = (f"{folder}-{name}.json.gz" for name in ("good", "bad", "gone"))
    body = log_of(world, key)
    for name, stored in ((good, body), (bad, body[: len(body) // 2])):
        world.s3.put_object(Bucket=world.sandbox["log_bucket"], Key=name, Body=stored)
    for bucket, file in ((world.sandbox["log_bucket"], good), (world.sandbox["log_bucket"], bad),
                         (world.sandbox["log_bucket"], gone), ("not-ours", gone)):  # fmt: skip
        announced = json.dumps({"s3Bucket": bucket, "s3ObjectKey": [file]})
        world.sqs.send_message(QueueUrl=world.queue, MessageBody=announced)
    world.sqs.send_message(QueueUrl=world.queue, MessageBody="nonsense")
    port = service.wait_for("health_answered")["port"]
    for page in ("livez", "readyz", "elsewhere"):
        emitted[page] = httpx.get(f"http://127.0.0.1:{port}/{page}", timeout=PATIENCE).text
    eventually(lambda: len(service.events("message_rejected")) >= 4, "four dead letters")
    eventually(lambda: service.events("message_done"), "one done")
    reports = lambda: world.s3.list_objects_v2(Bucket=world.bucket, Prefix="jibe-report-").get("Contents", [])  # noqa: E731
    eventually(reports, "a report")
    eventually(lambda: len(world.slack.bodies) >= 2, "an alert, after one that failed")
    assert service.stop() == 0

    emitted["log"] = service.output
    emitted["stdout"] = service.said
    emitted["alerts"] = "\n".join(world.slack.bodies)
    emitted["reports"] = "\n".join(
        world.s3.get_object(Bucket=world.bucket, Key=each["Key"])["Body"].read().decode() for each in reports()
    )
    found = world.sqs.receive_message(
        QueueUrl=world.dead, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    emitted["dead letters"] = json.dumps(found["Messages"])
    (letter, *_) = found["Messages"]
    log_file = world.folder / "a.json.gz"
    log_file.write_bytes(body)
    scope = ("--bucket", world.sandbox["log_bucket"], "--account", ACCOUNT, "--region", REGION, "--from", "2026-01-01")
    for command in (
        ("explain", str(log_file)),
        ("explain", "--body", json.dumps({"s3Bucket": "b", "s3ObjectKey": ["k"]})),
        ("verify", *scope, "--to", "2026-01-02"),
        ("principals", "--json"),
        ("check",),
        ("check", "--json"),
        ("dead-letters", "list", "--json"),
        ("dead-letters", "show", letter["MessageId"]),
        ("dead-letters", "redrive", "--all", "--dry-run"),
    ):
        result = jibe(*command, *config, **world.sandbox["environment"])
        emitted[" ".join(command[:2])] = result.stdout + result.stderr
        assert "Traceback" not in result.stderr
    for file in world.folder.rglob("*"):
        if file.is_file() and file != world.path:
            emitted[str(file)] = file.read_bytes().decode("utf-8", "replace")

    # The searched outputs contain what the test intended to cause.
    assert "message_rejected" in emitted["log"]
    assert "access_anywhere_retry" in emitted["log"]
    assert "alerts_not_sent" in emitted["log"]
    assert "LogMissing" in emitted["dead letters"]
    assert "message_rejected" in emitted["alerts"]
    assert "jibe-sqs" in emitted["reports"]
    assert all(emitted[name] for name in emitted if name != "stdout" and not name.startswith(str(world.folder)))
    leaks = {name: leaked(text, canaries) for name, text in emitted.items()}
    assert not {name: found for name, found in leaks.items() if found}
