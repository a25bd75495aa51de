"""`access_anywhere`: the server, the login and the limits of calls."""

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jibe_sqs.settings.groups.group import GROUP_INCOMPLETE, SettingsGroup
from jibe_sqs.settings.sources import PREFIX
from jibe_sqs.settings.types import Duration, TextOrReference, Url


class AccessAnywhereSettings(SettingsGroup):
    """How to reach Access Anywhere. The account needs the Administrator role."""

    endpoint: Url = Field(
        description="the address of Access Anywhere, such as https://files.example.com. It must not contain a login"
    )
    login: TextOrReference = Field(
        default="",
        description="the login name of an account with the Administrator role. It may be a "
        "[reference](#secrets-by-reference), like a secret",
    )
    password: SecretStr = Field(default=SecretStr(""), description="the password of that account")
    permanent_token: SecretStr = Field(
        default=SecretStr(""),
        validate_default=True,
        description="a permanent token. It is used in place of login and password",
    )
    concurrency: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="the maximum number of refreshes at the same time. When Access Anywhere is slow, or answers 429 or "
        "5xx, jibe-sqs halves the number. Later it increases the number again slowly",
    )
    calls_per_second: float | None = Field(
        default=None, gt=0, description="the maximum number of calls per second. If it is not set, there is no limit"
    )
    timeout: Duration = Field(default=60, gt=0, description="the maximum time for one answer")
    refresh_timeout: Duration = Field(default=600, gt=0, description="the maximum time for one refresh")
    ca_file: Path | None = Field(
        default=None,
        description="a PEM file with the CA certificates to trust in place of the system's. Certificates are always "
        "verified; see [certificates](#certificates)",
    )
    look_interval: Duration = Field(
        default=300,
        ge=10,
        description="the time between two queries for the buckets that the providers of Access Anywhere show, and for "
        "the time of each provider's last sync",
    )

    @field_validator("permanent_token")
    @classmethod
    def _credentials_are_complete(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        """Checks all three credentials with the last one: pydantic checks a group only if all its fields are valid."""
        # A field that is not in `info.data` was given and is invalid. That error is reported already.
        missing = [name for name in ("login", "password") if not info.data.get(name, "given")]
        if missing and not token:
            variables = " and ".join(f"{PREFIX}ACCESS_ANYWHERE__{name.upper()}" for name in missing)
            names, verb = " and ".join(missing), "are" if len(missing) > 1 else "is"
            raise PydanticCustomError(
                GROUP_INCOMPLETE,
                f"needs login and password, or permanent_token: {names} {verb} missing: set {variables}, for example",
            )
        return token
