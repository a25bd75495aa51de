"""`logs`: the buckets with log files, and how their files are found, fetched and read."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings.groups.stores import RoleSettings
from jibe_sqs.settings.types import Duration, FolderPath, KeyPatterns, Url, Words


class LogSettings(RoleSettings):
    """A bucket with log files, or the part of it below `prefix`."""

    endpoint: Url | None = Field(default=None, description="another address for S3. If it is not set, `aws.endpoint`")
    region: str | None = Field(
        default=None, description="the bucket's region. If it is not set, jibe-sqs asks S3 for it"
    )
    bucket: str = Field(
        pattern=r"^(\*|.{3,})$", description="the bucket's name. `*` sweeps every bucket; see [sweeps](#sweeps)"
    )
    prefix: str = Field(
        default="",
        description="the beginning of the keys that count. If several entries match a file, the first one counts",
    )
    ignore: KeyPatterns = Field(
        default=(),
        description="the [patterns](#filters) of the keys of files that are of no interest, such as `AWSLogs/*/222222222222/*`. "
        "They are neither read nor swept, and their messages are deleted",
    )
    bucket_owner: str | None = Field(
        default=None,
        pattern="^[0-9]{12}$",
        description="the AWS account (12 digits) that must own the bucket. Each request names it, and S3 refuses the "
        "request if another account owns the bucket (`LogAccessDenied`). Some stores that are not AWS's ignore it",
    )
    format: Format | None = Field(
        default=None,
        description="the format of files whose names do not show it. If it is not set, the "
        "[first bytes](formats.md) of the file decide",
    )
    on_bad_record: Literal["skip", "reject"] | None = Field(
        default=None,
        description="what to do with a record that does not say which object it is about: `skip` counts and logs it; "
        "`reject` makes the message a dead letter after all other records are done. If it is not set, `reject` for "
        "`cloudtrail` and `skip` for the other formats",
    )
    verify: Literal["digest"] | None = Field(
        default=None,
        description="`digest`: jibe-sqs acts upon a CloudTrail log file only after one of CloudTrail's digests has "
        "proved it. This takes about an hour. If it is not set, files are not verified",
    )
    via: Literal["s3", "access-anywhere"] = Field(
        default="s3",
        description="how files are listed and fetched: with requests to S3, or with "
        "[calls to Access Anywhere](#logs-through-access-anywhere)",
    )
    folder: FolderPath | None = Field(
        default=None,
        description="the folder of Access Anywhere that shows this `bucket` and `prefix`. It needs `via: "
        "access-anywhere`. If it is not set, jibe-sqs asks Access Anywhere for it",
    )
    providers: Words = Field(
        default=(),
        description="the providers of Access Anywhere in whose buckets log files are read. It needs `via: "
        "access-anywhere`. If it is not set, all providers. If no provider has one of the names, the service logs "
        "`provider_not_shown`",
    )
    sweep: Duration | None = Field(
        default=None,
        ge=1,
        description="the time between two searches for unannounced log files, such as `3m`. If it is not set, there "
        "are no [sweeps](#sweeps)",
    )
    sweep_days: int = Field(
        default=2, ge=1, le=90, description="the number of days that a sweep covers, including today"
    )

    expect: Duration | None = Field(
        default=None,
        gt=0,
        description="how often a log file comes, at least, such as `2h`. If none came for so long, the service warns "
        "(`nothing_received`) at once and then daily. If it is not set, silence is not noticed",
    )

    @model_validator(mode="after")
    def _folder_has_one_bucket(self) -> Self:
        if self.folder and self.bucket == EVERY_BUCKET:
            raise ValueError("folder: a folder shows one bucket, but bucket is *: name the bucket, or remove folder")
        return self

    @field_validator("bucket")
    @classmethod
    def _bucket_is_not_a_directory_bucket(cls, bucket: str) -> str:
        if bucket.endswith("--x-s3"):
            raise ValueError(f"{bucket} is a directory bucket (S3 Express One Zone): AWS delivers no log files there")
        return bucket

    @model_validator(mode="after")
    def _providers_need_access_anywhere(self) -> Self:
        if self.providers and (self.via != "access-anywhere" or self.folder):
            raise ValueError("providers: allowed only with via: access-anywhere and without folder")
        return self

    @model_validator(mode="after")
    def _bucket_owner_needs_s3(self) -> Self:
        if self.bucket_owner and self.via != "s3":
            raise ValueError("bucket_owner: only S3 can check the owner: remove bucket_owner, or set via: s3")
        return self

    @model_validator(mode="after")
    def _digests_need_cloudtrail(self) -> Self:
        if self.verify and self.format not in (None, Format.CLOUDTRAIL):
            raise ValueError(f"verify: only CloudTrail's log files have digests, and format is {self.format}")
        return self


class DefaultLogs(LogSettings):
    """The logs if nothing else is configured, as in Jibe: CloudTrail's, in every bucket that Access Anywhere shows."""

    bucket: str = EVERY_BUCKET
    via: Literal["s3", "access-anywhere"] = "access-anywhere"
    sweep: Duration | None = 180.0
