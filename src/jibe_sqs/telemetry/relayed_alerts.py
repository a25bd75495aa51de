"""The warnings and errors of one of several processes, for another process that posts those of all."""

from collections.abc import Callable

from jibe_sqs.telemetry.alerts import GATHER_TIME, AlertFailed, Alerts, Groups, Level


class RelayedAlerts(Alerts):
    """Gathers warnings and errors, and passes them on every few seconds."""

    def __init__(self, relay: Callable[[Groups], bool], *, level: Level = "warning") -> None:
        """`relay`: takes the groups, or returns False if it cannot. Then they are passed on later."""
        super().__init__(self._no_post, level=level, interval=GATHER_TIME)
        self._relay = relay

    async def _deliver(self, groups: Groups) -> None:
        if not self._relay(groups):
            raise AlertFailed("the supervisor does not read")

    @staticmethod
    async def _no_post(_text: str) -> None:
        """Groups are passed on, not texts."""
