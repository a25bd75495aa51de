"""Creates a client from an address and credentials."""

import platform
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

from jibe_sqs import __version__
from jibe_sqs.adapters.access_anywhere.flow.circuit import Circuit
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.flow.provider_limits import ProviderLimit, ProviderLimits
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere, calls_at_once
from jibe_sqs.adapters.access_anywhere.wire.files import Files
from jibe_sqs.adapters.access_anywhere.wire.http import Origin
from jibe_sqs.adapters.access_anywhere.wire.session import Credentials, Password, PermanentToken, Renew, Session
from jibe_sqs.adapters.access_anywhere.wire.transport import TracedTransport, Transport
from jibe_sqs.adapters.authorities import trusted
from jibe_sqs.adapters.http1 import HttpClient
from jibe_sqs.adapters.proxies import proxy_for
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.ports import Clock
from jibe_sqs.telemetry.tracing import Tracer

CONNECT_TIMEOUT = 10.0

URL_SAFE = "/%:@!$&'()*+,;=~"
"""Characters of a path that are sent as they are, also `%` of a path that is encoded already."""

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
    timeout: float = 60.0,  # noqa: ASYNC109 (of one read, by the HTTP client)
    refresh_timeout: float = 600.0,
    ca_file: Path | None = None,
    calls_per_second: float | None = None,
    provider_limits: Mapping[str, ProviderLimit] | None = None,
    clock: Clock,
    renew: Renew | None = None,
    origin_of: Callable[[str], Origin] | None = None,
    tracer: Tracer | None = None,
) -> AsyncIterator[AccessAnywhere]:
    """A client for the server at `endpoint`, closed at the end. Sends nothing before the first call.

    If there is a permanent token, login and password are not used. `concurrency`: the most refreshes at a time; half as
    many calls again may run beside them. Times in seconds. `ca_file`: the CA certificates (PEM) to trust, in place of those
    that `adapters.authorities` finds. Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`).
    `provider_limits`: of single providers, by name. `renew`: returns the credentials as they are now, after they were
    refused. `origin_of`: returns the HTTP client to use for the server's URL, in place of ours. `tracer`: gets a span for
    each call. Raises `SettingsError`.
    """
    url = api_url(endpoint)
    credentials = credentials_from(login, password, permanent_token)
    async with HttpClient(trusted(ca_file)) as http:
        circuit = Circuit(clock)
        slots = AdaptiveConcurrency(concurrency, clock=clock)
        kind = Transport if tracer is None else partial(TracedTransport, tracer, urlsplit(url).hostname or "")
        wire = kind(
            origin_of(url)
            if origin_of
            else http.origin(url, proxy_for(url), connect_timeout=min(CONNECT_TIMEOUT, timeout)),
            urlsplit(url).path,
            clock,
            at_once=calls_at_once(concurrency),
            circuit=circuit,
            concurrency=slots,
            user_agent=user_agent(),
            read_timeout=timeout,
            calls_per_second=calls_per_second,
        )
        session = Session(wire, circuit, credentials, clock, renew)
        files = Files(wire, session, clock, downloads=DOWNLOADS)
        try:
            yield AccessAnywhere(
                wire,
                session,
                files,
                clock,
                circuit=circuit,
                concurrency=slots,
                provider_limits=ProviderLimits(clock, provider_limits),
                refresh_timeout=refresh_timeout,
            )
        finally:
            await session.close()
            await circuit.close()


def user_agent() -> str:
    """The name of this client, for the server's administrators."""
    return f"jibe-sqs/{__version__} (python/{platform.python_version()})"


def api_url(endpoint: str) -> str:
    """The URL of the API, from the server's URL. That may end in a slash, `/api` or `/api/rpc.php`."""
    base = endpoint.strip().rstrip("/").removesuffix("/rpc.php").removesuffix("/api").rstrip("/")
    try:
        parts = urlsplit(base)
        # The port is checked when it is read. The name is encoded for the domain name system.
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in {"http", "https"} or not host or not host.isprintable() or " " in host:
        raise SettingsError(["Access Anywhere's endpoint must be an address such as https://files.example.com"])
    if "@" in parts.netloc:
        raise SettingsError(["Access Anywhere's endpoint must not contain a name or password: addresses are logged"])
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{quote(parts.path, safe=URL_SAFE)}/api/rpc.php"


def credentials_from(login: str, password: str, permanent_token: str) -> Credentials:
    """The credentials to log in with. Raises `SettingsError` if they are incomplete."""
    if permanent_token:
        return PermanentToken(permanent_token)
    if login and password:
        return Password(login, password)
    raise SettingsError(["Access Anywhere needs a permanent token, or a login and a password"])
