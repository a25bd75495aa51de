"""Promises that are checked from time to time, when no step is in progress: that nothing stands still, and who waits."""

import asyncio
from collections.abc import Sequence

from proof.simulation.kinds import Kind
from proof.simulation.outages import NOTICED
from proof.simulation.replica import Replica
from proof.simulation.sqs import Sqs, Stored
from proof.simulation.world import World

LONGEST = 1800.0
"""Seconds after which a message is settled, if neither its bucket nor its queue nor Access Anywhere is away.

A crash may hide it for ten minutes, and its folder may be refreshed only now and then."""
PICKED_UP = 5.0
"""Seconds in which a visible message is received, if there is room for it."""
FULL = 5.0
"""The average limit of the receives that find a full batch."""


class Watch:
    """Watches a world after its random faults have ended."""

    def __init__(self, world: World, replicas: Sequence[Replica]) -> None:
        self._world = world
        self._replicas = replicas
        self._since = world.loop.time()
        self._had_room_since: float | None = None

    async def watch(self) -> None:
        """Watch until cancelled. At odd times, at which nothing else happens."""
        pause = 1.0117 if self._world.kind is Kind.IDLE else 31.0117
        while True:
            await asyncio.sleep(pause)
            for replica in self._replicas:
                replica.check_idle()
            if self._world.outages.end:
                self._check_waiting()
            if self._world.kind is Kind.IDLE:
                self._check_picked_up(self._world.queues[0])
            self._check_settled()

    def _check_settled(self) -> None:
        """Messages of other buckets and other queues go on."""
        world, now = self._world, self._world.loop.time()
        if now - max(self._since, world.aa_away_until) <= LONGEST:
            return
        for sqs in world.queues:
            if sqs.is_refusing_since(now - LONGEST):
                continue
            for stored in sqs.messages.values():
                late = now - stored.first_visible_at > LONGEST and not world.outages.has_outage(
                    stored.announcement.files
                )
                world.judge.require(not late, "what is not away goes on", stored.id, now - stored.first_visible_at)

    def _check_waiting(self) -> None:
        """At most half of the messages that may be held wait for a bucket, and those that have no receive left."""
        for replica in self._replicas:
            waiting = sum(1 for sqs, stored in replica.held() if self._is_waiting(sqs, stored))
            self._world.judge.totals["waiting"] += waiting
            most = replica.messages_held // 2
            self._world.judge.require(waiting <= most, "half of the room is left in an outage", waiting, most)

    def _is_waiting(self, sqs: Sqs, stored: Stored) -> bool:
        now = self._world.loop.time()
        is_last = sqs.max_receives is not None and stored.receive_count >= sqs.max_receives
        return not is_last and now - stored.received_at > NOTICED and self._world.outages.waits(stored)

    def _check_picked_up(self, busy: Sqs) -> None:
        """The idle queues take nothing from the busy one."""
        now = self._world.loop.time()
        has_room = any(replica.has_room for replica in self._replicas) and not self._world.index.gate.reason
        if not has_room or now < self._world.calm_at:
            self._had_room_since = None
            return
        if self._had_room_since is None:
            self._had_room_since = now
        shown = min((stored.visible_at for stored in busy.visible()), default=now)
        waited = now - max(shown, self._had_room_since)
        self._world.judge.require(waited < PICKED_UP, "a visible message is received soon if there is room", waited)
        asked = busy.room_asked
        is_full = len(asked) < 3 or sum(asked) / len(asked) >= FULL
        self._world.judge.require(is_full or not self._world.has_big_room, "receives ask for full batches", asked)
