"""Every setting, its default, and what is allowed. Secrets are `SecretStr`; nothing can be changed once it is read."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.key_encodings import KeyEncoding
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings.sources import PREFIX, ConfigurationFile, Environment, SecretFiles
from jibe_sqs.settings.types import (
    Duration,
    Expression,
    FolderPath,
    FolderPrefix,
    Networks,
    SecretUrl,
    TemplateText,
    Url,
    WholeDuration,
    Words,
    listed,
)

GROUP_INCOMPLETE: Final = "group_incomplete"
"""The type of a field's error that is about the group of the field."""
_GIB: Final = 1024**3
_MIB: Final = 1024**2


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class AccessAnywhereSettings(_Model):
    """How to reach Access Anywhere. The account needs an Administrator role. Times in seconds."""

    endpoint: Url = Field(description="the address of Access Anywhere, such as https://files.example.com")
    login: str = ""
    password: SecretStr = SecretStr("")
    permanent_token: SecretStr = Field(default=SecretStr(""), validate_default=True)
    concurrency: int = Field(default=8, ge=1, le=1000, description="refreshes at a time")
    calls_per_second: float | None = Field(default=None, gt=0, description="calls a second, at most")
    timeout: Duration = Field(default=60, gt=0)
    refresh_timeout: Duration = Field(default=600, gt=0, description="for one refresh to end")
    ca_file: Path | None = Field(default=None, description="certificates to trust, in place of the system's")
    look_interval: Duration = Field(default=300, ge=10, description="between looks at what its providers show")

    @field_validator("permanent_token")
    @classmethod
    def _credentials(cls, token: SecretStr, info: ValidationInfo) -> SecretStr:
        """Checked with this field, the last of the three: a check of the whole group waits until all else is right."""
        # A field that is not in `info.data` is given, but wrong. That is reported.
        missing = [name for name in ("login", "password") if not info.data.get(name, "given")]
        if missing and not token:
            variables = " and ".join(f"{PREFIX}ACCESS_ANYWHERE__{name.upper()}" for name in missing)
            names, verb = " and ".join(missing), "are" if len(missing) > 1 else "is"
            raise PydanticCustomError(
                GROUP_INCOMPLETE,
                f"needs login and password, or permanent_token: {names} {verb} missing: set {variables}, for example",
            )
        return token


class AwsSettings(_Model):
    """Address, region and credentials of a store; where none are given, boto looks in its own places."""

    endpoint: Url | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    ca_file: Path | None = Field(default=None, description="CA certificates to trust, in place of all others")

    @model_validator(mode="after")
    def _both_halves(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        return self


class RoleSettings(AwsSettings):
    """What differs from `aws` for this queue or bucket, and a role to assume before using it."""

    role_arn: str | None = Field(default=None, pattern=r"^arn:[\w-]+:iam::\d{12}:role/.+")
    external_id: str | None = None


class QueueSettings(RoleSettings):
    """One SQS queue. Its region is told by its address where that is AWS's."""

    url: Url


class LogSettings(RoleSettings):
    """A bucket, or the part of it below `prefix`, with log files."""

    bucket: str = Field(pattern=r"^(\*|.{3,})$")
    prefix: str = ""
    bucket_owner: str | None = Field(default=None, pattern="^[0-9]{12}$", description="the account that must own it")
    format: Format | None = None
    on_bad_record: Literal["skip", "reject"] | None = None
    verify: Literal["digest"] | None = None
    via: Literal["s3", "access-anywhere"] = "s3"
    folder: FolderPath | None = Field(default=None, description="where Access Anywhere shows the bucket's prefix")
    providers: Words = Field(default=(), description="of Access Anywhere, in whose buckets logs are read; empty: all")
    sweep: Duration | None = Field(default=None, ge=1, description="between looks for log files nobody announced")
    sweep_days: int = Field(default=2, ge=1, le=90, description="days that a sweep looks at, today included")

    @model_validator(mode="after")
    def _one_folder_shows_one_bucket(self) -> Self:
        if self.folder and self.bucket == EVERY_BUCKET:
            raise ValueError("folder: shows one bucket, not every one: name the bucket, or leave the folder out")
        return self

    @field_validator("bucket")
    @classmethod
    def _log_files_are_in_general_purpose_buckets(cls, bucket: str) -> str:
        if bucket.endswith("--x-s3"):
            raise ValueError(f"{bucket} is a directory bucket (S3 Express One Zone): AWS delivers no log files there")
        return bucket

    @model_validator(mode="after")
    def _providers_are_access_anywheres(self) -> Self:
        if self.providers and (self.via != "access-anywhere" or self.folder):
            raise ValueError("providers: only with via: access-anywhere and without folder")
        return self

    @model_validator(mode="after")
    def _owners_are_known_to_s3(self) -> Self:
        if self.bucket_owner and self.via != "s3":
            raise ValueError("bucket_owner: S3 alone knows who owns a bucket: leave it out, or via: s3")
        return self

    @model_validator(mode="after")
    def _digests_are_cloudtrails(self) -> Self:
        if self.verify and self.format not in (None, Format.CLOUDTRAIL):
            raise ValueError(f"verify: only CloudTrail's files have digests, not those of format {self.format}")
        return self


class NotificationSettings(_Model):
    """How to read message bodies of a shape that is not known: `when` on the body, the others on each of its items."""

    when: Expression = Field(description="true for the bodies that this entry is for")
    items: Expression | None = Field(
        default=None, description="the list of events in a body; the body itself if not set"
    )
    bucket: Expression = Field(description="the bucket's name, in an item")
    key: Expression = Field(description="the object's key, in an item")
    event: Expression | None = Field(default=None, description="the event's name, in an item; a write if not set")
    time: Expression | None = Field(default=None, description="when it happened: ISO 8601, or seconds since 1970")
    key_encoding: KeyEncoding | None = None


class DefaultLogs(LogSettings):
    """What Jibe reads if nothing else is configured: CloudTrail's logs in every bucket that Access Anywhere shows."""

    bucket: str = EVERY_BUCKET
    via: Literal["s3", "access-anywhere"] = "access-anywhere"
    sweep: Duration | None = 180.0


class BatchSettings(_Model):
    """Several events in one call: a list of objects, as JSON, in one parameter."""

    parameter: str = Field(min_length=1)
    item: dict[str, TemplateText] = Field(min_length=1, description="the fields of one event, as templates")
    size: int = Field(default=100, ge=2, le=10_000)


class SyncSettings(_Model):
    """How Access Anywhere is made to see changes. Times in seconds."""

    strategy: Literal["refresh", "provider-event", "dry-run"] = "refresh"
    min_refresh_interval: Duration = Field(default=5, ge=0, description="between two refreshes of one folder")
    function: str = Field(default="syncOnProviderEvent", min_length=1)
    parameters: dict[str, TemplateText] = Field(default={}, description="of provider-event's call, as templates")
    batch: BatchSettings | None = None

    @model_validator(mode="after")
    def _says_what_to_call_with(self) -> Self:
        if self.strategy == "provider-event" and not (self.parameters or self.batch):
            raise ValueError("provider-event needs the parameters of its call: sync.parameters, or sync.batch")
        return self


class SnsSettings(_Model):
    """Whether messages must be shown to come from SNS, and from which topics."""

    verify: bool = False
    topics: Annotated[
        tuple[Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]+$")], ...],
        BeforeValidator(listed),
    ] = Field(default=(), description="ARNs of the topics to listen to; empty: any of anybody's")

    @model_validator(mode="after")
    def _unverified_names_prove_nothing(self) -> Self:
        if self.topics and not self.verify:
            raise ValueError("topics: anybody may write a topic's name into a message: set sns.verify as well")
        return self


class ReportSettings(_Model):
    """What happened, provider by provider and bucket by bucket."""

    interval: Duration = Field(default=900, ge=0, description="between reports; 0: none")
    folder: FolderPath | None = Field(default=None, description="of Access Anywhere, where reports are stored as well")

    @field_validator("interval")
    @classmethod
    def _no_flood(cls, interval: float) -> float:
        if 0 < interval < 1:
            raise ValueError("seconds, at least 1; or 0 for no reports; or such as 15m")
        return interval


class AlertSettings(_Model):
    """Warnings and errors, told to people."""

    webhook: SecretUrl | None = Field(default=None, description="an address that takes Slack's messages")
    level: Literal["warning", "error"] = "warning"
    interval: Duration = Field(default=300, ge=1, description="between two messages")


class HealthSettings(_Model):
    """Where `/livez` and `/readyz` are answered."""

    port: int | None = Field(default=None, ge=0, le=65535)
    host: str = "0.0.0.0"  # noqa: S104 - who asks is an orchestrator, from outside the container


class PlaceSettings(_Model):
    """Where Access Anywhere shows a bucket, or the part of it below `prefix`."""

    folder: FolderPath
    prefix: FolderPrefix = ""


def _place(value: object) -> object:
    return {"folder": value} if isinstance(value, str) else value


Places = Annotated[
    tuple[Annotated[PlaceSettings, BeforeValidator(_place)], ...], BeforeValidator(listed), Field(min_length=1)
]


class OwnWritesSettings(_Model):
    """By what Access Anywhere's own writes are known. ARNs and user agents take `*` and `?`."""

    access_keys: Words = ()
    principals: Words = ()
    session_issuers: Words = ()
    source_addresses: Networks = ()
    user_agents: Words = ()


class LedgerSettings(RoleSettings):
    """What survives a restart. Address, region and credentials are of the table."""

    kind: Literal["sqlite", "dynamodb", "memory"] = "sqlite"
    path: Path = Path("jibe-ledger.sqlite")
    table: str | None = Field(
        default=None, pattern=r"^(arn:[a-z-]+:dynamodb:[a-z0-9-]+:[0-9]{12}:table/)?[A-Za-z0-9_.-]{3,255}$"
    )
    retain_days: float = Field(default=30, gt=0, le=36_500)

    @model_validator(mode="after")
    def _a_table_is_told(self) -> Self:
        if self.kind == "dynamodb" and not self.table:
            raise ValueError("dynamodb needs the name or the ARN of its table: ledger.table")
        if self.kind != "dynamodb" and self.table:
            raise ValueError(f"a table, and kind {self.kind}: say dynamodb, or leave the table out")
        return self


class LimitSettings(_Model):
    """How much at a time, and how large a file may be."""

    messages_reading: int = Field(default=64, ge=1, description="messages whose log files are being read")
    messages_held: int = Field(default=10_000, ge=1, le=120_000, description="messages in our hands, mostly waiting")
    bytes_in_flight: int = Field(default=256 * _MIB, ge=4 * _MIB, description="of log files being downloaded")
    compressed_size: int = Field(default=_GIB, ge=1, description="bytes of one log file, as stored")
    decompressed_size: int | None = Field(default=None, ge=1, description="bytes of one log file's text")
    ratio: int = Field(default=500, ge=2, description="bytes of text for each byte stored")
    record_size: int = Field(default=4 * _MIB, ge=1024, description="bytes of one record")
    records: int = Field(default=20_000_000, ge=1, description="in one log file")
    read_seconds: Duration = Field(default=3600, gt=0, description="for one log file to be read to its end")
    key_length: int = Field(default=4096, ge=1, description="characters of an object's key")


class RetrySettings(_Model):
    """How long a message waits after a failure: doubled each time."""

    first: Duration = Field(default=10, ge=0)
    longest: Duration = Field(default=900, ge=1, le=43_200)
    max_receives: int | None = Field(
        default=None, ge=1, description="then it is a dead letter; the queue's own if not set"
    )


class PollSettings(_Model):
    """How a queue is asked."""

    wait: WholeDuration = Field(default=20, ge=0, le=20, description="of a long poll")
    receivers: int = Field(default=2, ge=1, le=64, description="receives at a time, for each queue")


class LogOutputSettings(_Model):
    """What we write to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Sourced(BaseSettings):
    """Settings from the environment, secret files and `file`, the values in the configuration file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        nested_model_default_partial_update=True,
    )
    file: ClassVar[dict[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The order of the sources."""
        secret_files = SecretFiles(file_secret_settings, secrets_dir_missing="ok")
        return init_settings, Environment(settings_cls), secret_files, ConfigurationFile(settings_cls, cls.file)


class StoreSettings(Sourced):
    """What is needed to read the configuration file from a store."""

    aws: AwsSettings = AwsSettings()


class Rules(Sourced):
    """The part that decides, and what it reads: enough for every command but `run`."""

    buckets: dict[str, Places] | None = Field(default=None, min_length=1)
    own_writes: OwnWritesSettings = OwnWritesSettings()
    logs: tuple[LogSettings, ...] = ()
    limits: LimitSettings = LimitSettings()
    key_encodings: dict[Annotated[str, Field(min_length=1)], KeyEncoding] = {}
    notifications: tuple[NotificationSettings, ...] = ()
    aws: AwsSettings = AwsSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogOutputSettings = LogOutputSettings()


class Queues(Rules):
    """What a look at the queues needs."""

    queues: tuple[QueueSettings, ...] = Field(min_length=1, description="the SQS queues, each with its url")


class Settings(Rules):
    """Everything that `run` needs."""

    model_config = SettingsConfigDict(extra="forbid")

    access_anywhere: AccessAnywhereSettings = Field(
        description="endpoint, login and password of Access Anywhere. They alone are enough, also as Jibe's three keys at "
        "the top of the file; queues can be added"
    )
    queues: tuple[QueueSettings, ...] = Field(default=(), validate_default=True)
    sync: SyncSettings = SyncSettings()
    sns: SnsSettings = SnsSettings()
    report: ReportSettings = ReportSettings()
    alerts: AlertSettings = AlertSettings()
    health: HealthSettings = HealthSettings()
    retry: RetrySettings = RetrySettings()
    poll: PollSettings = PollSettings()
    drain_timeout: Duration = Field(default=90, gt=0, description="to finish what is held after SIGTERM")
    watermark_margin: Duration = Field(default=5, ge=1, description="by which clocks of S3 may differ")
    tree_refresh_interval: Duration = Field(default=30, ge=0, description="between refreshes of all below a folder")
    progress_interval: Duration = Field(default=60, ge=0, description="between progress lines; 0: none")

    @model_validator(mode="before")
    @classmethod
    def _access_anywhere_alone_is_enough(cls, values: Any) -> Any:
        # With `buckets`, Access Anywhere is not asked where the log buckets are, so queues or logs are needed.
        given = values.keys() & {"access_anywhere", "queues", "logs", "buckets"} if isinstance(values, dict) else {"?"}
        return {**values, "logs": (DefaultLogs(),)} if given <= {"access_anywhere"} else values

    @field_validator("queues")
    @classmethod
    def _something_to_do(cls, queues: tuple[QueueSettings, ...], info: ValidationInfo) -> tuple[QueueSettings, ...]:
        if not queues and not any(each.sweep for each in info.data.get("logs", ())):
            raise ValueError("missing: the SQS queues, each with its url; or logs with a sweep")
        return queues

    @field_validator("sync")
    @classmethod
    def _dry_runs_call_nothing(cls, sync: SyncSettings, info: ValidationInfo) -> SyncSettings:
        if sync.strategy == "dry-run" and info.data.get("buckets", ()) is None:
            raise ValueError("a dry run calls nothing, so it cannot ask which buckets there are: set buckets")
        if sync.strategy == "dry-run" and any(each.via != "s3" for each in info.data.get("logs", ())):
            raise ValueError("a dry run calls nothing, so it cannot read logs via access-anywhere")
        return sync

    @model_validator(mode="after")
    def _what_is_swept_is_remembered(self) -> Self:
        days = max((each.sweep_days for each in self.logs if each.sweep), default=0)
        if days >= self.ledger.retain_days:
            raise ValueError(f"ledger.retain_days: must be more than sweep_days ({days}), or files are read again")
        return self

    @model_validator(mode="after")
    def _logs_are_shown_somewhere(self) -> Self:
        for each in self.logs:
            if each.via == "access-anywhere" and not each.folder and self.buckets and each.bucket not in self.buckets:
                remedy = "" if each.bucket == EVERY_BUCKET else "say in which folder it is shown; or "
                raise ValueError(
                    f"logs: {each.bucket}: via access-anywhere: {remedy}leave buckets out, and Access Anywhere is asked"
                )
        return self

    @model_validator(mode="after")
    def _providers_of_one_bucket_stand_together(self) -> Self:
        entries = Counter((each.bucket, each.prefix) for each in self.logs if each.via == "access-anywhere")
        for each in self.logs:
            if each.providers and entries[each.bucket, each.prefix] > 1:
                raise ValueError(f"logs: {each.bucket}: two entries for it: put all providers into one of them")
        return self

    @model_validator(mode="after")
    def _time_to_drain(self) -> Self:
        if self.drain_timeout <= self.poll.wait:
            raise ValueError("drain_timeout must be longer than poll.wait: a receive that has begun is not cancelled")
        return self
