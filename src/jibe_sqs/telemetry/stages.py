"""How long each stage of the work takes."""

import msgspec

from jibe_sqs.ports import RefreshOutcome
from jibe_sqs.telemetry.lag import Durations


class Stages(msgspec.Struct):
    """A histogram for each stage, since the start. They may be read at any moment."""

    queued: Durations = msgspec.field(default_factory=Durations)
    """From the time at which a message was sent to its first receive."""
    read: Durations = msgspec.field(default_factory=Durations)
    """Fetching and parsing one log file."""
    refresh_wait: Durations = msgspec.field(default_factory=Durations)
    """From the first request for a refresh to its beginning."""
    refresh: Durations = msgspec.field(default_factory=Durations)
    """The refresh of one folder by Access Anywhere."""
    message: Durations = msgspec.field(default_factory=Durations)
    """From the receive of a message to its deletion."""

    def refreshed(self, outcome: RefreshOutcome) -> None:
        """Add a refresh that has ended."""
        self.refresh.add(outcome.seconds)
        self.refresh_wait.add(outcome.waited - outcome.seconds)
