"""Stops a replica with SIGTERM under load, many times.

Each time it must exit with 0 before the deadline, and no message may stay hidden until its visibility timeout ends.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from jibe_sqs.sandbox.counts import dead_letters, hidden_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.world import World
from proof.chaos.load import Load
from proof.chaos.recovery import seconds_until_in_sync
from proof.chaos.replicas import POLL_WAIT, Exit, Replica, replica
from proof.chaos.watch import Watch

VISIBILITY_TIMEOUT: Final = 600
"""Seconds. So long that a message which stays hidden is noticed."""
DRAIN_TIMEOUT: Final = 4.0
TEARDOWN: Final = 5.0
"""Seconds that Python may take to exit: half a second on an idle machine."""
DEADLINE: Final = DRAIN_TIMEOUT + POLL_WAIT + TEARDOWN
"""Seconds. A receive in flight is not cancelled."""
DELAYS: Final = (0.0, 0.3, DRAIN_TIMEOUT + 2.0)
"""Seconds by which each call to Access Anywhere is delayed.

With the last one, refreshes take longer than the drain timeout.
"""
START_TIMEOUT: Final = 60.0
VISIBLE_WITHIN: Final = 1.0
"""Seconds after the exit."""


class DrainOutcome(msgspec.Struct, kw_only=True):
    """The result. Each list has one entry for each stop."""

    times: int
    exit_codes: dict[str, int]
    seconds: list[float]
    """From the signal to the exit."""
    deadline: float
    held: list[int]
    """Messages that the replica held, or that were on their way to it, just before the signal."""
    handed_back: int
    """Messages that a receive brought after the signal."""
    given_back: int
    """Messages that were not finished before the deadline."""
    hidden_left: int
    """Messages that are hidden although no replica holds them."""
    in_sync: bool
    lost: int
    dead_letters: int
    changes: int
    seed: int

    @property
    def is_good(self) -> bool:
        in_time = set(self.exit_codes) == {"0"} and max(self.seconds) <= self.deadline
        return in_time and self.in_sync and not (self.hidden_left or self.dead_letters)


async def drain(world: World, *, times: int, seed: int, patience: float, folder: Path, watch: Watch) -> DrainOutcome:
    """Run the whole test. The queues of `world` must have the visibility timeout `VISIBILITY_TIMEOUT`."""
    random, load, stops_done = Random(f"drain {seed}"), Load(world, seed), asyncio.Event()
    ends: list[Exit] = []
    held: list[int] = []
    hidden, handed_back, given_back = 0, 0, 0
    async with (
        replica(world, folder / "replica", "sqlite", drain_timeout=DRAIN_TIMEOUT) as subject,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(load.run(stops_done))
        for time_ in range(times):
            watch(f"SIGTERM, {time_ + 1} of {times}")
            await asyncio.to_thread(world.set_faults, slow={"seconds": random.choice(DELAYS)})
            subject.start()
            await _wait_until_busy(world, subject, hidden)
            await asyncio.sleep(random.uniform(0, 1.5))
            held.append(await asyncio.to_thread(hidden_messages, world) - hidden)
            ends.append(await subject.terminate())
            hidden = await _hidden_left(world, hidden)
            handed_back += subject.sum_logged("handed_back", "messages")
            given_back += subject.sum_logged("given_back", "messages")
        stops_done.set()
        watch("no more stops: waiting until the queues are empty and the index equals S3")
        await asyncio.to_thread(world.set_faults)
        subject.start()
        # A message that stayed hidden would not become visible in time, so there is nothing to wait for.
        await seconds_until_in_sync(world, 0 if hidden else patience)
        await subject.terminate()
        found = await asyncio.to_thread(differences, world)
    return DrainOutcome(
        times=times,
        exit_codes=dict(Counter(str(end.code) for end in ends)),
        seconds=[round(end.seconds, 2) for end in ends],
        deadline=DEADLINE,
        held=held,
        handed_back=handed_back,
        given_back=given_back,
        hidden_left=hidden,
        in_sync=not found.count and found.expected > 0,
        lost=len(found.missing) + len(found.stale),
        dead_letters=await asyncio.to_thread(dead_letters, world),
        changes=load.changes,
        seed=seed,
    )


async def _wait_until_busy(world: World, subject: Replica, hidden: int) -> None:
    """Return when the replica holds messages, in addition to the `hidden` ones that no replica holds."""
    deadline = time.monotonic() + START_TIMEOUT
    while not (subject.is_up and await asyncio.to_thread(hidden_messages, world) > hidden):
        if not subject.is_running or time.monotonic() > deadline:
            raise RuntimeError(f"the replica received no messages:\n{subject.log_tail}")
        await asyncio.sleep(0.02)


async def _hidden_left(world: World, before: int) -> int:
    deadline = time.monotonic() + VISIBLE_WITHIN
    while True:
        hidden = await asyncio.to_thread(hidden_messages, world)
        if hidden <= before or time.monotonic() > deadline:
            return hidden
        await asyncio.sleep(0.05)
