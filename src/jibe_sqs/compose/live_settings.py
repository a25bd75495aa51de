"""How a running service takes over each part of changed settings."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, credentials_from
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.compose.fingerprint import Fingerprint
from jibe_sqs.compose.observation import configure_log
from jibe_sqs.compose.pauses import limits_of_providers, quiet_hours_of
from jibe_sqs.compose.reload import Apply, Part
from jibe_sqs.compose.secrets import renewed_credentials
from jibe_sqs.compose.settings_changes import log_settings_changes
from jibe_sqs.settings import Settings, share_of
from jibe_sqs.telemetry.reports import Reports


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveService:
    """The parts of a service that follow the settings. `client`: None in a dry run. `resize_downloads`: to so many bytes.

    `workers`: how many processes share the limits. `is_first`: this one says what changed. `log_fields`: of every log line.
    """

    engine: Engine
    outputs: Outputs
    client: AccessAnywhere | None
    resize_downloads: Callable[[int], None]
    reports: Reports
    change_alerts: Apply
    workers: int = 1
    is_first: bool = True
    log_fields: Mapping[str, object]

    @property
    def parts(self) -> dict[Part, Apply]:
        """How each part is applied."""
        return {
            Part.ALERTS: self.change_alerts,
            Part.LOG: lambda settings: configure_log(settings, **self.log_fields),
            Part.LOGIN: self._use_login,
            Part.CALLS: self._change_calls,
            Part.PROVIDERS: self._change_providers,
            Part.ROOM: self._change_room,
            Part.RULES: self._change_rules,
            Part.WARNINGS: lambda settings: self.engine.skip_warnings.ignore(settings.ignore_buckets),
            Part.REPORTS: lambda settings: self.reports.change_interval(settings.report.interval),
        }

    def _use_login(self, settings: Settings) -> None:
        if self.client is not None:
            wanted = settings.access_anywhere
            credentials = credentials_from(
                login=wanted.login,
                password=wanted.password.get_secret_value(),
                permanent_token=wanted.permanent_token.get_secret_value(),
            )
            self.client.use(credentials, renewed_credentials(settings))

    def _change_calls(self, settings: Settings) -> None:
        if self.client is not None:
            wanted = share_of(settings, self.workers).access_anywhere
            self.client.change_limits(concurrency=wanted.concurrency, calls_per_second=wanted.calls_per_second)
            if self.engine.changes is not None:
                self.engine.changes.change_most(wanted.concurrency)

    def _change_providers(self, settings: Settings) -> None:
        if self.client is not None:
            self.client.provider_limits.reconfigure(limits_of_providers(share_of(settings, self.workers)))
        self.engine.pauses.reconfigure(quiet_hours_of(settings))

    def _change_room(self, settings: Settings) -> None:
        wanted = share_of(settings, self.workers).limits
        self.engine.change_room(
            messages_reading=wanted.messages_reading,
            messages_held=wanted.messages_held,
            bytes_held=wanted.bytes_held,
            plan_bytes=wanted.plan_size,
        )
        self.resize_downloads(wanted.bytes_in_flight)

    async def _change_rules(self, settings: Settings) -> None:
        fingerprint = Fingerprint.of(settings)
        self.engine.change_rules(
            places=rules.places(settings),
            own_writes=rules.own_writes(settings),
            ignore=rules.key_filter(settings.ignore_keys),
            limits=rules.limits(settings),
            read_timeout=settings.limits.read_seconds,
            fingerprint=fingerprint.short,
        )
        if self.is_first:
            await log_settings_changes(
                fingerprint, self.engine.ledger, now=time.time(), at_most=settings.ledger.retain_days * stores.DAY
            )
