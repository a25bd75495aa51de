"""Makes some changes every second, but pauses while the queues are long."""

import asyncio
import time
from contextlib import suppress
from typing import Final

from jibe_sqs.sandbox.aws.changes import Writer
from jibe_sqs.sandbox.aws.records import iam_user
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.counts import waiting_messages
from jibe_sqs.sandbox.uploads import Uploader
from jibe_sqs.sandbox.world import World

CHANGES_PER_DELIVERY: Final = 8
"""Changes between two deliveries, in addition to one witness in each bucket."""
DELIVERY_INTERVAL: Final = 1.0
"""Seconds between two deliveries."""
MAX_BACKLOG: Final = 200
"""Messages in the queues. With more, moto becomes slow."""


class Load:
    """Makes changes and delivers their logs."""

    def __init__(self, world: World, seed: int) -> None:
        self.changes = 0
        self._world = world
        self._caller = iam_user(
            "witness",
            account=world.deployment.account,
            access_key="AKIAWITNESSWITNESS00",
            address="198.51.100.7",
            agent="aws-cli/2",
        )
        self._uploader = Uploader(world.access_anywhere, world.permanent_token, world.bucket_map)
        self._writer = Writer(world.deployment, world.publishers, seed=seed, access_anywhere=self._uploader)

    async def run(self, until: asyncio.Event) -> None:
        """Make changes until `until` is set. When this returns, all changes are delivered."""
        try:
            while not until.is_set():
                if await asyncio.to_thread(waiting_messages, self._world) < MAX_BACKLOG:
                    await asyncio.to_thread(self._make)
                with suppress(TimeoutError):
                    async with asyncio.timeout(DELIVERY_INTERVAL):
                        await until.wait()
        finally:
            self._uploader.close()

    def _make(self) -> None:
        self.changes += sum(1 for _ in self._writer.changes(CHANGES_PER_DELIVERY))
        for bucket, region in self._world.deployment.buckets.items():
            self._write_witness(bucket, region)
        self._world.publishers.deliver()

    def _write_witness(self, bucket: str, region: str) -> None:
        """Write an object into a new folder that is never used again.

        If its refresh is lost, no later refresh hides the loss.
        """
        deployment, body = self._world.deployment, b"witness"
        self.changes += 1
        key, began = f"witnesses/{self.changes:06}/object", time.time()
        answer = deployment.client("s3", region).put_object(Bucket=bucket, Key=key, Body=body)
        self._world.publishers.record(
            S3Call(
                kind=CallKind.PUT,
                bucket=bucket,
                region=region,
                account=deployment.account,
                caller=self._caller,
                began=began,
                at=time.time(),
                keys=(key,),
                size=len(body),
                etag=answer["ETag"].strip('"'),
            )
        )
