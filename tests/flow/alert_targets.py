"""A target of alerts that keeps the messages, and log events for them."""

import asyncio

from tests.clocks import EPOCH

from jibe_sqs.telemetry.alert_messages import AlertMessage


def event(name="refresh_failed", level="warning", **fields):
    return {"event": name, "level": level, "timestamp": "2026-01-01T00:00:00Z", **fields}


def virtual_time() -> float:
    """The wall clock of virtual time: seconds since the epoch."""
    return EPOCH + asyncio.get_running_loop().time()


class KeptMessages:
    """A target: keeps each message with the time of its arrival, or raises the next of its `errors`."""

    def __init__(self, name="webhook") -> None:
        self.name = name
        self.messages: list[AlertMessage] = []
        self.times: list[float] = []
        self.errors: list[Exception] = []
        self.takes = 0.0

    async def send(self, message: AlertMessage) -> None:
        await asyncio.sleep(self.takes)
        if self.errors:
            raise self.errors.pop(0)
        self.messages.append(message)
        self.times.append(asyncio.get_running_loop().time())

    @property
    def alerts(self) -> list[dict[str, object]]:
        """All alerts of all messages."""
        return [alert for message in self.messages for alert in message.document()["alerts"]]

    @property
    def states(self) -> list[tuple[str, str]]:
        """The event and the state of each alert, in the order of the messages."""
        return [(str(each["event"]), str(each["state"])) for each in self.alerts]
