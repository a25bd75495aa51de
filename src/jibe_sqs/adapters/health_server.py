"""Serves `/livez` and `/readyz` over HTTP in the service's event loop, so an answer shows that the loop runs."""

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from jibe_sqs.adapters.http_server import served
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.health import Health, HealthReport

EVERY_ADDRESS: Final = "*"
"""The host that means all IPv6 and IPv4 addresses of this machine."""
_NOT_HERE: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""The machine does not have this address, or none of its kind."""


@asynccontextmanager
async def health_server(
    host: str, port: int, health: Health | Callable[[], Awaitable[HealthReport]]
) -> AsyncIterator[int]:
    """Serve during the block. Yields the port, also if `port` is 0. Raises `SettingsError` if the port is in use.

    `health`: of this process, or a function that asks several.
    """
    with ExitStack() as stack:
        listeners = [stack.enter_context(each) for each in _listening(host, port)]
        async with served(_app(health), listeners, name="health server"):
            yield listeners[0].getsockname()[1]


def _listening(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at all addresses of the host, with the same port."""
    try:
        return [_on_every_address(port)] if host == EVERY_ADDRESS else _on_addresses_of(host, port)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "not a host name"
        raise SettingsError(
            [f"health.port: cannot listen on {host} port {port}: {why}: choose another health.port, or health.host"]
        ) from error


def _on_every_address(port: int) -> socket.socket:
    """One socket for IPv6 and IPv4; for IPv4 alone if the machine has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - an orchestrator asks from outside the container


def _on_addresses_of(host: str, port: int) -> list[socket.socket]:
    """A host name may have several addresses, such as `localhost`. Those that this machine does not have are left out."""
    missing: OSError | None = None
    with ExitStack() as stack:
        listeners: list[socket.socket] = []
        for family, _, _, _, (address, _, *scope) in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                listener = socket.create_server((address, port, *scope), family=family)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                missing = error
                continue
            listeners.append(stack.enter_context(listener))
            # If the port is 0, all addresses have the first free one.
            port = listener.getsockname()[1]
        if missing and not listeners:
            raise missing
        stack.pop_all()
    return listeners


def _app(health: Health | Callable[[], Awaitable[HealthReport]]) -> Starlette:
    async def report() -> HealthReport:
        return health.report if isinstance(health, Health) else await health()

    async def livez(_: Request) -> JSONResponse:
        reasons = (await report()).liveness_failures
        return JSONResponse({"alive": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def readyz(_: Request) -> JSONResponse:
        found = await report()
        reasons = found.readiness_failures
        content = {"ready": not reasons, "reasons": reasons, "warnings": found.warnings}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz)])
