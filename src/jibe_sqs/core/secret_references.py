"""References to secrets: texts that stand in a setting in place of the secret, and say where it is kept.

    arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME                a secret of AWS Secrets Manager
    arn:…:secret:NAME#KEY                                            one value of a secret that is a JSON object
    arn:…:secret:NAME:KEY:STAGE:VERSION                              the same in the notation of ECS; parts may be empty
    arn:aws:ssm:REGION:ACCOUNT:parameter/NAME[:VERSION][#KEY]        a parameter of AWS Systems Manager
    file:/PATH                                                       a file; one line break at its end is removed

Errors never repeat the text: it may be a secret that only looks like a reference.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Final

_PREFIXES: Final = ("arn:", "file:")
_ARN: Final = re.compile(
    r"(?P<arn>arn:aws[a-z-]*:(?P<service>secretsmanager|ssm):(?P<region>[a-z0-9-]+):\d{12}:(?P<resource>[^#\s]+))"
    r"(#(?P<key>.+))?"
)
_SECRET: Final = re.compile(r"(?P<id>secret:[\w/+=.@-]+)(:(?P<key>[^:]*))?(:(?P<stage>[^:]*))?(:(?P<version>[^:]*))?")
_PARAMETER: Final = re.compile(r"parameter/[\w./-]+(:[\w.-]+)?")
_FORMS: Final = (
    "write arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME#KEY, arn:aws:ssm:REGION:ACCOUNT:parameter/NAME, or file:/PATH. "
    "A secret that begins like this itself must be put into a file"
)


@dataclass(frozen=True, slots=True)
class SecretsManagerSecret:
    """A secret of AWS Secrets Manager. `stage`, `version`: empty for the current one."""

    arn: str
    region: str
    stage: str = ""
    version: str = ""
    permission = "secretsmanager:GetSecretValue"

    def __str__(self) -> str:
        return self.arn


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of AWS Systems Manager, with its version or label if the ARN names one."""

    arn: str
    region: str
    permission = "ssm:GetParameter"

    def __str__(self) -> str:
        return self.arn


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file that contains only the secret. `is_stripped`: white space around it does not count, as in `JIBE_SECRETS_DIR`."""

    path: str
    is_stripped: bool = False
    permission = "read"

    def __str__(self) -> str:
        return f"file:{self.path}"


Kept = SecretsManagerSecret | Parameter | SecretFile
"""Where a secret is kept."""


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept, and which value of a JSON object it is. `key`: empty for the whole text."""

    kept: Kept
    key: str = ""
    text: str = field(default="", compare=False)
    """The reference as it stands in the setting."""

    def value(self, content: str) -> str:
        """The secret, from the content of the place where it is kept. Raises `ValueError`, which repeats no part of it."""
        if not self.key:
            if _object(content) is not None:
                raise ValueError("its text is a JSON object: name one of its keys, such as …#password")
            found: object = content
        else:
            values = _object(content)
            if values is None:
                raise ValueError("its text is not a JSON object, so it has no keys: remove the key from the reference")
            if self.key not in values:
                raise ValueError(f"its JSON object has no key {self.key!r}: correct the key in the reference")
            found = values[self.key]
        if not isinstance(found, str):
            raise ValueError(f"the value of its key {self.key!r} is not text: put it into quotes")  # noqa: TRY004
        if not found:
            raise ValueError("it is empty: store the secret there")
        return found


def is_reference(text: str) -> bool:
    """Whether the text is meant as a reference. It may still be malformed."""
    return text.startswith(_PREFIXES)


def secret_reference(text: str) -> SecretReference | None:
    """Parses a reference. Returns None for a text that is a secret itself. Raises `ValueError` with the remedy."""
    if not is_reference(text):
        return None
    if text.startswith("file:"):
        path = text.removeprefix("file:")
        path = path.removeprefix("//") if path.startswith("///") else path
        if not path.startswith("/") or path.startswith("//") or path.endswith("/") or not path.isprintable():
            raise ValueError(f"not a reference to a secret: the path of a file: must begin with one slash: {_FORMS}")
        return SecretReference(SecretFile(path), text=text)
    found = _ARN.fullmatch(text)
    if not found:
        raise ValueError(f"not a reference to a secret: {_FORMS}")
    key, region = found["key"] or "", found["region"]
    if found["service"] == "ssm":
        if not _PARAMETER.fullmatch(found["resource"]):
            raise ValueError(f"not the ARN of a parameter: {_FORMS}")
        return SecretReference(Parameter(found["arn"], region), key, text)
    parts = _SECRET.fullmatch(found["resource"])
    if not parts:
        raise ValueError(f"not the ARN of a secret: {_FORMS}")
    if key and parts["key"]:
        raise ValueError("names two keys: write the key either after # or after the secret's name, not both")
    arn = found["arn"].removesuffix(found["resource"]) + parts["id"]
    kept = SecretsManagerSecret(arn, region, parts["stage"] or "", parts["version"] or "")
    return SecretReference(kept, key or parts["key"] or "", text)


def _object(content: str) -> dict[str, object] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
