"""Pauses: how a service follows them, and how an operator begins and ends them."""

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from jibe_sqs.adapters.access_anywhere import ProviderLimit, ReportFolder
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.control_messages import PauseAnswer, PauseRequest, PauseState, ResumeRequest
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.model import Folder
from jibe_sqs.core.pauses import EVERYTHING, MAX_PAUSES, Pause, provider_named, provider_of
from jibe_sqs.core.quiet_hours import QuietHours
from jibe_sqs.core.verdicts import MAX_OUTAGE_DELAY
from jibe_sqs.ports import Index
from jibe_sqs.settings import Settings
from jibe_sqs.syncing.pauses import Pauses

READ_INTERVALS: Final = {"sqlite": 2.0, "dynamodb": 10.0, "memory": 0.0}
"""Seconds between two reads of the ledger. In DynamoDB, each is a consistent read of one small item: 260,000 in a month."""

_UNWRITTEN_END: Final = "the ledger cannot be written now: until it can, only this process goes on, and after a restart it would be paused again"


def pauses_of(settings: Settings, clock: S3Clock) -> Pauses:
    """What is paused, for a process with these settings. A ledger in memory is not read: it has nothing from elsewhere."""
    kind = "memory" if settings.sync.strategy == "dry-run" else settings.ledger.kind
    return Pauses(clock, every=READ_INTERVALS[kind], quiet_hours=quiet_hours_of(settings))


def quiet_hours_of(settings: Settings) -> dict[str, QuietHours]:
    """The quiet hours of the providers that have some, by their names."""
    return {name: quiet for name, each in settings.providers.items() if (quiet := each.quiet) is not None}


def limits_of_providers(settings: Settings) -> dict[str, ProviderLimit]:
    """The limits of single providers, by their names."""
    return {name: ProviderLimit(each.concurrency, each.calls_per_second) for name, each in settings.providers.items()}


class ReportsUnlessPaused:
    """Stores no report while its provider is paused."""

    def __init__(self, reports: ReportFolder, folder: str, pauses: Pauses) -> None:
        self._reports = reports
        self._folder = Folder(folder)
        self._pauses = pauses

    async def store(self, name: str, body: bytes) -> None:
        """Store a report. Raises `AccessAnywhereError`, of which `RefreshPaused` says until when."""
        if paused := self._pauses.held(self._folder):
            raise paused
        await self._reports.store(name, body)


class IndexUnlessPaused(Index):
    """Lists no folder of a provider that is paused. Raises `RefreshPaused`, and its caller tries again later."""

    def __init__(self, index: Index, pauses: Pauses) -> None:
        self._index = index
        self._pauses = pauses

    async def folder(self, path: str) -> str | None:
        """The id of the folder. A listing begins with it, so this is where it stops."""
        if paused := self._pauses.held(Folder(path)):
            raise paused
        return await self._index.folder(path)

    def entries(self, folder: str) -> AsyncGenerator[Entry, None]:
        """What the folder of that id shows."""
        return self._index.entries(folder)


class OperatorPauses:
    """Begins and ends pauses in the running service."""

    def __init__(self, engine: Engine, outputs: Outputs, *, is_kept: bool) -> None:
        """`is_kept`: whether the ledger survives the process."""
        self._engine = engine
        self._outputs = outputs
        self._is_kept = is_kept

    async def pause(self, request: PauseRequest) -> PauseAnswer:
        """Pause from now on."""
        now = time.time()
        pause = Pause(request.provider.strip("/"), now, now + request.seconds, request.reason)
        pauses = self._engine.pauses
        is_new = provider_named(pause.provider) not in {provider_named(each.provider) for each in pauses.pauses}
        if is_new and len(pauses.pauses) >= MAX_PAUSES:
            return PauseAnswer(states(pauses.pauses), [f"nothing was paused: there are {MAX_PAUSES} pauses already"])
        is_written = await pauses.pause(pause)
        warnings = [*self._kept(is_written), *self._unknown(pause.provider), *self._expiring(pause, request.seconds)]
        return PauseAnswer(states(pauses.pauses), warnings)

    async def resume(self, request: ResumeRequest) -> PauseAnswer:
        """End pauses."""
        pauses = self._engine.pauses
        ended = await pauses.resume(request.provider)
        warnings = [] if pauses.are_written or not self._is_kept else [_UNWRITTEN_END]
        return PauseAnswer(states(pauses.pauses), warnings, states(ended))

    def _kept(self, is_written: bool) -> list[str]:
        if not self._is_kept:
            return ["the ledger is in memory: only this process is paused, and only until its end"]
        if not is_written:
            return [
                "the ledger cannot be written now: until it can, only this process is paused, and only until its end"
            ]
        return []

    def _unknown(self, provider: str) -> list[str]:
        places = self._outputs.decisions.places
        if provider == EVERYTHING or not places:
            return []
        shown = {place.folder for each in places.values() for place in each}
        if provider_named(provider) in map(provider_of, shown):
            return []
        names = sorted({folder.lstrip("/").partition("/")[0] for folder in shown})
        return [f"no bucket is shown below /{provider}; the providers are: {', '.join(names[:20])}"]

    def _expiring(self, pause: Pause, seconds: float) -> list[str]:
        found = []
        for consumer in self._engine.queue_consumers:
            retention, most = consumer.activity.retention, consumer.max_receives
            if retention and seconds >= retention / 2:
                found.append(
                    f"queue {consumer.name} deletes messages after {_shown(retention)}: what is older by the end of the "
                    "pause is lost there, and made up for by listing the log files or by refreshing everything"
                )
            if pause.provider and most and seconds / MAX_OUTAGE_DELAY >= most - 1:
                found.append(
                    f"queue {consumer.name} allows {most} receives, and a message that waits uses up one in 11.5 hours: "
                    "it would become a dead letter. Pause everything instead, or for a shorter time"
                )
        return found


def states(pauses: Sequence[Pause]) -> list[PauseState]:
    """The pauses as the control socket shows them."""
    return [PauseState(each.provider, each.since, each.until, each.reason, each.sentence) for each in pauses]


def _shown(seconds: float) -> str:
    return f"{seconds / 86_400:g} days" if seconds >= 86_400 else f"{seconds / 3600:g} hours"
