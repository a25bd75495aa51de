"""Receives and deletions of ten messages: our client of SQS beside aiobotocore's, at a server with a canned answer."""

import asyncio
import json
import statistics
from collections.abc import Awaitable, Callable
from typing import Any, Final

import uvloop

from bench.canned import cpu_of, server
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.sqs import SqsQueue

MESSAGES: Final = 10
CALLS: Final = 400
AT_ONCE: Final = 4
ROUNDS: Final = 5
QUEUE: Final = "https://sqs.us-east-1.amazonaws.com/111122223333/q"
RECEIPTS: Final = [f"AQEB{number}{'wJnKyrHigUMZj6rYigCgxlaS3SLy0a' * 11}" for number in range(MESSAGES)]
BODY: Final = json.dumps(
    {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:logs",
        "Message": json.dumps(
            {"s3Bucket": "logs", "s3ObjectKey": ["AWSLogs/111122223333/CloudTrail/us-east-1/f.json.gz"]}
        ),
        "Timestamp": "2026-11-21T10:00:00.000Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLEw6JRN" * 28,
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem",
        "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:1:logs",
    }
)
RECEIVED: Final = {
    "Messages": [
        {
            "MessageId": f"5fea7756-0ea4-451a-a703-a558b933e27{number}",
            "ReceiptHandle": receipt,
            "MD5OfBody": "fafb00f5732ab283681e124bf8747ed1",
            "Body": BODY,
            "Attributes": {"SentTimestamp": "1792747440000", "ApproximateReceiveCount": "1"},
        }
        for number, receipt in enumerate(RECEIPTS)
    ]
}
DELETED: Final = {"Successful": [{"Id": str(number)} for number in range(MESSAGES)]}
END: Final = b"}"
"""The last byte of each request. A request arrives at once, or in a part with the head and one with the body."""


def run() -> None:
    """CPU time of this process per call, without the server; medians of paired rounds."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_compare("receive of ten", RECEIVED, _ours_receiving, _theirs_receiving))
        runner.run(_compare("delete of ten", DELETED, _ours_deleting, _theirs_deleting))


async def _compare(
    what: str,
    answer: dict[str, Any],
    ours: Callable[[SqsQueue], Awaitable[object]],
    theirs: Callable[[Any], Awaitable[object]],
) -> None:
    async with server(_http(answer), end=END) as endpoint, Aws() as aws:
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
        queue = SqsQueue(QUEUE, region="us-east-1", account=account, aws=aws)
        client = await aws.client("sqs", "us-east-1", account)

        async def by_us() -> None:
            await ours(queue)

        async def by_aiobotocore() -> None:
            await theirs(client)

        candidates = {"jibe-sqs": by_us, "aiobotocore": by_aiobotocore}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, call in candidates.items():
                times[name].append(await cpu_of(call, times=CALLS, at_once=AT_ONCE))
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    for name, median in medians.items():
        print(f"  {name:14} {median * 1e6:7.0f} µs of CPU per {what}")
    print(f"  aiobotocore costs {medians['aiobotocore'] / medians['jibe-sqs']:.1f} times as much")


def _http(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 7b0b1e9d-5c1b-5a0e-8f50-40d5ce0e7d3a\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n"
        f"Content-Type: application/x-amz-json-1.0\r\nconnection: keep-alive\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def _ours_receiving(queue: SqsQueue) -> object:
    return await queue.receive(MESSAGES, wait=20, visibility=300)


async def _theirs_receiving(client: Any) -> object:
    return await client.receive_message(
        QueueUrl=QUEUE,
        MaxNumberOfMessages=MESSAGES,
        WaitTimeSeconds=20,
        VisibilityTimeout=300,
        MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
    )


async def _ours_deleting(queue: SqsQueue) -> object:
    return await queue.delete(RECEIPTS)


async def _theirs_deleting(client: Any) -> object:
    return await client.delete_message_batch(
        QueueUrl=QUEUE, Entries=[{"Id": str(number), "ReceiptHandle": each} for number, each in enumerate(RECEIPTS)]
    )
