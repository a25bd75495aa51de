"""botocore's sessions, with settings that botocore does not read: `AWS_REGION` and the CA certificates."""

import gzip
import os
import ssl
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import orjson
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession, get_session
from botocore.loaders import JSONFileLoader, Loader, create_loader
from botocore.session import Session

from jibe_sqs.adapters.authorities import aws_bundle, aws_trusted

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


def share_loader(session: Session) -> None:
    """Let the session read the descriptions of AWS's services with all other sessions: it takes half a second for S3 alone."""
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))


@cache
def _loader(data_path: str | None) -> Loader:
    """A loader of the descriptions of AWS's services, which all sessions share: each service's takes megabytes."""
    return _Loader(create_loader(data_path).search_paths, include_default_search_paths=False)


class _Files(JSONFileLoader):  # type: ignore[misc]
    def load_file(self, file_path: str) -> Any:
        """The content of the file, which may be compressed. None if it does not exist."""
        if (plain := Path(f"{file_path}.json")).is_file():
            return orjson.loads(plain.read_bytes())
        if (compressed := Path(f"{file_path}.json.gz")).is_file():
            return orjson.loads(gzip.decompress(compressed.read_bytes()))
        return None


class _Loader(Loader):  # type: ignore[misc]
    """botocore's loader at a third of its cost: it reads JSON with orjson, and looks for descriptions of one service only."""

    FILE_LOADER_CLASS = _Files

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - botocore's signature
        """All services. A description of this type may be missing."""
        return sorted({each.name for path in map(Path, self.search_paths) if path.is_dir() for each in path.iterdir()})
