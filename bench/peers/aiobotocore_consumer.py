"""A consumer with aiobotocore and uvloop: a few receivers, each with ten GETs at a time."""

import asyncio
import signal
import sys
from typing import Any, Final

import uvloop
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from bench.peers.events import announced, object_events

RECEIVERS: Final = 8


class Consumer:
    """`events`: the object events found so far."""

    def __init__(self, sqs: Any, s3: Any, url: str) -> None:
        self._sqs = sqs
        self._s3 = s3
        self._url = url
        self.events = 0

    async def consume(self) -> None:
        """Receive, read and delete until the task is cancelled."""
        while True:
            answer = await self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            if messages := answer.get("Messages"):
                await asyncio.gather(*(self._read(message["Body"]) for message in messages))
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                await self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)

    async def _read(self, body: str) -> None:
        for bucket, key in announced(body):
            answer = await self._s3.get_object(Bucket=bucket, Key=key)
            async with answer["Body"] as stream:
                self.events += len(object_events(await stream.read()))


async def main(endpoint: str, url: str) -> None:
    session = get_session()
    config = AioConfig(max_pool_connections=100, s3={"addressing_style": "path"})
    async with (
        session.create_client("sqs", endpoint_url=endpoint, config=config) as sqs,
        session.create_client("s3", endpoint_url=endpoint, config=config) as s3,
    ):
        consumer = Consumer(sqs, s3, url)
        receivers = asyncio.gather(*(consumer.consume() for _ in range(RECEIVERS)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, receivers.cancel)
        try:
            await receivers
        except asyncio.CancelledError:
            print(consumer.events)


with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(main(sys.argv[1], sys.argv[2]))
