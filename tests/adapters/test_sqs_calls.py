"""Requests to SQS are sent where and as botocore sends them, and repeated when botocore repeats them."""

import asyncio
import re
from functools import cache
from types import SimpleNamespace

import botocore.session
import pytest
from aiohttp import web
from botocore.exceptions import ClientError, HTTPClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import (
    ExponentialBackoff,
    RetryContext,
    StandardRetryConditions,
    ThrottledRetryableChecker,
    TransientRetryableChecker,
)
from tests.adapters.aws_stand_ins import RecitingSqs, served
from tests.adapters.store_hosts import LOADER

from jibe_sqs.adapters import sqs_calls
from jibe_sqs.adapters.addresses import address
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.sqs_calls import PASSING_CODES, TRIES, Calls, may_pass
from jibe_sqs.concurrency.backoff import Backoff

REGION = "eu-west-1"


@pytest.fixture
async def aws():
    async with Aws() as aws:
        yield aws


@pytest.fixture(autouse=True)
def _without_backoff(monkeypatch):
    monkeypatch.setattr(sqs_calls, "BACKOFF", Backoff(0.0, 0.0))


def account_at(endpoint, token=None):
    return Account(endpoint=endpoint, access_key_id="AKIA", secret_access_key="b", session_token=token)


def calls_at(endpoint, aws, *, read_timeout=60.0):
    return Calls(REGION, account_at(endpoint), aws, read_timeout=read_timeout)


async def resolved(account, region=REGION):
    async with Aws() as aws:
        return address(aws.offline_client("sqs", region, account), "get_queue_url", QueueName="any")


# Where


async def test_the_address_is_that_of_the_service_and_not_of_the_queues_url():
    found = await resolved(account_at(None))
    assert (found.url, found.signing_name, found.region) == ("https://sqs.eu-west-1.amazonaws.com/", "sqs", REGION)


@pytest.mark.parametrize(
    ("exempt", "proxy"), [("", "http://jo:p%2Fw@proxy.example:3128"), (".amazonaws.com", None), ("*", None)]
)
async def test_the_proxy_is_botocores(monkeypatch, exempt, proxy):
    monkeypatch.setenv("HTTPS_PROXY", "jo:p%2Fw@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (await resolved(account_at(None))).proxy == proxy


async def test_botocore_is_asked_for_the_address_once_for_each_queue(aws, monkeypatch):
    asked = []
    ask = sqs_calls.address
    monkeypatch.setattr(sqs_calls, "address", lambda *args, **named: asked.append(args) or ask(*args, **named))
    async with served(RecitingSqs()) as endpoint:
        calls = calls_at(endpoint, aws)
        await calls.call("ListQueues", b"{}")
        await asyncio.gather(*(calls.call("ListQueues", b"{}") for _ in range(5)))
    assert len(asked) == 1


# How

CHANGING = {"accept", "authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request", "user-agent"}
"""`accept` is added by aiohttp. `user-agent` is botocore's own: aiobotocore was not asked for the address."""


@pytest.mark.parametrize("path", ["", "/", "/a/service"])
@pytest.mark.parametrize("token", [None, "a token"])
async def test_a_request_is_aiobotocores_but_for_its_count_of_tries(aws, path, token):
    seen = []

    async def see(request):
        seen.append((request.method, request.raw_path, dict(request.headers), await request.read()))
        return web.json_response({})

    async with served(see) as endpoint:
        account = account_at(endpoint + path, token)
        await (await aws.client("sqs", REGION, account)).list_queues()
        await Calls(REGION, account, aws, read_timeout=60).call("ListQueues", b"{}")
    (*theirs, their_headers, their_body), (*ours, our_headers, our_body) = seen
    assert (ours, our_body) == (theirs, their_body)
    assert _steady(our_headers) == _steady(their_headers)
    assert _signed(our_headers) == _signed(their_headers)


def _steady(headers):
    return {name.lower(): value for name, value in headers.items() if name.lower() not in CHANGING}


def _signed(headers):
    """The scope of the signature, and the headers that it covers."""
    scope, names = re.search("/([^ ]*), SignedHeaders=([^,]*)", headers["Authorization"]).groups()
    return scope, names


# Again


def _their_decision(status, code):
    model = SimpleNamespace(service_model=SimpleNamespace(service_name="sqs"), error_shapes=_error_shapes())
    context = RetryContext(
        attempt_number=1,
        operation_model=model,
        parsed_response={"Error": {"Code": code}},
        http_response=SimpleNamespace(status_code=status, headers={}),
    )
    return StandardRetryConditions(max_attempts=TRIES).is_retryable(context)


@cache
def _error_shapes():
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    return session.get_service_model("sqs").error_shapes


def test_a_refusal_is_tried_again_when_botocore_tries_again():
    names = [shape.name for shape in _error_shapes()]
    codes = [
        *PASSING_CODES,
        *names,
        "InternalError",
        "InternalFailure",
        "ServiceUnavailable",
        "",
        "503",
        "ExpiredToken",
    ]
    for status in (301, 400, 403, 404, 408, 429, 500, 501, 502, 503, 504, 505):
        for code in codes:
            answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
            assert may_pass(ClientError(answer, "ReceiveMessage")) == _their_decision(status, code), (status, code)


def test_all_codes_after_which_botocore_tries_again_are_known():
    transient = TransientRetryableChecker._TRANSIENT_ERROR_CODES
    assert {*transient, *ThrottledRetryableChecker._THROTTLED_ERROR_CODES} == PASSING_CODES


@pytest.mark.parametrize("tries", [1, 2, 3, 4, 5, 6, 40])
def test_pauses_between_tries_are_botocores(monkeypatch, tries):
    """A random part of 1 s, 2 s, 4 s, up to 20 s."""
    monkeypatch.undo()
    longest = ExponentialBackoff(random=lambda: 1).delay_amount(RetryContext(attempt_number=tries))
    pauses = [sqs_calls.BACKOFF.delay(tries) for _ in range(200)]
    assert longest * 0.8 < max(pauses) <= longest
    assert min(pauses) < longest * 0.2


class Failing:
    """Fails some times in a row, and then succeeds. `kind`: how it fails."""

    def __init__(self, times, kind):
        self.times = times
        self.kind = kind
        self.requests = 0
        self._recovered = asyncio.Event()

    async def __call__(self, request):
        self.requests += 1
        if self.requests > self.times:
            self._recovered.set()
            return web.json_response({"done": True})
        if self.kind == "cut":
            request.transport.abort()
        if self.kind == "silent":
            await self._recovered.wait()
        if self.kind == "broken off":
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b'{"Messages":[')
            request.transport.abort()
        return web.Response(body=b"", status=503)


KINDS = pytest.mark.parametrize("kind", ["unavailable", "cut", "broken off"])


@KINDS
async def test_a_call_is_tried_four_times(aws, kind):
    service = Failing(TRIES - 1, kind)
    async with served(service) as endpoint:
        assert await calls_at(endpoint, aws).call("ReceiveMessage", b"{}") == b'{"done": true}'
    assert service.requests == TRIES


@KINDS
async def test_after_four_tries_the_last_failure_is_raised(aws, kind):
    service = Failing(10**6, kind)
    async with served(service) as endpoint:
        with pytest.raises(sqs_calls.FAILURES):
            await calls_at(endpoint, aws).call("ReceiveMessage", b"{}")
    assert service.requests == TRIES


async def test_a_call_that_is_not_answered_in_time_is_repeated(aws):
    service = Failing(1, "silent")
    async with served(service) as endpoint:
        assert await calls_at(endpoint, aws, read_timeout=0.2).call("ReceiveMessage", b"{}") == b'{"done": true}'
    assert service.requests == 2


async def test_a_refusal_that_cannot_pass_is_not_repeated(aws):
    service = RecitingSqs.refusing("AccessDenied")
    async with served(service) as endpoint:
        with pytest.raises(ClientError, match="the service's message"):
            await calls_at(endpoint, aws).call("ReceiveMessage", b"{}")
    assert len(service.calls) == 1


async def test_during_an_outage_calls_soon_fail_at_their_first_try_and_afterwards_are_repeated_again(aws):
    """As botocore's: each retry takes from a quota, and each success returns to it."""
    service = Failing(10**6, "unavailable")
    async with served(service) as endpoint:
        calls = calls_at(endpoint, aws)
        requests = [await _requests_of_failing_call(calls, service) for _ in range(40)]
        assert requests[:33] == [TRIES] * 33
        assert requests[34:] == [1] * 6
        service.times = 0
        for _ in range(20):
            await calls.call("ReceiveMessage", b"{}")
        service.times = 10**6
        assert await _requests_of_failing_call(calls, service) == TRIES


async def _requests_of_failing_call(calls, service):
    before = service.requests
    with pytest.raises(ClientError):
        await calls.call("ReceiveMessage", b"{}")
    return service.requests - before


async def test_a_redirect_is_not_followed(aws):
    """Another host would get the request with the session's token."""
    async with served(RecitingSqs()) as elsewhere:
        service = RecitingSqs(status=307, headers={"Location": elsewhere}, body=b"")
        async with served(service) as endpoint:
            with pytest.raises(ClientError, match="307"):
                await calls_at(endpoint, aws).call("ReceiveMessage", b"{}")
    assert len(service.calls) == 1


async def test_a_large_answer_is_read_to_its_end(aws):
    body = b'{"Messages":[{"MessageId":"a","ReceiptHandle":"b","Body":"%s"}]}' % (b"x" * 3_000_000)
    async with served(RecitingSqs(body=body)) as endpoint:
        assert await calls_at(endpoint, aws).call("ReceiveMessage", b"{}") == body


async def test_a_session_token_with_a_line_break_is_an_error_of_botocores(aws):
    """It would be two headers. A file with a secret may end in one."""
    async with served(RecitingSqs()) as endpoint:
        calls = Calls(REGION, account_at(endpoint, "token\nx: y"), aws, read_timeout=60)
        with pytest.raises(HTTPClientError) as raised:
            await calls.call("ReceiveMessage", b"{}")
    assert "token" not in str(raised.value)


async def test_an_answer_without_end_is_not_kept_in_memory(aws, monkeypatch):
    monkeypatch.setattr(sqs_calls, "MAX_ANSWER", 100_000)
    async with served(RecitingSqs(body=bytes(200_000))) as endpoint:
        with pytest.raises(ResponseParserError, match="more than 100,000 bytes"):
            await calls_at(endpoint, aws).call("ReceiveMessage", b"{}")
