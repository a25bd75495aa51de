"""The sandbox's AWS under its real host names: an HTTPS proxy and TLS in front of moto."""

import http.client
import json
import os
import socket
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from urllib.parse import urlsplit

import httpx
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, ProxyConnectionError, SSLError
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, eventually

from jibe_sqs.sandbox.aws.certificates import CA_FILE, Certificates
from jibe_sqs.sandbox.aws.deployment import client
from jibe_sqs.sandbox.aws.host_names import HOSTS, is_aws
from jibe_sqs.sandbox.aws.object_writes import WRITES

HOME = "us-east-1"
AWAY = "eu-west-1"
NUMBER = count(1)
ACCOUNT = "123456789012"
BIG = os.urandom(8 * 1024 * 1024)
TABLE = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def aws(tunnelled_aws):
    return tunnelled_aws


@pytest.fixture
def hosts(aws):
    """Host name -> number of requests since the test began."""

    def counts():
        return httpx.get(aws.endpoint + HOSTS, timeout=PATIENCE, trust_env=False).json()

    before = counts()
    return lambda: {
        host: number - before.get(host, 0) for host, number in counts().items() if number > before.get(host, 0)
    }


@pytest.fixture
def bucket(aws):
    """Create a bucket through the endpoint. Returns its name."""

    def made(region=AWAY, name="bucket-{}"):
        name = name.format(next(NUMBER))
        where = {} if region == HOME else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        client(aws.endpoint, "s3", region).create_bucket(Bucket=name, **where)
        return name

    return made


@pytest.fixture
def tunnel(aws):
    """Open a tunnel, without sending an HTTP request."""
    opened = []

    def tunnel(host):
        plain = socket.create_connection(("127.0.0.1", aws.port), PATIENCE)
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += plain.recv(1)
        assert head.startswith(b"HTTP/1.1 200 ")
        trusting = ssl.create_default_context(cafile=aws.ca_file)
        opened.append(trusting.wrap_socket(plain, server_hostname=host))
        return opened[-1]

    yield tunnel
    for each in opened:
        each.close()


def connection(aws, host):
    """A connection that uses one tunnel for all requests."""
    trusting = ssl.create_default_context(cafile=aws.ca_file)
    made = http.client.HTTPSConnection("127.0.0.1", aws.port, timeout=PATIENCE, context=trusting)
    made.set_tunnel(host)
    return made


# Clients


def test_boto3_reaches_every_service_under_its_real_host_name(aws, bucket, hosts):
    name = bucket()
    services = {
        service: aws_client(aws.environment, service, AWAY) for service in ("s3", "sqs", "sns", "sts", "dynamodb")
    }
    services["s3"].put_object(Bucket=name, Key="a", Body=b"a")
    queue = services["sqs"].create_queue(QueueName=f"queue-{next(NUMBER)}")["QueueUrl"]
    assert queue.startswith(f"https://sqs.{AWAY}.amazonaws.com/{ACCOUNT}/queue-")
    assert services["sns"].create_topic(Name="topic")["TopicArn"] == f"arn:aws:sns:{AWAY}:{ACCOUNT}:topic"
    assert services["sts"].get_caller_identity()["Account"] == ACCOUNT
    table = f"table-{next(NUMBER)}"
    assert services["dynamodb"].create_table(TableName=table, **TABLE)["TableDescription"]["TableName"] == table
    regional = {f"{service}.{AWAY}.amazonaws.com": 1 for service in ("sqs", "sns", "sts", "dynamodb")}
    assert hosts() == {f"{name}.s3.{AWAY}.amazonaws.com": 1, **regional}


async def test_aiobotocore_reaches_every_service_under_its_real_host_name(aws, bucket, hosts):
    name, queue = bucket(), f"queue-{next(NUMBER)}"
    config = AioConfig(proxies={"https": aws.endpoint})
    keys = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "x"}

    def made(service):
        return get_session().create_client(service, AWAY, verify=str(aws.ca_file), config=config, **keys)

    async with made("s3") as s3, made("sqs") as sqs, made("dynamodb") as dynamodb, made("sts") as sts:
        await s3.put_object(Bucket=name, Key="big", Body=BIG)
        async with (await s3.get_object(Bucket=name, Key="big"))["Body"] as body:
            assert await body.read() == BIG
        url = (await sqs.create_queue(QueueName=queue))["QueueUrl"]
        await sqs.send_message(QueueUrl=url, MessageBody="hello")
        (message,) = (await sqs.receive_message(QueueUrl=url))["Messages"]
        assert message["Body"] == "hello"
        table = f"table-{next(NUMBER)}"
        assert (await dynamodb.create_table(TableName=table, **TABLE))["TableDescription"]["TableName"] == table
        assert (await sts.get_caller_identity())["Account"] == ACCOUNT
    regional = {f"{service}.{AWAY}.amazonaws.com": n for service, n in (("sqs", 3), ("dynamodb", 1), ("sts", 1))}
    assert hosts() == {f"{name}.s3.{AWAY}.amazonaws.com": 2, **regional}


@pytest.mark.parametrize("region", [HOME, AWAY])
@pytest.mark.parametrize("style", ["virtual", "path"])
@pytest.mark.parametrize("name", ["bucket-{}", "a.bucket.with.dots.{}"])
def test_objects_are_put_read_listed_and_deleted_by_every_kind_of_address(aws, bucket, hosts, region, style, name):
    name = bucket(region, name)
    s3 = aws_client(aws.environment, "s3", region, s3={"addressing_style": style})
    keys = ["a", "a//b", "/a", "//a", "a/", "../a", "a b+c%2Fd?e#f&g", "naïve/🎬"]
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=key.encode(), Metadata={"under_score": "kept"})
        found = s3.get_object(Bucket=name, Key=key)
        assert (found["Body"].read().decode(), found["Metadata"]) == (key, {"under_score": "kept"})
        assert s3.head_object(Bucket=name, Key=key)["ContentLength"] == len(key.encode())
    listed = s3.list_objects_v2(Bucket=name)["Contents"]
    assert sorted(each["Key"] for each in listed) == sorted(keys)
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == region
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
    assert "Contents" not in s3.list_objects_v2(Bucket=name)
    is_virtual = style == "virtual" and "." not in name
    # By default, boto3 uses the oldest host name for us-east-1.
    regional = "s3.amazonaws.com" if region == HOME else f"s3.{region}.amazonaws.com"
    assert set(hosts()) == {f"{name}.{regional}" if is_virtual else regional}


def test_large_bodies_and_ranges_arrive_complete(aws, bucket):
    name, s3 = bucket(), aws_client(aws.environment, "s3", AWAY)
    s3.put_object(Bucket=name, Key="big", Body=BIG)
    assert s3.get_object(Bucket=name, Key="big")["Body"].read() == BIG
    part = s3.get_object(Bucket=name, Key="big", Range="bytes=4194304-4194309")
    assert (part["ContentRange"], part["Body"].read()) == (f"bytes 4194304-4194309/{len(BIG)}", BIG[4194304:4194310])
    assert s3.head_object(Bucket=name, Key="big")["ContentLength"] == len(BIG)
    copied = s3.copy_object(Bucket=name, Key="copy", CopySource={"Bucket": name, "Key": "big"})
    assert copied["CopyObjectResult"]["ETag"] == s3.head_object(Bucket=name, Key="big")["ETag"]


@pytest.mark.parametrize("style", ["virtual", "path"])
def test_changes_of_objects_are_recorded_if_they_succeed_and_come_through_a_tunnel(aws, bucket, style):
    name = bucket()
    s3 = aws_client(aws.environment, "s3", AWAY, s3={"addressing_style": style})
    client(aws.endpoint, "s3", AWAY).put_object(Bucket=name, Key="by the endpoint", Body=b"a")
    etag = s3.put_object(Bucket=name, Key="new dir/a+é", Body=b"abc")["ETag"].strip('"')
    s3.copy_object(Bucket=name, Key="/b", CopySource={"Bucket": name, "Key": "new dir/a+é"})
    s3.put_object_tagging(Bucket=name, Key="/b", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    with pytest.raises(ClientError):
        s3.copy_object(Bucket=name, Key="c", CopySource={"Bucket": name, "Key": "not there"})
    upload = s3.create_multipart_upload(Bucket=name, Key="d")["UploadId"]
    part = s3.upload_part(Bucket=name, Key="d", UploadId=upload, PartNumber=1, Body=b"abcd")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    completed = s3.complete_multipart_upload(Bucket=name, Key="d", UploadId=upload, MultipartUpload=parts)
    s3.delete_object(Bucket=name, Key="/b")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "d"}, {"Key": "new dir/a+é"}], "Quiet": True})

    def recorded(since=0):
        answer = httpx.get(f"{aws.endpoint}{WRITES}?since={since}", timeout=PATIENCE, trust_env=False).json()
        return [each for each in answer if each["bucket"] == name]

    found = recorded()
    kinds_and_keys = [(each["kind"], *each["keys"]) for each in found]
    assert kinds_and_keys == [
        ("put", "new dir/a+é"),
        ("copy", "/b"),
        ("multipart", "d"),
        ("delete", "/b"),
        ("delete-many", "d", "new dir/a+é"),
    ]
    assert [(each["size"], each["etag"]) for each in found] == [
        (3, etag),
        (3, etag),
        (4, completed["ETag"].strip('"')),
        (0, ""),
        (0, ""),
    ]
    assert [each["source"] for each in found] == [None, [name, "new dir/a+é"], None, None, None]
    assert all(each["began"] <= each["at"] for each in found)
    assert recorded(found[2]["n"]) == found[3:]


@pytest.mark.parametrize(
    ("region", "config", "s3_host", "sqs_host"),
    [
        ("us-east-1", {}, "s3.amazonaws.com", "sqs.us-east-1.amazonaws.com"),
        ("us-east-1", {"use_fips_endpoint": True}, "s3-fips.us-east-1.amazonaws.com", "sqs-fips.us-east-1.amazonaws.com"),
        ("us-west-2", {"use_dualstack_endpoint": True}, "s3.dualstack.us-west-2.amazonaws.com", "sqs.us-west-2.api.aws"),
        ("us-gov-west-1", {}, "s3.us-gov-west-1.amazonaws.com", "sqs.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", {}, "s3.cn-north-1.amazonaws.com.cn", "sqs.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", {}, "s3.eusc-de-east-1.amazonaws.eu", "sqs.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", {}, "s3.us-iso-east-1.c2s.ic.gov", "sqs.us-iso-east-1.c2s.ic.gov"),
    ],
)  # fmt: skip
def test_every_partition_and_kind_of_endpoint_exists(aws, bucket, hosts, region, config, s3_host, sqs_host):
    name = bucket(region)
    s3, sqs = (aws_client(aws.environment, service, region, **config) for service in ("s3", "sqs"))
    s3.put_object(Bucket=name, Key="a/b", Body=b"b")
    assert s3.get_object(Bucket=name, Key="a/b")["Body"].read() == b"b"
    assert sqs.create_queue(QueueName="here")["QueueUrl"] == f"https://{sqs_host}/{ACCOUNT}/here"
    assert hosts() == {f"{name}.{s3_host}": 2, sqs_host: 1}


def test_queues_with_one_name_in_two_regions_are_two_queues(aws):
    name = f"same-{next(NUMBER)}"
    for region in (HOME, AWAY):
        sqs = aws_client(aws.environment, "sqs", region)
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        assert url == f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{name}"
        sqs.send_message(QueueUrl=url, MessageBody=region)
    for region in (HOME, AWAY):
        url = f"https://sqs.{region}.amazonaws.com/{ACCOUNT}/{name}"
        for sqs in (aws_client(aws.environment, "sqs", region), client(aws.endpoint, "sqs", region)):
            (message,) = sqs.receive_message(QueueUrl=url, VisibilityTimeout=0, WaitTimeSeconds=5)["Messages"]
            assert message["Body"] == region


# Wrong regions


def requested(aws, method, host, path, *, signed_for, service):
    made = connection(aws, host)
    scope = f"Credential=AKIA/20260101/{signed_for}/{service}/aws4_request"
    made.request(method, path, headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"})
    answer = made.getresponse()
    body = answer.read().decode()
    made.close()
    return answer.status, answer.getheader("x-amz-bucket-region"), body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("host", "path", "signed_for", "status", "error"),
    [
        ("{}.s3.eu-west-1.amazonaws.com", "/a", AWAY, 200, ""),
        ("s3.eu-west-1.amazonaws.com", "/{}/a", AWAY, 200, ""),
        ("{}.s3.amazonaws.com", "/a", AWAY, 200, ""),
        ("{}.s3.us-east-1.amazonaws.com", "/a", HOME, 301, "PermanentRedirect"),
        ("s3.us-east-1.amazonaws.com", "/{}/a", HOME, 301, "PermanentRedirect"),
        ("s3.amazonaws.com", "/{}/a", HOME, 301, "PermanentRedirect"),
        ("{}.s3.dualstack.us-east-1.amazonaws.com", "/a", HOME, 301, "PermanentRedirect"),
        ("{}.s3.amazonaws.com", "/a", HOME, 400, "AuthorizationHeaderMalformed"),
        ("{}.s3.eu-west-1.amazonaws.com", "/a", HOME, 400, "AuthorizationHeaderMalformed"),
    ],
)  # fmt: skip
def test_a_request_for_a_bucket_in_another_region_is_answered_as_s3_does(
    aws, bucket, method, host, path, signed_for, status, error
):
    name = bucket()
    client(aws.endpoint, "s3", AWAY).put_object(Bucket=name, Key="a", Body=b"a")
    answer = requested(aws, method, host.format(name), path.format(name), signed_for=signed_for, service="s3")
    assert answer[0] == status
    assert answer[1] == (AWAY if error else None)
    assert error in answer[2] or method == "HEAD"


def test_boto3_finds_a_bucket_in_another_region_from_s3s_answer(aws, bucket):
    name = bucket()
    s3 = aws_client(aws.environment, "s3", HOME)
    s3.put_object(Bucket=name, Key="a", Body=b"a")
    assert s3.get_object(Bucket=name, Key="a")["Body"].read() == b"a"


@pytest.mark.parametrize("service", ["sqs", "dynamodb", "sns", "sts"])
def test_a_request_that_is_signed_for_another_region_is_refused(aws, service):
    client_ = aws_client(aws.environment, service, HOME, endpoint_url=f"https://{service}.{AWAY}.amazonaws.com")
    calls = {"sqs": "list_queues", "dynamodb": "list_tables", "sns": "list_topics", "sts": "get_caller_identity"}
    with pytest.raises(ClientError, match="scoped to a valid region"):
        getattr(client_, calls[service])()


# Refused connections


@pytest.mark.parametrize(
    "host",
    ["example.com", "amazonaws.com", "evil-amazonaws.com", "s3.amazonaws.com.example.com", "169.254.169.254", ""],
)
def test_a_host_outside_aws_is_refused(aws, hosts, host):
    assert not is_aws(host)
    with socket.create_connection(("127.0.0.1", aws.port), PATIENCE) as plain:
        plain.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert plain.makefile("rb").readline().startswith(b"HTTP/1.1 403 ")
    assert hosts() == {}


def test_another_port_is_refused(aws):
    made = connection(aws, "s3.amazonaws.com")
    made.set_tunnel("s3.amazonaws.com", 8443)
    with pytest.raises(OSError, match="403"):
        made.request("GET", "/")


def test_a_client_of_another_store_cannot_leave_the_sandbox(aws):
    s3 = aws_client(
        aws.environment, "s3", HOME, endpoint_url="https://s3.example.com", retries={"total_max_attempts": 1}
    )
    with pytest.raises(ProxyConnectionError):
        s3.list_buckets()


def test_a_client_that_trusts_another_authority_fails_and_others_continue(aws, tmp_path):
    Certificates(tmp_path)
    other = {**aws.environment, "AWS_CA_BUNDLE": str(tmp_path / CA_FILE)}
    with pytest.raises(SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        aws_client(other, "sts", HOME, retries={"total_max_attempts": 1}).get_caller_identity()
    assert aws_client(aws.environment, "sts", HOME).get_caller_identity()["Account"] == ACCOUNT


def test_a_certificate_is_for_its_own_host_only(aws, tunnel):
    subject = tunnel("sqs.eu-west-1.amazonaws.com").getpeercert()["subjectAltName"]
    assert subject == (("DNS", "sqs.eu-west-1.amazonaws.com"),)


def test_no_private_key_is_left_on_disk(aws, tunnel):
    tunnel("sqs.eu-west-1.amazonaws.com")
    (file,) = aws.folder.iterdir()
    assert file.read_text().count("-----BEGIN") == file.read_text().count("-----BEGIN CERTIFICATE-----") == 1


def test_without_certificates_there_are_no_tunnels(endpoint):
    with socket.create_connection(("127.0.0.1", urlsplit(endpoint).port), PATIENCE) as plain:
        plain.sendall(b"CONNECT s3.amazonaws.com:443 HTTP/1.1\r\n\r\n")
        assert plain.makefile("rb").readline().startswith(b"HTTP/1.1 501 ")


# Connections


def test_one_tunnel_serves_many_requests(aws, bucket):
    made = connection(aws, f"{bucket()}.s3.{AWAY}.amazonaws.com")
    made.connect()
    there = made.sock
    for method in ("GET", "HEAD", "PUT", "GET", "DELETE", "HEAD", "GET"):
        made.request(method, "/key", body=b"body" if method == "PUT" else None)
        answer = made.getresponse()
        answer.read()
        assert (made.sock, answer.will_close) == (there, False)
    made.close()


def test_the_connection_is_closed_if_the_client_requests_it(aws):
    made = connection(aws, "sts.amazonaws.com")
    made.request("POST", "/", body="Action=GetCallerIdentity&Version=2011-06-15", headers={"Connection": "close"})
    answer = made.getresponse()
    answer.read()
    assert answer.will_close
    assert answer.getheader("Connection") == "close"


@pytest.mark.parametrize("service", ["sts", "sns", "s3"])
def test_an_unsigned_request_reaches_the_service_of_its_host(aws, service):
    bodies = {"sts": "Action=GetCallerIdentity&Version=2011-06-15", "sns": "Action=ListTopics&Version=2010-03-31"}
    made = connection(aws, f"{service}.{AWAY}.amazonaws.com")
    form = {"Content-Type": "application/x-www-form-urlencoded"} if service in bodies else {}
    made.request("POST" if service in bodies else "GET", "/", body=bodies.get(service), headers=form)
    answer = made.getresponse().read().decode()
    assert {"sts": "GetCallerIdentityResponse", "sns": "ListTopicsResponse", "s3": "ListAllMyBucketsResult"}[
        service
    ] in answer
    made.close()


def test_a_chunked_body_arrives_complete(aws, bucket):
    made = connection(aws, f"{bucket()}.s3.{AWAY}.amazonaws.com")
    made.request("PUT", "/key", body=iter([b"one ", b"", b"two ", BIG[:100_000]]), encode_chunked=True)
    assert made.getresponse().read() == b""
    made.request(
        "GET", "/key", headers={"Authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/s3/aws4_request"}
    )
    assert made.getresponse().read() == b"one two " + BIG[:100_000]
    made.close()


def test_a_client_that_expects_100_continue_gets_it(aws, bucket, tunnel):
    host = f"{bucket()}.s3.{AWAY}.amazonaws.com"
    there = tunnel(host)
    there.sendall(f"PUT /key HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n".encode())
    answers = there.makefile("rb")
    assert (answers.readline(), answers.readline()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
    there.sendall(b"body")
    assert answers.readline().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("length", ["-1", "many", "1e3"])
def test_a_body_with_an_invalid_length_is_refused_and_the_connection_closed(aws, tunnel, length):
    there = tunnel("s3.amazonaws.com")
    there.sendall(f"PUT /bucket/key HTTP/1.1\r\nHost: s3.amazonaws.com\r\nContent-Length: {length}\r\n\r\n".encode())
    answer = there.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


def test_a_client_that_closes_its_half_after_the_request_gets_the_answer(aws, tunnel):
    there = tunnel("sts.amazonaws.com")
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    form = b"Content-Type: application/x-www-form-urlencoded"
    there.sendall(
        b"POST / HTTP/1.1\r\nHost: sts.amazonaws.com\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (form, len(body), body)
    )
    socket.socket.shutdown(there, socket.SHUT_WR)
    answer = there.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"</GetCallerIdentityResponse>")


@pytest.mark.parametrize("sent", ["nothing", "half a handshake", "half a request", "a request"])
def test_a_client_that_disconnects_does_not_disturb_others(aws, tunnel, sent):
    def reset(plain):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()

    for _ in range(10):
        if sent in ("nothing", "half a handshake"):
            plain = socket.create_connection(("127.0.0.1", aws.port), PATIENCE)
            plain.sendall(b"CONNECT s3.amazonaws.com:443 HTTP/1.1\r\n\r\n")
            plain.recv(1000)
            if sent == "half a handshake":
                plain.sendall(bytes.fromhex("16030100"))
            reset(plain)
        else:
            there = tunnel("s3.amazonaws.com")
            request = b"PUT /bucket/key HTTP/1.1\r\nHost: s3.amazonaws.com\r\nContent-Length: 4\r\n\r\nbody"
            there.sendall(request if sent == "a request" else request[:-2])
            reset(there)
    assert aws_client(aws.environment, "sts", HOME).get_caller_identity()["Account"] == ACCOUNT


def test_long_polls_do_not_block_other_requests(aws, hosts):
    """Other requests are answered while polls are waiting: a poll ends only when it receives a message."""
    polls, host = 20, f"sqs.{HOME}.amazonaws.com"
    sqs = aws_client(aws.environment, "sqs", HOME, max_pool_connections=30)
    url = sqs.create_queue(QueueName=f"idle-{next(NUMBER)}")["QueueUrl"]
    before = hosts()[host]

    def poll():
        while not (answer := sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)).get("Messages"):
            pass
        (message,) = answer["Messages"]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    with ThreadPoolExecutor(polls) as pool:
        running = [pool.submit(poll) for _ in range(polls)]
        try:
            eventually(lambda: hosts()[host] >= before + polls, "all polls at the server")
            aws_client(aws.environment, "sts", HOME).get_caller_identity()
            assert not any(each.done() for each in running)
        finally:
            for _ in running:
                sqs.send_message(QueueUrl=url, MessageBody="the end of a poll")
        for each in running:
            each.result(PATIENCE)


def test_the_hosts_are_reported_as_json(aws):
    answer = httpx.get(aws.endpoint + HOSTS, timeout=PATIENCE, trust_env=False)
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content).keys() <= {host for host in answer.json() if is_aws(host)}
