"""All settings together. Secrets are `SecretStr`. Settings cannot be changed after they are read."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from jibe_sqs.core.key_encodings import KeyEncoding
from jibe_sqs.core.principals import KeptPrincipals
from jibe_sqs.core.sources import EVERY_BUCKET
from jibe_sqs.settings.groups.access_anywhere import AccessAnywhereSettings
from jibe_sqs.settings.groups.alerts import AlertSettings
from jibe_sqs.settings.groups.audit import AuditSettings
from jibe_sqs.settings.groups.buckets import OwnWritesSettings, Places
from jibe_sqs.settings.groups.comparing import CompareSettings
from jibe_sqs.settings.groups.http import HealthSettings, HttpSettings
from jibe_sqs.settings.groups.log_files import DefaultLogs, LogSettings
from jibe_sqs.settings.groups.messages import NotificationSettings, SnsSettings
from jibe_sqs.settings.groups.metrics import MetricsSettings
from jibe_sqs.settings.groups.output import (
    OFF,
    ControlSettings,
    LogOutputSettings,
    ReportSettings,
)
from jibe_sqs.settings.groups.processing import LimitSettings, PollSettings, RetrySettings
from jibe_sqs.settings.groups.providers import ProviderSettings
from jibe_sqs.settings.groups.refreshing import SyncSettings
from jibe_sqs.settings.groups.stores import AwsSettings, LedgerSettings, QueueSettings
from jibe_sqs.settings.groups.tracing import TracingSettings
from jibe_sqs.settings.sources import PREFIX, ConfigurationFile, Environment, SecretFiles
from jibe_sqs.settings.types import Duration, KeyPatterns, Words
from jibe_sqs.settings.workers import AUTO, WORKERS, why_not


class Sourced(BaseSettings):
    """Settings from `overrides`, variables, `secrets`, the texts of secret files, and `file`, the values in that file."""

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
    secrets: ClassVar[Mapping[str, str]] = {}
    file: ClassVar[dict[str, Any]] = {}
    overrides: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, in the order of their precedence."""
        secret_files = SecretFiles(settings_cls, cls.secrets)
        return init_settings, Environment(settings_cls), secret_files, ConfigurationFile(settings_cls, cls.file)


class StoreSettings(Sourced):
    """The settings that are needed to read the configuration file from a store."""

    aws: AwsSettings = AwsSettings()


class Rules(Sourced):
    """The settings that decide about events, and those to read their sources. Most commands need only these."""

    buckets: dict[str, Places] | None = Field(default=None, min_length=1)
    ignore_keys: KeyPatterns = Field(
        default=(),
        description="the [patterns](#filters) of keys that are of no interest in any bucket, also without `buckets`: their "
        "changes are skipped as `ignored`",
    )
    own_writes: OwnWritesSettings = OwnWritesSettings()
    principals: KeptPrincipals = Field(
        default="writers",
        description="the callers that the ledger remembers, for `jibe-sqs principals`: `writers` changed objects; with "
        "`readers`, also those that only read objects, as far as a log has reads; `off`: none",
    )
    logs: tuple[LogSettings, ...] = ()
    limits: LimitSettings = LimitSettings()
    key_encodings: dict[Annotated[str, Field(min_length=1)], KeyEncoding] = Field(
        default={},
        description="how the keys in events are encoded, for each source of events: `url` (`+` is a space) or `raw`. "
        "The defaults of known sources stay, if they are not replaced here",
    )
    notifications: tuple[NotificationSettings, ...] = ()
    aws: AwsSettings = AwsSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogOutputSettings = LogOutputSettings()


class Queues(Rules):
    """The settings of commands that look at the queues."""

    queues: tuple[QueueSettings, ...] = Field(min_length=1, description="the SQS queues, each with its url")


class ServerAddress(BaseModel):
    """Where Access Anywhere is. All other settings of it are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    endpoint: str = ""


class Identities(Rules):
    """The settings of the command that finds Access Anywhere's identity."""

    access_anywhere: ServerAddress | None = None


class Settings(Rules):
    """All settings. `run` needs them."""

    model_config = SettingsConfigDict(extra="forbid")

    access_anywhere: AccessAnywhereSettings = Field(
        description="endpoint, login and password of Access Anywhere, under access_anywhere or as three keys at the top of the file. "
        "These three settings are enough; queues can be added"
    )
    queues: tuple[QueueSettings, ...] = Field(default=(), validate_default=True)
    providers: dict[str, ProviderSettings] = Field(
        default={}, description="limits of single providers of Access Anywhere, by the names of their top-level folders"
    )
    ignore_buckets: Words = Field(
        default=(),
        description="the names of buckets that cause no warning although their changes have no effect: those that no place "
        "shows (`bucket_not_mapped`), and those of own writes (`own_write_skipped`). Names may contain `*` and `?`. A bucket "
        "that is shown is refreshed nevertheless",
    )
    sync: SyncSettings = SyncSettings()
    sns: SnsSettings = SnsSettings()
    report: ReportSettings = ReportSettings()
    alerts: AlertSettings = AlertSettings()
    http: HttpSettings = HttpSettings()
    health: HealthSettings = HealthSettings()
    metrics: MetricsSettings = MetricsSettings()
    control: ControlSettings = ControlSettings()
    tracing: TracingSettings = TracingSettings()
    audit: AuditSettings = AuditSettings()
    compare: CompareSettings = CompareSettings()
    retry: RetrySettings = RetrySettings()
    poll: PollSettings = PollSettings()
    workers: Annotated[int | Literal["auto"], *WORKERS] = Field(
        default=1,
        description="the number of processes that share the queues and the ledger; see "
        "[workers](../how-to/workers.md). `auto`: one for each CPU core that this service may use. The limits "
        "`access_anywhere.concurrency`, `access_anywhere.calls_per_second`, `limits.messages_reading`, "
        "`limits.messages_held`, `limits.bytes_held` and `limits.bytes_in_flight` count for all workers together: each "
        "gets an equal part",
    )
    drain_timeout: Duration = Field(
        default=90,
        gt=0,
        description="the time to finish held messages after SIGTERM. It must be longer than `poll.wait`, because the "
        "stop waits for some long polls. The orchestrator must wait 35 seconds longer before it kills",
    )
    watermark_margin: Duration = Field(
        default=5,
        ge=1,
        description="the maximum difference between clocks within S3. A change that happened less than this before a "
        "refresh is refreshed again",
    )
    tree_refresh_interval: Duration = Field(
        default=30,
        ge=0,
        description="the minimum time between two refreshes of a folder with everything below it. Bulk deletes that "
        "name no keys need such refreshes",
    )
    progress_interval: Duration = Field(
        default=60, ge=0, description="the time between two progress lines. With 0 there are no progress lines"
    )

    @property
    def control_socket(self) -> Path | None:
        """The path of the control socket. None if there is to be none."""
        if self.control.socket == OFF:
            return None
        return Path(self.control.socket) if self.control.socket else self.ledger.path.parent / "jibe-sqs.sock"

    @model_validator(mode="before")
    @classmethod
    def _add_default_logs(cls, values: Any) -> Any:
        # With `buckets`, Access Anywhere is not asked where the log buckets are, so queues or logs are needed.
        given = values.keys() & {"access_anywhere", "queues", "logs", "buckets"} if isinstance(values, dict) else {"?"}
        return {**values, "logs": (DefaultLogs(),)} if given <= {"access_anywhere"} else values

    @field_validator("queues")
    @classmethod
    def _queues_or_sweeps_exist(
        cls, queues: tuple[QueueSettings, ...], info: ValidationInfo
    ) -> tuple[QueueSettings, ...]:
        if not queues and not any(each.sweep for each in info.data.get("logs", ())):
            raise ValueError("missing: the SQS queues, each with its url; or logs with a sweep")
        return queues

    @field_validator("sync")
    @classmethod
    def _dry_runs_make_no_calls(cls, sync: SyncSettings, info: ValidationInfo) -> SyncSettings:
        if sync.strategy == "dry-run" and info.data.get("buckets", ()) is None:
            raise ValueError("a dry run makes no calls, so it cannot ask Access Anywhere for the buckets: set buckets")
        if sync.strategy == "dry-run" and any(each.via != "s3" for each in info.data.get("logs", ())):
            raise ValueError("a dry run makes no calls, so it cannot read logs via access-anywhere")
        return sync

    @model_validator(mode="after")
    def _ledger_remembers_longer_than_sweeps_look_back(self) -> Self:
        days = max((each.sweep_days for each in self.logs if each.sweep), default=0)
        if days >= self.ledger.retain_days:
            raise ValueError(
                f"ledger.retain_days: must be more than sweep_days ({days}): otherwise finished files are read again"
            )
        return self

    @model_validator(mode="after")
    def _folders_of_logs_are_known(self) -> Self:
        for each in self.logs:
            if each.via == "access-anywhere" and not each.folder and self.buckets and each.bucket not in self.buckets:
                remedy = "" if each.bucket == EVERY_BUCKET else "set folder, the folder that shows it; or "
                raise ValueError(
                    f"logs: {each.bucket}: via access-anywhere: {remedy}remove buckets, and jibe-sqs asks Access Anywhere"
                )
        return self

    @model_validator(mode="after")
    def _providers_of_a_bucket_are_in_one_entry(self) -> Self:
        entries = Counter((each.bucket, each.prefix) for each in self.logs if each.via == "access-anywhere")
        for each in self.logs:
            if each.providers and entries[each.bucket, each.prefix] > 1:
                raise ValueError(f"logs: {each.bucket}: has two entries: put all providers into one of them")
        return self

    @model_validator(mode="after")
    def _drain_is_longer_than_a_poll(self) -> Self:
        if self.drain_timeout <= self.poll.wait:
            raise ValueError("drain_timeout must be longer than poll.wait: the stop waits for some long polls")
        return self

    @model_validator(mode="after")
    def _one_port_is_configured(self) -> Self:
        if self.http.port is not None and self.health != HealthSettings():
            raise ValueError("health: the older name of http: move health.host to http.host, and remove health")
        return self

    @model_validator(mode="after")
    def _metrics_can_be_logged(self) -> Self:
        if self.metrics.emf and self.log.format == "console":
            raise ValueError("metrics.emf: needs log lines in JSON: remove log.format, or set it to json")
        if self.metrics.emf and self.log.level not in ("debug", "info"):
            raise ValueError(f"metrics.emf: its lines have the level info: log.level must not be {self.log.level}")
        return self

    @model_validator(mode="after")
    def _workers_are_possible(self) -> Self:
        if self.workers != AUTO and (reason := why_not(self, self.workers)):
            raise ValueError(f"workers: {reason}")
        return self
