"""Checks what AWS clients read from the environment and from AWS's configuration files, before the first client is made.

botocore reads these late, with errors of many classes. Here each mistake is a `SettingsError` that names its variable.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import BotoCoreError, ConfigParseError, InvalidRegionError, ProfileNotFound
from botocore.session import Session
from botocore.utils import ensure_boolean, is_valid_endpoint_url, is_valid_ipv6_endpoint_url, validate_region_name

from jibe_sqs.adapters.botocore_sessions import configured_region, offline_session
from jibe_sqs.adapters.partitions import DEFAULT_REGION
from jibe_sqs.adapters.proxies import UNUSABLE
from jibe_sqs.core.errors import SettingsError

_SERVICES: Final = ("sqs", "s3", "sts", "dynamodb", "cloudtrail", "secretsmanager", "ssm")
_SECRETS: Final = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"})
_ENDPOINT: Final = (
    "not an address that AWS clients accept: https:// or http:// and a valid host name, without a login or query"
)
_REGION: Final = "not the name of a region, such as eu-west-1"


def check_aws_environment() -> None:
    """Raises `SettingsError` for variables, profiles, files and proxies that AWS clients cannot use."""
    for scheme in ("http", "https"):
        if (proxy := getproxies().get(scheme)) and not _is_proxy(proxy):
            raise SettingsError([UNUSABLE])
    with _aws_mistakes():
        session = offline_session()
        _check_endpoints(session)
        region = configured_region(session) or DEFAULT_REGION
        # This does not look for credentials, but it reads the settings of all their sources.
        session.get_component("credential_provider")
        # A client of S3 reads more settings than other clients. It sends nothing.
        session.create_client("s3", region_name=region, aws_access_key_id="-", aws_secret_access_key="-")  # noqa: S106


def check_endpoint(setting: str, endpoint: str) -> None:
    """Raises `SettingsError` if AWS clients do not accept it. They are strict: a host name with `_` is not accepted."""
    if not _is_endpoint(endpoint):
        raise SettingsError([f"{setting}: {_ENDPOINT}"])


def check_region(setting: str, region: str) -> None:
    """Raises `SettingsError` if AWS clients do not accept it."""
    try:
        validate_region_name(region)
    except InvalidRegionError as error:
        raise SettingsError([f"{setting}: {_REGION}"]) from error


def _check_endpoints(session: Session) -> None:
    profile = session.get_scoped_config()
    if ensure_boolean(session.get_config_variable("ignore_configured_endpoint_urls") or False):
        return
    for service in _SERVICES:
        endpoint = ConfiguredEndpointProvider(session.full_config, profile, service).provide()
        if endpoint and not _is_endpoint(endpoint):
            variable = {"secretsmanager": "SECRETS_MANAGER"}.get(service, service.upper())
            names = (f"AWS_ENDPOINT_URL_{variable}", "AWS_ENDPOINT_URL")
            name = next((each for each in names if os.environ.get(each)), "endpoint_url of the AWS profile")
            raise SettingsError([f"{name}: {_ENDPOINT}"])


@contextmanager
def _aws_mistakes() -> Iterator[None]:
    """Raise botocore's errors about its own configuration as `SettingsError`."""
    try:
        yield
    except ProfileNotFound as error:
        raise SettingsError(
            [f"{_variables('AWS_PROFILE', 'AWS_DEFAULT_PROFILE')}: {error}: correct its name"]
        ) from error
    except ConfigParseError as error:
        raise SettingsError([f"{error}: correct the file: sections such as [default], lines NAME = VALUE"]) from error
    except (BotoCoreError, ValueError) as error:
        text = " ".join(str(error).split()).rstrip(" .")
        raise SettingsError([f"{_culprits(text)}: {text}: correct the value, or remove it"]) from error


def _variables(*names: str) -> str:
    return next((name for name in names if os.environ.get(name)), names[0])


def _culprits(text: str) -> str:
    """The variables whose values are in botocore's message: it rarely says where a value comes from."""
    found = [
        name
        for name, value in sorted(os.environ.items())
        if name.startswith("AWS_") and name not in _SECRETS and value and _repeats(text, value)
    ]
    return " or ".join(found) or "the configuration of AWS's tools (variables AWS_…, or the profile in ~/.aws/config)"


def _repeats(text: str, value: str) -> bool:
    return bool(re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text))


def _is_endpoint(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        # Errors name the endpoint, so it must not contain a secret.
        is_plain = parts.scheme in ("http", "https") and "@" not in parts.netloc and not {*"?#"} & {*endpoint}
        return is_plain and bool(is_valid_endpoint_url(endpoint) or is_valid_ipv6_endpoint_url(endpoint))
    except ValueError:
        return False


def _is_proxy(proxy: str) -> bool:
    """Whether aiohttp can use it. botocore also accepts `HOST:PORT`."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}")
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in proxy
    except ValueError:
        return False
