"""`providers`: limits of single providers of Access Anywhere, by their names."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationInfo, field_validator

from jibe_sqs.core.quiet_hours import QuietHours
from jibe_sqs.settings.groups.group import SettingsGroup


class ProviderSettings(SettingsGroup):
    """The limits of one provider. They count beside those of `access_anywhere`."""

    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="the maximum number of the provider's refreshes at the same time. If it is not set, only "
        "`access_anywhere.concurrency` counts. With several workers, each gets an equal part, at least 1",
    )
    calls_per_second: float | None = Field(
        default=None,
        gt=0,
        description="the maximum number of calls per second for the provider's refreshes. With several workers, each gets an "
        "equal part",
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        description="the time zone of `quiet_hours`: a name of the IANA database, such as `Europe/Berlin`",
    )
    quiet_hours: str | None = Field(
        default=None,
        description="the hours of each day in which no refresh of a folder with everything below it begins, such as "
        "`22:00-06:00`. At most 10 hours, and they may go over midnight. Refreshes of single folders go on. The messages that "
        "need a whole tree wait for the end, and use up no receives",
    )

    @field_validator("time_zone")
    @classmethod
    def _zone_is_known(cls, name: str) -> str:
        _zone(name)
        return name

    @field_validator("quiet_hours")
    @classmethod
    def _hours_are_readable(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is not None and "time_zone" in info.data:
            QuietHours.parsed(text, _zone(info.data["time_zone"]))
        return text

    @property
    def quiet(self) -> QuietHours | None:
        """The quiet hours. None if there are none."""
        return QuietHours.parsed(self.quiet_hours, _zone(self.time_zone)) if self.quiet_hours else None


def _zone(name: str) -> tzinfo:
    # Known without the time zone database, which a small image may not have.
    if name.upper() in ("UTC", "ETC/UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r} here: write a name of the IANA database, such as Europe/Berlin; if that is one, install "
            "the package tzdata, because this system has no time zone database"
        ) from error
