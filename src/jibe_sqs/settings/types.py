"""What a setting may be: addresses, folders, times, networks; each says what is wrong in an operator's words."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr

from jibe_sqs.core import notification_rules
from jibe_sqs.core.templates import Template


def _url(text: str) -> str:
    parts = _address(text)
    if parts.username or parts.password:
        raise ValueError("an address with a password in it would be logged: give login and password on their own")
    return text


def _secret_url(secret: SecretStr) -> SecretStr:
    _address(secret.get_secret_value())
    return secret


def _address(text: str) -> SplitResult:
    """Its parts. What urllib says of one that is none may quote the beginning of a password: that is not told."""
    try:
        parts = urlsplit(text)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or not text.isprintable() or " " in text:
        raise ValueError("not an address: it starts with https:// and a host's name")
    return parts


def _template(text: str) -> str:
    Template(text)
    return text


def _expression(text: str) -> str:
    notification_rules.Expression(text)
    return text


def listed(value: object) -> object:
    """One, or a list of them."""
    return [value] if isinstance(value, str | Mapping) else value


def _folder(path: str) -> str:
    if not path.startswith("/") or not path.strip("/"):
        raise ValueError("a folder of Access Anywhere starts with / and has a name, such as /Amazon S3/my-bucket")
    return path.rstrip("/")


def _folder_prefix(prefix: str) -> str:
    """A place shows a folder: the prefix `team` is that of `team/`, and not of `teams/` as well."""
    return f"{prefix}/" if prefix and not prefix.endswith("/") else prefix


def _seconds(value: object) -> object:
    """`90`, `90s`, `3m` and `1h` are seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", value) if isinstance(value, str) else None
    if found:
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
    # Numbers out of range, "-5" among them, are reported by the field's limits.
    if isinstance(value, bool) or not (isinstance(value, int | float) or _is_number(value)):
        raise ValueError("not a duration: write seconds, as 30, or 90s, 3m, 1h")
    return value


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, str) and isinstance(float(value), float)
    except ValueError:
        return False


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value), strict=False)
    except ValueError as error:
        raise ValueError(f"neither an address nor a network, such as 192.0.2.0/24: {error}") from error


Url = Annotated[str, AfterValidator(_url)]
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url)]
Expression = Annotated[str, AfterValidator(_expression)]
"""JMESPath."""
TemplateText = Annotated[str, AfterValidator(_template)]
FolderPath = Annotated[str, AfterValidator(_folder)]
FolderPrefix = Annotated[str, AfterValidator(_folder_prefix)]
Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds; written as a number, or as `90s`, `3m`, `1h`."""
WholeDuration = Annotated[int, BeforeValidator(_seconds)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(listed)]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(listed)]
