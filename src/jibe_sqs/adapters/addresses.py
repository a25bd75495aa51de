"""Addresses of AWS's services and of other stores, as botocore decides them: it is asked, and sends nothing."""

from types import SimpleNamespace
from typing import Any, Final

import msgspec
from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies


class Address(msgspec.Struct, frozen=True):
    """Where a request goes, and how it is signed. `headers`: of the request, before it is signed. `proxy`: its URL."""

    url: str
    signing_name: str
    region: str
    headers: dict[str, str]
    proxy: str | None


def address(client: Any, operation: str, **arguments: Any) -> Address:
    """The address of an operation. `client`: botocore's own, of `Aws.offline_client`. Raises botocore's errors."""
    client.meta.events.register_last("before-call", _instead_of_sending, unique_id=_ID)
    found: Address = getattr(client, operation)(**arguments)["address"]
    return found


_ID: Final = "jibe-sqs-address"


def _instead_of_sending(
    params: dict[str, Any], context: dict[str, Any], request_signer: Any, **_: Any
) -> tuple[SimpleNamespace, dict[str, Any]]:
    url, signing = params["url"], context.get("signing", {})
    found = Address(
        url=url,
        signing_name=signing.get("signing_name") or request_signer.signing_name,
        region=signing.get("region") or request_signer.region_name,
        headers=dict(params["headers"]),
        proxy=ProxyConfiguration(proxies=get_environ_proxies(url)).proxy_url_for(url),
    )
    return SimpleNamespace(status_code=200), {"address": found}
