"""A pause of an operator, and its promise: while everything, or its provider, is paused, no receive is used up."""

from dataclasses import dataclass
from random import Random

from jibe_sqs.core.pauses import Pause
from jibe_sqs.core.verdicts import MAX_OUTAGE_DELAY, OUTAGE_DELAY
from proof.simulation.judge import Judge
from proof.simulation.kinds import HOUR
from proof.simulation.outages import NOTICED
from proof.simulation.sqs import Stored
from proof.simulation.storage import BUCKET, EPOCH

READ_INTERVAL = 5.0
"""Seconds between two reads of the ledger."""
KNOWN = 60.0
"""Seconds until each process has read the pause, if its ledger answers."""


@dataclass(frozen=True)
class OperatorPause:
    """Times of the simulation. `is_of_all`: everything is paused, not only the provider."""

    begin: float
    end: float
    is_of_all: bool
    calm_at: float
    """From then on, ledgers answer."""

    @classmethod
    def draw(cls, chance: Random, *, write_time: float, calm_at: float) -> "OperatorPause":
        """Draw a pause that begins while files are written, and outlasts the faults."""
        begin = chance.uniform(0, write_time)
        end = calm_at + chance.choice([300.0, HOUR, 6 * HOUR])
        return cls(begin, end, chance.random() < 0.4, calm_at)

    @property
    def note(self) -> Pause:
        """The pause as an operator asks for it."""
        return Pause("" if self.is_of_all else BUCKET, EPOCH + self.begin, EPOCH + self.end)

    def check_again(self, judge: Judge, stored: Stored) -> None:
        """Check that a message may be received again now, which was received during the pause."""
        announcement, received = stored.announcement, stored.received_at
        is_known = max(self.begin, self.calm_at) + KNOWN < received
        if any(received < file.readable_at for file in announcement.files):
            return  # its file was missing, so it was tried again
        if not is_known or judge.time() >= self.end or stored.is_cut_short or announcement.must_be_rejected:
            return
        least = MAX_OUTAGE_DELAY
        if not self.is_of_all:
            # A message that follows another one with the same file waits as for a log bucket, if there is no room.
            least = min(least, self.end - received, OUTAGE_DELAY * 2 ** (stored.receive_count - 1))
        lasted = judge.time() - received
        judge.require(
            lasted > least - NOTICED, "a pause uses up no receives", stored.id, stored.receive_count, lasted, least
        )
