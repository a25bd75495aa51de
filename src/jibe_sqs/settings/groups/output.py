"""`log`, `report` and `control`: what the service writes about itself, and its socket for commands."""

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Duration, FolderPath

OFF: Final = "off"
"""The path of a socket that means: no socket."""


Level = Literal["debug", "info", "warning", "error"]


class LogOutputSettings(SettingsGroup):
    """The log lines on standard error."""

    level: Level = Field(default="info", description="the lowest level that is logged")
    levels: dict[Annotated[str, Field(min_length=1)], Level] = Field(
        default={},
        description='other levels of single loggers, such as `{"aiobotocore": "debug", "jibe_sqs.consuming": "debug"}`. A '
        "logger is a module of this program or of a library, with all modules below it. The logs of libraries have the level "
        "`warning` or higher otherwise. Beside it, `debug` of `botocore` shows requests and answers: secrets in them that are "
        "known by their names are masked",
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="the format of log lines. `auto` is `console` on a terminal, and `json` elsewhere"
    )


class ReportSettings(SettingsGroup):
    """Periodic counts for each provider and bucket."""

    interval: Duration = Field(
        default=900, ge=0, description="the time between two reports, at least 1 second. With 0 there are no reports"
    )
    folder: FolderPath | None = Field(
        default=None, description="a folder of Access Anywhere in which each report is also stored as a file"
    )

    @field_validator("interval")
    @classmethod
    def _interval_is_not_below_a_second(cls, interval: float) -> float:
        if 0 < interval < 1:
            raise ValueError("must be at least 1 second, such as 15m; or 0 for no reports")
        return interval


class ControlSettings(SettingsGroup):
    """The socket at which commands on the same host reach the running service."""

    socket: str | None = Field(
        default=None,
        min_length=1,
        description="the path of a Unix-domain socket for commands on the same host. Only the "
        "service's own user can use it. `off`: there is none. If it is not set, `jibe-sqs.sock` in the directory of "
        "`ledger.path`",
    )
