"""`--config s3://BUCKET/KEY`, with each command that reads a configuration, as a process."""

import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import finished

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.sandbox.processes import server
from jibe_sqs.settings import Rules, load
from jibe_sqs.settings.sources import bucket_and_key

BUCKET = "configurations"
VERIFY = ("verify", "--bucket", "trail", "--account", "111122223333", "--region", "us-east-1", "--from", "2026-01-01")
COMMANDS = [("run",), (), ("explain", "none.json"), ("principals",), ("dead-letters", "list"), VERIFY]
OKERA = {
    "endpoint": "https://files.example.com",
    "login": "ana",
    "password": "PASSWORD-CANARY",
    "s3Region": "us-east-1",
    "sqsRegion": "us-east-1",
    "sqsUrl": "https://sqs.us-east-1.amazonaws.com/111122223333/jibe",
}


@pytest.fixture(scope="module")
def s3():
    """The sandbox's AWS, and a bucket in it."""
    with server("jibe_sqs.sandbox.aws") as endpoint:
        made = client(endpoint, "s3", "us-east-1")
        made.create_bucket(Bucket=BUCKET)
        yield endpoint, made


@pytest.fixture
def stored(s3):
    """Stores a configuration file. Returns its address."""

    def stored(content, key="okera/jibe-config.json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        s3[1].put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    return stored


@pytest.fixture
def jibe_variables(s3):
    """JIBE_ variables with the address and the credentials of the store."""
    return {
        "JIBE_AWS__ENDPOINT": s3[0],
        "JIBE_AWS__ACCESS_KEY_ID": ACCESS_KEY,
        "JIBE_AWS__SECRET_ACCESS_KEY": SECRET_KEY,
    }


@pytest.fixture
def aws_variables(s3):
    """The AWS_ variables for the same store."""
    return {"AWS_ENDPOINT_URL": s3[0], "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def with_config(command, address):
    """The command with `--config` at its end. Without a command, `run`."""
    return (*(command or ("run",)), "--config", address)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0] if command else "default")
def test_every_command_reads_the_file_in_s3(jibe, stored, jibe_variables, command):
    """A mistake in the file proves that it was read."""
    address = stored({**OKERA, "bukets": {}})
    found = (
        jibe(*with_config(command, address), **jibe_variables)
        if command
        else jibe(JIBE_CONFIG=address, **jibe_variables)
    )
    assert found.returncode == 2
    assert "bukets: no such setting; did you mean buckets?" in found.stderr
    assert "Traceback" not in found.stderr
    assert SECRET_KEY not in found.stderr


def test_aws_variables_are_enough(jibe, stored, aws_variables):
    found = jibe("run", "--config", stored({**OKERA, "bukets": {}}), **aws_variables)
    assert "bukets: no such setting" in found.stderr


def test_the_file_in_s3_is_used(jibe, stored, jibe_variables):
    """The configuration maps the bucket to a folder. Without it, the folder would be /media."""
    address = stored({**OKERA, "buckets": {"media": "/Amazon S3/shown"}})
    event = {"eventSource": "aws:s3", "eventVersion": "2.1", "eventName": "ObjectCreated:Put", "awsRegion": "us-east-1"}
    event |= {"eventTime": "2026-01-01T00:00:00Z", "s3": {"bucket": {"name": "media"}, "object": {"key": "a/b.jpg"}}}
    found = jibe("explain", "--body", json.dumps({"Records": [event]}), "--json", JIBE_CONFIG=address, **jibe_variables)
    assert found.returncode == 0, found.stderr
    assert "/Amazon S3/shown/a" in found.stdout


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"[buckets]\nmedia = 3\n", "jibe.toml"),
        (b'\xef\xbb\xbf{"buckets": {"media": 3}}', "windows.json"),
        (b'{"buckets": {"media": 3}}', "without an ending"),
    ],
)
def test_the_ending_of_the_key_decides_the_format_and_a_byte_order_mark_is_ignored(
    jibe, stored, jibe_variables, content, key
):
    found = jibe("explain", "none.json", "--config", stored(content, key), **jibe_variables)
    assert found.returncode == 2
    assert "buckets.media: must be a list" in found.stderr


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"s3://{BUCKET}/none.json", f"s3://{BUCKET}/none.json: NoSuchKey: "),
        ("s3://no-such-bucket/jibe.json", "s3://no-such-bucket/jibe.json: NoSuchBucket: "),
        (f"s3://{BUCKET}", "must contain a bucket and a key: s3://BUCKET/KEY"),
        ("s3:///jibe.json", "must contain a bucket and a key: s3://BUCKET/KEY"),
    ],
)
def test_an_address_without_a_file_is_reported_in_one_line(jibe, s3, jibe_variables, address, words):
    found = jibe("run", JIBE_CONFIG=address, **jibe_variables)
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = [line for line in found.stderr.splitlines() if address in line]
    assert words in line
    assert "Traceback" not in found.stderr


def test_an_unparsable_file_is_reported_with_its_address(jibe, stored, jibe_variables):
    address = stored(b'{"password": CANARY}')
    found = jibe("run", "--config", address, **jibe_variables)
    assert found.returncode == 2
    assert f"{address}: not JSON: " in found.stderr
    assert "CANARY" not in found.stderr


def test_missing_credentials_are_reported(jibe, stored, s3):
    found = jibe("run", "--config", stored(OKERA), JIBE_AWS__ENDPOINT=s3[0])
    assert found.returncode == 2
    assert "no AWS credentials" in found.stderr


def test_mistakes_in_the_variables_of_the_store_are_reported_before_a_request(jibe, s3):
    found = jibe("run", "--config", f"s3://{BUCKET}/jibe.json", JIBE_AWS__ACCESS_KEY_ID="A", JIBE_AWS__ENDPOINT="x")
    assert found.returncode == 2
    assert "aws.endpoint: not an address" in found.stderr


def test_a_file_on_disk_needs_no_fetch_function(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert load(Rules, config=path).logs == ()
    with pytest.raises(SettingsError, match="cannot read from AWS"):
        load(Rules, config=f"s3://{BUCKET}/jibe.json")


SETTINGS_ALONE = """
import sys
from jibe_sqs.settings import Rules, load
load(Rules)
found = {"aiobotocore", "botocore", "aiohttp", "httpx", "obstore"} & set(sys.modules)
sys.exit(f"imported: {found}" if found else 0)
"""


def test_settings_import_no_library_that_does_io(tmp_path):
    done = finished([sys.executable, "-c", SETTINGS_ALONE], cwd=tmp_path, env=os.environ)
    assert done.returncode == 0, done.stderr


@given(st.from_regex(r"[a-z0-9.-]+", fullmatch=True), st.text(min_size=1).filter(lambda key: not key.endswith("/")))
def test_the_key_is_not_changed(bucket, key):
    assert bucket_and_key(f"s3://{bucket}/{key}") == (bucket, key)
    assert bucket_and_key(f"S3://{bucket}/{key}") == (bucket, key)
    assert bucket_and_key(f"/{bucket}/{key}") is None or "://" in key
