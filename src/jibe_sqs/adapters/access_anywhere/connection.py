"""Creates a client from an address and credentials."""

import http.cookiejar
import platform
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from jibe_sqs import __version__
from jibe_sqs.adapters.access_anywhere.flow.circuit import Circuit
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.files import Files
from jibe_sqs.adapters.access_anywhere.wire.session import Credentials, Password, PermanentToken, Session
from jibe_sqs.adapters.access_anywhere.wire.transport import Transport
from jibe_sqs.adapters.authorities import trusted
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.ports import Clock

CONNECT_TIMEOUT = 10.0

DOWNLOADS = 16
"""How many files may be read at a time. They do not count as calls."""


@asynccontextmanager
async def connect(
    *,
    endpoint: str,
    login: str = "",
    password: str = "",
    permanent_token: str = "",
    concurrency: int = 8,
    timeout: float = 60.0,  # noqa: ASYNC109 (of one read, by httpx)
    refresh_timeout: float = 600.0,
    ca_file: Path | None = None,
    calls_per_second: float | None = None,
    clock: Clock,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[AccessAnywhere]:
    """A client for the server at `endpoint`, closed at the end. Sends nothing before the first call.

    If there is a permanent token, login and password are not used. `concurrency`: the most refreshes at a time; half as
    many calls again may run beside them. Times in seconds. `ca_file`: the CA certificates (PEM) to trust, in place of those
    that `adapters.authorities` finds. Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`).
    Raises `SettingsError`.
    """
    url = api_url(endpoint)
    credentials = credentials_from(login, password, permanent_token)
    async with Connections(
        transport=transport,
        verify=trusted(ca_file),
        timeout=httpx.Timeout(timeout, connect=min(CONNECT_TIMEOUT, timeout)),
        headers={"User-Agent": user_agent(), "Accept": "application/json"},
        # No cookies: PHP handles the calls of one session cookie one after the other. Calls are identified by the token.
        cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
    ) as connections:
        circuit = Circuit(clock)
        slots = AdaptiveConcurrency(concurrency, clock=clock)
        wire = Transport(
            connections,
            url,
            clock,
            at_once=concurrency + max(concurrency // 2, 1),
            circuit=circuit,
            concurrency=slots,
            calls_per_second=calls_per_second,
        )
        session = Session(wire, circuit, credentials, clock)
        files = Files(wire, session, clock, downloads=DOWNLOADS)
        try:
            yield AccessAnywhere(
                wire, session, files, clock, circuit=circuit, concurrency=slots, refresh_timeout=refresh_timeout
            )
        finally:
            await session.close()
            await circuit.close()


def user_agent() -> str:
    """The name of this client, for the server's administrators."""
    return f"jibe-sqs/{__version__} (python/{platform.python_version()}; httpx/{httpx.__version__})"


def api_url(endpoint: str) -> str:
    """The URL of the API, from the server's URL. That may end in a slash, `/api` or `/api/rpc.php`."""
    base = endpoint.strip().rstrip("/").removesuffix("/rpc.php").removesuffix("/api").rstrip("/")
    try:
        url = httpx.URL(base)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError(["Access Anywhere's endpoint must be an address such as https://files.example.com"])
    if url.userinfo:
        raise SettingsError(["Access Anywhere's endpoint must not contain a name or password: addresses are logged"])
    return f"{base}/api/rpc.php"


def credentials_from(login: str, password: str, permanent_token: str) -> Credentials:
    """The credentials to log in with. Raises `SettingsError` if they are incomplete."""
    if permanent_token:
        return PermanentToken(permanent_token)
    if login and password:
        return Password(login, password)
    raise SettingsError(["Access Anywhere needs a permanent token, or a login and a password"])
