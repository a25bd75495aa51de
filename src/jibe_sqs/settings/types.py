"""Types of values in settings: addresses, folders, durations, networks. Their error texts say what to write instead."""

import math
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr, WithJsonSchema

from jibe_sqs.core import notification_rules
from jibe_sqs.core.secret_references import is_reference, secret_reference
from jibe_sqs.core.templates import Template


def _url(text: str) -> str:
    parts = _address(text)
    if "@" in parts.netloc:
        raise ValueError("contains a login or a password, and addresses are logged: remove it from the address")
    # Signed addresses have a token in their query.
    if "?" in text or "#" in text:
        raise ValueError(
            "contains a query or a fragment, which may be a secret, and addresses are logged: remove ? or #, and all after it"
        )
    return text


def _secret_url(secret: SecretStr) -> SecretStr:
    # The form of a reference is checked for every secret.
    if not is_reference(secret.get_secret_value()):
        _address(secret.get_secret_value())
    return secret


def text_or_reference(text: str) -> str:
    """Checks the form of a text that may be a reference to a secret. Raises `ValueError`."""
    secret_reference(text)
    return text


def _address(text: str) -> SplitResult:
    """Splits an http or https address. urllib's error may contain part of a password, so it is not repeated."""
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if text.startswith("arn:"):
        raise ValueError("an ARN, not an address: write the URL, such as https://sqs.REGION.amazonaws.com/ACCOUNT/NAME")
    if not is_address or not text.isprintable() or " " in text:
        raise ValueError("not an address: write https:// and a host name")
    return parts


def _template(text: str) -> str:
    Template(text)
    return text


def _expression(text: str) -> str:
    notification_rules.Expression(text)
    return text


def as_list(value: object) -> object:
    """Accepts one text or object in place of a list with one entry."""
    return [value] if isinstance(value, str | Mapping) else value


def _folder(path: str) -> str:
    if not path.startswith("/") or not path.strip("/"):
        raise ValueError("not a folder of Access Anywhere: write / and its path, such as /Amazon S3/my-bucket")
    return path.rstrip("/")


def _folder_prefix(prefix: str) -> str:
    """Adds the final slash: the prefix `team` means the keys below `team/`, and not those below `teams/`."""
    return f"{prefix}/" if prefix and not prefix.endswith("/") else prefix


def _key_pattern(pattern: str) -> str:
    if pattern.startswith("/"):
        raise ValueError(
            "begins with /, and keys do not: remove it. For a folder at the top of the bucket only, write tmp/*. If your "
            "keys do begin with /, write ? in its place"
        )
    return pattern


def _seconds(value: object) -> object:
    """Converts `90`, `90s`, `3m`, `1h` and `7d` to seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value) if isinstance(value, str) else None
    if found:
        return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
    # The field's own limits report numbers out of range, such as "-5".
    if isinstance(value, bool) or not (isinstance(value, int | float) or _is_number(value)):
        raise ValueError("not a duration: write seconds, such as 30, or 90s, 3m, 1h, 7d")
    return value


def duration(text: str) -> float:
    """Seconds, from a text such as `90`, `90s`, `3m`, `1h` or `7d`. Raises `ValueError`."""
    seconds = float(str(_seconds(text)))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"not a duration: write 90s, 3m, 1h or 7d: {text!r}")
    return seconds


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, str) and isinstance(float(value), float)
    except ValueError:
        return False


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(str(value), strict=False)
    except ValueError as error:
        raise ValueError(f"not an IP address or network, such as 192.0.2.0/24: {error}") from error


def _kind(name: str) -> Any:
    """Names the kind of a value, and its unit, for docs/reference/configuration.md."""
    return Field(json_schema_extra={"kind": name})


Url = Annotated[str, AfterValidator(_url), _kind("address")]
TextOrReference = Annotated[str, AfterValidator(text_or_reference), _kind("text or reference")]
"""Not a secret, but often kept beside one."""
SecretUrl = Annotated[SecretStr, AfterValidator(_secret_url), _kind("address")]
Expression = Annotated[str, AfterValidator(_expression), _kind("JMESPath expression")]
TemplateText = Annotated[str, AfterValidator(_template), _kind("template")]
FolderPath = Annotated[str, AfterValidator(_folder), _kind("folder")]
FolderPrefix = Annotated[str, AfterValidator(_folder_prefix)]
Duration = Annotated[float, BeforeValidator(_seconds), _kind("duration")]
"""Seconds; written as a number, or as `90s`, `3m`, `1h`, `7d`."""
WholeDuration = Annotated[int, BeforeValidator(_seconds), _kind("duration, whole seconds")]
Bytes = Annotated[int, _kind("bytes")]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(as_list)]
KeyPatterns = Annotated[
    tuple[Annotated[str, Field(min_length=1), AfterValidator(_key_pattern), _kind("pattern")], ...],
    BeforeValidator(as_list),
]
"""Of keys; `core.globs` says what they match."""
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network), WithJsonSchema({"kind": "address or network"})]
Networks = Annotated[tuple[Network, ...], BeforeValidator(as_list)]
