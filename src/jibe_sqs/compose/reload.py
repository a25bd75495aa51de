"""Settings that change while the service runs.

    texts ──valid?──> applied, as far as they can be ──> the log says what changed, and what needs a restart
            └──no───> the log says why, and the settings from before stay

`LIVE` and `NEED_RESTART` have every setting.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Self

import structlog

from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings import Settings, Texts, load_from
from jibe_sqs.settings.changes import changed, in_force
from jibe_sqs.settings.references import references

log = structlog.get_logger()

MAX_SHOWN: Final = 20
"""Names of changed settings, and reasons, in one log line."""
MAX_REASONS: Final = 3
"""Reasons in the sentence for readiness and status."""


class Part(Enum):
    """What is applied together."""

    ALERTS = auto()
    LOG = auto()
    LOGIN = auto()
    CALLS = auto()
    PROVIDERS = auto()
    ROOM = auto()
    RULES = auto()
    WARNINGS = auto()
    REPORTS = auto()


LIVE: Final[Mapping[str, Part]] = {
    "buckets": Part.RULES,
    "ignore_keys": Part.RULES,
    "own_writes": Part.RULES,
    "limits.compressed_size": Part.RULES,
    "limits.decompressed_size": Part.RULES,
    "limits.ratio": Part.RULES,
    "limits.record_size": Part.RULES,
    "limits.records": Part.RULES,
    "limits.read_seconds": Part.RULES,
    "limits.key_length": Part.RULES,
    "limits.messages_reading": Part.ROOM,
    "limits.messages_held": Part.ROOM,
    "limits.bytes_held": Part.ROOM,
    "limits.plan_size": Part.ROOM,
    "limits.bytes_in_flight": Part.ROOM,
    "access_anywhere.concurrency": Part.CALLS,
    "access_anywhere.calls_per_second": Part.CALLS,
    "access_anywhere.login": Part.LOGIN,
    "access_anywhere.password": Part.LOGIN,
    "access_anywhere.permanent_token": Part.LOGIN,
    "providers": Part.PROVIDERS,
    "ignore_buckets": Part.WARNINGS,
    "alerts": Part.ALERTS,
    "log": Part.LOG,
    "report.interval": Part.REPORTS,
}
"""A setting, or a group of settings, that takes effect at once -> how."""

NEED_RESTART: Final = frozenset(
    {
        "access_anywhere.endpoint",
        "access_anywhere.timeout",
        "access_anywhere.refresh_timeout",
        "access_anywhere.ca_file",
        "access_anywhere.look_interval",
        "queues",
        "logs",
        "key_encodings",
        "notifications",
        "principals",
        "audit",
        "aws",
        "ledger",
        "sync",
        "sns",
        "tracing",
        "report.folder",
        "health",
        "http",
        "metrics",
        "control",
        "compare",
        "retry",
        "poll",
        "workers",
        "drain_timeout",
        "watermark_margin",
        "tree_refresh_interval",
        "progress_interval",
    }
)
"""Settings, and groups of settings, that only a restart can change: connections are opened with them, or work is built by them."""

Apply = Callable[[Settings], Awaitable[None] | None]
"""Makes the service work with these settings. Raises `SettingsError` only before it has changed anything."""


def part_of(name: str) -> Part | None:
    """How the setting of this dotted name is applied. None if it needs a restart."""
    while name not in LIVE:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return LIVE[name]


@dataclass(frozen=True, slots=True)
class Change:
    """The names of the settings that have changed, and the settings in force with those that take effect at once.

    `settings`: None if these do not go together with the old values of those that need a restart.
    """

    names: Sequence[str]
    settings: Settings | None

    @classmethod
    def of(cls, old: Settings, new: Settings) -> Self:
        """The change from the settings in force to the configured ones."""
        return cls(changed(old, new), combined(old, new))


async def loaded(texts: Texts, known: Settings) -> Change:
    """The change to the settings of these texts, with the secrets to which they refer. Raises `SettingsError`."""
    # Ten thousand buckets take a second.
    settings = await asyncio.to_thread(load_from, Settings, texts)
    if references(settings):
        # It imports the clients of AWS, which a supervisor of workers does not need otherwise.
        from jibe_sqs.compose.secrets import resolved

        settings = await resolved(settings, known)
    return await asyncio.to_thread(Change.of, known, settings)


def is_live(name: str) -> bool:
    """Whether the setting takes effect at once."""
    return part_of(name) is not None


def combined(old: Settings, new: Settings) -> Settings | None:
    """The new settings that take effect at once, and the old ones of the others. None if these do not go together."""
    try:
        return in_force(old, new, is_live)
    except SettingsError:
        return None


class Reload:
    """The settings in force, and their changes. A part that the process does not have is left out of `apply`."""

    def __init__(
        self,
        settings: Settings,
        apply: Mapping[Part, Apply],
        *,
        accept: Callable[[Texts], None] | None = None,
        is_worker: bool = False,
        load: Callable[[Texts, Settings], Awaitable[Change]] = loaded,
    ) -> None:
        """`accept`: called with texts that were applied, as far as they can be. `is_worker`: another process says the rest."""
        self.settings = settings
        self._apply = apply
        self._accept = accept
        self._is_worker = is_worker
        self._load = load
        self._refusal: list[str] = []
        self._waiting: list[str] = []

    @property
    def problem(self) -> str:
        """Why the settings in force are not those of the configuration: a sentence. Empty if they are."""
        if self._refusal:
            reasons = "; ".join(_first(self._refusal, MAX_REASONS))
            return f"the changed configuration is refused, and the settings from before stay: {reasons}"
        if self._waiting and not self._is_worker:
            return f"these changed settings need a restart: {', '.join(_first(self._waiting, MAX_SHOWN))}"
        return ""

    @property
    def is_refused(self) -> bool:
        """Whether the last configuration was refused."""
        return bool(self._refusal)

    async def take(self, texts: Texts, *, is_asked: bool = False) -> None:
        """Apply the configuration that these texts have, or log why it is refused. `is_asked`: see `refuse`."""
        try:
            is_applied = await self._take(await self._load(texts, self.settings))
        except SettingsError as error:
            self.refuse(error, is_asked=is_asked)
            return
        if self._accept is not None and is_applied:
            self._accept(texts)

    def refuse(self, error: SettingsError, *, is_asked: bool = False) -> None:
        """The configuration cannot be read, or is wrong. The same reasons are logged again only if the operator has asked."""
        is_known, self._refusal = self._refusal == error.problems, error.problems
        if is_known and not is_asked:
            return
        log.error(
            "settings_refused",
            reasons=_first(error.problems, MAX_SHOWN),
            consequence="the settings from before stay in force, until the configuration is correct; a restart would fail",
            remedy="correct the configuration: it is read again when it changes",
        )

    async def _take(self, change: Change) -> bool:
        """Returns whether the change is in force as far as it can be, and not only after a restart."""
        live, waiting = [], list(change.names)
        if change.settings is not None:
            live = [name for name in change.names if is_live(name)]
            waiting = [name for name in change.names if not is_live(name)]
            await self._apply_parts({part for name in live if (part := part_of(name)) is not None}, change.settings)
            self.settings = change.settings
        self._refusal, self._waiting = [], waiting
        log.info("settings_reloaded", changed=_first(live, MAX_SHOWN))
        if waiting and not self._is_worker:
            log.warning(
                "settings_need_restart",
                settings=_first(waiting, MAX_SHOWN),
                consequence="the values from before stay in force for these settings",
                remedy="restart the service",
            )
        return change.settings is not None

    async def _apply_parts(self, parts: Collection[Part], settings: Settings) -> None:
        for part in sorted(parts, key=lambda each: each.value):
            if (apply := self._apply.get(part)) is not None and inspect.isawaitable(applied := apply(settings)):
                await applied


def _first(texts: Sequence[str], most: int) -> list[str]:
    return [*texts[:most], *([f"and {len(texts) - most} more"] if len(texts) > most else [])]
