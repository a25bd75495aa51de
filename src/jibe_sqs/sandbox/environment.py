"""Environment variables for programs in the sandbox: without the user's AWS settings, and with those that the sandbox
needs.
"""

import os
import ssl
from collections.abc import Mapping
from typing import Final

from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY

NO_AUTHORITIES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of servers without TLS. By default each client reads more than a hundred certificates."""
LOOPBACK: Final = "127.0.0.1,localhost"
_PROXIES: Final = frozenset({"ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})
_AUTHORITIES: Final = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
_CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def neutral() -> dict[str, str]:
    """This process's environment, without the user's AWS settings, proxies and certificate authorities."""
    removed = _PROXIES | _AUTHORITIES
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("AWS_")}
    return {name: value for name, value in kept.items() if name.upper() not in removed} | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def of_server() -> dict[str, str]:
    """For the sandbox's servers. They reach AWS at its endpoint on loopback."""
    return neutral() | _CREDENTIALS | _in_both_cases("NO_PROXY", LOOPBACK)


def of_client(*, proxy: str, ca_file: str, region: str) -> dict[str, str]:
    """What a program needs, in addition to its environment, to use AWS under its real host names."""
    return {
        **_in_both_cases("HTTPS_PROXY", proxy),
        **_in_both_cases("NO_PROXY", LOOPBACK),
        "AWS_CA_BUNDLE": ca_file,
        "REQUESTS_CA_BUNDLE": ca_file,
        # curl prefers this variable to SSL_CERT_FILE.
        "CURL_CA_BUNDLE": ca_file,
        "SSL_CERT_FILE": ca_file,
        **_CREDENTIALS,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def of_store_client(region: str) -> dict[str, str]:
    """What a program needs to use a store on loopback. The program gets the endpoint elsewhere."""
    return {**_in_both_cases("NO_PROXY", LOOPBACK), **_CREDENTIALS, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}


def of_consumer(client: Mapping[str, str], *, has_credentials: bool) -> dict[str, str]:
    """For `jibe-sqs run`, whose settings come only from its configuration file. `client`: as `of_client` returns it."""
    ordinary = {name: value for name, value in neutral().items() if not name.startswith("JIBE_")}
    return ordinary | {name: value for name, value in client.items() if has_credentials or name not in _CREDENTIALS}


def _in_both_cases(name: str, value: str) -> dict[str, str]:
    """Both spellings: programs differ in which one they read first."""
    return {name: value, name.lower(): value}
