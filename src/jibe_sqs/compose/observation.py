"""What people and orchestrators see of a service: its alerts, and its health page.

The clients and servers are imported only if they are configured: so the supervisor of the workers stays small.
"""

import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog

from jibe_sqs.settings import Settings
from jibe_sqs.telemetry.alerts import Alerts
from jibe_sqs.telemetry.health import Health, HealthReport

log = structlog.get_logger()


async def posted_alerts(settings: Settings, stack: AsyncExitStack) -> Alerts | None:
    """The alerts, which are posted until the end of the stack. None if there is no webhook."""
    wanted = settings.alerts
    if wanted.webhook is None:
        return None
    from jibe_sqs.adapters.webhook import webhook

    post = (await stack.enter_async_context(webhook(wanted.webhook.get_secret_value()))).post
    alerts = Alerts(post, level=wanted.level, interval=wanted.interval, source=socket.gethostname())
    await stack.enter_async_context(alerts.running())
    return alerts


async def health_page(
    settings: Settings, health: Health | Callable[[], Awaitable[HealthReport]], stack: AsyncExitStack
) -> None:
    """Answer at the configured port until the end of the stack."""
    wanted = settings.health
    if wanted.port is not None:
        from jibe_sqs.adapters.health_server import health_server

        port = await stack.enter_async_context(health_server(wanted.host, wanted.port, health))
        log.info("health_answered", host=wanted.host, port=port)
