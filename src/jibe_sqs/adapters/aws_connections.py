"""Connections to AWS, each within a time limit."""

from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

PARTS: Final = 3
"""Steps of opening a connection that may each take the connect timeout: TCP, the proxy's tunnel, TLS."""


class TimedSession(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's HTTP session, with a limit for the whole opening of a connection.

    aiobotocore limits each wait for the network, but aiohttp does not apply these limits to a proxy's answer to CONNECT.
    Behind a proxy that accepts connections and says nothing, calls would never end. (The same as encode/httpcore#506.)
    """

    def __init__(self, *arguments: Any, timeout: tuple[float, float], **named: Any) -> None:
        """`timeout`: seconds to connect and to read."""
        super().__init__(*arguments, timeout=timeout, **named)
        connect, read = timeout
        self._timeout = aiohttp.ClientTimeout(connect=PARTS * connect, sock_connect=connect, sock_read=read)
