"""A discrete-event simulation of N replicas that share a queue. It checks the model's wait in the queue.

A replica takes up to ten messages when it has nothing left, and does them one after the other. So a message may wait in one
replica while another one is idle, which the model does not know.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from bench.scale.model import waiting

SERVICE: Final = 0.01
"""Seconds of CPU of a message."""
BATCH: Final = 10
EVERY: Final = 300.0
"""Seconds between two bursts."""
MESSAGES: Final = 60_000


class Check(NamedTuple):
    """The mean wait before a message is begun, in seconds. `load`: the busy part of all replicas."""

    replicas: int
    load: float
    arrivals: str
    simulated: float
    model: float


def checks() -> Iterator[Check]:
    """The model against the simulation, for some replicas and loads."""
    for replicas in (1, 4, 16):
        for load in (0.3, 0.7, 0.9):
            even = mean_wait(random_arrivals(load * replicas / SERVICE), replicas)
            yield Check(replicas, load, "random", even, waiting(load, replicas, SERVICE))
            burst = mean_wait(bursts(load * replicas / SERVICE), replicas)
            yield Check(replicas, load, "bursts", burst, load * EVERY / 2)


def random_arrivals(rate: float, messages: int = MESSAGES, seed: int = 1) -> list[float]:
    """Times of messages that come independently of each other."""
    chance, now, times = random.Random(seed), 0.0, []
    for _ in range(messages):
        now += chance.expovariate(rate)
        times.append(now)
    return times


def bursts(rate: float) -> list[float]:
    """Times of messages that come all at once, in each of two bursts."""
    size = round(rate * EVERY)
    return [0.0] * size + [EVERY] * size


def mean_wait(arrivals: Sequence[float], replicas: int, service: float = SERVICE) -> float:
    """Seconds from the arrival of a message to its beginning. `arrivals`: in order."""
    queue: deque[float] = deque()
    free = [0.0] * replicas
    heapq.heapify(free)
    waited, following = 0.0, 0
    while following < len(arrivals) or queue:
        now = max(heapq.heappop(free), queue[0] if queue else arrivals[following])
        while following < len(arrivals) and arrivals[following] <= now:
            queue.append(arrivals[following])
            following += 1
        began = now
        for _ in range(BATCH):
            if not queue or queue[0] > began:
                break
            waited += now - queue.popleft()
            now += service
        heapq.heappush(free, now)
    return waited / len(arrivals)
