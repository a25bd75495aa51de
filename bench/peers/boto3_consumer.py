"""A consumer with boto3 and 16 threads, each of which receives, reads and deletes ten messages at a time."""

import os
import signal
import sys
import threading
from typing import Any, Final

import boto3
from botocore.config import Config

from bench.peers.events import announced, object_events

THREADS: Final = 16


class Consumer:
    """`events`: the object events found so far, by thread."""

    def __init__(self, endpoint: str, url: str) -> None:
        config = Config(max_pool_connections=2 * THREADS, s3={"addressing_style": "path"})
        session = boto3.Session()
        self._sqs: Any = session.client("sqs", endpoint_url=endpoint, config=config)
        self._s3: Any = session.client("s3", endpoint_url=endpoint, config=config)
        self._url = url
        self.events = [0] * THREADS

    def consume(self, number: int) -> None:
        """Receive, read and delete for ever."""
        while True:
            answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=20)
            if messages := answer.get("Messages"):
                for message in messages:
                    for bucket, key in announced(message["Body"]):
                        stored = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                        self.events[number] += len(object_events(stored))
                entries = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
                self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)


def main(endpoint: str, url: str) -> None:
    consumer = Consumer(endpoint, url)
    for number in range(THREADS):
        threading.Thread(target=consumer.consume, args=[number], daemon=True).start()
    signal.sigwait({signal.SIGTERM})
    print(sum(consumer.events), flush=True)
    # The threads may wait in long polls.
    os._exit(0)


signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
main(sys.argv[1], sys.argv[2])
