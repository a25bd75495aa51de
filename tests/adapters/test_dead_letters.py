"""Dead letters in the sandbox's AWS: their facts, listing them without changing them, and redriving them."""

import asyncio
import json
from collections import Counter
from contextlib import aclosing
from itertools import count

import pytest

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.dead_letters import Origin, SqsDeadLetters
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.commands import dead_letters
from jibe_sqs.commands.dead_letters import all_letters, inspecting, redrive
from jibe_sqs.core.errors import QueueUnavailable
from jibe_sqs.core.model import Message, Reject
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client

REGION = "eu-west-1"
NUMBER = count(1)


@pytest.fixture
def sqs(endpoint):
    return client(endpoint, "sqs", REGION)


@pytest.fixture(autouse=True)
def no_long_polls(monkeypatch):
    """moto is one server, so a short poll returns every message."""
    monkeypatch.setattr(dead_letters, "RECEIVE_WAIT", 0)


class World:
    """A dead-letter queue, and any number of queues that send to it."""

    def __init__(self, sqs, aws, account):
        self.sqs = sqs
        self._aws = aws
        self._account = account
        self.dead = sqs.create_queue(QueueName=f"dead-{next(NUMBER)}")["QueueUrl"]
        self.urls = {}

    def feed(self, receives=2, *, fifo=False):
        arn = self.sqs.get_queue_attributes(QueueUrl=self.dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        name = f"queue-{next(NUMBER)}" + ".fifo" * fifo
        attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"} | ({"FifoQueue": "true"} if fifo else {})
        self.urls[name] = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return name

    def queue(self, name):
        return SqsQueue(self.urls[name], region=REGION, account=self._account, aws=self._aws)

    def letters(self, *names):
        origins = {name: Origin(self.queue(name), 2) for name in names or self.urls}
        return SqsDeadLetters(self.dead, origins=origins, region=REGION, account=self._account, aws=self._aws)

    async def reject(self, name, body, why=None, receives=3):
        queue = self.queue(name)
        await queue.facts()
        why = why or Reject("LogMissing", "LogMissing: s3://logs/a: not there", "s3://logs/a")
        assert await queue.reject(Message(f"id of {body}", "receipt", body.encode(), receives), why)

    def left(self, url=None):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url or self.dead, AttributeNames=names)["Attributes"]
        return tuple(int(found[name]) for name in names)


@pytest.fixture
async def world(sqs, endpoint):
    async with Aws() as aws:
        yield World(sqs, aws, Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY))


async def everything(*queues):
    return [letter async for letter in all_letters(queues)]


async def test_a_dead_letter_has_all_facts_of_the_rejected_message(world):
    name = world.feed()
    why = Reject("LogTruncated", "LogTruncated: half a file (and 1 more)", "s3://logs/a b", "LogMissing: gone")
    await world.reject(name, "the bödy", why)
    (letter,) = await everything(world.letters())
    assert (letter.queue, letter.body, letter.error, letter.reason) == (name, "the bödy", why.error, why.reason)
    assert (letter.source, letter.first_error) == ("s3://logs/a b", "LogMissing: gone")
    assert (letter.message_id, letter.receives) == ("id of the bödy", 3)
    assert letter.time.endswith("Z")
    assert letter.sent_at > 0


async def test_a_message_moved_by_sqs_has_no_reason(world):
    name = world.feed(receives=2)
    sent = world.sqs.send_message(QueueUrl=world.urls[name], MessageBody="no error")
    for _ in range(3):
        world.sqs.receive_message(QueueUrl=world.urls[name])
    (letter,) = await everything(world.letters())
    assert (letter.id, letter.body, letter.queue) == (sent["MessageId"], "no error", name)
    assert (letter.error, letter.reason) == ("unknown", "no reason given (moved by the queue after 2 receives)")


async def test_listing_shows_each_dead_letter_once_and_keeps_all(world):
    name = world.feed()
    for number in range(23):
        await world.reject(name, str(number))
    for _ in range(2):
        assert Counter(letter.body for letter in await everything(world.letters())) == Counter(map(str, range(23)))
        assert world.left() == (23, 0)


async def test_a_listing_that_ends_early_keeps_all(world):
    name = world.feed()
    for number in range(12):
        await world.reject(name, str(number))
    async with aclosing(all_letters([world.letters()])) as letters:
        await anext(letters)
        assert world.left()[1] == 10
    assert world.left() == (12, 0)


async def test_a_listing_cancelled_during_a_receive_returns_the_received_letters(world):
    """Ctrl-C cancels it like this."""
    name = world.feed()
    for number in range(12):
        await world.reject(name, str(number))
    letters = world.letters()
    receive, received, go_on = letters.letters, asyncio.Event(), asyncio.Event()

    async def slow(*args, **named):
        found = await receive(*args, **named)
        received.set()
        await go_on.wait()
        return found

    letters.letters = slow
    looking_on = asyncio.create_task(everything(letters))
    await received.wait()
    looking_on.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await looking_on
    assert world.left() == (12, 0)


async def test_a_redriven_message_starts_with_a_receive_count_of_one(world):
    name = world.feed()
    await world.reject(name, "the bödy")
    done = await redrive([world.letters()], lambda letter: letter.error == "LogMissing")
    assert [letter.body for letter in done.letters] == ["the bödy"]
    assert world.left() == (0, 0)
    (message,) = world.sqs.receive_message(
        QueueUrl=world.urls[name], MessageAttributeNames=["All"], AttributeNames=["All"]
    )["Messages"]
    assert message["Body"] == "the bödy"
    assert "MessageAttributes" not in message
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"


async def test_only_selected_letters_are_redriven_each_to_its_own_queue(world):
    one, other = world.feed(), world.feed()
    for number in range(12):
        await world.reject(one, f"one {number}")
        await world.reject(other, f"other {number}")
    await world.reject(one, "stays", Reject("BucketNotAllowed", "words"))
    done = await redrive([world.letters()], lambda letter: letter.error == "LogMissing")
    assert (len(done.letters), done.failed, done.left) == (24, [], Counter({"BucketNotAllowed": 1}))
    assert [world.left(world.urls[name])[0] for name in (one, other)] == [12, 12]
    assert world.left() == (1, 0)


async def test_a_dry_run_moves_nothing(world):
    name = world.feed()
    await world.reject(name, "x")
    done = await redrive([world.letters()], lambda _: True, dry_run=True)
    assert len(done.letters) == 1
    assert world.left() == (1, 0)
    assert world.left(world.urls[name]) == (0, 0)


async def test_a_letter_of_an_unconfigured_queue_is_kept(world):
    ours, others = world.feed(), world.feed()
    await world.reject(others, "theirs")
    done = await redrive([world.letters(ours)], lambda _: True)
    ((letter, why),) = done.failed
    assert letter.queue == others
    assert others in why
    assert "configuration" in why
    assert world.left() == (1, 0)
    assert world.left(world.urls[ours]) == (0, 0)


async def test_a_letter_that_cannot_be_sent_back_is_not_deleted(world):
    name = world.feed()
    await world.reject(name, "x")
    letters = world.letters()
    world.sqs.delete_queue(QueueUrl=world.urls[name])
    done = await redrive([letters], lambda _: True)
    assert not done.letters
    assert "QueueRefused" in done.failed[0][1]
    assert world.left() == (1, 0)


async def test_a_message_rejected_again_during_a_redrive_is_not_redriven_again(world):
    """Otherwise a message whose cause is not corrected would be redriven for ever."""
    name = world.feed()
    for number in range(3):
        await world.reject(name, str(number))
    letters = world.letters()
    send_back, sent = letters.send_back, []

    async def rejected_at_once(letter):
        await send_back(letter)
        sent.append(letter.body)
        await world.reject(name, letter.body)

    letters.send_back = rejected_at_once
    await redrive([letters], lambda _: True)
    assert sorted(sent) == ["0", "1", "2"]
    assert world.left() == (3, 0)


async def test_a_letter_that_cannot_be_deleted_is_reported_and_stays_visible(world):
    name = world.feed()
    await world.reject(name, "x")
    letters = world.letters()

    async def fails(receipts):
        return {receipt: QueueUnavailable("InternalError") for receipt in receipts}

    letters.delete = fails
    done = await redrive([letters], lambda _: True)
    assert "InternalError" in done.failed[0][1]
    assert world.left() == (1, 0)
    assert world.left(world.urls[name]) == (1, 0)  # twice is harmless, a loss would not be


async def test_a_letter_that_is_received_twice_is_listed_once(world, monkeypatch):
    monkeypatch.setattr(dead_letters, "VISIBILITY_TIMEOUT", 0)
    name = world.feed()
    await world.reject(name, "x")
    async with inspecting(world.letters()) as inspection:
        assert len([letter async for letter in inspection.letters()]) == 1


async def test_foreign_attributes_are_ignored(world):
    """Raw delivery keeps SNS's attributes, and SQS keeps them when it moves a message."""
    name = world.feed(receives=1)
    attributes = {
        each: {"DataType": "String", "StringValue": "theirs"} for each in ("Queue", "Error", "Reason", "Time")
    }
    world.sqs.send_message(QueueUrl=world.urls[name], MessageBody="x", MessageAttributes=attributes)
    for _ in range(2):
        world.sqs.receive_message(QueueUrl=world.urls[name])
    (letter,) = await everything(world.letters())
    assert (letter.queue, letter.error, letter.time) == (name, "unknown", "")
    assert not (await redrive([world.letters()], lambda _: True)).failed


async def test_letters_of_a_fifo_queue_are_sent_back(world):
    order = {"FifoQueue": "true"}
    world.dead = world.sqs.create_queue(QueueName=f"dead-{next(NUMBER)}.fifo", Attributes=order)["QueueUrl"]
    name = world.feed(fifo=True)
    await world.reject(name, "a")
    await world.reject(name, "b")
    done = await redrive([world.letters()], lambda _: True)
    assert (sorted(letter.body for letter in done.letters), done.failed) == (["a", "b"], [])
    assert world.left() == (0, 0)
    assert world.left(world.urls[name]) == (2, 0)


@pytest.mark.parametrize("receives", ["", "x", "9" * 5000, "-1", "٣"])
async def test_a_malformed_attribute_is_ignored(world, receives):
    """Anyone who can write to the dead-letter queue can write anything."""
    world.feed()
    attributes = {"JibeError": "[bold]\x85E", "JibeReceiveCount": receives, "JibeTime": "\x85"}
    world.sqs.send_message(
        QueueUrl=world.dead,
        MessageBody="x",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        },
    )
    (letter,) = await everything(world.letters())
    assert (letter.receives, letter.body) == (0, "x")


async def test_a_letter_belongs_to_its_queue_with_or_without_a_region_in_the_name(world):
    """Another configuration may have one queue of that name, or several."""
    name = world.feed()
    await world.reject(name, "rejected by another configuration")
    world.sqs.send_message(QueueUrl=world.urls[name], MessageBody="moved by SQS")
    for _ in range(3):
        world.sqs.receive_message(QueueUrl=world.urls[name])
    url = world.urls[name]
    queue = SqsQueue(url, region=REGION, account=world._account, aws=world._aws, name=f"{name} ({REGION})")
    letters = SqsDeadLetters(
        world.dead,
        origins={queue.name: Origin(queue, 2)},
        region=REGION,
        account=world._account,
        aws=world._aws,
    )
    assert {letter.queue for letter in await everything(letters)} == {queue.name}
    assert (await redrive([letters], lambda _: True)).failed == []
