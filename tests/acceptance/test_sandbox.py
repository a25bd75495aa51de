"""`jibe-sqs sandbox`, as a process: where all is, in one line, and nothing left when it is stopped."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from jibe_sqs.sandbox.aws.deployment import client

KEYS = {
    "aws",
    "access_anywhere",
    "login",
    "password",
    "permanent_token",
    "log_bucket",
    "buckets",
    "topics",
    "queues",
    "dead_letters",
    "config",
}


def truth(here):
    """(folder of Access Anywhere, key) -> (size, ETag): what S3 holds."""
    found = {}
    for bucket, folder in here["buckets"].items():
        listed = client(here["aws"], "s3", "us-east-1").list_objects_v2(Bucket=bucket).get("Contents", [])
        found |= {f"{folder}/{item['Key']}": (item["Size"], item["ETag"].strip('"')) for item in listed}
    return found


def shown(here):
    index = httpx.get(f"{here['access_anywhere']}/sandbox/index", trust_env=False, timeout=30).json()
    return {file["path"]: (file["size"], file["etag"]) for file in index}


def test_it_says_where_all_is_works_and_leaves_nothing(start, children, alive, eventually):
    running = start("sandbox", "--json", "--consume", "--changes", "40")
    here = json.loads(running.process.stdout.readline())
    assert set(here) == KEYS
    assert set(here["topics"]) > set(here["queues"]) == set(here["dead_letters"])
    config = Path(here["config"])
    assert config.stat().st_mode & 0o077 == 0
    processes = children(running.process.pid)
    assert len(processes) == 3

    assert truth(here)
    eventually(lambda: truth(here) == shown(here), "Access Anywhere shows what S3 holds", within=60)
    assert running.process.poll() is None

    assert running.stop() == 0
    assert running.process.stdout.read() == ""
    assert [pid for pid in processes if alive(pid)] == []
    assert not config.parent.exists()


def test_its_changes_can_be_told_in_another_format(start, eventually):
    running = start("sandbox", "--format", "s3-event", "--json", "--consume", "--changes", "40")
    here = json.loads(running.process.stdout.readline())
    assert set(here) == KEYS
    assert truth(here)
    eventually(lambda: truth(here) == shown(here), "Access Anywhere shows what S3 holds", within=60)
    assert running.stop() == 0


def test_its_configuration_is_one_that_an_operator_could_have_written(sandbox, jibe):
    """All of it is known: nothing in it is passed over."""
    assert sandbox["login"] == json.loads(Path(sandbox["config"]).read_text())["access_anywhere"]["login"]
    body = json.dumps({"s3Bucket": sandbox["log_bucket"], "s3ObjectKey": ["a.json.gz"]})
    assert jibe("explain", "--json", "--body", "--config", sandbox["config"], body).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_while_it_starts_it_leaves_nothing(start, children, alive, eventually, number):
    running = start("sandbox", "--json")
    processes = eventually(lambda: children(running.process.pid), "the first server")
    assert running.stop(number) == 0
    eventually(lambda: not any(map(alive, processes)), "its servers are gone", within=10)
    assert "Traceback" not in running.output


def test_to_people_it_says_how_to_go_on_and_its_servers_do_not_outlive_it(start, children, alive, eventually, tmp_path):
    # What is killed cannot tidy up.
    running = start("sandbox", TMPDIR=str(tmp_path))
    lines = [running.process.stdout.readline()]
    while "Buckets" not in lines[-1]:
        lines.append(running.process.stdout.readline())
        assert lines[-1], "it ended"
    said = "".join(lines)
    assert "jibe-sqs run --config" in said
    assert "rclone" in said
    processes = children(running.process.pid)
    assert len(processes) == 2
    running.process.kill()
    eventually(lambda: not any(map(alive, processes)), "its servers are gone", within=10)


def test_without_its_extra_it_says_what_to_install(tmp_path, environment):
    """As an operator who installed the service only: moto, boto3 and the servers are not there."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['boto3'] = None\n")
    for command in (["sandbox"], ["demo"]):
        result = subprocess.run(
            [sys.executable, "-m", "jibe_sqs", *command],
            capture_output=True,
            text=True,
            check=False,
            env=environment(PYTHONPATH=str(tmp_path)),
        )
        assert result.returncode == 1
        assert "pip install 'jibe-sqs[sandbox]'" in result.stderr
        assert "Traceback" not in result.stderr
