"""The CA certificates that each client trusts, by settings and variables, tested with real handshakes."""

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from botocore.exceptions import SSLError
from tests.adapters.test_access_anywhere_tls import Authority

from jibe_sqs.adapters import authorities
from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.authorities import aws_bundle, aws_trusted, trusted
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http1_errors import TlsFailed
from jibe_sqs.adapters.s3_get import Objects, place
from jibe_sqs.adapters.sns_signatures import sns_signatures
from jibe_sqs.compose import rules, stores
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Rules, load

VARIABLES = ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"]
"""All settings and variables, the strongest first."""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def folder(ours, tmp_path_factory):
    """A folder as `openssl rehash` makes it."""
    found = tmp_path_factory.mktemp("hashed")
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(ours.ca_file)]
    name = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (found / f"{name}.0").write_bytes(ours.ca_file.read_bytes())
    return found


@pytest.fixture
def value(ours, folder):
    return lambda variable: str(folder if variable == "SSL_CERT_DIR" else ours.ca_file)


@asynccontextmanager
async def store(authority):
    """Answers every request with an empty object."""

    async def serve(reader, writer):
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=authority.context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def head(endpoint, aws, account):
    client = await aws.client("s3", "eu-west-1", account, attempts=1)
    await client.head_bucket(Bucket="the-logs")


async def get(endpoint, aws, account):
    client = aws.offline_client("s3", "eu-west-1", account)
    found = await Objects(aws, account, place(client, "the-logs", {})).open("k", None)
    # After the whole body, the connection returns to the pool, whose end the test waits for.
    assert await found.chunk() == b""
    found.close()


async def by_httpx(endpoint, _aws, _account):
    async with Connections() as connections, connections.one() as client:
        (await client.get(endpoint)).raise_for_status()


CLIENTS = {"HEAD": head, "GET": get, "httpx": by_httpx}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("variable", VARIABLES)
async def test_each_client_trusts_the_environments_certificates(ours, value, monkeypatch, client, variable):
    monkeypatch.setenv(variable, value(variable))
    async with store(ours) as endpoint, Aws() as aws:
        call = CLIENTS[client](endpoint, aws, Account(endpoint=endpoint, access_key_id="a", secret_access_key="b"))
        if (client, variable) == ("httpx", "AWS_CA_BUNDLE"):
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                await call
        else:
            await call


@pytest.mark.parametrize("client", ["HEAD", "GET"])
async def test_the_setting_is_stronger_than_all_variables(ours, value, monkeypatch, tmp_path, client):
    other = Authority(tmp_path / "other")
    for variable in VARIABLES[:-1]:
        monkeypatch.setenv(variable, str(other.ca_file))
    async with store(ours) as endpoint, Aws() as aws:
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b", ca_file=str(ours.ca_file))
        await CLIENTS[client](endpoint, aws, account)


@pytest.mark.parametrize("client", ["HEAD", "GET"])
async def test_without_any_of_them_an_unknown_ca_is_refused(ours, monkeypatch, client):
    """Also with an empty variable: with it, botocore would verify nothing, or fail at the start."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
    monkeypatch.setattr("jibe_sqs.adapters.s3_get.TRIES", 1)
    async with store(ours) as endpoint, Aws() as aws:
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
        with pytest.raises((SSLError, TlsFailed), match="CERTIFICATE_VERIFY_FAILED"):
            await CLIENTS[client](endpoint, aws, account)


def test_the_strongest_set_variable_decides(value, monkeypatch):
    authorities._trusting.cache_clear()  # a folder's certificates are read, and counted, when a server is verified
    for variable in reversed(VARIABLES[1:]):
        monkeypatch.setenv(variable, value(variable))
        assert aws_bundle() == value(variable)
        assert trusted()().cert_store_stats()["x509_ca"] == (0 if variable == "SSL_CERT_DIR" else 1)


def test_aws_clients_use_the_profiles_bundle(ours, monkeypatch):
    Path(os.environ["AWS_CONFIG_FILE"]).write_text(f"[default]\nca_bundle = {ours.ca_file}\n")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    assert aws_bundle() == str(ours.ca_file)
    assert aws_trusted(str(ours.ca_file)).cert_store_stats()["x509_ca"] == 1


OPENED = {
    "Access Anywhere": (
        lambda: connect(endpoint="https://aa.example", permanent_token="x", clock=None),
        {"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"},
    ),
    "the webhook": (Connections, {"REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"}),
    "SNS": (sns_signatures, set(VARIABLES)),
    "the stores": (lambda: stores.clients(load(Rules)), set(VARIABLES)),
}


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("kind", ["missing", "no certificate", "an empty folder"])
async def test_an_unusable_variable_is_a_settings_error_that_names_it(monkeypatch, tmp_path, opened, variable, kind):
    open_, heeded = OPENED[opened]
    if variable not in heeded:
        pytest.skip("not read by this client")
    path = tmp_path / "ca"
    if kind == "no certificate":
        path.write_text("words")
    elif kind == "an empty folder":
        path.mkdir()
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(SettingsError, match=rf"^{variable}: .*{path}"):
        async with open_():
            pass


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"aws": {"ca_file": "/nowhere/ca.pem"}}, "aws.ca_file"),
        ({"logs": [{"bucket": "the-logs", "ca_file": "/nowhere/ca.pem"}]}, "logs.ca_file"),
        ({"ledger": {"ca_file": "/nowhere/ca.pem"}}, "ledger.ca_file"),
    ],
)
def test_an_unusable_setting_is_a_settings_error_that_names_it(settings, name):
    with pytest.raises(SettingsError, match=rf"^{name}: .*/nowhere/ca\.pem"):
        stores.clients(Rules(**settings))


def test_a_missing_profile_is_a_settings_error(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "gone")
    with pytest.raises(SettingsError, match="gone"):
        stores.clients(Rules())


def test_a_queue_or_a_log_source_may_have_its_own_ca(ours, tmp_path):
    other = Authority(tmp_path / "other")
    settings = Rules(
        aws={"ca_file": ours.ca_file},
        logs=[{"bucket": "the-logs", "ca_file": other.ca_file}, {"bucket": "more-logs"}],
    )
    assert rules.decisions(settings)
    assert [stores.account_of(settings.aws, each).ca_file for each in settings.logs] == [
        str(other.ca_file),
        str(ours.ca_file),
    ]
