"""Log files in S3: moto in another process, behind a proxy that records requests and can answer them itself."""

import asyncio
import email.utils
import gzip
import random
import time
from contextlib import asynccontextmanager, suppress
from itertools import count
from urllib.parse import urlsplit

import botocore.exceptions
import botocore.parsers
import msgspec
import pytest
import pytest_asyncio
from botocore.retries.standard import ExponentialBackoff
from tests.processes import PATIENCE

from jibe_sqs.adapters import http1_errors, s3_get
from jibe_sqs.adapters import s3 as adapter
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.http1_connection import CHUNK, Answer
from jibe_sqs.adapters.s3 import CLOCK_AGE, WINDOW, Regions, S3Logs, Source
from jibe_sqs.adapters.s3_listing import S3Listing
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.errors import (
    BucketNotAllowed,
    LogAccessDenied,
    LogBucketMissing,
    LogMissing,
    LogStoreError,
    LogStoreUnavailable,
)
from jibe_sqs.core.model import LogFile
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.ports import Found
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client

# One loop for all tests: making a client of botocore takes longer than a test.
pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZE = 16 * CHUNK
"""Bytes of the budget."""
BUCKET = "the-logs"
FAR, FAR_REGION = "logs.in.ireland", "eu-west-1"
NAMES = count(1)
PLAIN = "trail/AWSLogs/file.json.gz"
ODD = "trail//AWSLogs/file.json.gz"
"""The empty path segment must not be normalised away."""


class Request(msgspec.Struct):
    method: str
    path: str
    headers: dict[str, str]

    @property
    def region(self):
        return self.headers["authorization"].split("Credential=")[1].split("/")[2]


SILENCE = object()


class Proxy:
    """A proxy to moto that records requests. `answer` may return another answer, or `SILENCE` for no answer."""

    def __init__(self, upstream):
        self._upstream = urlsplit(upstream)
        self._closing = asyncio.Event()
        self._serving = set()
        self.silent = asyncio.Event()
        self.answer = lambda _request: None
        self.requests = []
        self.endpoint = ""

    def methods(self):
        return [request.method for request in self.requests]

    async def close(self):
        self._closing.set()
        await asyncio.gather(*self._serving)

    async def serve(self, reader, writer):
        self._serving.add(asyncio.current_task())
        try:
            # A reader that stops half-way closes the connection.
            with suppress(ConnectionError):
                await self._serve(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _serve(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines) if name}
        request = Request(*first.split(" ")[:2], headers)
        self.requests.append(request)
        answer = self.answer(request)
        if answer is SILENCE:
            self.silent.set()
            await self._closing.wait()
            return
        writer.write(answer if answer is not None else await self._passed_on(head))
        await writer.drain()

    async def _passed_on(self, head):
        # moto closes the connection after each answer.
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        writer.write(head)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


def reply(status, body=b"", *, promised=None, **headers):
    length = len(body) if promised is None else promised
    fields = {
        "Date": email.utils.formatdate(usegmt=True),
        "Last-Modified": email.utils.formatdate(usegmt=True),
        "Content-Length": length,
        "Connection": "close",
        "ETag": '"an-etag"',
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def error(status, code):
    return reply(status, f"<Error><Code>{code}</Code><Message>words</Message></Error>".encode())


def to_gets(answer):
    return lambda request: answer if request.method == "GET" else None


def to_heads(answer):
    return lambda request: answer if request.method == "HEAD" else None


@pytest.fixture(scope="module")
def moto(endpoint):
    client(endpoint, "s3", "us-east-1").create_bucket(Bucket=BUCKET)
    client(endpoint, "s3", FAR_REGION).create_bucket(
        Bucket=FAR, CreateBucketConfiguration={"LocationConstraint": FAR_REGION}
    )
    return endpoint


@pytest.fixture
def s3(moto):
    return client(moto, "s3", "us-east-1")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_proxy(moto):
    proxy = Proxy(moto)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield proxy
        await proxy.close()


@pytest.fixture
def proxy(shared_proxy):
    yield shared_proxy
    shared_proxy.answer = lambda _request: None
    shared_proxy.requests.clear()
    shared_proxy.silent.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aws():
    async with Aws() as clients:
        yield clients


@pytest.fixture
def budget():
    return Budget(SIZE)


class LaterClock(S3Clock):
    """A clock that a test can advance."""

    forward = 0.0

    def monotonic(self):
        return super().monotonic() + self.forward


@pytest.fixture
def clock():
    return LaterClock()


@pytest.fixture
def account(proxy):
    return Account(endpoint=proxy.endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


@pytest.fixture
def regions(aws, clock):
    return Regions(aws, clock)


@pytest.fixture
def make_logs(aws, account, budget, regions):
    def make(*, sources=None, other_buckets=False):
        given = {BUCKET: [Source(account)], FAR: [Source(account)]} if sources is None else sources
        return S3Logs(
            aws=aws,
            regions=regions,
            budget=budget,
            sources=given,
            other_buckets=Source(account) if other_buckets else None,
        )

    return make


@pytest.fixture
def logs(make_logs):
    return make_logs()


@pytest.fixture
def without_backoff(monkeypatch):
    """No pauses between tries, of botocore and of GETs."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    monkeypatch.setattr(s3_get, "_pause", lambda *_: 0)


@pytest.fixture
def put(s3):
    """Stores a file, under a new key if no key is given."""

    def store(body=b"a log file", *, key=None, bucket=BUCKET, **headers):
        key = key if key is not None else f"AWSLogs/file-{next(NAMES)}.json"
        s3.put_object(Bucket=bucket, Key=key, Body=body, **headers)
        return LogFile(bucket, key)

    return store


async def read(logs, file):
    async with logs.open(file) as log:
        return b"".join([chunk async for chunk in log])


# Read


async def test_a_file_comes_in_chunks_as_it_is_stored(logs, put, s3):
    body = random.Random(1).randbytes(3 * CHUNK + 12345)
    file = put(body)
    async with logs.open(file) as log:
        chunks = [chunk async for chunk in log]
        assert (log.size, log.etag) == (len(body), s3.head_object(Bucket=BUCKET, Key=file.key)["ETag"].strip('"'))
    assert b"".join(chunks) == body
    assert len(chunks) > 1
    assert all(type(chunk) is bytes and len(chunk) >= CHUNK for chunk in chunks[:-1])


@pytest.mark.parametrize("key", [PLAIN, ODD])
async def test_an_empty_file_has_no_bytes(logs, put, key):
    file = put(b"", key=key)
    async with logs.open(file) as log:
        assert (log.size, b"".join([chunk async for chunk in log])) == (0, b"")


@pytest.mark.parametrize("key", [PLAIN, ODD])
async def test_a_gzipped_file_is_not_decompressed(logs, put, key):
    """Some HTTP libraries decompress an answer with `Content-Encoding: gzip`: risingwave #26855."""
    body = gzip.compress(b"{}" * 1000)
    assert await read(logs, put(body, key=key, ContentEncoding="gzip")) == body


@pytest.mark.parametrize("key", ["v/plain", "v//odd"])
async def test_the_announced_version_is_read(logs, put, s3, key):
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=BUCKET, Key=key, Body=b"first")["VersionId"]
    second = s3.put_object(Bucket=BUCKET, Key=key, Body=b"second")["VersionId"]
    assert await read(logs, LogFile(BUCKET, key, version=first)) == b"first"
    assert await read(logs, LogFile(BUCKET, key, version=second)) == b"second"
    assert await read(logs, LogFile(BUCKET, key)) == b"second"
    s3.delete_object(Bucket=BUCKET, Key=key, VersionId=first)
    with pytest.raises(LogMissing, match=f"version {first}"):
        await read(logs, LogFile(BUCKET, key, version=first))


ODD_KEYS = [
    "a//b",
    "/leading",
    "trailing/",
    "//both//",
    "a/./b",
    "a/../b",
    "./a",
    "a/..",
    ".hidden/...dots",
    "with space/ and / more ",
    "a+b",
    "a%2Fb",
    "a%20b",
    "100%",
    "a\\b",
    "a?b=c#d&e",
    "*[{}]|^`<>~'\"",
    "a:b@c;d,e!$()=",
    "ünïcödé/日本語/\U0001f600",
    "e\u0301 is not \u00e9",
    "\u00a0\u200b",
    "tab\there",
    "control\x01\x7f",
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
async def test_a_file_with_any_key_is_read(logs, put, key):
    file = put(f"the file {key}".encode(), key=key)
    assert await read(logs, file) == f"the file {key}".encode()


async def test_a_bucket_with_dots_in_its_name_is_read(logs, moto):
    client(moto, "s3", FAR_REGION).put_object(Bucket=FAR, Key="k", Body=b"far")
    assert await read(logs, LogFile(FAR, "k")) == b"far"


# The bucket's region


async def test_the_region_of_a_bucket_is_requested_once(logs, put, proxy):
    files = [put() for _ in range(4)]
    for file in files:
        await read(logs, file)
    assert proxy.methods() == ["HEAD", "GET", "GET", "GET", "GET"]


async def test_concurrent_reads_request_the_region_once(logs, put, proxy):
    """Found by this test: each of the first files requested it."""
    files = [put() for _ in range(8)]
    await asyncio.gather(*(read(logs, file) for file in files))
    assert sorted(proxy.methods()) == ["GET"] * 8 + ["HEAD"]


async def test_a_read_that_waited_for_a_failed_region_request_repeats_it(logs, put, proxy, without_backoff):
    refusals = iter([reply("404 Not Found")])
    proxy.answer = lambda request: next(refusals, None) if request.method == "HEAD" else None
    outcomes = await asyncio.gather(*(read(logs, put()) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LogBucketMissing, bytes, bytes]


@pytest.mark.parametrize(("status", "heads"), [("200 OK", 1), ("403 Forbidden", 1), ("400 Bad Request", 2)])
async def test_a_bucket_in_another_region_is_read_there(make_logs, account, proxy, moto, status, heads):
    """The log bucket may be in another region: data-prepper #4470. A refusal also names the region."""
    # A separate bucket for each case: botocore caches regions of buckets.
    bucket, far = f"{FAR}-{status[:3]}", client(moto, "s3", FAR_REGION)
    far.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": FAR_REGION})
    far.put_object(Bucket=bucket, Key="k", Body=b"far")
    logs = make_logs(sources={bucket: [Source(account)]})
    proxy.answer = to_heads(reply(status, x_amz_bucket_region=FAR_REGION))
    for _ in range(2):
        assert await read(logs, LogFile(bucket, "k")) == b"far"
    # After an answer that may come from the wrong region, botocore itself sends a second request.
    assert proxy.methods() == ["HEAD"] * heads + ["GET", "GET"]
    assert proxy.requests[0].region == "us-east-1"
    assert {request.region for request in proxy.requests[heads:]} == {FAR_REGION}


async def test_a_bucket_is_read_in_its_configured_region(make_logs, account, proxy, moto):
    client(moto, "s3", FAR_REGION).put_object(Bucket=FAR, Key="k", Body=b"far")
    logs = make_logs(sources={FAR: [Source(account, region="ap-southeast-2")]})
    assert await read(logs, LogFile(FAR, "k")) == b"far"
    assert {request.region for request in proxy.requests} == {"ap-southeast-2"}


async def test_the_region_is_requested_again_after_some_time(logs, put, proxy, clock):
    file = put()
    await read(logs, file)
    clock.forward = CLOCK_AGE + 1
    await read(logs, file)
    await read(logs, file)
    assert proxy.methods() == ["HEAD", "GET", "HEAD", "GET", "GET"]


# Allowed buckets


async def test_a_bucket_that_is_not_a_log_source_is_never_requested(logs, proxy, budget):
    with pytest.raises(BucketNotAllowed, match="s3://someone-elses/k"):
        await read(logs, LogFile("someone-elses", "k"))
    assert proxy.requests == []
    assert budget.free == SIZE


async def test_a_log_source_may_be_a_prefix_of_a_bucket(make_logs, account, put, proxy):
    logs = make_logs(sources={BUCKET: [Source(account, prefix="trails/"), Source(account, prefix="more/")]})
    for key in ("trails/k", "more/k"):
        assert await read(logs, put(key=key)) == b"a log file"
    for key in ("data/k", "trails", "x/trails/k"):
        with pytest.raises(BucketNotAllowed):
            await read(logs, put(key=key))
    assert proxy.methods().count("GET") == 2


async def test_without_log_sources_any_bucket_is_read(make_logs, put):
    assert await read(make_logs(sources={}, other_buckets=True), put()) == b"a log file"


async def test_a_source_for_every_bucket_allows_only_cloudtrail_log_files(make_logs, account, put):
    key = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/01/31/x.json.gz"
    logs = make_logs(sources={EVERY_BUCKET: [Source(account)]})
    assert await read(logs, put(key=key)) == b"a log file"
    with pytest.raises(BucketNotAllowed):
        await read(logs, put(key="secrets.txt"))


# Errors


async def test_a_deleted_file_is_reported_as_missing(logs):
    """Neither ignored nor retried for ever: redpanda connect #1090."""
    for key in ("AWSLogs/gone.json", "AWSLogs//gone.json"):
        with pytest.raises(LogMissing, match=key):
            await read(logs, LogFile(BUCKET, key))


async def test_a_deleted_bucket_is_reported_as_missing(make_logs):
    with pytest.raises(LogBucketMissing, match="s3://no-such-bucket/k"):
        await read(make_logs(sources={}, other_buckets=True), LogFile("no-such-bucket", "k"))


ANSWERS = {
    "401": (error("401 Unauthorized", "Unauthorized"), LogAccessDenied),
    "403": (error("403 Forbidden", "AccessDenied"), LogAccessDenied),
    "404": (error("404 Not Found", "NoSuchKey"), LogMissing),
    "400": (error("400 Bad Request", "IncompleteBody"), LogStoreUnavailable),
    "500": (error("500 Internal Server Error", "InternalError"), LogStoreUnavailable),
    "503": (error("503 Slow Down", "SlowDown"), LogStoreUnavailable),
    "no answer": (b"", LogStoreUnavailable),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", LogStoreUnavailable),
    "cut short": (reply("200 OK", b"x" * 100_000, promised=3_000_000), LogStoreUnavailable),
    "cut short in the last chunk": (reply("200 OK", b"x" * 1_500_000, promised=1_500_001), LogStoreUnavailable),
}


@pytest.mark.parametrize("key", [PLAIN, ODD])
@pytest.mark.parametrize("case", ANSWERS)
async def test_each_error_answer_becomes_our_error_with_the_files_name(logs, proxy, budget, without_backoff, case, key):
    answer, ours = ANSWERS[case]
    proxy.answer = to_gets(answer)
    with pytest.raises(LogStoreError, match=f"s3://{BUCKET}/{key}") as raised:
        async with asyncio.timeout(PATIENCE):
            await read(logs, LogFile(BUCKET, key))
    assert type(raised.value) is ours
    assert "\n" not in str(raised.value)
    assert SECRET_KEY not in str(raised.value)
    assert budget.free == SIZE


@pytest.mark.parametrize(
    ("answer", "ours"),
    [
        (reply("503 Slow Down"), LogStoreUnavailable),
        (reply("404 Not Found"), LogBucketMissing),
        (b"", LogStoreUnavailable),
    ],
    ids=["503", "404", "no answer"],
)
async def test_a_failed_region_request_becomes_our_error(logs, proxy, budget, without_backoff, answer, ours):
    proxy.answer = to_heads(answer)
    with pytest.raises(ours, match=f"s3://{BUCKET}/k"):
        await read(logs, LogFile(BUCKET, "k"))
    assert "GET" not in proxy.methods()
    assert budget.free == SIZE


async def test_a_transient_failure_is_retried_without_an_error(logs, put, proxy):
    failures = iter([error("503 Slow Down", "SlowDown"), error("500 Internal Server Error", "InternalError")])
    proxy.answer = lambda request: next(failures, None) if request.method == "GET" else None
    assert await read(logs, put()) == b"a log file"
    assert proxy.methods() == ["HEAD", "GET", "GET", "GET"]


FOREIGN = [
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ReadTimeoutError,
    botocore.exceptions.IncompleteReadError,
    botocore.parsers.ResponseParserError,
    http1_errors.Disconnected,
    http1_errors.Malformed,
    http1_errors.ReadTimedOut,
    ConnectionResetError,
    FileNotFoundError,
    PermissionError,
    TimeoutError,
    ValueError,
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.__name__)
async def test_every_foreign_error_is_translated(foreign):
    text = "words\nDebug source: all of its insides"
    error = type(foreign.__name__, (foreign,), {"__init__": lambda _: None, "__str__": lambda _: text})()
    with (
        pytest.raises(LogStoreError, match=r"^s3://b/k: words(: is the address right .*)?$"),
        adapter.translated(LogFile("b", "k")),
    ):
        raise error


# A bucket in another region than the known one


def elsewhere(status, code, *, region=None, **headers):
    named = f"<Region>{region}</Region>" if region else ""
    body = f"<Error><Code>{code}</Code><Message>words</Message>{named}</Error>".encode()
    return reply(status, body, **headers)


REDIRECTS = {
    "301 with a header": elsewhere("301 Moved", "PermanentRedirect", x_amz_bucket_region=FAR_REGION),
    "301 with a body": elsewhere("301 Moved", "PermanentRedirect", region=FAR_REGION),
    "307": elsewhere(
        "307 Temporary", "TemporaryRedirect", x_amz_bucket_region=FAR_REGION, Location="http://127.0.0.1:9/k"
    ),
    "400": elsewhere("400 Bad Request", "AuthorizationHeaderMalformed", region=FAR_REGION),
    "400, an opt-in region": elsewhere(
        "400 Bad Request", "IllegalLocationConstraintException", x_amz_bucket_region=FAR_REGION
    ),
}


def redirecting(answer, region=FAR_REGION):
    """Gives this answer to GETs that are signed for another region."""
    return lambda request: answer if request.method == "GET" and request.region != region else None


@pytest.mark.parametrize("case", REDIRECTS)
async def test_a_wrong_region_is_corrected_by_the_answer_and_cached(make_logs, account, proxy, regions, put, case):
    file = put(b"a log")
    source = Source(account, region="eu-north-1")
    logs = make_logs(sources={BUCKET: [source]})
    proxy.answer = redirecting(REDIRECTS[case])
    assert await read(logs, file) == b"a log"
    assert await read(logs, file) == b"a log"
    assert [request.region for request in proxy.requests if request.method == "GET"] == [
        "eu-north-1",
        FAR_REGION,
        FAR_REGION,
    ]
    assert await regions.of(BUCKET, source) == FAR_REGION


async def test_concurrent_reads_correct_a_region_once(make_logs, account, proxy, put):
    files = [put() for _ in range(8)]
    logs = make_logs(sources={BUCKET: [Source(account, region="eu-north-1")]})
    proxy.answer = redirecting(REDIRECTS["301 with a header"])
    assert await asyncio.gather(*(read(logs, file) for file in files)) == [b"a log file"] * 8
    assert [request.region for request in proxy.requests].count(FAR_REGION) == 8


async def test_after_a_redirect_without_a_region_the_region_is_requested_again(make_logs, account, proxy, put):
    file = put()
    heads = iter(["eu-north-1", FAR_REGION])
    redirect = redirecting(elsewhere("301 Moved", "PermanentRedirect"))
    proxy.answer = lambda request: (
        reply("200 OK", x_amz_bucket_region=next(heads)) if request.method == "HEAD" else redirect(request)
    )
    assert await read(make_logs(sources={BUCKET: [Source(account)]}), file) == b"a log file"
    assert proxy.methods() == ["HEAD", "GET", "HEAD", "GET"]


@pytest.mark.parametrize("named", ["eu-north-1", "mars-1"])
async def test_a_store_that_redirects_in_a_loop_is_unavailable(make_logs, account, proxy, put, named):
    logs = make_logs(sources={BUCKET: [Source(account, region="eu-north-1")]})
    proxy.answer = to_gets(elsewhere("301 Moved", "PermanentRedirect", x_amz_bucket_region=named))
    with pytest.raises(LogStoreUnavailable, match="PermanentRedirect"):
        await read(logs, put())
    assert proxy.methods().count("GET") <= 2


async def test_an_invalid_region_in_an_answer_is_not_used_in_an_address(make_logs, account, proxy, put):
    logs = make_logs(sources={BUCKET: [Source(account, region="eu-north-1")]})
    proxy.answer = to_gets(elsewhere("301 Moved", "PermanentRedirect", x_amz_bucket_region="evil.example/"))
    with pytest.raises(LogStoreUnavailable, match=r"evil\.example"):
        await read(logs, put())
    assert proxy.methods().count("GET") == 1


@pytest.mark.parametrize("case", REDIRECTS)
async def test_a_listing_in_a_wrong_region_is_corrected_at_once(account, regions, proxy, bucket, put, case):
    """With a 307, aiohttp would follow the redirect without a signature."""
    put(key="a/1", bucket=bucket)
    proxy.answer = redirecting(REDIRECTS[case])
    # A new client: botocore's clients cache regions of buckets.
    async with Aws() as aws:
        listing = S3Listing(aws=aws, source=Source(account, region="eu-north-1"), regions=regions)
        assert await listed(listing, bucket, "a/") == ([], ["a/1"])


async def test_the_region_request_follows_a_redirect(account, proxy, clock):
    redirect = reply("307 Temporary", x_amz_bucket_region=FAR_REGION, Location="http://127.0.0.1:9/")
    proxy.answer = lambda request: redirect if request.method == "HEAD" and request.region != FAR_REGION else None
    async with Aws() as aws:
        await Regions(aws, clock).of(BUCKET, Source(account))
        assert [request.region for request in proxy.requests if request.method == "HEAD"] == ["us-east-1", FAR_REGION]


# Interrupted answers


@pytest.mark.parametrize("version", [None, "a-version"])
async def test_an_interrupted_answer_is_continued_at_the_right_byte(logs, proxy, version):
    body = random.Random(2).randbytes(3 * CHUNK + 5)
    cuts = iter([CHUNK + 10, 2 * CHUNK + 20])

    def answer(request):
        if request.method != "GET":
            return None
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        end = next(cuts, len(body))
        length, promised = {"Content_Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}, len(body) - start
        return reply("206 Partial Content" if start else "200 OK", body[start:end], promised=promised, **length)

    proxy.answer = answer
    async with logs.open(LogFile(BUCKET, PLAIN, version=version)) as log:
        chunks = [chunk async for chunk in log]
    assert b"".join(chunks) == body
    assert all(len(chunk) >= CHUNK for chunk in chunks[:-1])
    first, *rest = [request for request in proxy.requests if request.method == "GET"]
    assert "range" not in first.headers
    assert [request.headers["range"] for request in rest] == [f"bytes={CHUNK + 10}-", f"bytes={2 * CHUNK + 20}-"]
    assert {request.headers["if-match"] for request in rest} == {'"an-etag"'}
    assert len({request.path for request in proxy.requests if request.method == "GET"}) == 1


@pytest.mark.parametrize(
    "second",
    [
        reply("200 OK", b"x" * 3_000_000),
        reply("206 Partial Content", b"x" * 2_900_000, Content_Range="bytes 0-2899999/3000000"),
        error("412 Precondition Failed", "PreconditionFailed"),
        reply(
            "206 Partial Content", b"y" * 2_900_000, Content_Range="bytes 100000-2999999/3000000", ETag='"another-etag"'
        ),
        error("416 Range Not Satisfiable", "InvalidRange"),
    ],
    ids=["from the beginning", "another range", "another object", "another object, If-Match ignored", "no such range"],
)
async def test_an_object_that_cannot_be_continued_is_unavailable(logs, proxy, budget, second):
    """Bytes of two objects must not be joined, and bytes must not be duplicated."""
    first = reply("200 OK", b"x" * 100_000, promised=3_000_000)
    proxy.answer = lambda request: None if request.method == "HEAD" else second if "range" in request.headers else first
    with pytest.raises(LogStoreUnavailable, match=f"s3://{BUCKET}/{PLAIN}"):
        await read(logs, LogFile(BUCKET, PLAIN))
    assert proxy.methods().count("GET") == 2
    assert budget.free == SIZE


@pytest.mark.parametrize("status", ["204 No Content", "206 Partial Content"])
async def test_another_status_of_success_is_no_object(logs, proxy, status):
    proxy.answer = to_gets(reply(status))
    with pytest.raises(LogStoreUnavailable, match=rf"{status[:3]}: .*this status was not expected"):
        await read(logs, LogFile(BUCKET, PLAIN))


@pytest.mark.parametrize(
    "body",
    [
        b"<Error><Code>AccessDenied</Code><Code>AccessDenied</Code></Error>",
        b"<Error><Code><Code>AccessDenied</Code></Code></Error>",
        b"<Error><Code>PermanentRedirect</Code><Region><x/><x/></Region></Error>",
    ],
)
async def test_an_error_of_another_shape_is_an_error_of_the_store(logs, proxy, body):
    proxy.answer = to_gets(reply("400 Bad Request", body))
    with pytest.raises(LogStoreUnavailable):
        await read(logs, LogFile(BUCKET, PLAIN))


@pytest.mark.parametrize("sent", [2_899_999, 2_900_001])
async def test_a_continuation_of_another_length_than_the_rest_is_unavailable(logs, proxy, budget, sent):
    """For HTTP, such an answer is complete, so a truncated log file would count as whole."""
    first = reply("200 OK", b"x" * 100_000, promised=3_000_000)
    rest = reply("206 Partial Content", b"x" * sent, Content_Range=f"bytes 100000-{100_000 + sent - 1}/3000000")
    proxy.answer = lambda request: None if request.method == "HEAD" else rest if "range" in request.headers else first
    with pytest.raises(LogStoreUnavailable, match=f"s3://{BUCKET}/{PLAIN}.*3000000"):
        await read(logs, LogFile(BUCKET, PLAIN))
    assert budget.free == SIZE


async def test_an_object_that_is_always_interrupted_is_given_up(logs, proxy):
    def answer(request):
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        status, rest = "206 Partial Content" if start else "200 OK", 1_000_000 - start
        return reply(status, b"x" * 10, promised=rest, Content_Range=f"bytes {start}-999999/1000000")

    proxy.answer = lambda request: answer(request) if request.method == "GET" else None
    with pytest.raises(LogStoreUnavailable, match="1000000"):
        await read(logs, LogFile(BUCKET, PLAIN))
    assert proxy.methods().count("GET") == s3_get.TRIES


# Tries


@pytest.mark.parametrize(
    "answer",
    [
        error("500 Internal Server Error", "InternalError"),
        error("503 Slow Down", "SlowDown"),
        error("429 Too Many Requests", "TooManyRequests"),
        error("400 Bad Request", "RequestTimeout"),
        reply("502 Bad Gateway", b"<html>"),
        reply("504 Gateway Timeout"),
        b"",
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
    ids=["500", "503", "429", "RequestTimeout", "502", "504", "no answer", "no HTTP"],
)
async def test_a_transient_failure_is_tried_a_limited_number_of_times(logs, proxy, without_backoff, answer):
    proxy.answer = to_gets(answer)
    with pytest.raises(LogStoreUnavailable):
        await read(logs, LogFile(BUCKET, PLAIN))
    assert proxy.methods().count("GET") == s3_get.TRIES


@pytest.mark.parametrize("case", ["401", "403", "404", "400"])
async def test_a_refusal_is_not_retried(logs, proxy, case):
    proxy.answer = to_gets(ANSWERS[case][0])
    with pytest.raises(LogStoreError):
        await read(logs, LogFile(BUCKET, PLAIN))
    assert proxy.methods().count("GET") == 1


@pytest.mark.parametrize(
    ("wished", "pause"), [("3", 3.0), ("86400", s3_get.BACKOFF.longest), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
async def test_retry_after_is_obeyed_up_to_a_limit(wished, pause):
    assert s3_get._pause(1, Answer(None, 503, {b"retry-after": wished.encode()})) == pause


async def test_pauses_grow_up_to_a_limit():
    longest = [max(s3_get._pause(tries, None) for _ in range(300)) for tries in (1, 3, 5, 50)]
    assert longest == sorted(longest)
    assert longest[-1] <= s3_get.BACKOFF.longest


async def test_an_answer_without_a_length_is_unavailable(logs, proxy):
    proxy.answer = to_gets(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    )
    with pytest.raises(LogStoreUnavailable, match="how long"):
        await read(logs, LogFile(BUCKET, PLAIN))


# The byte budget


async def test_an_open_file_holds_its_share_of_the_byte_budget(logs, put, budget):
    large, small = put(b"x" * (3 * CHUNK)), put(b"x" * 1000)
    async with logs.open(large):
        assert budget.free == SIZE - WINDOW
        async with logs.open(small):
            assert budget.free == SIZE - WINDOW - 1000
        assert budget.free == SIZE - WINDOW
    assert budget.free == SIZE


async def test_a_file_waits_for_its_share_of_the_byte_budget(logs, put, budget, proxy, monkeypatch):
    file = put()
    await read(logs, file)
    taken = await budget.take(SIZE)
    take, waits = budget.take, asyncio.Event()

    async def watched(amount):
        waits.set()
        return await take(amount)

    monkeypatch.setattr(budget, "take", watched)
    reading = asyncio.create_task(read(logs, file))
    await waits.wait()
    assert proxy.methods().count("GET") == 1
    budget.give(taken)
    assert await reading == b"a log file"
    assert budget.free == SIZE


class Stopped(Exception):
    pass


@asynccontextmanager
async def stops_at_the_first_chunk(log):
    chunks = aiter(log)
    await anext(chunks)
    yield


@pytest.mark.parametrize("key", [PLAIN, ODD])
@pytest.mark.parametrize("how", ["leaves", "raises", "is cancelled", "never reads"])
async def test_a_reader_that_stops_half_way_releases_everything(logs, put, budget, key, how):
    """It releases the bytes and the connection. Found in review: garbage collection closed the connection with a warning."""
    file = put(b"x" * (8 * CHUNK), key=key)
    reached = asyncio.Event()

    async def stop_half_way():
        async with logs.open(file) as log:
            if how == "never reads":
                return
            async with stops_at_the_first_chunk(log):
                reached.set()
                if how == "raises":
                    raise Stopped
                if how == "is cancelled":
                    await asyncio.Event().wait()

    reading = asyncio.create_task(stop_half_way())
    if how == "is cancelled":
        await reached.wait()
        assert budget.free < SIZE
        reading.cancel()
    (outcome,) = await asyncio.gather(reading, return_exceptions=True)
    expected = {"raises": Stopped, "is cancelled": asyncio.CancelledError}.get(how, type(None))
    assert type(outcome) is expected
    assert budget.free == SIZE
    assert len(await read(logs, file)) == 8 * CHUNK


async def test_a_read_that_is_cancelled_while_the_store_is_silent_releases_everything(logs, put, budget, proxy):
    proxy.answer = to_gets(SILENCE)
    reading = asyncio.create_task(read(logs, put()))
    await proxy.silent.wait()
    assert budget.free == SIZE - WINDOW
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert budget.free == SIZE


# The clock


async def test_before_the_first_answer_the_clock_is_at_the_epoch(clock):
    assert clock.now() == 0.0


async def test_s3s_clock_is_never_ahead_of_it(logs, put, clock):
    file = put()
    await read(logs, file)
    assert time.time() - 60 < clock.now() <= time.time()


@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
async def test_s3s_clock_follows_the_date_of_answers(logs, put, proxy, clock, status):
    date = 1_767_225_600.0
    proxy.answer = to_heads(reply(status, Date=email.utils.formatdate(date, usegmt=True)))
    file = put()
    before = clock.monotonic()
    await read(logs, file)
    assert date <= clock.now() <= date + clock.monotonic() - before


async def test_s3s_clock_is_corrected_by_a_later_answer(logs, put, proxy, clock):
    file = put()
    await read(logs, file)
    clock.forward = CLOCK_AGE + 1
    assert clock.now() > time.time()
    await read(logs, file)
    assert clock.now() <= time.time()


# Listings


@pytest.fixture
def listing(aws, account, regions):
    return S3Listing(aws=aws, source=Source(account), regions=regions)


@pytest.fixture
def bucket(s3):
    name = f"bucket-{next(NAMES)}"
    s3.create_bucket(Bucket=name)
    return name


async def listed(listing, bucket, prefix):
    """Folders and keys of a level."""
    entries = [entry async for entry in listing.level(bucket, prefix)]
    return [each for each in entries if isinstance(each, str)], [each.file.key for each in entries if isinstance(each, Found)]  # fmt: skip


async def test_a_level_lists_its_files_and_its_folders(listing, bucket, put):
    for key in ("a/b/1", "a/b/2", "a/c/1", "a/1", "a/2", "top", "ab"):
        put(key=key, bucket=bucket)
    assert await listed(listing, bucket, "a/") == (["a/b/", "a/c/"], ["a/1", "a/2"])
    assert await listed(listing, bucket, "") == (["a/"], ["ab", "top"])
    assert await listed(listing, bucket, "a") == (["a/"], ["ab"])
    assert await listed(listing, bucket, "nothing/") == ([], [])


async def test_a_listed_file_has_the_etag_and_size_of_the_read_file(logs, listing, bucket, put, s3, make_logs, account):
    file = put(b"a log file", bucket=bucket)
    before = time.time()
    (found,) = [each async for each in listing.level(bucket, "AWSLogs/")]
    async with make_logs(sources={bucket: [Source(account)]}).open(file) as log:
        assert (found.file.bucket, found.file.key) == (bucket, file.key)
        assert (found.file.etag, found.file.size) == (log.etag, log.size)
    assert before - 60 < found.modified < before + 60


async def test_every_key_is_listed_unchanged(listing, bucket, put):
    for key in ODD_KEYS:
        put(key=f"odd\x01 +%2F/{key}", bucket=bucket)
    found, waiting = [], [""]
    while waiting:
        folders, keys = await listed(listing, bucket, waiting.pop())
        waiting += folders
        found += keys
    assert sorted(found) == sorted(f"odd\x01 +%2F/{key}" for key in ODD_KEYS)


async def test_a_level_of_several_pages_is_listed_completely(listing, bucket, s3):
    keys = [f"{number:04}" for number in range(1001)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert await listed(listing, bucket, "") == ([], keys)


async def test_a_prefix_is_checked_for_objects(listing, bucket, put):
    put(key="p/AWSLogs/x", bucket=bucket)
    assert await listing.has(bucket, "p/AWSLogs/")
    assert not await listing.has(bucket, "AWSLogs/")


async def test_all_buckets_of_the_account_are_listed(listing, bucket):
    assert {bucket, BUCKET, FAR} <= set(await listing.buckets())


async def test_a_bucket_in_another_region_is_listed_there_after_one_region_request(listing, aws, account, regions, proxy, moto, budget):  # fmt: skip
    client(moto, "s3", FAR_REGION).put_object(Bucket=FAR, Key="far/k", Body=b"far")
    proxy.answer = to_heads(reply("200 OK", x_amz_bucket_region=FAR_REGION))
    assert await listed(listing, FAR, "far/") == ([], ["far/k"])
    logs = S3Logs(aws=aws, regions=regions, budget=budget, sources={FAR: [Source(account)]})
    assert await read(logs, LogFile(FAR, "far/k")) == b"far"
    assert proxy.methods() == ["HEAD", "GET", "GET"]
    assert {request.region for request in proxy.requests[1:]} == {FAR_REGION}


@pytest.mark.parametrize("case", ["403", "404", "503", "no answer", "no HTTP"])
async def test_a_failed_listing_becomes_our_error_with_its_prefix(listing, proxy, without_backoff, case):
    answer, ours = ANSWERS[case]
    proxy.answer = to_gets(answer)
    for call in (listed(listing, BUCKET, "p/"), listing.has(BUCKET, "p/")):
        with pytest.raises(ours, match=f"s3://{BUCKET}/p/"):
            await call
    with pytest.raises(ours):
        await listing.buckets()


# The owner of a bucket


OWNER = "123456789012"


@pytest.fixture
def owned(make_logs, account):
    return make_logs(sources={BUCKET: [Source(account, owner=OWNER)]})


@pytest.mark.parametrize("key", [PLAIN, ODD])
async def test_a_read_requires_the_configured_bucket_owner(owned, put, proxy, key):
    """The header is signed: otherwise S3 would refuse it."""
    assert await read(owned, put(b"a log", key=key)) == b"a log"
    (request,) = [request for request in proxy.requests if request.method == "GET"]
    assert request.headers["x-amz-expected-bucket-owner"] == OWNER
    signed = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    assert "x-amz-expected-bucket-owner" in signed


async def test_a_listing_requires_the_configured_bucket_owner(aws, account, regions, proxy, put):
    put(b"a log", key="owned/a.json")
    listing = S3Listing(aws=aws, source=Source(account, owner=OWNER), regions=regions)
    assert [found.file.key async for found in listing.level(BUCKET, "owned/")] == ["owned/a.json"]
    assert await listing.has(BUCKET, "owned/")
    listings = [request for request in proxy.requests if request.method == "GET"]
    assert len(listings) == 2
    assert {request.headers["x-amz-expected-bucket-owner"] for request in listings} == {OWNER}


@pytest.mark.parametrize("key", [PLAIN, ODD])
async def test_a_bucket_of_another_owner_is_refused_with_a_remedy(owned, put, proxy, key):
    file = put(b"a log", key=key)
    proxy.answer = to_gets(error(403, "AccessDenied"))
    with pytest.raises(LogAccessDenied, match=rf"account {OWNER} own.*logs\.bucket_owner"):
        await read(owned, file)


async def test_without_a_configured_owner_any_owner_is_accepted(logs, put, proxy):
    await read(logs, put(b"a log"))
    assert not any("x-amz-expected-bucket-owner" in request.headers for request in proxy.requests)


async def test_a_request_whose_answer_is_lost_is_repeated(logs, put, proxy, monkeypatch):
    """Found by chaos: it took ten minutes, because only the time of the whole download was limited."""
    file = put(b"bytes")

    def answer(request):
        if request.method != "GET" or proxy.silent.is_set():
            return None
        # Only the first request is limited to so short a time: on a busy machine, a real answer may take longer.
        monkeypatch.undo()
        return SILENCE

    proxy.answer = answer
    monkeypatch.setattr("jibe_sqs.adapters.s3_get.READ_TIMEOUT", 0.3)
    async with asyncio.timeout(PATIENCE):
        assert await read(logs, file) == b"bytes"
    assert proxy.methods().count("GET") == 2
