"""`compare`: the continuous comparison of Access Anywhere's index with S3."""

from pydantic import Field

from jibe_sqs.settings.groups.group import SettingsGroup
from jibe_sqs.settings.types import Duration


class CompareSettings(SettingsGroup):
    """The continuous comparison. It needs `s3:ListBucket` on the data buckets."""

    every: Duration | None = Field(
        default=None,
        ge=60,
        description="the time in which each folder is compared once with S3, such as `7d`. If it is not set, nothing is "
        "compared",
    )
    repair: bool = Field(default=True, description="whether folders that differ are refreshed")
