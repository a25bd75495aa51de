"""The queues: the JSON protocol of SQS, with long polls, visibility and receipts."""

import asyncio
import hashlib
import heapq
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from bench.stub.http import Connection, Request, response

MAX_BATCH: Final = 10
RETENTION: Final = 345_600
VISIBILITY: Final = 900.0
"""Seconds. Long enough for the largest file on a busy machine: otherwise another receiver would get it, too."""


class Delivery(msgspec.Struct):
    """One message. Its body is made when it is received, so that a million messages need little memory."""

    number: int
    body: Callable[[int], str]
    sent: float
    receives: int = 0
    receipt: str = ""


class _Poll(msgspec.Struct, eq=False):
    connection: Connection
    limit: int
    visibility: float
    timer: asyncio.TimerHandle | None = None


class Queue:
    """One queue. `visibility`: seconds, where a receive has no other."""

    def __init__(self, name: str, counts: Counter[str], *, visibility: float = VISIBILITY) -> None:
        self.name = name
        self.visibility = visibility
        self.deleted = 0
        self.last_sent = self.last_deleted = 0.0
        self.paused = False
        self.draining = False
        self._counts = counts
        self._waiting: deque[Delivery] = deque()
        self._hidden: dict[str, tuple[float, Delivery]] = {}
        self._ends: list[tuple[float, str]] = []
        self._polls: deque[_Poll] = deque()
        self._receipts = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return len(self._hidden)

    @property
    def polls(self) -> int:
        """Long polls that wait for a message."""
        return len(self._polls)

    def send(self, numbers: Iterable[int], body: Callable[[int], str]) -> None:
        """Add messages. `body` makes the body of a message from its number."""
        self.last_sent = time.monotonic()
        sent = time.time()
        self._waiting.extend(Delivery(number, body, sent) for number in numbers)
        self._answer_polls()

    def pause(self, paused: bool) -> None:
        """While it is paused, receives wait as if the queue were empty."""
        self.paused = paused
        self._answer_polls()

    def drain(self) -> None:
        """Answer all long polls now, and later ones at once: so a client can stop without waiting for them."""
        self.draining = True
        while self._polls:
            self._answer(self._polls.popleft(), {})

    def receive(self, asked: dict[str, Any], connection: Connection) -> bytes | None:
        self._counts["sqs ReceiveMessage"] += 1
        limit = min(MAX_BATCH, asked.get("MaxNumberOfMessages", 1))
        visibility = asked.get("VisibilityTimeout", self.visibility)
        if self._waiting and not self.paused:
            return response(msgspec.json.encode(self._taken(limit, visibility)))
        wait = asked.get("WaitTimeSeconds", 0)
        if not wait or self.draining:
            return response(b"{}")
        poll = _Poll(connection, limit, visibility)
        poll.timer = asyncio.get_running_loop().call_later(wait, self._give_up, poll)
        self._polls.append(poll)
        return None

    def delete(self, receipt: str) -> bool:
        """Delete the message of a receipt. Returns whether the receipt was valid: SQS accepts an outdated one, too."""
        found = self._hidden.pop(receipt, None)
        if found is None:
            self._counts["sqs outdated receipts"] += 1
            return receipt.isdecimal()
        self.deleted += 1
        self.last_deleted = time.monotonic()
        return True

    def show_after(self, receipt: str, delay: float) -> bool:
        """Change the visibility of a message in flight. Returns whether the receipt was valid."""
        found = self._hidden.get(receipt)
        if found is None:
            return False
        self._hide(receipt, found[1], delay)
        return True

    def _taken(self, limit: int, visibility: float) -> dict[str, Any]:
        messages = []
        for _ in range(min(limit, len(self._waiting))):
            delivery = self._waiting.popleft()
            delivery.receives += 1
            delivery.receipt = str(next(self._receipts))
            self._hide(delivery.receipt, delivery, visibility)
            body = delivery.body(delivery.number)
            messages.append(
                {
                    "MessageId": f"{delivery.number:08x}-0000-4000-8000-000000000000",
                    "ReceiptHandle": delivery.receipt,
                    "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
                    "Body": body,
                    "Attributes": {
                        "ApproximateReceiveCount": str(delivery.receives),
                        "SentTimestamp": str(int(delivery.sent * 1000)),
                    },
                }
            )
        self._counts["sqs receives with messages"] += 1
        self._counts["sqs messages received"] += len(messages)
        return {"Messages": messages}

    def _hide(self, receipt: str, delivery: Delivery, seconds: float) -> None:
        end = time.monotonic() + seconds
        self._hidden[receipt] = end, delivery
        heapq.heappush(self._ends, (end, receipt))
        if self._timer is None or seconds <= 0:
            self._show_visible()

    def _show_visible(self) -> None:
        """Show the messages whose visibility timeout has ended, and look again when the next one ends."""
        now = time.monotonic()
        while self._ends:
            end, receipt = self._ends[0]
            found = self._hidden.get(receipt)
            if found is not None and found[0] == end and end > now:
                break
            heapq.heappop(self._ends)
            if found is not None and found[0] == end:
                del self._hidden[receipt]
                self._waiting.append(found[1])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            self._timer = asyncio.get_running_loop().call_later(self._ends[0][0] - now, self._show_visible)
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._answer_polls)

    def _answer_polls(self) -> None:
        while self._polls and self._waiting and not self.paused:
            poll = self._polls.popleft()
            if poll.connection.is_open:
                self._answer(poll, self._taken(poll.limit, poll.visibility))
            elif poll.timer is not None:
                poll.timer.cancel()

    def _give_up(self, poll: _Poll) -> None:
        self._polls.remove(poll)
        self._answer(poll, {})

    @staticmethod
    def _answer(poll: _Poll, answer: dict[str, Any]) -> None:
        if poll.timer is not None:
            poll.timer.cancel()
        poll.connection.answer(response(msgspec.json.encode(answer)))


class Sqs:
    """All queues. A queue exists from its first use."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self.queues: dict[str, Queue] = {}

    def queue(self, name: str) -> Queue:
        if (queue := self.queues.get(name)) is None:
            queue = self.queues[name] = Queue(name, self._counts)
        return queue

    def answer(self, request: Request, operation: str, connection: Connection) -> bytes | None:
        """Answer a request of the JSON protocol. `operation`: the part of `X-Amz-Target` after the dot."""
        asked = msgspec.json.decode(request.body)
        queue = self.queue((asked.get("QueueUrl") or asked.get("QueueName", "")).rpartition("/")[2])
        if operation == "ReceiveMessage":
            return queue.receive(asked, connection)
        self._counts[f"sqs {operation}"] += 1
        match operation:
            case "DeleteMessageBatch":
                # A replica has an access key of its own, where a benchmark wants to know what each one did.
                self._counts[f"deleted with {_access_key(request)}"] += len(asked["Entries"])
                return _batch(asked, lambda entry: queue.delete(entry["ReceiptHandle"]))
            case "DeleteMessage":
                return response(b"{}") if queue.delete(asked["ReceiptHandle"]) else _invalid_receipt()
            case "ChangeMessageVisibilityBatch":
                return _batch(asked, lambda e: queue.show_after(e["ReceiptHandle"], e["VisibilityTimeout"]))
            case "ChangeMessageVisibility":
                shown = queue.show_after(asked["ReceiptHandle"], asked["VisibilityTimeout"])
                return response(b"{}") if shown else _invalid_receipt()
            case "SendMessage":
                return response(msgspec.json.encode(_sent(queue, asked)))
            case "SendMessageBatch":
                entries = asked["Entries"]
                sent = [{"Id": entry["Id"], **_sent(queue, entry)} for entry in entries]
                return response(msgspec.json.encode({"Successful": sent, "Failed": []}))
            case "GetQueueUrl":
                return response(
                    msgspec.json.encode({"QueueUrl": f"http://{request.header(b'host:').decode()}/{queue.name}"})
                )
            case "GetQueueAttributes":
                return response(msgspec.json.encode({"Attributes": _attributes(queue)}))
        return response(b'{"__type":"InvalidAction"}', status=400)


def _access_key(request: Request) -> str:
    return request.header(b"authorization:").partition(b"Credential=")[2].partition(b"/")[0].decode()


def _attributes(queue: Queue) -> dict[str, str]:
    return {
        "VisibilityTimeout": f"{queue.visibility:.0f}",
        "MessageRetentionPeriod": str(RETENTION),
        "ApproximateNumberOfMessages": str(queue.waiting),
        "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
    }


def _sent(queue: Queue, asked: dict[str, Any]) -> dict[str, str]:
    body: str = asked["MessageBody"]
    number = int(time.monotonic() * 1e6) & 0xFFFFFFFF
    queue.send([number], lambda _: body)
    digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
    return {"MessageId": f"{number:08x}-0000-4000-8000-000000000000", "MD5OfMessageBody": digest}


def _batch(asked: dict[str, Any], act: Callable[[dict[str, Any]], bool]) -> bytes:
    successful, failed = [], []
    for entry in asked["Entries"]:
        if act(entry):
            successful.append({"Id": entry["Id"]})
        else:
            failed.append(
                {"Id": entry["Id"], "SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "invalid"}
            )
    return response(msgspec.json.encode({"Successful": successful, "Failed": failed}))


def _invalid_receipt() -> bytes:
    return response(b'{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"invalid"}', status=400)
