"""The stub behaves as SQS, S3 and Access Anywhere do, as far as the benchmarks depend on it."""

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import boto3
import pytest
from bench.peers.events import announced, object_events
from bench.peers.limit import Connection
from bench.stub.log_files import key_of, stored
from bench.stub.process import StubProcess
from botocore.config import Config
from botocore.exceptions import ClientError

KEYS = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "secret", "region_name": "us-east-1"}


def client(stub: StubProcess, service: str, **config):
    return boto3.client(service, endpoint_url=stub.endpoint, config=Config(**config), **KEYS)


@pytest.fixture
def sqs(stub):
    return client(stub, "sqs", retries={"total_max_attempts": 1})


@pytest.fixture
def url(stub):
    return stub.queue_url("q")


def received(sqs, url, limit=10, **arguments):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=limit, **arguments).get("Messages", [])


def test_a_received_message_is_hidden_until_its_visibility_ends(stub, sqs, url):
    stub.load("q", "tiny", 1)
    (first,) = received(sqs, url, VisibilityTimeout=1)
    assert not received(sqs, url)
    (again,) = received(sqs, url, WaitTimeSeconds=20)
    assert again["MessageId"] == first["MessageId"]
    assert again["ReceiptHandle"] != first["ReceiptHandle"]


def test_a_message_shown_again_counts_its_receives(stub, sqs, url):
    stub.load("q", "tiny", 1)
    (first,) = received(sqs, url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (again,) = received(sqs, url, AttributeNames=["All"])
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_a_longer_visibility_replaces_the_shorter_one(stub, sqs, url):
    stub.load("q", "tiny", 1)
    (first,) = received(sqs, url, VisibilityTimeout=1)
    entry = {"Id": "0", "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeout": 3600}
    sqs.change_message_visibility_batch(QueueUrl=url, Entries=[entry])
    assert not received(sqs, url, WaitTimeSeconds=2)
    assert stub.state()["queues"]["q"]["in_flight"] == 1


def test_a_long_poll_is_answered_when_a_message_comes(stub, sqs, url):
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(received, sqs, url, WaitTimeSeconds=20)
        stub.wait(polls=1, timeout=60)
        stub.load("q", "tiny", 3)
        assert len(waiting.result()) == 3


def test_a_long_poll_of_an_empty_queue_ends_without_messages(sqs, url):
    assert received(sqs, url, WaitTimeSeconds=1) == []


def test_draining_answers_the_long_polls(stub, sqs, url):
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(received, sqs, url, WaitTimeSeconds=20)
        stub.wait(polls=1, timeout=60)
        stub.set(draining=True)
        assert waiting.result() == []
    assert received(sqs, url, WaitTimeSeconds=20) == []


def test_a_paused_queue_seems_empty(stub, sqs, url):
    stub.load("q", "tiny", 1)
    stub.set(paused=True)
    assert received(sqs, url) == []
    stub.set(paused=False)
    assert len(received(sqs, url)) == 1


def test_an_abandoned_long_poll_takes_no_message(stub, sqs, url):
    impatient = client(stub, "sqs", read_timeout=1, retries={"total_max_attempts": 1})
    with pytest.raises(Exception, match="timeout"):
        received(impatient, url, WaitTimeSeconds=20)
    stub.load("q", "tiny", 1)
    assert len(received(sqs, url)) == 1


def test_deleted_messages_are_gone_and_counted(stub, sqs, url):
    stub.load("q", "tiny", 12)
    messages = received(sqs, url)
    entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
    assert len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 10
    (one, _) = received(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
    queue = stub.state()["queues"]["q"]
    assert (queue["waiting"], queue["in_flight"], queue["deleted"]) == (0, 1, 11)


def test_an_invalid_receipt_is_refused(sqs, url):
    failed = sqs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "0", "ReceiptHandle": "x"}])["Failed"]
    assert [entry["Code"] for entry in failed] == ["ReceiptHandleIsInvalid"]
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        sqs.delete_message(QueueUrl=url, ReceiptHandle="x")


def test_a_sent_message_is_received_with_its_body(sqs, url):
    assert sqs.get_queue_url(QueueName="q")["QueueUrl"].endswith("/q")
    sqs.send_message(QueueUrl=url, MessageBody="one")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "0", "MessageBody": "two"}])
    assert [message["Body"] for message in received(sqs, url)] == ["one", "two"]


def test_requests_are_counted_by_operation(stub, sqs, url):
    stub.load("q", "tiny", 1)
    received(sqs, url)
    received(sqs, url)
    sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
    assert stub.counts() == {
        "sqs ReceiveMessage": 2,
        "sqs receives with messages": 1,
        "sqs messages received": 1,
        "sqs GetQueueAttributes": 1,
    }


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_a_message_announces_a_log_file_that_can_be_read(stub, sqs, url, style):
    events = stub.events("tiny", 3)
    stub.load("q", "tiny", 3)
    # No name server knows the bucket's host, so only a header names it.
    s3 = client(stub, "s3", s3={"addressing_style": "path"})
    found = 0
    for message in received(sqs, url):
        ((bucket, key),) = announced(message["Body"])
        if style == "path":
            body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        else:
            body = urlopen(Request(f"{stub.endpoint}/{key}", headers={"Host": f"{bucket}.s3.test"})).read()
        assert 1 <= len(json.loads(gzip.decompress(body))["Records"]) <= 5
        found += len(object_events(body))
    assert found == events
    assert stub.counts()["s3 GET"] == 3


def test_a_missing_object_is_missing(stub):
    s3 = client(stub, "s3", s3={"addressing_style": "path"})
    s3.head_bucket(Bucket="trail")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="trail", Key="missing.json.gz")


def test_pipelined_requests_are_answered_in_order(stub):
    keys = [key_of("tiny", number) for number in range(3)]
    host, port = stub.endpoint.removeprefix("http://").split(":")
    with closing(Connection(host, int(port))) as connection:
        connection.send(b"".join(b"GET /trail/%s HTTP/1.1\r\nHost: x\r\n\r\n" % key.encode() for key in keys))
        bodies = [connection.body() for _ in keys]
    assert bodies == [stored("trail", key).stored for key in keys]
    assert len(set(bodies)) == 3


def called(stub, function, **parameters):
    body = urlencode({"function": function, "token": "t", **parameters}).encode()
    return json.loads(urlopen(f"{stub.endpoint}/api/rpc.php", body).read())


def test_a_new_folder_is_known_after_a_refresh_of_the_folder_above(stub):
    stub.set(new_folders=True)

    def exists():
        return called(stub, "checkPathExists", path="many", pid=bucket)["exists"]

    def listed():
        return [each["fi_name"] for each in called(stub, "getFolderContents", fi_pid=bucket)["filelist"]]

    bucket = called(stub, "checkPathExists", path="S3/example-projects", pid="")["file"]["fi_id"]
    refresh = {"fi_pid": bucket, "refresh": "y", "refreshtype": "a"}
    early = called(stub, "getFolderContents", **refresh)["refreshresult"]["token"]
    assert exists() == "n"
    urlopen(f"{stub.endpoint}/trail/{key_of('manyfolders', 1)}").read()
    called(stub, "getFolderContents", **refresh, refreshtoken=early)
    assert (exists(), listed()) == ("n", [])
    late = called(stub, "getFolderContents", **refresh)["refreshresult"]["token"]
    assert (exists(), listed()) == ("n", [])
    assert "stillsyncing" not in called(stub, "getFolderContents", **refresh, refreshtoken=late)
    assert (exists(), listed()) == ("y", ["many"])


def test_a_slow_refresh_is_still_running(stub):
    stub.set(refresh_seconds=3600)
    refresh = {"fi_pid": "2", "refresh": "y", "refreshtype": "a"}
    token = called(stub, "getFolderContents", **refresh)["refreshresult"]["token"]
    assert called(stub, "getFolderContents", **refresh, refreshtoken=token)["stillsyncing"] == "y"


def test_waiting_for_deletions_ends_with_the_last_one(stub, sqs, url):
    stub.load("q", "tiny", 1)
    (message,) = received(sqs, url)
    with pytest.raises(TimeoutError):
        stub.wait(queue="q", deleted=1, timeout=0.2)
    threading.Timer(0.1, lambda: sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])).start()
    assert stub.wait(queue="q", deleted=1, timeout=60)["queues"]["q"]["deleted"] == 1
