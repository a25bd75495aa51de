"""Secrets by reference: read from the sandbox's AWS and from files, read again, and never shown."""

import fcntl
import json
import os
import resource
import socket
from itertools import count
from pathlib import Path

import pytest
from tests.aws_clients import aws_client

from jibe_sqs.adapters.aws import Account
from jibe_sqs.adapters.secrets import MAX_BYTES, RENEWALS, RenewedSecrets, SecretReader
from jibe_sqs.compose.secrets import read, renewed_credentials, renewed_secret, resolved
from jibe_sqs.core.errors import SecretUnavailable, SettingsError
from jibe_sqs.core.secret_references import secret_reference
from jibe_sqs.settings import Settings, load
from jibe_sqs.settings.changes import changed
from jibe_sqs.settings.effective import effective
from jibe_sqs.settings.references import references, secrets_of
from jibe_sqs.settings.sources import content_of

CANARY = "CANARY-of-a-secret"
NUMBER = count(1)


@pytest.fixture
def aws(tunnelled_aws, monkeypatch):
    """AWS under its real names, in the environment of this process."""
    for name, value in tunnelled_aws.environment.items():
        monkeypatch.setenv(name, value)
    return lambda service, region="eu-west-1": aws_client(tunnelled_aws.environment, service, region)


def stored(aws, text, region="eu-west-1"):
    return aws("secretsmanager", region).create_secret(Name=f"jibe/{next(NUMBER)}", SecretString=text)["ARN"]


async def value(text):
    reference = secret_reference(text)
    assert reference is not None
    async with SecretReader(Account()) as reader:
        return await reader.value(reference)


@pytest.mark.parametrize("region", ["eu-west-1", "us-east-1", "cn-north-1", "us-gov-west-1"])
async def test_a_secret_is_read_in_the_region_and_partition_of_its_arn(aws, region):
    arn = stored(aws, CANARY, region)
    assert arn.split(":")[3] == region
    assert await value(arn) == CANARY


async def test_a_key_a_stage_and_a_version_choose_the_value(aws):
    arn = stored(aws, json.dumps({"password": "old"}))
    aws("secretsmanager").put_secret_value(SecretId=arn, SecretString=json.dumps({"password": "new"}))
    assert await value(f"{arn}#password") == "new"
    assert await value(f"{arn}:password::") == "new"
    assert await value(f"{arn}:password:AWSPREVIOUS:") == "old"


async def test_a_line_break_at_the_end_of_a_secret_in_aws_does_not_count(aws):
    """`--secret-string file://…` of the AWS CLI leaves one."""
    assert await value(stored(aws, "p\n")) == "p"


async def test_a_parameter_is_read_decrypted_also_by_version(aws):
    ssm = aws("ssm")
    for text in ("old", "new"):
        ssm.put_parameter(Name="/jibe/aa", Value=text, Type="SecureString", Overwrite=True)
    arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/jibe/aa"
    assert await value(arn) == "new"
    assert await value(f"{arn}:1") == "old"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"p\n", "p"), (b"p\r\n", "p"), (b" p \n", " p "), (b"p\n\n", "p\n"), (b"\xef\xbb\xbfp", "p")],
)
async def test_one_line_break_at_the_end_of_a_file_is_removed(tmp_path, content, expected):
    """Editors add it, and a password may have spaces."""
    (tmp_path / "p").write_bytes(content)
    assert await value(f"file:{tmp_path}/p") == expected


async def failed(text):
    with pytest.raises(SecretUnavailable) as raised:
        await value(text)
    said = str(raised.value)
    assert CANARY not in said
    assert "\n" not in said
    return said


async def test_an_error_names_the_reference_and_the_remedy_but_not_the_content(aws, tmp_path):
    missing = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nothing-AbCdEf"
    assert "ResourceNotFoundException" in (said := await failed(missing))
    assert missing in said
    assert "correct the name" in said
    assert "ParameterNotFound" in await failed("arn:aws:ssm:eu-west-1:123456789012:parameter/nothing")
    arn = stored(aws, json.dumps({"password": CANARY}))
    assert "name one of its keys" in await failed(arn)
    assert "no key 'pasword'" in await failed(f"{arn}#pasword")
    assert "cannot be read: No such file" in await failed(f"file:{tmp_path}/nothing")
    (tmp_path / "large").write_text(CANARY * (MAX_BYTES // len(CANARY) + 1))
    assert "larger than" in await failed(f"file:{tmp_path}/large")
    (tmp_path / "binary").write_bytes(b"\xff" + CANARY.encode())
    assert "not UTF-8" in await failed(f"file:{tmp_path}/binary")
    (tmp_path / "empty").write_text("\n")
    assert "empty" in await failed(f"file:{tmp_path}/empty")


DENIED = {"__type": "AccessDeniedException", "Message": "User: arn:aws:sts::1:assumed-role/x is not authorized"}


@pytest.mark.parametrize(
    ("reference", "answer", "remedy"),
    [
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:x", DENIED, "allow secretsmanager:GetSecretValue"),
        ("arn:aws:ssm:eu-west-1:123456789012:parameter/x", DENIED, "allow ssm:GetParameter"),
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x",
            {"__type": "AccessDeniedException", "Message": "Access to KMS is not allowed"},
            "allow kms:Decrypt",
        ),
        (
            "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x",
            {"__type": "DecryptionFailure", "Message": "cannot decrypt"},
            "allow kms:Decrypt",
        ),
    ],
)
async def test_a_refusal_names_the_permission(answering, reference, answer, remedy):
    answering(answer)
    assert remedy in await failed(reference)


@pytest.fixture
async def answering(monkeypatch):
    """A server that refuses all calls. It is AWS's endpoint, by the variables of its tools."""
    from aiohttp import web
    from tests.adapters.aws_stand_ins import served

    said = {}

    async def refuse(_):
        return web.json_response(said, status=400, content_type="application/x-amz-json-1.1")

    async with served(refuse) as address:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", address)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", address)
        yield said.update


# Renewal


class Clock:
    def __init__(self):
        self.time = 0.0

    def __call__(self):
        return self.time


async def test_a_refused_secret_is_read_again_at_most_every_few_seconds(tmp_path, monkeypatch):
    """The pauses grow while it does not change."""
    file, clock, reads = tmp_path / "p", Clock(), []

    def counted(path):
        reads.append(clock.time)
        return content_of(path)

    monkeypatch.setattr("jibe_sqs.adapters.secrets.content_of", counted)
    file.write_text("old")
    secrets = RenewedSecrets({"password": secret_reference(f"file:{file}")}, {"password": "old"}, Account(), clock)
    for second in range(140):
        clock.time = float(second)
        assert await secrets.renewed() == {"password": "old"}
    assert reads == [0, 5, 15, 35, 75, 135]
    file.write_text("new")
    clock.time = 135 + RENEWALS.longest
    assert await secrets.renewed() == {"password": "new"}


async def test_a_secret_is_read_also_while_a_thousand_connections_are_open(tmp_path, monkeypatch):
    """A new descriptor then has a number that `select` does not take."""
    opened = os.open

    def opened_high(path, flags):
        low = opened(path, flags)
        try:
            return fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1024)
        finally:
            os.close(low)

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    (tmp_path / "p").write_text(CANARY)
    monkeypatch.setattr("jibe_sqs.settings.sources.os.open", opened_high)
    try:
        assert await value(f"file:{tmp_path}/p") == CANARY
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_secret_that_cannot_be_read_again_stays_as_it_was(tmp_path, events):
    """A file that is just being replaced must not end a service."""
    secrets = RenewedSecrets({"password": secret_reference(f"file:{tmp_path}/p")}, {"password": CANARY}, Account())
    assert await secrets.renewed() == {"password": CANARY}
    (event,) = events
    assert event["event"] == "secret_not_renewed"
    assert CANARY not in str(event)


async def test_secrets_of_one_place_are_read_together(tmp_path):
    """A login and a password that do not belong together would be a wrong login."""
    file = tmp_path / "both"
    file.write_text('{"login": "jo"}')
    kept = "arn:aws:ssm:eu-west-1:123456789012:parameter/none#x"
    secrets = RenewedSecrets(
        {"login": secret_reference(f"file:{file}"), "password": secret_reference(kept)},
        {"login": "ana", "password": "secret"},
        Account(access_key_id="x", secret_access_key="y", endpoint="http://127.0.0.1:9"),
    )
    assert await secrets.renewed() == {"login": "ana", "password": "secret"}


# Settings


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Loads a configuration with these changes."""
    monkeypatch.chdir(tmp_path)

    def settings(**changes):
        access_anywhere = {"endpoint": "https://files.example.com", "login": "ana", "password": "x"}
        values = {"access_anywhere": access_anywhere | changes.pop("access_anywhere", {})} | changes
        (tmp_path / "config.json").write_text(json.dumps(values))
        return load(Settings, config=tmp_path / "config.json")

    return settings


def in_file(folder: Path, text: str) -> str:
    path = folder / f"secret-{next(NUMBER)}"
    path.write_text(text)
    return f"file:{path}"


async def test_every_kind_of_secret_may_be_a_reference(settings, tmp_path):
    """Also those of lists and of addresses."""
    found = settings(
        access_anywhere={"login": in_file(tmp_path, "jo\n"), "password": in_file(tmp_path, "p")},
        alerts={"webhook": in_file(tmp_path, f"https://hooks.example.com/{CANARY}")},
        queues=[{"url": "https://sqs.us-east-1.amazonaws.com/111122223333/q", "access_key_id": "AKIA",
                 "secret_access_key": in_file(tmp_path, CANARY)}],
    )  # fmt: skip
    assert len(references(found)) == 4
    ready = await resolved(found)
    assert ready.access_anywhere.login == "jo"
    assert ready.access_anywhere.password.get_secret_value() == "p"
    assert ready.alerts.webhook.get_secret_value() == f"https://hooks.example.com/{CANARY}"
    assert ready.queues[0].secret_access_key.get_secret_value() == CANARY
    assert not references(ready)
    assert CANARY not in f"{ready!r} {ready} {ready.model_dump()} {ready.model_dump_json()}"
    assert set(secrets_of(ready)) == {"jo", "p", CANARY, f"https://hooks.example.com/{CANARY}"}


@pytest.mark.parametrize(
    ("group", "name"), [("access_anywhere", "login"), ("access_anywhere", "password"), ("alerts", "webhook")]
)
def test_a_malformed_reference_is_a_mistake_of_its_setting(settings, group, name):
    with pytest.raises(SettingsError) as raised:
        settings(**{group: {name: f"arn:aws:s3:::{CANARY}"}})
    assert any(each.startswith(f"{group}.{name}: not a reference") for each in raised.value.problems)
    assert CANARY not in str(raised.value)


async def test_all_references_that_cannot_be_read_are_reported(settings, tmp_path):
    found = settings(access_anywhere={"password": f"file:{tmp_path}/a"}, alerts={"webhook": f"file:{tmp_path}/b"})
    with pytest.raises(SettingsError) as raised:
        await resolved(found)
    assert [each.partition(": ")[0] for each in raised.value.problems] == ["access_anywhere.password", "alerts.webhook"]
    _, problems = await read(found)
    assert set(problems) == {"access_anywhere.password", "alerts.webhook"}


async def test_the_keys_of_another_store_do_not_read_secrets(aws, settings):
    """They mean nothing to AWS, and neither does the store's address."""
    arn = stored(aws, CANARY)
    store = {"endpoint": "http://127.0.0.1:9", "access_key_id": "minio", "secret_access_key": "minio"}
    ready = await resolved(settings(access_anywhere={"password": arn}, aws=store))
    assert ready.access_anywhere.password.get_secret_value() == CANARY


async def test_a_file_in_the_folder_of_secrets_is_read_again(settings, tmp_path, monkeypatch):
    """Orchestrators replace mounted secrets under the same name."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "JIBE_ACCESS_ANYWHERE__PASSWORD").write_text("old\n")
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(folder))
    renewed = renewed_credentials(settings())
    assert renewed is not None
    (folder / "JIBE_ACCESS_ANYWHERE__PASSWORD").write_text("new\n")
    assert (await renewed()).password == "new"


async def test_a_secret_in_the_settings_themselves_is_not_read_again(settings):
    found = settings(alerts={"webhook": "https://hooks.example.com/x"})
    assert renewed_credentials(found) is None
    assert renewed_secret(found, "alerts", "webhook") is None


async def test_reading_ends_in_time_also_if_a_service_never_answers(monkeypatch, aws):
    """The start must not hang."""
    monkeypatch.setattr("jibe_sqs.adapters.secrets.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SSM", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "no answer within" in await failed("arn:aws:ssm:eu-west-1:123456789012:parameter/x")


async def test_settings_that_are_read_again_keep_the_secrets_of_references_that_are_the_same(settings, tmp_path):
    """A secret that has changed meanwhile is no changed setting, and one that cannot be read now refuses no change."""
    reference = in_file(tmp_path, "old")
    before = await resolved(settings(access_anywhere={"password": reference}))
    Path(reference.removeprefix("file:")).unlink()
    again = await resolved(settings(access_anywhere={"password": reference}, log={"level": "debug"}), before)
    assert changed(before, again) == ["log.level"]
    assert again.access_anywhere.password.get_secret_value() == "old"


async def test_effective_settings_show_the_reference_and_not_the_secret(settings, tmp_path):
    """An operator wants to see where it is kept."""
    reference = in_file(tmp_path, CANARY)
    ready = await resolved(settings(access_anywhere={"login": reference, "password": reference}))
    shown = {each.name: each.value for each in effective(ready)}
    assert shown["access_anywhere.password"] == shown["access_anywhere.login"] == reference
    assert CANARY not in str(shown)
