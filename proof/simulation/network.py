"""Calls to servers. A call takes time, fails before or after its effect, or takes effect after the death of its caller."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from proof.simulation.judge import Judge
from proof.simulation.loop import PROCESS, WORLD

T = TypeVar("T")

SLOW = 4.0
"""The longest time of a request or of an answer, in seconds."""
TIMEOUT = 8.0
"""Seconds after which a call without an answer fails."""


@dataclass
class Faults:
    """The probabilities of faults in the calls of one server."""

    failure_rate: float = 0.0
    lost_answer_rate: float = 0.0
    """The probability that a call takes effect and its answer is lost."""
    slow_rate: float = 0.0

    @classmethod
    def draw(cls, chance: Random) -> "Faults":
        """Draw the probabilities. Four of ten servers have no faults."""
        if chance.random() < 0.4:
            return cls()
        return cls(chance.choice([0.0, 0.02, 0.2]), chance.choice([0.0, 0.02, 0.2]), chance.choice([0.0, 0.05, 0.3]))


def later(delay: float, callback: Callable[..., object], *args: object) -> None:
    """Call back in `delay` seconds, also if the calling process dies meanwhile."""
    asyncio.get_running_loop().call_later(delay, callback, *args, context=WORLD)


def is_disconnected(server: str) -> bool:
    """Whether the running process is disconnected from this server."""
    process = PROCESS.get()
    return (
        process is not None and process.disconnected_from is not None and server.startswith(process.disconnected_from)
    )


class Network:
    """Delivers calls to servers, which are known by their names."""

    def __init__(self, chance: Random, judge: Judge) -> None:
        self._chance = chance
        self._judge = judge
        self._faults: dict[str, Faults] = {}

    def add(self, server: str) -> None:
        """Add a server with probabilities of its own."""
        self._faults[server] = Faults.draw(self._chance)

    def stop_faults(self) -> None:
        """Fail no more calls from now on."""
        for server in self._faults:
            self._faults[server] = Faults()

    def call(
        self,
        server: str,
        effect: "Callable[[], T] | Callable[[], asyncio.Future[T]]",
        error: Callable[[str], Exception],
        *,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> "asyncio.Future[T]":
        """Call a server. Returns a future of the answer. `on_trouble` is called at once if the call will fail or be slow."""
        faults = self._faults[server]
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if is_disconnected(server):
            on_trouble()
            later(TIMEOUT, _answer, answer, None, error(f"{server} cannot be reached"))
            return answer
        there, back = self._one_way(faults), self._one_way(faults)
        luck = self._chance.random()
        if luck < faults.failure_rate + faults.lost_answer_rate or there + back > SLOW / 2:
            on_trouble()
        if luck < faults.failure_rate:
            self._judge.totals["failed calls"] += 1
            later(there + back, _answer, answer, None, error(f"{server} fails"))
        elif luck < faults.failure_rate + faults.lost_answer_rate:
            self._judge.totals["lost answers"] += 1
            later(there, self._take_effect, effect, asyncio.get_running_loop().create_future(), back)
            later(there + back, _answer, answer, None, error(f"{server} does not answer"))
        else:
            later(there, self._take_effect, effect, answer, back)
        return answer

    def _one_way(self, faults: Faults) -> float:
        most = SLOW if self._chance.random() < faults.slow_rate else 0.05
        return self._chance.random() * most

    def _take_effect(self, effect: Callable[[], Any], answer: "asyncio.Future[Any]", back: float) -> None:
        try:
            result, error = effect(), None
        except Exception as failure:  # noqa: BLE001 - the error is the answer
            result, error = None, failure
        if isinstance(result, asyncio.Future):
            # The server answers later, for example a long poll.
            result.add_done_callback(lambda done: later(back, _answer, answer, done.result(), None), context=WORLD)
        else:
            later(back, _answer, answer, result, error)


def _answer(answer: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
        answer.exception()  # mark it as retrieved: its process may have died
    else:
        answer.set_result(result)
