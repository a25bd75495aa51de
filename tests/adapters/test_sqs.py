"""One queue, over the sandbox's AWS: moto as a real process on loopback."""

import asyncio
import inspect
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import aiohttp
import botocore.exceptions
import botocore.parsers
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from botocore.retries.standard import ExponentialBackoff
from structlog.testing import capture_logs

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.sqs import MAX_VISIBILITY, SqsQueue, translated
from jibe_sqs.compose import stores
from jibe_sqs.core.errors import QueueError, QueueRefused, QueueUnavailable, ReceiptLost
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client

REGION = "eu-west-1"
NUMBER = count(1)


@pytest.fixture
def sqs(endpoint):
    return client(endpoint, "sqs", REGION)


@pytest.fixture
async def aws():
    async with Aws() as clients:
        yield clients


@pytest.fixture
def account(endpoint):
    return Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


@pytest.fixture
def url(sqs):
    return new_queue(sqs)


@pytest.fixture
def queue(url, account, aws):
    return SqsQueue(url, region=REGION, account=account, aws=aws, wait=1)


@pytest.fixture
def dead_letters(sqs):
    return new_queue(sqs)


@pytest.fixture
def queue_with_dead_letters(sqs, account, aws, dead_letters):
    return SqsQueue(with_dead_letters(sqs, dead_letters), region=REGION, account=account, aws=aws, wait=1)


@pytest.fixture
def without_backoff(monkeypatch):
    """botocore's tries follow at once."""
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)


def new_queue(sqs, **attributes):
    return sqs.create_queue(QueueName=f"queue-{next(NUMBER)}", Attributes=attributes)["QueueUrl"]


def with_dead_letters(sqs, dead_letters, receives=7):
    arn = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
    return new_queue(sqs, RedrivePolicy=policy, VisibilityTimeout="123")


def everything_in(sqs, url):
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"])
    return answer.get("Messages", [])


def left_in(sqs, url):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return tuple(int(attributes[name]) for name in names)


# Receive


async def test_a_message_comes_with_its_id_its_body_and_when_it_was_sent(sqs, url, queue):
    before = int(time.time() * 1000) / 1000
    sent = sqs.send_message(QueueUrl=url, MessageBody="bödy")
    (message,) = await queue.receive(10, wait=1)
    assert (message.id, message.body, message.receive_count) == (sent["MessageId"], "bödy", 1)
    assert before <= message.sent_at <= time.time()
    assert message.receipt


async def test_each_receive_is_counted(sqs, url, queue):
    sqs.send_message(QueueUrl=url, MessageBody="x")
    for expected in (1, 2, 3):
        (message,) = await queue.receive(1, wait=1)
        assert message.receive_count == expected
        assert await queue.show_after([(message.receipt, 0)]) == {}


async def test_no_more_come_than_were_asked_for(sqs, url, queue):
    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    first = await queue.receive(2, wait=1)
    rest = await queue.receive(10, wait=1)
    assert (len(first), len(rest)) == (2, 3)
    assert {message.body for message in [*first, *rest]} == set("01234")


async def test_an_empty_queue_answers_with_nothing(queue):
    assert list(await queue.receive(10, wait=0)) == []


async def test_a_long_poll_ends_with_the_message_that_comes(sqs, url, queue):
    receiving = asyncio.create_task(queue.receive(1, wait=20))
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody="late")
    async with asyncio.timeout(60):
        (message,) = await receiving
    assert message.body == "late"


# Settle


async def test_what_is_deleted_is_gone(sqs, url, queue):
    for number in range(10):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    messages = await queue.receive(10, wait=1)
    assert await queue.delete([message.receipt for message in messages]) == {}
    assert left_in(sqs, url) == (0, 0)


async def test_a_stale_receipt_fails_alone(sqs, url, queue):
    """An HTTP success may hold failures, entry by entry: airflow #73423."""
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    first, second = await queue.receive(10, wait=1)
    failed = await queue.delete([first.receipt, "nobody's", second.receipt])
    assert list(failed) == ["nobody's"]
    assert isinstance(failed["nobody's"], ReceiptLost)
    assert left_in(sqs, url) == (0, 0)


async def test_a_message_shows_again_when_it_was_told_to(sqs, url, queue):
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    now, later = await queue.receive(10, wait=1)
    assert await queue.show_after([(now.receipt, 0), (later.receipt, 3600)]) == {}
    assert [message.id for message in await queue.receive(10, wait=0)] == [now.id]


async def test_the_receipt_of_a_deleted_message_is_lost(sqs, url, queue):
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    gone, here = await queue.receive(10, wait=1)
    await queue.delete([gone.receipt])
    failed = await queue.show_after([(gone.receipt, 60), (here.receipt, 0)])
    assert list(failed) == [gone.receipt]
    assert isinstance(failed[gone.receipt], ReceiptLost)
    assert left_in(sqs, url) == (1, 0)


@pytest.mark.parametrize(("asked", "sent"), [(-3.0, 0), (0.4, 0), (1.6, 2), (1e9, MAX_VISIBILITY)])
async def test_a_delay_is_whole_seconds_within_what_sqs_takes(asked, sent):
    sqs = Recites()
    await queue_over(sqs).show_after([("receipt", asked)])
    assert sqs.calls[0]["Entries"][0]["VisibilityTimeout"] == sent


# Facts


async def test_a_queue_tells_its_timeout_and_its_dead_letters(sqs, queue_with_dead_letters, dead_letters):
    facts = await queue_with_dead_letters.facts()
    assert (facts.visibility_timeout, facts.max_receives, facts.dead_letters) == (123, 7, dead_letters)


async def test_a_queue_without_redrive_has_neither(queue):
    facts = await queue.facts()
    assert (facts.visibility_timeout, facts.max_receives, facts.dead_letters) == (30, None, None)


async def test_dead_letters_that_are_not_there_are_no_obstacle(sqs, queue_with_dead_letters, dead_letters):
    sqs.delete_queue(QueueUrl=dead_letters)
    facts = await queue_with_dead_letters.facts()
    assert (facts.max_receives, facts.dead_letters) == (7, None)


@pytest.mark.parametrize("policy", ["", "not json", "[]", "{}", '{"deadLetterTargetArn": null}'])
async def test_a_strange_redrive_policy_is_none(policy):
    facts = await queue_over(Recites({"Attributes": {"RedrivePolicy": policy}})).facts()
    assert (facts.max_receives, facts.dead_letters) == (None, None)


# Reject


async def test_a_rejected_message_is_copied_with_its_reason(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    message = Message(id="id-1", receipt="r", body="the bödy", receive_count=3)
    why = Reject("LogTruncated", "ends in the middle", source="s3://logs/a", first_error="LogMissing: gone")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert await queue_with_dead_letters.reject(message, why)
    (copy,) = everything_in(sqs, dead_letters)
    assert copy["Body"] == "the bödy"
    told = {name: value["StringValue"] for name, value in copy["MessageAttributes"].items()}
    assert before <= datetime.fromisoformat(told.pop("JibeTime")) <= datetime.now(UTC)
    assert told == {
        "JibeError": "LogTruncated",
        "JibeReason": "ends in the middle",
        "JibeSource": "s3://logs/a",
        "JibeFirstError": "LogMissing: gone",
        "JibeQueue": queue_with_dead_letters.name,
        "JibeMessageId": "id-1",
        "JibeReceiveCount": "3",
    }


async def test_a_reason_is_made_fit_for_sqs(sqs, queue_with_dead_letters, dead_letters):
    """A key may hold what no message may; and a reason may be as long as a key."""
    await queue_with_dead_letters.facts()
    why = Reject("LogMissing", "s3://logs/a\x00\x1bb\tc\ufffe\U0001f600" + "k" * 5000)
    assert await queue_with_dead_letters.reject(Message("id", "r", "body"), why)
    (copy,) = everything_in(sqs, dead_letters)
    reason = copy["MessageAttributes"]["JibeReason"]["StringValue"]
    assert reason.startswith("s3://logs/a\ufffd\ufffdb\tc\ufffd\U0001f600k")
    assert len(reason) == 1024


async def test_what_is_not_known_is_no_attribute(sqs, queue_with_dead_letters, dead_letters):
    """SQS takes no empty one."""
    await queue_with_dead_letters.facts()
    assert await queue_with_dead_letters.reject(Message("id", "r", "body"), Reject("LogMissing", "why"))
    (copy,) = everything_in(sqs, dead_letters)
    assert not {"JibeSource", "JibeFirstError"} & copy["MessageAttributes"].keys()


async def test_nothing_is_rejected_where_there_are_no_dead_letters(queue):
    await queue.facts()
    assert await queue.reject(Message("id", "r", "body"), Reject("LogMissing", "why")) is False


async def test_nothing_is_rejected_to_dead_letters_that_are_gone(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    sqs.delete_queue(QueueUrl=dead_letters)
    assert await queue_with_dead_letters.reject(Message("id", "r", "body"), Reject("LogMissing", "why")) is False


@pytest.mark.parametrize("code", ["InvalidParameterValue", "AccessDenied", "KMS.AccessDeniedException"])
async def test_a_copy_that_is_refused_is_not_kept_and_the_log_says_why(code):
    """A body of the full size leaves no room for the reason: SQS calls that an invalid parameter."""
    queue = queue_over(Recites(refusal(code)))
    queue._dead_letters = "https://example.com/dead"
    with capture_logs() as lines:
        assert await queue.reject(Message("id", "r", "body"), Reject("LogMissing", "why")) is False
    (line,) = lines
    assert (line["event"], line["message"]) == ("dead_letter_refused", "id")
    assert "the service's own words" in line["reason"]


async def test_in_a_fifo_queue_a_rejected_message_is_copied_once_whoever_copies_it_again(sqs, account, aws):
    """Found by this test: SQS takes nothing there without a group, so no dead letter ever had a reason."""
    order = {"FifoQueue": "true"}
    dead = sqs.create_queue(QueueName=f"dead-{next(NUMBER)}.fifo", Attributes=order)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    order["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 7})
    url = sqs.create_queue(QueueName=f"queue-{next(NUMBER)}.fifo", Attributes=order)["QueueUrl"]
    queue = SqsQueue(url, region=REGION, account=account, aws=aws, wait=0)
    await queue.facts()
    for name in ("id-1", "id-2", "id-1"):
        assert await queue.reject(Message(name, "r", "body"), Reject("LogMissing", "why"))
    told = [copy["MessageAttributes"]["JibeMessageId"]["StringValue"] for copy in everything_in(sqs, dead)]
    assert told == ["id-1", "id-2"]
    await queue.send("again", once="id-3")
    await queue.send("again", once="id-4")
    # Neither waits for the other to be done.
    assert [message.body for message in await queue.receive(1, wait=0)] == ["again"]
    assert [message.body for message in await queue.receive(1, wait=0)] == ["again"]


@pytest.mark.parametrize(
    ("answer", "may"), [("EmptyBatchRequest", True), ("AccessDenied", False), ("InternalError", True)]
)
async def test_whether_it_may_write_to_its_dead_letters_is_known_before_there_are_any(answer, may):
    recites = Recites(refusal(answer))
    queue = queue_over(recites)
    assert not await queue.may_reject()
    queue._dead_letters = "https://example.com/dead"
    assert await queue.may_reject() is may
    assert recites.calls == [{"QueueUrl": "https://example.com/dead", "Entries": []}]


async def test_who_starts_without_dead_letters_is_warned(queue, queue_with_dead_letters, monkeypatch):
    async def warnings_of(queue):
        with capture_logs() as lines:
            await stores.facts(queue)
        return [(line["event"], line["queue"]) for line in lines if line["log_level"] == "warning"]

    assert await warnings_of(queue_with_dead_letters) == []
    assert await warnings_of(queue) == [("no_dead_letters", queue.name)]

    async def denied(*_args, **_named):
        raise refusal("AccessDenied")

    client = await queue_with_dead_letters._client()
    monkeypatch.setattr(client, "send_message_batch", denied)
    assert await warnings_of(queue_with_dead_letters) == [("no_dead_letters", queue_with_dead_letters.name)]


async def test_asking_whether_it_may_write_there_writes_nothing(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    assert await queue_with_dead_letters.may_reject()
    assert left_in(sqs, dead_letters) == (0, 0)


# Errors


class Recites:
    """A client that gives one answer, or raises it, and remembers what it was asked."""

    def __init__(self, answer=None):
        self.answer = {} if answer is None else answer
        self.calls = []

    def __getattr__(self, _operation):
        async def call(**asked):
            self.calls.append(asked)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return call

    async def client(self, *_args, **_named):
        return self


def queue_over(recites):
    return SqsQueue("https://sqs.eu-west-1.amazonaws.com/1/q", region=REGION, account=Account(), aws=recites)


def refusal(code, message="the service's own words"):
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyOperation")


CODES = {
    "AWS.SimpleQueueService.NonExistentQueue": QueueRefused,
    "QueueDoesNotExist": QueueRefused,
    "AccessDenied": QueueRefused,
    "AccessDeniedException": QueueRefused,
    "InvalidClientTokenId": QueueRefused,
    "UnrecognizedClientException": QueueRefused,
    "SignatureDoesNotMatch": QueueRefused,
    "InvalidAddress": QueueRefused,
    "InvalidSecurity": QueueRefused,
    "KMS.AccessDeniedException": QueueRefused,
    "KmsAccessDenied": QueueRefused,
    "KmsNotFound": QueueRefused,
    "KMS.OptInRequired": QueueRefused,
    "KmsThrottled": QueueUnavailable,
    "ReceiptHandleIsInvalid": ReceiptLost,
    "AWS.SimpleQueueService.MessageNotInflight": ReceiptLost,
    "MessageNotInflight": ReceiptLost,
    "InvalidParameterValue": ReceiptLost,
    "ExpiredToken": QueueUnavailable,
    "ExpiredTokenException": QueueUnavailable,
    "RequestExpired": QueueUnavailable,
    "RequestThrottled": QueueUnavailable,
    "ThrottlingException": QueueUnavailable,
    "OverLimit": QueueUnavailable,
    "InternalError": QueueUnavailable,
    "ServiceUnavailable": QueueUnavailable,
    "503": QueueUnavailable,
    "": QueueUnavailable,
    "SomethingNew": QueueUnavailable,
}


@pytest.mark.parametrize(("code", "ours"), CODES.items())
async def test_an_error_code_of_sqs_is_one_of_our_errors(code, ours):
    with pytest.raises(ours, match="the service's own words") as raised:
        await queue_over(Recites(refusal(code))).receive(1, wait=0)
    assert type(raised.value) is ours
    assert "receive from q" in str(raised.value)


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "InternalError"])
async def test_an_error_code_of_an_entry_is_one_of_our_errors(code):
    answer = {"Failed": [{"Id": "1", "Code": code, "Message": "words", "SenderFault": True}]}
    failed = await queue_over(Recites(answer)).delete(["a", "b"])
    assert {receipt: type(error) for receipt, error in failed.items()} == {"b": CODES[code]}


def exceptions_of(module, *, but=()):
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    return [c for c in classes if issubclass(c, Exception) and not issubclass(c, Warning) and c.__name__ not in but]


FOREIGN = [
    # Raised for defects in botocore's own data files only.
    *exceptions_of(botocore.exceptions, but=("UndefinedModelAttributeError", "MissingServiceIdError")),
    # We open no web sockets.
    *exceptions_of(aiohttp.client_exceptions, but=("WSMessageTypeError",)),
    botocore.parsers.ResponseParserError,
    ConnectionResetError,
    BrokenPipeError,
    socket.gaierror,
    TimeoutError,
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.__name__)
def test_no_error_of_botocore_or_aiohttp_gets_through(foreign):
    # Each has arguments of its own, that its text is made of.
    error = type(foreign.__name__, (foreign,), {"__init__": lambda _: None, "__str__": lambda _: "words"})()
    if isinstance(error, ClientError):
        error.response = {"Error": {"Code": "Some", "Message": "words"}}
    with pytest.raises(QueueError, match="receive from q"), translated("receive from q"):
        raise error


def test_the_table_of_foreign_errors_is_not_empty():
    assert sum(issubclass(each, BotoCoreError) for each in FOREIGN) > 50
    assert sum(issubclass(each, aiohttp.ClientError) for each in FOREIGN) > 15


async def test_a_queue_that_does_not_exist_is_refused(endpoint, account, aws):
    queue = SqsQueue(f"{endpoint}/123456789012/no-such-queue", region=REGION, account=account, aws=aws)
    with pytest.raises(QueueRefused, match="attributes of no-such-queue"):
        await queue.facts()
    with pytest.raises(QueueRefused, match="receive from no-such-queue"):
        await queue.receive(1, wait=0)


async def test_a_service_that_refuses_connections_is_unavailable(aws, without_backoff):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
    queue = SqsQueue(f"{endpoint}/1/q", region=REGION, account=account, aws=aws)
    with pytest.raises(QueueUnavailable, match="receive from q"):
        await queue.receive(1, wait=0)
