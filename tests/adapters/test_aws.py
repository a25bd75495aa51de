"""The credentials that sign each request: STS and S3 are moto, behind a proxy that records every request."""

import asyncio
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from botocore.exceptions import ConnectTimeoutError, CredentialRetrievalError
from botocore.retries.standard import ExponentialBackoff

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions, S3Logs, Source
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import LogAccessDenied, LogStoreUnavailable, QueueUnavailable
from jibe_sqs.core.model import LogFile
from jibe_sqs.sandbox.aws.deployment import client

ROLE = "arn:aws:iam::123456789012:role/reads-logs"
BUCKET, KEY, BODY = "the-logs", "AWSLogs/file.json", b"a log file"
SECRET, TOKEN = "SECRET-CANARY", "TOKEN-CANARY"
FILE = LogFile(BUCKET, KEY)


class Request(msgspec.Struct):
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]

    @property
    def access_key(self):
        return re.search(r"Credential=([^/]+)/", self.headers["authorization"])[1]

    @property
    def region(self):
        return self.headers["authorization"].split("Credential=")[1].split("/")[2]


class Proxy:
    """A proxy to moto that records requests. `answer` may return another answer."""

    def __init__(self, upstream):
        self._upstream = urlsplit(upstream)
        self.answer = lambda _request: None
        self.requests = []
        self.endpoint = ""

    @property
    def role_requests(self):
        return [r.form for r in self.requests if r.form.get("Action") == "AssumeRole"]

    @property
    def others(self):
        return [r for r in self.requests if r.form.get("Action") != "AssumeRole"]

    async def serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        request = Request(*first.split(" ")[:2], headers, form)
        self.requests.append(request)
        answer = self.answer(request)
        writer.write(answer if answer is not None else await self._passed_on(head, body))
        writer.close()
        await writer.wait_closed()

    async def _passed_on(self, head, body):
        # moto closes the connection after each answer.
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        writer.write(head + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


def credentials(key, lasting):
    expiry = (datetime.now(UTC) + timedelta(seconds=lasting)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = (
        '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey>"
        f"<SessionToken>{TOKEN}</SessionToken><Expiration>{expiry}</Expiration></Credentials>"
        "</AssumeRoleResult></AssumeRoleResponse>"
    )
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@pytest.fixture(scope="module")
def moto(endpoint):
    s3 = client(endpoint, "s3", "us-east-1")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=BODY)
    client(endpoint, "sqs", "us-east-1").create_queue(QueueName="the-queue")
    return endpoint


@pytest.fixture
async def proxy(moto):
    proxy = Proxy(moto)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy


@pytest.fixture(autouse=True)
def machine_without_aws_settings(monkeypatch, tmp_path):
    """Hides the credentials and the region of the user who runs the tests."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def account(proxy):
    return Account(endpoint=proxy.endpoint, access_key_id="AKIAOURS", secret_access_key=SECRET)


@pytest.fixture
def role(account):
    return msgspec.structs.replace(account, role_arn=ROLE)


@asynccontextmanager
async def logs_of(account, region=None):
    async with Aws() as aws:
        source = Source(account, region=region)
        yield S3Logs(aws=aws, regions=Regions(aws, S3Clock()), budget=Budget(2**24), sources={BUCKET: [source]})


@asynccontextmanager
async def queue_of(account, proxy):
    async with Aws() as aws:
        yield SqsQueue(f"{proxy.endpoint}/123456789012/the-queue", region="us-east-1", account=account, aws=aws)


async def read(logs, file=FILE):
    async with logs.open(file) as log:
        return b"".join([chunk async for chunk in log])


# Clients


async def test_the_same_arguments_return_the_same_client(account):
    async with Aws() as aws:
        ours = await asyncio.gather(*(aws.client("sqs", "eu-west-1", account) for _ in range(5)))
        assert len(set(map(id, ours))) == 1
        assert await aws.client("sqs", "eu-west-2", account) is not ours[0]
        assert await aws.client("s3", "eu-west-1", account) is not ours[0]
        assert await aws.client("sqs", "eu-west-1", account, read_timeout=5) is not ours[0]


async def test_the_default_region_is_the_environments(account, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    async with Aws() as aws:
        assert (await aws.client("sqs", None, account)).meta.region_name == "eu-north-1"


async def test_aws_region_is_stronger_than_aws_default_region(account, monkeypatch):
    """As in AWS's other SDKs. botocore only reads AWS_DEFAULT_REGION."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    monkeypatch.setenv("AWS_REGION", "eu-south-2")
    async with Aws(region="eu-west-3") as aws:
        for service in ("sqs", "s3", "dynamodb"):
            assert (await aws.client(service, None, account)).meta.region_name == "eu-south-2"


async def test_without_a_region_in_the_environment_the_given_default_is_used(account):
    async with Aws(region="cn-north-1") as aws:
        assert (await aws.client("s3", None, account)).meta.region_name == "cn-north-1"


async def test_a_role_of_another_partition_is_not_used_in_the_environments_region(account, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    china = msgspec.structs.replace(account, role_arn="arn:aws-cn:iam::123456789012:role/x")
    async with Aws(region="cn-north-1") as aws:
        assert aws.region(china) == "cn-north-1"
    async with Aws() as aws:
        assert aws.region(china) == "cn-northwest-1"
        assert aws.region(account) == "eu-west-1"


async def test_without_any_region_it_is_us_east_1(account):
    async with Aws() as aws:
        assert (await aws.client("sqs", None, account)).meta.region_name == "us-east-1"


def test_the_representation_of_an_account_has_no_secrets():
    account = Account("https://s3.example", "AKIA-CANARY", SECRET, TOKEN, ROLE, "EXTERNAL-CANARY")
    for text in (repr(account), str(account), f"{account}", repr(Source(account)), repr([account])):
        assert "CANARY" not in text
        assert "s3.example" in text
        assert ROLE in text


# Credentials


async def test_requests_are_signed_with_the_given_credentials(proxy, account):
    given = msgspec.structs.replace(account, session_token=TOKEN)
    async with logs_of(given) as logs, queue_of(given, proxy) as queue:
        assert await read(logs) == BODY
        await queue.facts()
    assert len(proxy.requests) == 3
    for request in proxy.requests:
        assert request.access_key == "AKIAOURS"
        assert request.headers["x-amz-security-token"] == TOKEN
        assert SECRET not in str(request.headers)


async def test_requests_are_signed_with_the_credentials_of_the_environment(proxy, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    async with logs_of(Account(endpoint=proxy.endpoint)) as logs:
        assert await read(logs) == BODY
    assert {request.access_key for request in proxy.requests} == {"AKIAENVIRONMENT"}


@pytest.mark.parametrize("role_arn", [None, ROLE])
async def test_missing_credentials_become_our_error(proxy, role_arn):
    """Found by this test: a role without source credentials caused an AttributeError."""
    without_keys = Account(endpoint=proxy.endpoint, role_arn=role_arn)
    async with logs_of(without_keys) as logs, queue_of(without_keys, proxy) as queue:
        with pytest.raises(LogAccessDenied, match="no AWS credentials found in the configuration"):
            await read(logs)
        with pytest.raises(QueueUnavailable, match="no AWS credentials found in the configuration"):
            await queue.facts()
    assert proxy.requests == []


# Roles


async def test_requests_are_signed_with_the_roles_credentials(proxy, role):
    """The role is of moto's STS. All requests for the bucket and the queue use it."""
    async with logs_of(role) as logs, queue_of(role, proxy) as queue:
        assert await read(logs) == BODY
        await queue.facts()
    assumed, *_ = [r for r in proxy.requests if r.form.get("Action") == "AssumeRole"]
    assert assumed.access_key == "AKIAOURS"
    assert (assumed.form["RoleArn"], assumed.form["RoleSessionName"]) == (ROLE, "jibe-sqs")
    assert [r.method for r in proxy.others] == ["HEAD", "GET", "POST"]
    for request in proxy.others:
        assert request.access_key.startswith("ASIA")
        assert request.headers["x-amz-security-token"]


async def test_a_role_is_assumed_once_for_many_requests(proxy, role):
    proxy.answer = lambda r: credentials("ASIAROLE", 3600) if r.form.get("Action") == "AssumeRole" else None
    async with logs_of(role) as logs:
        assert await asyncio.gather(*(read(logs) for _ in range(5))) == [BODY] * 5
    assert len(proxy.role_requests) == 1
    assert {request.access_key for request in proxy.others} == {"ASIAROLE"}


async def test_a_role_is_assumed_again_before_its_credentials_expire(proxy, role):
    """Credentials expire while the service runs: sqs-consumer #373, Altinity/ice #202."""
    lasting = {"ASIAFIRST": 60, "ASIASECOND": 3600}
    keys = iter(lasting)

    def answer(request):
        if request.form.get("Action") == "AssumeRole":
            key = next(keys)
            return credentials(key, lasting[key])
        return None

    proxy.answer = answer
    async with logs_of(role) as logs:
        for _ in range(3):
            assert await read(logs) == BODY
    # The first credentials expire within a minute, so they are replaced before the next request.
    signed = [request.access_key for request in proxy.others]
    assert signed[0] == "ASIAFIRST"
    assert set(signed[1:]) == {"ASIASECOND"}
    assert len(proxy.role_requests) == 2


async def test_a_log_file_is_fetched_with_the_renewed_credentials(proxy, role):
    """Found in review: the client that fetches files kept its first credentials."""
    keys = iter(["ASIAFIRST", "ASIASECOND"])
    proxy.answer = lambda r: credentials(next(keys), 3600) if r.form.get("Action") == "AssumeRole" else None
    async with Aws() as aws:
        source = Source(role, region="us-east-1")
        logs = S3Logs(aws=aws, regions=Regions(aws, S3Clock()), budget=Budget(2**24), sources={BUCKET: [source]})
        assert await read(logs) == BODY
        found = await aws.session(role).get_credentials()
        assert await found.renew(await found.get_frozen_credentials(), "ExpiredToken")
        assert await read(logs) == BODY
    assert [r.access_key for r in proxy.others if r.method == "GET"] == ["ASIAFIRST", "ASIASECOND"]


async def test_already_expired_credentials_of_a_role_become_our_error(proxy, role):
    """Found by this test: botocore raises a RuntimeError if a clock is wrong."""
    proxy.answer = lambda r: credentials("ASIAOLD", -60) if r.form.get("Action") == "AssumeRole" else None
    async with queue_of(role, proxy) as queue, logs_of(role) as logs:
        with pytest.raises(QueueUnavailable, match=r"(?i)is this machine's clock right"):
            await queue.facts()
        with pytest.raises(LogStoreUnavailable, match=r"(?i)is this machine's clock right"):
            await read(logs)
    assert proxy.others == []


async def test_a_refused_role_becomes_our_error(proxy, role, monkeypatch):
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
    head = f"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    proxy.answer = lambda _: (head + body).encode()
    async with queue_of(role, proxy) as queue, logs_of(role) as logs:
        with pytest.raises(Exception, match="not you") as refused:
            await queue.facts()
        with pytest.raises(Exception, match="not you") as denied:
            await read(logs)
    assert (type(refused.value).__name__, type(denied.value).__name__) == ("QueueRefused", "LogAccessDenied")


async def test_the_external_id_is_sent_if_it_is_configured(proxy, role):
    for each in (role, msgspec.structs.replace(role, external_id="ours-and-theirs")):
        async with queue_of(each, proxy) as queue:
            await queue.facts()
    first, second = proxy.role_requests
    assert "ExternalId" not in first
    assert second["ExternalId"] == "ours-and-theirs"


@pytest.mark.parametrize(
    ("arn", "region", "expected"),
    [
        (ROLE, "eu-central-1", "eu-central-1"),
        (ROLE, None, "us-east-1"),
        ("arn:aws-cn:iam::123456789012:role/x", None, "cn-northwest-1"),
        ("arn:aws-us-gov:iam::123456789012:role/x", None, "us-gov-west-1"),
        ("arn:aws-iso-b:iam::123456789012:role/x", None, "us-isob-east-1"),
        ("arn:aws-eusc:iam::123456789012:role/x", None, "eusc-de-east-1"),
    ],
)
async def test_a_role_is_assumed_in_its_region_or_in_its_partitions_home_region(proxy, account, arn, region, expected):
    """Found by this test: without a region in the environment, roles could not be assumed."""
    proxy.answer = lambda r: credentials("ASIAROLE", 3600) if r.form.get("Action") == "AssumeRole" else None
    async with queue_of(msgspec.structs.replace(account, role_arn=arn, region=region), proxy) as queue:
        await queue.facts()
    assert proxy.requests[0].region == expected


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        ("https://vpce-0a.sqs.eu-west-1.vpce.amazonaws.com", "sts.eu-west-1.amazonaws.com"),
        ("https://sqs.cn-north-1.amazonaws.com.cn", "sts.eu-west-1.amazonaws.com"),
        ("https://sqs.eu-west-1.api.aws", "sts.eu-west-1.amazonaws.com"),
        ("https://sqs.eusc-de-east-1.amazonaws.eu", "sts.eu-west-1.amazonaws.com"),
        ("https://vpce-0a.sqs.cn-north-1.api.amazonwebservices.com.cn", "sts.eu-west-1.amazonaws.com"),
        ("https://minio.example:9000", "minio.example:9000"),
        ("https://amazonaws.com.example", "amazonaws.com.example"),
        (None, "sts.eu-west-1.amazonaws.com"),
    ],
)
async def test_roles_are_not_requested_from_an_endpoint_of_another_aws_service(monkeypatch, endpoint, host):
    """Found in review: STS was called at the address of SQS's VPC endpoint."""
    asked = []

    async def no_network(_client, _operation, request, *_):
        asked.append(urlsplit(request["url"]).netloc)
        raise ConnectionError("no network here")

    monkeypatch.setattr("aiobotocore.client.AioBaseClient._make_request", no_network)
    account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b", role_arn=ROLE, region="eu-west-1")
    credentials = await Aws().session(account).get_credentials()
    with pytest.raises(CredentialRetrievalError, match="no network here"):
        await credentials.get_frozen_credentials()
    assert asked == [host]


async def test_a_call_through_a_silent_proxy_ends(monkeypatch, account):
    """aiohttp waits for a proxy's answer to CONNECT without a limit."""
    never = asyncio.Event()

    async def silent(_reader, writer):
        await never.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        without_endpoint = msgspec.structs.replace(account, endpoint=None)
        async with Aws() as aws:
            sqs = await aws.client("sqs", "us-east-1", without_endpoint, connect_timeout=0.1, attempts=1)
            with pytest.raises(ConnectTimeoutError):
                await asyncio.wait_for(sqs.list_queues(), 60)
        never.set()
