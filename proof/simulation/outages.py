"""Outages of log buckets, and their promises.

A message of a bucket in an outage waits in memory, or returns to its queue for `OUTAGE_DELAY` seconds, doubled with each
receive. So each receive lasts at least so long, unless a fault cuts it short. Ten receives last for two days, less what
faults cut short.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from random import Random

from jibe_sqs.core.errors import LogAccessDenied, LogStoreError, LogStoreUnavailable
from jibe_sqs.core.verdicts import MAX_OUTAGE_DELAY, OUTAGE_DELAY
from proof.simulation.judge import Judge
from proof.simulation.kinds import DAY, HOUR
from proof.simulation.loop import Process
from proof.simulation.sqs import Stored
from proof.simulation.storage import LOGS, File

DENIED_SECONDS = 300.0
"""Seconds of refusals after which the service knows of an outage. Before that, the cause may be one file."""
NOTICED = 30.0
"""Seconds until an error has reached the service."""


@dataclass(frozen=True)
class Outage:
    begin: float
    end: float
    error: LogStoreError


class Outages:
    """The log buckets, and the outage that each of them may have."""

    def __init__(self, judge: Judge, buckets: list[str], outages: dict[str, Outage]) -> None:
        self._judge = judge
        self.buckets = buckets
        self._outages = outages
        self.end = max((outage.end for outage in outages.values()), default=0.0)

    @classmethod
    def none(cls, judge: Judge) -> "Outages":
        return cls(judge, [LOGS], {})

    @classmethod
    def draw(cls, chance: Random, judge: Judge, *, is_swept: bool) -> "Outages":
        """Draw one bucket, or all of them. Sweeps look at one bucket only, and cost too much for a day."""
        buckets = [LOGS] if is_swept else [LOGS, "logs-2", "logs-3"][: chance.choice([1, 2, 3, 3])]
        down = chance.choice([buckets[:1], buckets[:1], buckets])
        begin = chance.random() * 150
        longest = chance.choice([300.0, 300.0, HOUR] if is_swept else [300.0] * 6 + [HOUR] * 4 + [DAY])
        end = begin + longest * chance.uniform(0.5, 1.5)
        error = chance.choice([LogAccessDenied("403"), LogStoreUnavailable("503"), LogStoreUnavailable("no region")])
        return cls(judge, buckets, dict.fromkeys(down, Outage(begin, end, error)))

    def check(self, bucket: str, process: Process | None) -> None:
        """Raise the error of the bucket if it is in an outage, and note when the process must know of that."""
        now = self._judge.time()
        if not self._is_down(bucket, now, now):
            return
        self._judge.totals["outage"] += 1
        error = self._outages[bucket].error
        if process is not None:
            known = now + (DENIED_SECONDS if isinstance(error, LogAccessDenied) else 0.0) + NOTICED
            process.knows_of_outage.setdefault(bucket, known)
        raise error

    def has_outage(self, files: Iterable[File]) -> bool:
        """Whether some of the files are in a bucket that has an outage at some time."""
        return any(file.bucket in self._outages for file in files)

    def waits(self, stored: Stored) -> bool:
        """Whether a message is of a bucket that was in an outage all the time since it was received, as its holder knows.

        False if a fault has cut the receive short.
        """
        files = stored.announcement.files
        if not files or stored.announcement.must_be_rejected or stored.is_cut_short:
            return False
        now = self._judge.time()
        return all(
            self._is_down(file.bucket, stored.received_at, now)
            and self._knows_since(file.bucket, stored.holder) <= stored.received_at
            for file in files
        )

    def check_again(self, stored: Stored, *, is_redriven: bool) -> None:
        """Check that a message may be received again, or be a dead letter, now."""
        if not self._outages or not self.waits(stored):
            return
        least = MAX_OUTAGE_DELAY
        if not is_redriven:
            known = stored.received_at - max(
                self._knows_since(file.bucket, stored.holder) for file in stored.announcement.files
            )
            least = min(least, OUTAGE_DELAY * 2 ** (stored.receive_count - 1), max(OUTAGE_DELAY, known))
        lasted = self._judge.time() - stored.received_at
        promise = "an outage uses up no receives"
        self._judge.require(lasted > least - NOTICED, promise, stored.id, stored.receive_count, lasted, least)

    def check_reject(self, stored: Stored | None) -> None:
        """Check that a message may be rejected now."""
        waits = stored is not None and self.waits(stored)
        self._judge.require(not waits, "no message is rejected in an outage", stored and stored.id)

    @staticmethod
    def _knows_since(bucket: str, process: Process | None) -> float:
        return inf if process is None else process.knows_of_outage.get(bucket, inf)

    def _is_down(self, bucket: str, since: float, now: float) -> bool:
        outage = self._outages.get(bucket)
        return outage is not None and outage.begin <= since and now < outage.end
