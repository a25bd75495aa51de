"""Alerts that follow the settings: they begin, end, and change their target while the process runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from jibe_sqs.settings import Settings
from jibe_sqs.telemetry.alerts import Alerts

Open = Callable[[Settings, AsyncExitStack], Awaitable[Alerts | None]]
"""Starts the alerts of these settings, until the end of the stack. None if there are none. Raises `SettingsError`."""


class LiveAlerts:
    """`current`: the alerts that run now. None if the settings ask for none."""

    def __init__(self, open_alerts: Open) -> None:
        self.current: Alerts | None = None
        self._open = open_alerts
        self._stack = AsyncExitStack()
        self._target: object = None

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: Settings, open_alerts: Open) -> AsyncIterator[Self]:
        """Run the alerts of the settings during the block. An error that ends it is an alert."""
        alerts = cls(open_alerts)
        await alerts._reopen(settings)
        try:
            yield alerts
        except BaseException as error:
            # The alerts that run now must see the error.
            if not await alerts._stack.__aexit__(type(error), error, error.__traceback__):
                raise
        else:
            await alerts._stack.aclose()

    async def reconfigure(self, settings: Settings) -> None:
        """Follow these settings. Raises `SettingsError` before anything has changed."""
        wanted = settings.alerts
        if self.current is not None and self._target == _target(settings):
            await self.current.reconfigure(level=wanted.level, interval=wanted.interval)
        else:
            await self._reopen(settings)

    async def _reopen(self, settings: Settings) -> None:
        stack = AsyncExitStack()
        current = await self._open(settings, stack)
        self.current, before, self._stack = current, self._stack, stack
        self._target = _target(settings)
        # Only now: an event between the two would be lost. It may be sent by both.
        await before.aclose()


def _target(settings: Settings) -> object:
    return settings.alerts.model_copy(update={"level": "error", "interval": 0.0})
