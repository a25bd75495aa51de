"""What people and orchestrators see of a service: its log, its probes and its status page.

The server is imported only if it is configured: so the supervisor of the workers stays small.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import structlog

from jibe_sqs.settings import Settings
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.health import Health, HealthReport
from jibe_sqs.telemetry.status import Status

log = structlog.get_logger()


def configure_log(settings: Settings, **fields: object) -> None:
    """Write the log as these settings say. `fields`: of every line of this process."""
    logs.configure(settings.log.level, settings.log.format, settings.log.levels, **fields)


async def health_page(
    settings: Settings,
    health: Health | Callable[[], Awaitable[HealthReport]],
    stack: AsyncExitStack,
    *,
    status: Callable[[], Awaitable[Status]] | None = None,
    metrics: Callable[[], Awaitable[tuple[bytes, str]]] | None = None,
) -> None:
    """Answer at the configured port until the end of the stack. Without `status` or `metrics` their pages are missing."""
    http, older = settings.http, settings.health
    if http.port is None and older.port is None:
        return
    from jibe_sqs.adapters.web import Login, Sources, http_server

    if http.port is not None:
        host, login = http.host, Login(http.login, http.password.get_secret_value()) if http.login else None
        server = http_server(host, http.port, Sources(health=health, status=status, metrics=metrics), login=login)
    else:
        # An installed deployment has opened this port to its network for the probes, and for nothing else.
        host = older.host
        server = http_server(host, older.port or 0, Sources(health=health), group="health")
    log.info("health_answered", host=host, port=await stack.enter_async_context(server))
