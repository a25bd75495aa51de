"""botocore's sessions, with settings that botocore does not read: `AWS_REGION` and the CA certificates."""

import os
import ssl
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession, get_session

from jibe_sqs.adapters.authorities import aws_bundle, aws_trusted
from jibe_sqs.adapters.botocore_sessions import share_loader

PARTS: Final = 3
"""Steps of opening a connection that may each take the connect timeout: TCP, the proxy's tunnel, TLS."""


class HttpSession(AIOHTTPSession):  # type: ignore[misc]
    """aiobotocore's HTTP session with three differences.

    It also trusts the certificates in a folder. It leaves redirects to botocore, which then asks the right region:
    aiohttp would follow them with the session's token, but without a signature. And it limits the whole time to open a
    connection: aiohttp does not limit the wait for a proxy's answer to CONNECT. (The same as encode/httpcore#506.)
    """

    def __init__(self, *arguments: Any, timeout: tuple[float, float], **named: Any) -> None:
        """`timeout`: seconds to connect and to read."""
        super().__init__(*arguments, timeout=timeout, **named)
        connect, read = timeout
        self._timeout = aiohttp.ClientTimeout(connect=PARTS * connect, sock_connect=connect, sock_read=read)

    async def _get_session(self, proxy_url: str | None) -> SimpleNamespace:
        session = await super()._get_session(proxy_url)
        return SimpleNamespace(request=partial(session.request, allow_redirects=False))

    def _build_verify_context(self) -> ssl.SSLContext:
        return aws_trusted(self._verify)


def new_session(ca_file: str | None) -> AioSession:
    """A session whose clients use `HttpSession`, also those that botocore makes for itself. Raises `SettingsError`."""
    session = get_session()
    session.set_default_client_config(AioConfig(http_session_cls=HttpSession))
    session.set_config_variable("ca_bundle", aws_bundle(ca_file))
    share_loader(session)
    if region := os.environ.get("AWS_REGION"):
        # As in AWS's other SDKs; botocore reads AWS_DEFAULT_REGION only.
        session.set_config_variable("region", region)
    return session
