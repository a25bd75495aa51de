"""Measures how long the service takes to recover after the last fault."""

import asyncio
import time
from typing import Final

from jibe_sqs.sandbox.counts import waiting_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.world import World

CHECK_INTERVAL: Final = 0.5


async def seconds_until_in_sync(world: World, patience: float) -> float:
    """Wait until the queues are empty and the index equals S3, at most `patience` seconds. Returns the seconds."""
    began = time.monotonic()
    while time.monotonic() < began + patience:
        waiting = await asyncio.to_thread(waiting_messages, world)
        if not waiting and not (await asyncio.to_thread(differences, world)).count:
            break
        await asyncio.sleep(CHECK_INTERVAL)
    return time.monotonic() - began
