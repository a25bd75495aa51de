"""The alerts of the service, and their targets: a webhook, a topic, or both. Both can change while it runs.

Clients are imported only if they are configured: so the supervisor of the workers stays small.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Self

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.ports import Ledger
from jibe_sqs.settings import Settings
from jibe_sqs.settings.groups.alerts import AlertSettings
from jibe_sqs.telemetry.alert_messages import Source
from jibe_sqs.telemetry.alert_outlet import Target
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.optional_ledger import OptionalLedger


class ServiceAlerts:
    """The alerts of a process that sends them itself."""

    def __init__(self, settings: Settings) -> None:
        wanted = settings.alerts
        self.alerts = Alerts(level=wanted.level, interval=wanted.interval, source=_source(wanted))
        self._opened: dict[str, tuple[object, Target, AsyncExitStack]] = {}
        """By name: the settings of a target, the target, and what closes it."""

    @classmethod
    @asynccontextmanager
    async def running(cls, settings: Settings) -> AsyncIterator[Self]:
        """Send alerts until the end of the block. Raises `SettingsError` for an address that cannot be one."""
        sender = cls(settings)
        try:
            await sender.reconfigure(settings)
            async with sender.alerts.running():
                yield sender
        finally:
            await sender._close({*sender._opened})

    @property
    def are_sent(self) -> bool:
        """Whether there is a target."""
        return bool(self._opened)

    async def reconfigure(self, settings: Settings) -> None:
        """Use these settings from now on. Raises `SettingsError` for an address that cannot be one; then nothing changes."""
        wanted = settings.alerts
        opened = dict(self._opened)
        try:
            for name, parts in _parts(settings).items():
                if name not in opened or opened[name][0] != parts:
                    stack = AsyncExitStack()
                    target = await stack.enter_async_context(_target(name, settings))
                    opened[name] = parts, target, stack
        except BaseException:
            await _closed(opened, self._opened)
            raise
        for name in opened.keys() - _parts(settings).keys():
            del opened[name]
        before, self._opened = self._opened, opened
        await self.alerts.reconfigure(
            level=wanted.level,
            interval=wanted.interval,
            targets=[target for _, target, _ in opened.values()],
            source=_source(wanted),
        )
        await _closed(before, opened)

    def shared(self, ledger: Ledger) -> AbstractAsyncContextManager[None]:
        """Send each kind once for all processes that share the ledger, during the block. One in memory is not shared."""
        return self.alerts.shared(None if isinstance(ledger, MemoryLedger) else OptionalLedger(ledger))

    async def _close(self, names: set[str]) -> None:
        for name in names:
            await self._opened.pop(name)[2].aclose()


async def shared_by_hosts(sender: ServiceAlerts, settings: Settings, stack: AsyncExitStack) -> None:
    """Share the alerts of a supervisor with those of other hosts, if they share a ledger, until the end of the stack.

    The ledger is a table, because a file is on one host. If it cannot be opened, the first worker says so.
    """
    if settings.ledger.kind != "dynamodb" or not sender.are_sent or settings.sync.strategy == "dry-run":
        return
    from jibe_sqs.compose import stores

    aws = await stack.enter_async_context(stores.clients(settings))
    try:
        ledger = await stack.enter_async_context(stores.opened_ledger(settings, aws))
    except LedgerError:
        return
    await stack.enter_async_context(sender.shared(ledger))


async def _closed(
    some: dict[str, tuple[object, Target, AsyncExitStack]], kept: dict[str, tuple[object, Target, AsyncExitStack]]
) -> None:
    """Close the targets that are not kept."""
    for name, each in some.items():
        if kept.get(name) is not each:
            await each[2].aclose()


def _parts(settings: Settings) -> dict[str, object]:
    """The configured targets by name, each with all settings that it is made of."""
    wanted = settings.alerts
    found: dict[str, object] = {}
    if wanted.webhook is not None:
        found["webhook"] = wanted.webhook, wanted.format
    if wanted.topic is not None:
        found["topic"] = wanted.topic, wanted.format, settings.aws
    return found


def _target(name: str, settings: Settings) -> AbstractAsyncContextManager[Target]:
    wanted = settings.alerts
    if name == "webhook" and wanted.webhook is not None:
        from jibe_sqs.adapters.webhook import webhook
        from jibe_sqs.compose.secrets import renewed_secret

        renew = renewed_secret(settings, "alerts", "webhook")
        return webhook(wanted.webhook.get_secret_value(), wanted.format, renew)
    from jibe_sqs.adapters.alert_topic import alert_topic
    from jibe_sqs.compose.stores import account_of

    topic = wanted.topic or ""
    return alert_topic(topic, account_of(settings.aws, region=topic.split(":")[3]), wanted.format)


def _source(wanted: AlertSettings) -> Source:
    return Source(socket.gethostname(), wanted.runbooks)
