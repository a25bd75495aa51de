"""Answers over HTTP in the service's event loop, so an answer shows that the loop runs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jibe_sqs.adapters.http_server import served
from jibe_sqs.adapters.web.connections import Connection
from jibe_sqs.adapters.web.listening import listening
from jibe_sqs.adapters.web.login import Login, LoginRequired
from jibe_sqs.telemetry.health import Health, HealthReport
from jibe_sqs.telemetry.status import Status

PROBES: Final = ("/livez", "/startupz", "/readyz")
"""They need no login: an orchestrator has none."""
SOURCE_TIMEOUT: Final = 5.0
"""Seconds for the snapshot or the metrics. Workers are asked for theirs."""
_CONTENT_POLICY: Final = (
    b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", _CONTENT_POLICY),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
"""On each answer. The page loads nothing but its own files, is never stored, and is shown in no other page."""
ASSETS: Final = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""The files of the page, with their types."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What the answers are made of. Without `status` there is no page and no `/status.json`, without `metrics` no `/metrics`.

    `health`: of this process, or a function that asks several. `metrics`: the text, and its content type.
    """

    health: Health | Callable[[], Awaitable[HealthReport]]
    status: Callable[[], Awaitable[Status]] | None = None
    metrics: Callable[[], Awaitable[tuple[bytes, str]]] | None = None


@asynccontextmanager
async def http_server(
    host: str, port: int, sources: Sources, *, login: Login | None = None, group: str = "http"
) -> AsyncIterator[int]:
    """Serve during the block. Yields the port, also if `port` is 0. Raises `SettingsError` if the port is in use.

    `login`: without it, only the probes are answered. None: no login is needed. `group`: of the settings with host and port.
    """
    with ExitStack() as stack:
        listeners = [stack.enter_context(each) for each in listening(host, port, group=group)]
        async with served(_app(sources, login), listeners, name="HTTP server", protocol=Connection):
            yield listeners[0].getsockname()[1]


def _app(sources: Sources, login: Login | None) -> ASGIApp:
    routes = [*_probes(sources.health)]
    if sources.metrics is not None:
        routes.append(Route("/metrics", _metrics(sources.metrics)))
    if sources.status is not None:
        routes += _pages(sources.status)
    protected = [Middleware(LoginRequired, login=login, open_paths=PROBES)] if login else []
    return Starlette(routes=routes, middleware=[Middleware(_WithHeaders), *protected])


class _WithHeaders:
    """Adds the security headers to each answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _probes(health: Health | Callable[[], Awaitable[HealthReport]]) -> list[Route]:
    async def report() -> HealthReport:
        return health.report if isinstance(health, Health) else await health()

    async def livez(_: Request) -> JSONResponse:
        reasons = (await report()).liveness_failures
        return JSONResponse({"alive": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def startupz(_: Request) -> JSONResponse:
        reasons = (await report()).startup_failures
        return JSONResponse({"started": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    async def readyz(_: Request) -> JSONResponse:
        found = await report()
        reasons = found.readiness_failures
        content = {"ready": not reasons, "reasons": reasons, "warnings": found.warnings}
        return JSONResponse(content, status_code=503 if reasons else 200)

    return [Route("/livez", livez), Route("/startupz", startupz), Route("/readyz", readyz)]


def _metrics(metrics: Callable[[], Awaitable[tuple[bytes, str]]]) -> Callable[[Request], Awaitable[Response]]:
    async def answer() -> Response:
        content, content_type = await metrics()
        return Response(content, headers={"content-type": content_type})

    return _observed(lambda _: answer())


def _pages(status: Callable[[], Awaitable[Status]]) -> list[Route]:
    # The templates are imported and compiled only if there is a page.
    from jibe_sqs.adapters.web.page import Page

    page = Page(status)

    async def html(request: Request) -> Response:
        return Response(await page.html(reloads="still" not in request.query_params), media_type="text/html")

    async def json(_: Request) -> Response:
        return Response(await page.json(), media_type="application/json")

    return [
        Route("/", _observed(html)),
        Route("/status.json", _observed(json)),
        *(Route(f"/{name}", _asset(name, type_)) for name, type_ in ASSETS.items()),
    ]


def _asset(name: str, type_: str) -> Callable[[Request], Awaitable[Response]]:
    content = files(__package__).joinpath("static", name).read_bytes()

    async def asset(_: Request) -> Response:
        return Response(content, media_type=type_)

    return asset


def _observed(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """The answer, or 503 if it takes too long or meets a defect. It is logged, because the server logs nothing."""

    async def observed(request: Request) -> Response:
        try:
            async with asyncio.timeout(SOURCE_TIMEOUT):
                return await answer(request)
        except TimeoutError:
            text = "The service does not answer in time. Its probes are /livez, /startupz and /readyz.\n"
        except Exception:
            log.exception("page_failed", path=request.url.path)
            text = "A defect of jibe-sqs: the log says more (page_failed).\n"
        return PlainTextResponse(text, status_code=503, headers={"Retry-After": "5"})

    return observed
