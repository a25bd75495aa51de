"""`--config s3://BUCKET/KEY`, for each command that takes a configuration, as a process."""

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
    """Stores a configuration file; gives its address."""

    def stored(content, key="okera/jibe-config.json"):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        s3[1].put_object(Bucket=BUCKET, Key=key, Body=body)
        return f"s3://{BUCKET}/{key}"

    return stored


@pytest.fixture
def ours(s3):
    """Variables of ours that say where the store is, and with which credentials it is read."""
    return {
        "JIBE_AWS__ENDPOINT": s3[0],
        "JIBE_AWS__ACCESS_KEY_ID": ACCESS_KEY,
        "JIBE_AWS__SECRET_ACCESS_KEY": SECRET_KEY,
    }


@pytest.fixture
def botocores(s3):
    """The same for botocore."""
    return {"AWS_ENDPOINT_URL": s3[0], "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def with_config(command, address):
    """A group of commands has its options at the end."""
    return (*(command or ("run",)), "--config", address)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0] if command else "default")
def test_every_command_reads_it(jibe, stored, ours, command):
    """A mistake in the file shows that it was read."""
    address = stored({**OKERA, "bukets": {}})
    found = jibe(*with_config(command, address), **ours) if command else jibe(JIBE_CONFIG=address, **ours)
    assert found.returncode == 2
    assert "bukets: no such setting; did you mean buckets?" in found.stderr
    assert "Traceback" not in found.stderr
    assert SECRET_KEY not in found.stderr


def test_botocores_environment_is_enough(jibe, stored, botocores):
    found = jibe("run", "--config", stored({**OKERA, "bukets": {}}), **botocores)
    assert "bukets: no such setting" in found.stderr


def test_a_right_one_is_used(jibe, stored, ours):
    """The configuration says where the bucket is shown; without one, it would be /media."""
    address = stored({**OKERA, "buckets": {"media": "/Amazon S3/shown"}})
    event = {"eventSource": "aws:s3", "eventVersion": "2.1", "eventName": "ObjectCreated:Put", "awsRegion": "us-east-1"}
    event |= {"eventTime": "2026-01-01T00:00:00Z", "s3": {"bucket": {"name": "media"}, "object": {"key": "a/b.jpg"}}}
    found = jibe("explain", "--body", json.dumps({"Records": [event]}), "--json", JIBE_CONFIG=address, **ours)
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
def test_the_keys_ending_decides_and_a_byte_order_mark_does_no_harm(jibe, stored, ours, content, key):
    found = jibe("explain", "none.json", "--config", stored(content, key), **ours)
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
def test_an_address_that_leads_nowhere_is_a_mistake_of_one_line(jibe, s3, ours, address, words):
    found = jibe("run", JIBE_CONFIG=address, **ours)
    assert (found.returncode, found.stdout) == (2, "")
    (line,) = [line for line in found.stderr.splitlines() if address in line]
    assert words in line
    assert "Traceback" not in found.stderr


def test_a_file_that_cannot_be_parsed_is_named_by_its_address(jibe, stored, ours):
    address = stored(b'{"password": CANARY}')
    found = jibe("run", "--config", address, **ours)
    assert found.returncode == 2
    assert f"{address}: not JSON: " in found.stderr
    assert "CANARY" not in found.stderr


def test_without_credentials_they_are_asked_for(jibe, stored, s3):
    found = jibe("run", "--config", stored(OKERA), JIBE_AWS__ENDPOINT=s3[0])
    assert found.returncode == 2
    assert "no AWS credentials" in found.stderr


def test_mistakes_in_the_variables_for_the_store_are_reported_before_it_is_asked(jibe, s3):
    found = jibe("run", "--config", f"s3://{BUCKET}/jibe.json", JIBE_AWS__ACCESS_KEY_ID="A", JIBE_AWS__ENDPOINT="x")
    assert found.returncode == 2
    assert "aws.endpoint: not an address" in found.stderr


def test_a_file_on_disk_needs_nothing_to_fetch_with(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.json"
    path.write_text("{}")
    assert load(Rules, config=path).logs == ()
    with pytest.raises(SettingsError, match="cannot read from S3"):
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
def test_the_key_is_taken_as_it_is(bucket, key):
    assert bucket_and_key(f"s3://{bucket}/{key}") == (bucket, key)
    assert bucket_and_key(f"S3://{bucket}/{key}") == (bucket, key)
    assert bucket_and_key(f"/{bucket}/{key}") is None or "://" in key
