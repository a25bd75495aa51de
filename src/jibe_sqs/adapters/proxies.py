"""The proxy of the environment for a server, for clients that do not find it themselves."""

from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from jibe_sqs.core.errors import SettingsError

UNUSABLE: Final = (
    "the environment's proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) cannot be used: a proxy is an "
    "address such as http://proxy.example.com:3128, not of SOCKS, with %2F for a / in its password"
)


def proxy_for(url: str) -> str | None:
    """The URL of the proxy for calls of this URL. Returns None if there is none. Raises `SettingsError`."""
    try:
        server = urlsplit(url)
        proxies = getproxies()
        for entry in proxies.get("no", "").split(","):
            _check_port(entry.strip())
        proxy = proxies.get(server.scheme) or proxies.get("all")
        if not proxy or proxy_bypass(server.netloc):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("not the address of a proxy")
    except ValueError:
        # The error's text may contain a password.
        raise SettingsError([UNUSABLE]) from None
    return proxy


def _check_port(entry: str) -> None:
    """Raise `ValueError` if the port of an entry of NO_PROXY is not a number: the entry would never match."""
    # An IPv6 address has several colons.
    if entry.count(":") == 1 and not entry.rpartition(":")[2].isdecimal():
        raise ValueError("the port is not a number")
