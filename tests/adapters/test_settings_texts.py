"""The configuration is read again from where it was read at the start: a file behind a link, or an object in S3."""

import os
from contextlib import AsyncExitStack

import pytest

from jibe_sqs.compose.settings_texts import SettingsTexts
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.sandbox.processes import server
from jibe_sqs.settings import Texts, read

BUCKET = "configurations"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch, tmp_path):
    """An environment and a folder without settings."""
    for name in [name for name in os.environ if name.startswith("JIBE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def s3():
    with server("jibe_sqs.sandbox.aws") as endpoint:
        made = client(endpoint, "s3", "us-east-1")
        made.create_bucket(Bucket=BUCKET)
        yield endpoint, made


@pytest.fixture
async def stack():
    async with AsyncExitStack() as opened:
        yield opened


async def test_a_configmap_that_kubernetes_swaps_and_secret_files_are_read_again(tmp_path, stack, monkeypatch):
    """The file is a link to a link, and Kubernetes replaces the second one."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "config.json").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "config.json").symlink_to("..data/config.json")
    (tmp_path / "secrets").mkdir()
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(tmp_path / "secrets"))
    first = read(tmp_path / "config.json")
    source = SettingsTexts(first, stack)
    assert await source.read() == first
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    (tmp_path / "secrets" / "JIBE_PASSWORD").write_text("x")
    again = await source.read()
    assert (again.file, again.secrets, again.source) == (b"2", {"JIBE_PASSWORD": "x"}, first.source)


async def test_a_file_that_is_gone_is_an_error_that_names_the_variable(tmp_path, stack, monkeypatch):
    """Also the default file: without it, other settings would count."""
    path = tmp_path / "config.json"
    path.write_text("{}")
    monkeypatch.setenv("JIBE_CONFIG", str(path))
    source = SettingsTexts(read(), stack)
    path.unlink()
    with pytest.raises(SettingsError, match=r"JIBE_CONFIG: .*config.json: cannot be read: No such file"):
        await source.read()


async def test_a_pipe_is_not_read_again(tmp_path, stack):
    """It would wait for a writer, or find nothing."""
    os.mkfifo(tmp_path / "pipe")
    source = SettingsTexts(Texts(source=str(tmp_path / "pipe"), file=b"{}"), stack)
    assert "a pipe, which can be read only once" in source.reason
    with pytest.raises(SettingsError, match="a pipe"):
        await source.read()


async def test_an_object_in_s3_is_downloaded_only_if_it_has_changed(s3, stack, monkeypatch):
    """A reading without a change is one request, whose answer has no body."""
    endpoint, made = s3
    for name, value in (("ENDPOINT", endpoint), ("ACCESS_KEY_ID", ACCESS_KEY), ("SECRET_ACCESS_KEY", SECRET_KEY)):
        monkeypatch.setenv(f"JIBE_AWS__{name}", value)
    made.put_object(Bucket=BUCKET, Key="a.json", Body=b"one")
    source = SettingsTexts(Texts(source=f"s3://{BUCKET}/a.json", file=b"one"), stack)
    statuses = []
    assert (await source.read()).file == b"one"
    aws = await source._in_s3._aws.client("s3", None, account_of_environment(), read_timeout=30)
    aws.meta.events.register(
        "after-call.s3.GetObject", lambda http_response, **_: statuses.append(http_response.status_code)
    )
    assert (await source.read()).file == b"one"
    made.put_object(Bucket=BUCKET, Key="a.json", Body=b"two")
    assert (await source.read()).file == b"two"
    assert (await source.read()).file == b"two"
    assert statuses == [304, 200, 304]
    made.delete_object(Bucket=BUCKET, Key="a.json")
    with pytest.raises(SettingsError, match=r"s3://configurations/a.json: NoSuchKey"):
        await source.read()


def account_of_environment():
    from jibe_sqs.compose.stores import account_of
    from jibe_sqs.settings import store_of_configuration

    return account_of(store_of_configuration({}))
