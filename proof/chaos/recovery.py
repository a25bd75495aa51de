"""How long it takes, when nothing is amiss any more, until all is well."""

import asyncio
import time
from typing import Final

from jibe_sqs.sandbox.counts import waiting_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.world import World

CHECK_INTERVAL: Final = 0.5


async def seconds_until_true(world: World, patience: float) -> float:
    """Until the queues are empty and Access Anywhere shows what S3 holds, or patience is at its end."""
    began = time.monotonic()
    while time.monotonic() < began + patience:
        waiting = await asyncio.to_thread(waiting_messages, world)
        if not waiting and not (await asyncio.to_thread(differences, world)).count:
            break
        await asyncio.sleep(CHECK_INTERVAL)
    return time.monotonic() - began
