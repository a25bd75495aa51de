"""One queue of the sandbox's AWS: moto in another process on loopback."""

import asyncio
import inspect
import json
import socket
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import count

import aiohttp
import botocore.exceptions
import botocore.parsers
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from structlog.testing import capture_logs
from tests.adapters.aws_stand_ins import RecitingSqs, served

from jibe_sqs.adapters import http1_errors, sqs_calls
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import aws_errors
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.sqs import MAX_VISIBILITY, SqsQueue
from jibe_sqs.adapters.sqs_errors import translated
from jibe_sqs.compose.queues import log_facts
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.consuming.holds import Held
from jibe_sqs.consuming.settlements import Settlements
from jibe_sqs.core.errors import DelayRefused, QueueError, QueueRefused, QueueUnavailable, ReceiptLost
from jibe_sqs.core.model import Done, Message, Reject, Retry
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.ports import QueueDepth
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.telemetry.counters import Counters

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
    """No pauses between tries."""
    monkeypatch.setattr(sqs_calls, "BACKOFF", Backoff(0.0, 0.0))


@pytest.fixture
async def reciting(aws):
    """Makes a queue of a service that always gives the same answer; and returns it with that service."""
    async with AsyncExitStack() as services:

        async def reciting(sqs):
            address = await services.enter_async_context(served(sqs))
            account = Account(endpoint=address, access_key_id="a", secret_access_key="b")
            return SqsQueue(f"{address}/1/q", region=REGION, account=account, aws=aws, wait=0)

        yield reciting


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


async def test_a_message_has_its_id_its_body_and_its_sent_time(sqs, url, queue):
    before = int(time.time() * 1000) / 1000
    sent = sqs.send_message(QueueUrl=url, MessageBody="bödy")
    (message,) = await queue.receive(10, wait=1, visibility=30)
    assert (message.id, message.body, message.receive_count) == (sent["MessageId"], "bödy".encode(), 1)
    assert before <= message.sent_at <= time.time()
    assert message.receipt


async def test_the_senders_trace_is_asked_for_only_by_a_traced_queue(sqs, url, queue, account, aws):
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    attribute = {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}
    sqs.send_message(QueueUrl=url, MessageBody="traced", MessageSystemAttributes=attribute)
    (message,) = await queue.receive(10, wait=1, visibility=0)
    assert message.trace == ""
    traced = SqsQueue(url, region=REGION, account=account, aws=aws, wait=1, traced=True)
    (message,) = await traced.receive(10, wait=1, visibility=30)
    assert (message.trace, message.receive_count) == (header, 2)


async def test_a_trace_that_is_no_text_costs_no_message(reciting):
    attributes = {"ApproximateReceiveCount": "1", "AWSTraceHeader": {"Root": 1}}
    sqs = RecitingSqs({"Messages": [{"MessageId": "id", "ReceiptHandle": "r", "Body": "a", "Attributes": attributes}]})
    queue = await reciting(sqs)
    (message,) = await queue.receive(1, wait=0, visibility=30)
    assert (message.id, message.trace) == ("id", "")
    assert "AWSTraceHeader" not in sqs.calls[-1]["MessageSystemAttributeNames"]


async def test_half_of_a_surrogate_pair_costs_no_message_in_any_direction(reciting):
    """SQS refuses such a text. Another service that speaks its protocol may not."""
    sqs = RecitingSqs({"Messages": [{"MessageId": "id", "ReceiptHandle": "r\udfff", "Body": "a\udfffb"}]})
    queue = await reciting(sqs)
    queue._dead_letters = "https://example.com/dead"
    (message,) = await queue.receive(1, wait=0, visibility=30)
    assert message.body == b"a\xed\xbf\xbfb"
    assert await queue.delete([message.receipt]) == {}
    assert sqs.calls[-1]["Entries"] == [{"Id": "0", "ReceiptHandle": "r\udfff"}]
    assert await queue.reject(message, Reject("AnnouncementMalformed", "why"))
    assert sqs.calls[-1]["MessageBody"] == "a\ufffd\ufffd\ufffdb"


async def test_each_receive_is_counted(sqs, url, queue):
    sqs.send_message(QueueUrl=url, MessageBody="x")
    for expected in (1, 2, 3):
        (message,) = await queue.receive(1, wait=1, visibility=30)
        assert message.receive_count == expected
        assert await queue.show_after([(message.receipt, 0)]) == {}


async def test_a_receive_returns_at_most_the_requested_number(sqs, url, queue):
    for number in range(5):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    first = await queue.receive(2, wait=1, visibility=30)
    rest = await queue.receive(10, wait=1, visibility=30)
    assert (len(first), len(rest)) == (2, 3)
    assert {message.body for message in [*first, *rest]} == {b"0", b"1", b"2", b"3", b"4"}


async def test_an_empty_queue_returns_no_messages(queue):
    assert list(await queue.receive(10, wait=0, visibility=30)) == []


async def test_a_long_poll_ends_when_a_message_arrives(sqs, url, queue):
    receiving = asyncio.create_task(queue.receive(1, wait=20, visibility=30))
    await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody="late")
    async with asyncio.timeout(60):
        (message,) = await receiving
    assert message.body == b"late"


@pytest.mark.parametrize("own", ["0", "43200"])
async def test_a_received_message_is_hidden_for_as_long_as_the_receive_asks(sqs, account, aws, own):
    """The queue's own timeout may be too short to hold a message: a queue for functions may even have zero."""
    url = new_queue(sqs, VisibilityTimeout=own)
    queue = SqsQueue(url, region=REGION, account=account, aws=aws, wait=1)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    (first,) = await queue.receive(1, wait=1, visibility=0.5)
    (second,) = await queue.receive(1, wait=20, visibility=3600)
    assert (second.id, second.receive_count) == (first.id, 2)
    assert (await queue.receive(1, wait=1, visibility=30), left_in(sqs, url)) == ([], (0, 1))


@pytest.mark.parametrize(("asked", "sent"), [(0.0, 0), (0.4, 1), (30.0, 30), (1e9, MAX_VISIBILITY)])
async def test_a_visibility_is_rounded_up_and_limited_to_what_sqs_accepts(reciting, asked, sent):
    sqs = RecitingSqs()
    await (await reciting(sqs)).receive(1, wait=0, visibility=asked)
    assert sqs.calls[0]["VisibilityTimeout"] == sent


# Settle


async def test_deleted_messages_are_gone(sqs, url, queue):
    for number in range(10):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    messages = await queue.receive(10, wait=1, visibility=30)
    assert await queue.delete([message.receipt for message in messages]) == {}
    assert left_in(sqs, url) == (0, 0)


async def test_a_stale_receipt_does_not_fail_the_others(sqs, url, queue):
    """A successful answer may contain failed entries: airflow #73423."""
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    first, second = await queue.receive(10, wait=1, visibility=30)
    failed = await queue.delete([first.receipt, "unknown", second.receipt])
    assert list(failed) == ["unknown"]
    assert isinstance(failed["unknown"], ReceiptLost)
    assert left_in(sqs, url) == (0, 0)


async def test_a_message_becomes_visible_after_its_delay(sqs, url, queue):
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    now, later = await queue.receive(10, wait=1, visibility=30)
    assert await queue.show_after([(now.receipt, 0), (later.receipt, 3600)]) == {}
    assert [message.id for message in await queue.receive(10, wait=0, visibility=30)] == [now.id]


async def test_the_receipt_of_a_deleted_message_is_lost(sqs, url, queue):
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    gone, here = await queue.receive(10, wait=1, visibility=30)
    await queue.delete([gone.receipt])
    failed = await queue.show_after([(gone.receipt, 60), (here.receipt, 0)])
    assert list(failed) == [gone.receipt]
    assert isinstance(failed[gone.receipt], ReceiptLost)
    assert left_in(sqs, url) == (1, 0)


@pytest.mark.parametrize(("asked", "sent"), [(-3.0, 0), (0.4, 0), (1.6, 2), (1e9, MAX_VISIBILITY)])
async def test_a_delay_is_rounded_and_limited_to_what_sqs_accepts(reciting, asked, sent):
    sqs = RecitingSqs()
    await (await reciting(sqs)).show_after([("receipt", asked)])
    assert sqs.calls[0]["Entries"][0]["VisibilityTimeout"] == sent


# Facts


async def test_the_facts_have_the_visibility_timeout_and_the_dead_letter_queue(
    sqs, queue_with_dead_letters, dead_letters
):
    facts = await queue_with_dead_letters.facts()
    assert (facts.visibility_timeout, facts.max_receives, facts.dead_letters) == (123, 7, dead_letters)


async def test_the_facts_of_a_queue_without_redrive_have_no_dead_letter_queue(queue):
    facts = await queue.facts()
    assert (facts.visibility_timeout, facts.max_receives, facts.dead_letters) == (30, None, None)
    assert facts.retention == 4 * 86_400


async def test_the_depth_has_visible_and_hidden_messages_and_the_retention(sqs, url, queue):
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"MessageRetentionPeriod": "3600"})
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="x")
    await queue.receive(1, wait=0, visibility=60)
    assert await queue.depth() == QueueDepth(visible=2, hidden=1, retention=3600)
    assert (await queue.facts()).retention == 3600


async def test_a_compatible_queue_without_these_attributes_has_the_defaults(reciting):
    assert await (await reciting(RecitingSqs({"Attributes": {}}))).depth() == QueueDepth(0, 0, 4 * 86_400)


async def test_a_missing_dead_letter_queue_is_not_an_error(sqs, queue_with_dead_letters, dead_letters):
    sqs.delete_queue(QueueUrl=dead_letters)
    facts = await queue_with_dead_letters.facts()
    assert (facts.max_receives, facts.dead_letters) == (7, None)


@pytest.mark.parametrize("policy", ["", "not json", "[]", "{}", '{"deadLetterTargetArn": null}'])
async def test_a_malformed_redrive_policy_is_ignored(reciting, policy):
    facts = await (await reciting(RecitingSqs({"Attributes": {"RedrivePolicy": policy}}))).facts()
    assert (facts.max_receives, facts.dead_letters) == (None, None)


@pytest.mark.parametrize(
    "policy", ['{"maxReceiveCount": "many"}', '{"maxReceiveCount": []}', '{"maxReceiveCount": 1e999}']
)
async def test_a_malformed_number_of_receives_is_ignored(reciting, policy):
    facts = await (await reciting(RecitingSqs({"Attributes": {"RedrivePolicy": policy}}))).facts()
    assert facts.max_receives is None


@pytest.mark.parametrize(
    "attributes",
    [
        True,
        ["VisibilityTimeout"],
        *({name: value} for name in ("VisibilityTimeout", "MessageRetentionPeriod") for value in ("", "nan", "-1", [])),
        {"RedrivePolicy": '{"deadLetterTargetArn": "no-arn"}'},
    ],
    ids=str,
)
async def test_attributes_that_cannot_be_read_are_an_error_of_the_queue(reciting, attributes):
    """Another error would end the consumer."""
    with pytest.raises(QueueUnavailable):
        await (await reciting(RecitingSqs({"Attributes": attributes}))).facts()


@pytest.mark.parametrize("value", ["", "inf", "-1", {}, float("inf")])
@pytest.mark.parametrize("name", ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"])
async def test_a_depth_that_cannot_be_read_is_an_error_of_the_queue(reciting, name, value):
    with pytest.raises(QueueUnavailable):
        await (await reciting(RecitingSqs({"Attributes": {name: value}}))).depth()


@pytest.mark.parametrize("number", ["2", "-1"])
async def test_the_failure_of_an_entry_that_was_not_sent_fails_the_batch(reciting, number):
    """It is not known which entry failed, so none counts as deleted."""
    queue = await reciting(RecitingSqs({"Failed": [{"Id": number, "Code": "InternalError"}]}))
    with pytest.raises(QueueUnavailable):
        await queue.delete(["a", "b"])


# Reject


async def test_a_rejected_message_is_copied_with_its_reason(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    message = Message(id="id-1", receipt="r", body="the bödy".encode(), receive_count=3)
    why = Reject("LogTruncated", "ends in the middle", source="s3://logs/a", first_error="LogMissing: gone")
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert await queue_with_dead_letters.reject(message, why)
    (copy,) = everything_in(sqs, dead_letters)
    assert copy["Body"] == "the bödy"
    attributes = {name: value["StringValue"] for name, value in copy["MessageAttributes"].items()}
    assert before <= datetime.fromisoformat(attributes.pop("JibeTime")) <= datetime.now(UTC)
    assert attributes == {
        "JibeError": "LogTruncated",
        "JibeReason": "ends in the middle",
        "JibeSource": "s3://logs/a",
        "JibeFirstError": "LogMissing: gone",
        "JibeQueue": queue_with_dead_letters.name,
        "JibeMessageId": "id-1",
        "JibeReceiveCount": "3",
    }


async def test_a_reason_is_shortened_and_cleaned_for_sqs(sqs, queue_with_dead_letters, dead_letters):
    """A key may have characters that SQS does not accept, and a reason may be as long as a key."""
    await queue_with_dead_letters.facts()
    why = Reject("LogMissing", "s3://logs/a\x00\x1bb\tc\ufffe\U0001f600" + "k" * 5000)
    assert await queue_with_dead_letters.reject(Message("id", "r", b"body"), why)
    (copy,) = everything_in(sqs, dead_letters)
    reason = copy["MessageAttributes"]["JibeReason"]["StringValue"]
    assert reason.startswith("s3://logs/a\ufffd\ufffdb\tc\ufffd\U0001f600k")
    assert len(reason) == 1024


async def test_unknown_fields_are_not_sent_as_attributes(sqs, queue_with_dead_letters, dead_letters):
    """SQS refuses empty attributes."""
    await queue_with_dead_letters.facts()
    assert await queue_with_dead_letters.reject(Message("id", "r", b"body"), Reject("LogMissing", "why"))
    (copy,) = everything_in(sqs, dead_letters)
    assert not {"JibeSource", "JibeFirstError"} & copy["MessageAttributes"].keys()


async def test_without_a_dead_letter_queue_a_message_is_not_rejected(queue):
    await queue.facts()
    assert await queue.reject(Message("id", "r", b"body"), Reject("LogMissing", "why")) is False


async def test_a_message_is_not_rejected_if_the_dead_letter_queue_is_gone(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    sqs.delete_queue(QueueUrl=dead_letters)
    assert await queue_with_dead_letters.reject(Message("id", "r", b"body"), Reject("LogMissing", "why")) is False


@pytest.mark.parametrize("code", ["InvalidParameterValue", "AccessDenied", "KMS.AccessDeniedException"])
async def test_a_refused_dead_letter_is_logged_with_its_reason(reciting, code):
    """A body of the maximal size leaves no room for the reason: SQS answers InvalidParameterValue."""
    queue = await reciting(RecitingSqs.refusing(code))
    queue._dead_letters = "https://example.com/dead"
    with capture_logs() as lines:
        assert await queue.reject(Message("id", "r", b"body"), Reject("LogMissing", "why")) is False
    (line,) = lines
    assert (line["event"], line["message"]) == ("dead_letter_refused", "id")
    assert "the service's message" in line["reason"]


@pytest.fixture
def fifo_dead_letters(sqs):
    return sqs.create_queue(QueueName=f"dead-{next(NUMBER)}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]


@pytest.fixture
async def fifo_queue(sqs, account, aws, fifo_dead_letters):
    asked = sqs.get_queue_attributes(QueueUrl=fifo_dead_letters, AttributeNames=["QueueArn"])
    redrive = json.dumps({"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": 7})
    attributes = {"FifoQueue": "true", "RedrivePolicy": redrive}
    url = sqs.create_queue(QueueName=f"queue-{next(NUMBER)}.fifo", Attributes=attributes)["QueueUrl"]
    queue = SqsQueue(url, region=REGION, account=account, aws=aws, wait=0)
    await queue.facts()
    return queue


async def test_a_fifo_queue_takes_each_rejected_message_once(sqs, fifo_queue, fifo_dead_letters):
    """Found by this test: a FIFO queue refuses messages without a group, so dead letters never had a reason."""
    queue, dead = fifo_queue, fifo_dead_letters
    for name in ("id-1", "id-2", "id-1"):
        assert await queue.reject(Message(name, "r", b"body"), Reject("LogMissing", "why"))
    copied = [copy["MessageAttributes"]["JibeMessageId"]["StringValue"] for copy in everything_in(sqs, dead)]
    assert copied == ["id-1", "id-2"]
    await queue.send("again", once="id-3")
    await queue.send("again", once="id-4")
    # Both can be received at the same time: neither blocks the other.
    assert [message.body for message in await queue.receive(1, wait=0, visibility=30)] == [b"again"]
    assert [message.body for message in await queue.receive(1, wait=0, visibility=30)] == [b"again"]


async def test_a_rejected_message_lets_its_group_go_on_and_a_retried_one_blocks_it(sqs, fifo_queue, fifo_dead_letters):
    queue, group = fifo_queue, ["bad 0", "good 1", "bad 2", "later 3", "good 4"]
    for body in group:
        sqs.send_message(QueueUrl=queue.url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)
    verdicts = {b"bad": Reject("LogMissing", "gone"), b"good": Done(), b"later": Retry(3600.0, "why")}
    settlements = Settlements(queue=queue, policy=RetryPolicy(), clock=S3Clock(), counters=Counters())
    seen = []
    for _ in group[:4]:
        (message,) = await queue.receive(1, wait=20, visibility=3600)
        seen.append(message.body.decode())
        held = Held(message, message.receipt, S3Clock().monotonic(), 3600.0, 1800.0)
        await settlements.settle(held, verdicts[message.body.split()[0]])
    assert seen == group[:4]
    assert await queue.receive(1, wait=0, visibility=3600) == []
    assert [copy["Body"] for copy in everything_in(sqs, fifo_dead_letters)] == ["bad 0", "bad 2"]
    assert left_in(sqs, queue.url) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "may"), [("EmptyBatchRequest", True), ("AccessDenied", False), ("InternalError", True)]
)
async def test_the_permission_to_write_dead_letters_is_checked_in_advance(reciting, answer, may):
    recites = RecitingSqs.refusing(answer)
    queue = await reciting(recites)
    assert not await queue.may_reject()
    queue._dead_letters = "https://example.com/dead"
    assert await queue.may_reject() is may
    assert recites.calls == [{"QueueUrl": "https://example.com/dead", "Entries": []}]


async def test_a_missing_or_forbidden_dead_letter_queue_is_logged_at_the_start(
    queue, queue_with_dead_letters, reciting
):
    async def warnings_of(queue):
        with capture_logs() as lines:
            await log_facts(queue, await queue.facts())
        return [(line["event"], line["queue"]) for line in lines if line["log_level"] == "warning"]

    assert await warnings_of(queue_with_dead_letters) == []
    assert await warnings_of(queue) == [("no_dead_letters", queue.name)]

    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:1:dead", "maxReceiveCount": 5})
    answers = {
        "AmazonSQS.GetQueueAttributes": RecitingSqs({"Attributes": {"RedrivePolicy": policy}}),
        "AmazonSQS.GetQueueUrl": RecitingSqs({"QueueUrl": "https://sqs.eu-west-1.amazonaws.com/1/dead"}),
        "AmazonSQS.SendMessageBatch": RecitingSqs.refusing("AccessDenied"),
    }
    forbidden = await reciting(lambda request: answers[request.headers["X-Amz-Target"]](request))
    assert await warnings_of(forbidden) == [("no_dead_letters", forbidden.name)]


async def test_the_check_of_the_permission_writes_no_message(sqs, queue_with_dead_letters, dead_letters):
    await queue_with_dead_letters.facts()
    assert await queue_with_dead_letters.may_reject()
    assert left_in(sqs, dead_letters) == (0, 0)


# Errors


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
    "InvalidParameterValue": QueueRefused,
    "InvalidMessageContents": QueueRefused,
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
@pytest.mark.usefixtures("without_backoff")
async def test_an_error_code_of_sqs_becomes_our_error(reciting, code, ours):
    queue = await reciting(RecitingSqs.refusing(code))
    with pytest.raises(ours, match="the service's message") as raised:
        await queue.receive(1, wait=0, visibility=30)
    assert type(raised.value) is ours
    assert "receive from q" in str(raised.value)


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "InternalError"])
async def test_an_error_code_of_a_batch_entry_becomes_our_error(reciting, code):
    answer = {"Failed": [{"Id": "1", "Code": code, "Message": "words", "SenderFault": True}]}
    failed = await (await reciting(RecitingSqs(answer))).delete(["a", "b"])
    assert {receipt: type(error) for receipt, error in failed.items()} == {"b": CODES[code]}


RECEIPT = "AQEB" + "x" * 400
TOO_LONG = (
    "Value 900 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the "
    "limit [43200 seconds]"
)
INVALID = {
    f"Value {RECEIPT} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.": ReceiptLost,
    f"Value {RECEIPT} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for "
    "visibility timeout change.": ReceiptLost,
    "Message does not exist or is not available for visibility timeout change": ReceiptLost,
    TOO_LONG: DelayRefused,
    "One or more parameters are invalid. Reason: Message must be shorter than 1048576 bytes.": QueueRefused,
}


@pytest.mark.parametrize(("message", "ours"), INVALID.items())
@pytest.mark.parametrize("in_batch", [True, False])
async def test_an_invalid_parameter_has_its_meaning_from_the_message_of_sqs(reciting, message, ours, in_batch):
    """A delay that was too long was taken for a lost receipt, and the work on the message was stopped."""
    if in_batch:
        answer = {"Failed": [{"Id": "0", "Code": "InvalidParameterValue", "Message": message, "SenderFault": True}]}
        error = (await (await reciting(RecitingSqs(answer))).show_after([("a", 900)]))["a"]
    else:
        queue = await reciting(RecitingSqs.refusing("InvalidParameterValue", message))
        with pytest.raises(QueueError) as raised:
            await queue.show_after([("a", 900)])
        error = raised.value
    assert type(error) is ours


async def test_a_delay_beyond_twelve_hours_after_the_receive_is_refused_for_its_message_only(sqs, url, queue):
    for number in range(2):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))
    first, second = await queue.receive(10, wait=1, visibility=30)
    failed = await queue.show_after([(first.receipt, MAX_VISIBILITY), (second.receipt, 0)])
    assert {receipt: type(error) for receipt, error in failed.items()} == {first.receipt: DelayRefused}
    assert "beyond the limit [43200 seconds]" in str(failed[first.receipt])
    assert left_in(sqs, url) == (1, 1)


def exceptions_of(module, *, but=()):
    classes = [each for _, each in inspect.getmembers(module, inspect.isclass)]
    return [c for c in classes if issubclass(c, Exception) and not issubclass(c, Warning) and c.__name__ not in but]


FOREIGN = [
    # Raised only for defects in botocore's own data files.
    *exceptions_of(botocore.exceptions, but=("UndefinedModelAttributeError", "MissingServiceIdError")),
    # We do not open web sockets.
    *exceptions_of(aiohttp.client_exceptions, but=("WSMessageTypeError",)),
    *exceptions_of(http1_errors),
    botocore.parsers.ResponseParserError,
    ConnectionResetError,
    BrokenPipeError,
    socket.gaierror,
    TimeoutError,
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=lambda foreign: foreign.__name__)
def test_every_error_of_botocore_and_of_its_and_our_http_client_is_translated(foreign):
    # Each class formats its text from its own arguments.
    error = type(foreign.__name__, (foreign,), {"__init__": lambda _: None, "__str__": lambda _: "words"})()
    if isinstance(error, ClientError):
        error.response = {"Error": {"Code": "Some", "Message": "words"}}
    assert isinstance(error, aws_errors())
    ours = translated("receive from q", error)
    assert isinstance(ours, QueueError)
    assert "receive from q" in str(ours)


def test_the_table_of_foreign_errors_is_not_empty():
    assert sum(issubclass(each, BotoCoreError) for each in FOREIGN) > 50
    assert sum(issubclass(each, aiohttp.ClientError) for each in FOREIGN) > 15


async def test_a_queue_that_does_not_exist_is_refused(endpoint, account, aws):
    queue = SqsQueue(f"{endpoint}/123456789012/no-such-queue", region=REGION, account=account, aws=aws)
    with pytest.raises(QueueRefused, match="attributes of no-such-queue"):
        await queue.facts()
    with pytest.raises(QueueRefused, match="receive from no-such-queue"):
        await queue.receive(1, wait=0, visibility=30)


async def test_a_service_that_refuses_connections_is_unavailable(aws, without_backoff):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
    account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
    queue = SqsQueue(f"{endpoint}/1/q", region=REGION, account=account, aws=aws)
    with pytest.raises(QueueUnavailable, match="receive from q"):
        await queue.receive(1, wait=0, visibility=30)
