"""`jibe-sqs sandbox` as a process: it prints one line of JSON, and leaves nothing behind when it is stopped."""

import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, children, eventually, finished, is_alive

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
    "environment",
}


def truth(here):
    """ "FOLDER/KEY" -> (size, ETag), for all objects in S3."""
    found = {}
    for bucket, folder in here["buckets"].items():
        listed = client(here["aws"], "s3", "us-east-1").list_objects_v2(Bucket=bucket).get("Contents", [])
        found |= {f"{folder}/{item['Key']}": (item["Size"], item["ETag"].strip('"')) for item in listed}
    return found


def shown(here):
    index = httpx.get(f"{here['access_anywhere']}/sandbox/index", timeout=PATIENCE).json()
    return {file["path"]: (file["size"], file["etag"]) for file in index}


def test_it_describes_itself_works_and_leaves_nothing_behind(start):
    running = start("sandbox", "--json", "--consume", "--changes", "40")
    here = json.loads(running.line())
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
    assert len(running.said.splitlines()) == 1
    assert [pid for pid in processes if is_alive(pid)] == []
    assert not config.parent.exists()


def test_ctrl_c_lets_the_consumer_drain(start):
    """A terminal sends SIGINT to the whole process group. A consumer that receives two signals ends at once."""
    running = start("sandbox", "--json", "--consume", "--changes", "40")
    running.line()
    running.wait_for("started")
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.ended() == 0
    assert running.events("stopped")
    assert not running.events("stopped_at_once")


def test_its_consumer_ends_with_it(start, tmp_path):
    # A process that is killed cannot remove its files: keep them in the test's folder.
    running = start("sandbox", "--json", "--consume", TMPDIR=str(tmp_path))
    running.line()
    running.wait_for("started")
    processes = children(running.process.pid)
    assert len(processes) == 3
    running.process.kill()
    eventually(lambda: not any(map(is_alive, processes)), "the end of its servers and of its consumer")


def test_its_changes_can_be_published_in_another_format(start):
    running = start("sandbox", "--format", "s3-event", "--json", "--consume", "--changes", "40")
    here = json.loads(running.line())
    assert set(here) == KEYS
    assert truth(here)
    eventually(lambda: truth(here) == shown(here), "Access Anywhere shows what S3 holds", within=60)
    assert running.stop() == 0


@pytest.mark.parametrize("format_", ["cloudtrail", "mixed"])
def test_changes_by_other_programs_under_awss_names_are_logged_and_refreshed(start, format_):
    running = start("sandbox", "--format", format_, "--json", "--consume")
    here = json.loads(running.line())

    def in_sync(what):
        assert truth(here)
        eventually(lambda: truth(here) == shown(here), f"Access Anywhere shows what S3 holds, {what}")

    clients = {
        bucket: aws_client(here["environment"], "s3", bucket.removeprefix("jibe-sandbox-").rpartition("-")[0])
        for bucket in here["buckets"]
    }
    for bucket, s3 in clients.items():
        for key in ("new dir/h.txt", "new dir/b+é.txt", "old/a", "old/b", "top"):
            s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    in_sync("after puts")
    for bucket, s3 in clients.items():
        s3.copy_object(Bucket=bucket, Key="copies/h.txt", CopySource={"Bucket": bucket, "Key": "new dir/h.txt"})
        upload = s3.create_multipart_upload(Bucket=bucket, Key="parts/p")["UploadId"]
        part = s3.upload_part(Bucket=bucket, Key="parts/p", UploadId=upload, PartNumber=1, Body=b"part")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=bucket, Key="parts/p", UploadId=upload, MultipartUpload=parts)
    in_sync("after copies and multipart uploads")
    for bucket, s3 in clients.items():
        s3.delete_object(Bucket=bucket, Key="top")
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "old/a"}, {"Key": "old/b"}]})
    in_sync("after deletions")
    assert running.stop() == 0


def test_its_queues_can_be_used_under_their_real_names_and_at_the_endpoint(sandbox):
    """Two regions have queues with the same name. Both kinds of clients reach the right one."""
    assert sandbox["queues"] == {
        region: f"https://sqs.{region}.amazonaws.com/123456789012/jibe-log-delivery"
        for region in ("us-east-1", "eu-west-1")
    }
    for region, url in [*sandbox["queues"].items(), *sandbox["dead_letters"].items()]:
        real, local = aws_client(sandbox["environment"], "sqs", region), client(sandbox["aws"], "sqs", region)
        for sender, receiver in ((real, local), (local, real)):
            sent = sender.send_message(QueueUrl=url, MessageBody=f"to {region}")["MessageId"]
            # The queues also contain CloudTrail's messages from the start of the trail.
            found = receiver.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=5
            )
            (message,) = (each for each in found["Messages"] if each["MessageId"] == sent)
            receiver.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            assert message["Body"] == f"to {region}"


def test_another_program_needs_only_its_environment(sandbox, tmp_path):
    """The program sets no endpoint, region, credentials or certificates. All of these are in the environment."""
    program = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    assert Path(sandbox["environment"]["AWS_CA_BUNDLE"]).is_file()
    result = finished([sys.executable, "-c", program], cwd=tmp_path, env={**os.environ, **sandbox["environment"]})
    assert result.stdout.startswith("jibe-sandbox-"), result.stderr


def test_its_configuration_sets_no_endpoint_region_or_credentials_for_aws(sandbox):
    config = json.loads(Path(sandbox["config"]).read_text())
    assert "aws" not in config
    assert config["queues"] == [{"url": url} for url in sandbox["queues"].values()]
    assert {name for each in config["logs"] for name in each} <= {"bucket", "prefix", "format"}


def test_its_configuration_is_valid(sandbox, jibe):
    """The configuration has no unknown settings."""
    assert sandbox["login"] == json.loads(Path(sandbox["config"]).read_text())["access_anywhere"]["login"]
    body = json.dumps({"s3Bucket": sandbox["log_bucket"], "s3ObjectKey": ["a.json.gz"]})
    assert jibe("explain", "--json", "--body", "--config", sandbox["config"], body).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_leaves_nothing_behind(start, number):
    running = start("sandbox", "--json")
    processes = eventually(lambda: children(running.process.pid), "the first server")
    assert running.stop(number) == 0
    eventually(lambda: not any(map(is_alive, processes)), "the end of its servers")
    assert "Traceback" not in running.output


def test_it_prints_instructions_and_its_servers_end_with_it(start, tmp_path):
    # A process that is killed cannot remove its files: keep them in the test's folder.
    running = start("sandbox", TMPDIR=str(tmp_path))
    running.line("Buckets")
    assert "jibe-sqs run --config" in running.said
    assert "rclone" in running.said
    assert "export HTTPS_PROXY=http://127.0.0.1:" in running.said
    assert "export AWS_CA_BUNDLE=" in running.said
    processes = children(running.process.pid)
    assert len(processes) == 2
    running.process.kill()
    eventually(lambda: not any(map(is_alive, processes)), "the end of its servers")


def test_without_its_extra_it_prints_what_to_install(jibe, tmp_path):
    """An installation of the service alone has neither moto nor boto3."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['boto3'] = None\n")
    for command in (["sandbox"], ["demo"]):
        result = jibe(*command, PYTHONPATH=str(tmp_path))
        assert result.returncode == 1
        assert "pip install '.[sandbox]' in a checkout, or use make demo" in result.stderr
        assert "Traceback" not in result.stderr
