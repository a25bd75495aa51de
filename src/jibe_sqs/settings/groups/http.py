"""`http`: the port for probes, metrics and the status page; and `health`, its older name."""

from typing import Self

from pydantic import Field, SecretStr, model_validator

from jibe_sqs.core.secret_references import is_reference
from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import TextOrReference


class HttpSettings(SettingsGroup):
    """The address of the status page, `/metrics`, `/status.json`, the probes."""

    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="the port of the [status page](../how-to/status-page.md), of `/metrics`, `/status.json`, `/livez`, "
        "`/startupz` and `/readyz`. With 0, any free port. If it is not set, no port is opened",
    )
    host: str = Field(
        default="127.0.0.1",
        description="the address or host name of this machine on which the port is opened. `*` means all IPv6 and IPv4 "
        "addresses; `0.0.0.0` and `::` mean those of one kind. Probes that come from outside of a container need `*`",
    )
    login: TextOrReference = Field(
        default="",
        description="the name of a login (HTTP basic authentication) for everything except the probes. It needs "
        "`http.password`. It may be a [reference](#secrets-by-reference), like a secret. If it is not set, no login is required",
    )
    password: SecretStr = Field(default=SecretStr(""), description="the password of `http.login`")

    @model_validator(mode="after")
    def _login_has_a_password(self) -> Self:
        if bool(self.login) != bool(self.password.get_secret_value()):
            missing = "password" if self.login else "login"
            raise ValueError(f"a login has a name and a password: set http.{missing} too, or neither")
        if ":" in self.login and not is_reference(self.login):
            raise ValueError("http.login: must not contain a colon: it ends the name in HTTP basic authentication")
        return self


class HealthSettings(SettingsGroup):
    """The older name of `http`: it opens a port for the probes alone."""

    port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="an older name of `http.port`, which opens the port for `/livez`, `/startupz` and `/readyz` only. Do not set both",
    )
    host: str = Field(default="*", description="the older name of `http.host`, for `health.port`")
