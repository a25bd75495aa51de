"""Makes the snapshots of a running service. Each takes a few milliseconds, and sends no request."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from jibe_sqs import __version__
from jibe_sqs.adapters.access_anywhere import AccessAnywhere
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.compose.reload import Reload
from jibe_sqs.consuming.consumer import Consumer
from jibe_sqs.core.decisions import Places
from jibe_sqs.core.model import Folder
from jibe_sqs.core.phrases import about
from jibe_sqs.settings import Settings
from jibe_sqs.settings.effective import effective
from jibe_sqs.telemetry.folder_times import FolderTimes
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.logged_errors import LoggedErrors
from jibe_sqs.telemetry.minutes import Minutes, Totals
from jibe_sqs.telemetry.skip_warnings import Skipped
from jibe_sqs.telemetry.status import (
    MAX_ROWS,
    AccessAnywhereStatus,
    ComparisonStatus,
    QueueStatus,
    SettingStatus,
    SkippedBucket,
    Stage,
    Status,
)
from jibe_sqs.telemetry.status_sentence import with_sentence
from jibe_sqs.telemetry.truth import Round, Truth

LOOK_INTERVAL: Final = 10.0
"""Seconds between two looks at the counts, for the charts."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where a snapshot takes its facts from. `client`: None in a dry run."""

    engine: Engine
    outputs: Outputs
    truth: Truth
    client: AccessAnywhere | None


class StatusView:
    """Makes snapshots. Until `watching`, the service starts."""

    def __init__(self, settings: Settings, health: Health, *, wall_clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._health = health
        self._wall_clock = wall_clock
        self._started = wall_clock()
        self._instance = socket.gethostname()
        self._effective = effective(settings)
        self._reload: Reload | None = None
        self._sources: Sources | None = None
        self._minutes: Minutes | None = None
        self._folders = FolderTimes(wall_clock)
        self.logged_errors = LoggedErrors(wall_clock)

    def follow(self, reload: Reload) -> None:
        """Show the settings that are in force, and why a changed configuration is not."""
        self._reload = reload

    @asynccontextmanager
    async def watching(self, sources: Sources) -> AsyncIterator[None]:
        """Observe the service during the block."""
        engine = sources.engine
        self._sources = sources
        self._minutes = Minutes(
            lambda: _totals(engine), lambda: engine.activity.since_start().total.lag, self._wall_clock
        )
        with engine.outcomes.heard_by(self._folders.observe):
            task = asyncio.create_task(self._look(), name="status")
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def current(self) -> Status:
        """The status now, for those who wait for the status of several processes as well."""
        return self.snapshot()

    def snapshot(self) -> Status:
        """The status now."""
        now = self._wall_clock()
        status = Status(
            at=now,
            version=__version__,
            instance=self._instance,
            started=self._started,
            stage=self._stage,
            reasons=[each for each in self._health.readiness_failures if each not in ("starting", "stopping")],
            warnings=self._health.warnings,
            errors=self.logged_errors.errors[:MAX_ROWS],
            dead_letters=self.logged_errors.dead_letters[:MAX_ROWS],
            slowest=self._folders.slowest[:MAX_ROWS],
            failing=self._folders.failing[:MAX_ROWS],
            settings=self._settings_in_force(),
            settings_problem=self._reload.problem if self._reload is not None else "",
        )
        if self._sources is not None and self._minutes is not None:
            status = self._observed(status, self._sources, self._minutes)
        return with_sentence(status)

    def _settings_in_force(self) -> list[SettingStatus]:
        if self._reload is not None and self._reload.settings is not self._settings:
            self._settings = self._reload.settings
            self._effective = effective(self._settings)
        return self._effective

    @property
    def _stage(self) -> Stage:
        failures = self._health.readiness_failures
        if failures[:1] == ["stopping"]:
            return "stopping"
        return "starting" if failures == ["starting"] or self._sources is None else "running"

    def _observed(self, status: Status, sources: Sources, minutes: Minutes) -> Status:
        """Adds what only a service has that is connected."""
        engine, outputs = sources.engine, sources.outputs
        engine.watch.wanted()
        waiting = [each.since for each in engine.refreshes.pending() if not each.for_descendant]
        return msgspec.structs.replace(
            status,
            held_up=_held_up(sources, status.at),
            warnings=[*status.warnings, *engine.outages.refusals],
            queues=[_queue(each, status.at) for each in engine.queue_consumers],
            lag=minutes.lag,
            minutes=minutes.shown,
            messages_held=sum(each.held for each in engine.consumers),
            folders_waiting=len(waiting),
            oldest_waiting=outputs.clock.monotonic() - min(waiting) if waiting else 0.0,
            totals=_counts(engine),
            skipped=dict(engine.counters.skipped),
            unmapped=_unmapped(engine.skip_warnings.unmapped, outputs.decisions.places),
            own_writes=[
                SkippedBucket(bucket=each.example.bucket, count=each.count, key=each.example.key, rule=rule)
                for rule, each in _most(engine.skip_warnings.own_writes)
            ],
            comparison=_comparison(sources.truth),
            pauses=engine.pauses.status,
            principals=engine.principals.statuses(MAX_ROWS),
            costs=engine.costs.statuses()[:MAX_ROWS],
            access_anywhere=self._access_anywhere(sources.client),
        )

    def _access_anywhere(self, client: AccessAnywhere | None) -> AccessAnywhereStatus:
        endpoint = self._settings.access_anywhere.endpoint
        if client is None:
            return AccessAnywhereStatus(endpoint=endpoint)
        slots = client.concurrency
        return AccessAnywhereStatus(
            endpoint=endpoint, limit=slots.limit, running=slots.running, waiting=slots.waiting, calls=dict(client.calls)
        )

    async def _forget_failures(self, sources: Sources) -> None:
        """Forget failed refreshes that another process made good, and those of buckets that are not mapped any more."""
        engine, places = sources.engine, sources.outputs.decisions.places
        settings = self._reload.settings if self._reload is not None else self._settings
        # Buckets that Access Anywhere has told may be missing for a moment.
        if places is not None and settings.buckets:
            gone = [each for each in self._folders.failing_folders if not _is_shown(each, places)]
            self._folders.forget(gone)
            engine.activity.forget_failures(gone)
        began = await engine.ledger.watermarks(self._folders.failing_folders)
        engine.activity.forget_failures(self._folders.refreshed_elsewhere(began))

    async def _look(self) -> None:
        while True:
            try:
                if self._minutes is not None:
                    self._minutes.look()
                if self._sources is not None and self._folders.failing_folders:
                    await self._forget_failures(self._sources)
            except Exception:
                # A defect. What people see must not end the service.
                log.exception("status_crashed")
            await asyncio.sleep(LOOK_INTERVAL)


def _is_shown(folder: Folder, places: Places) -> bool:
    """Whether the folder is, or leads to, or is below one that shows a bucket."""
    path = f"{folder.path.rstrip('/')}/"
    shown = (f"{place.folder.rstrip('/')}/" for found in places.values() for place in found)
    return any(path.startswith(each) or each.startswith(path) for each in shown)


def _held_up(sources: Sources, now: float) -> str:
    """What keeps the service from all of its work, in a few words."""
    client, engine = sources.client, sources.engine
    if client is not None and client.circuit.opened_at is not None:
        return f"Access Anywhere {client.circuit.state} for {about(now - client.circuit.opened_at)}"
    for gate in engine.gates:
        if gate.reason:
            return _sentence(gate.reason)
    queues = engine.queue_consumers
    if queues and all(each.trouble for each in queues):
        return _sentence(queues[0].trouble) if len(queues) == 1 else "No queue can be received from"
    return ""


def _queue(consumer: Consumer, now: float) -> QueueStatus:
    activity, depth = consumer.activity, consumer.activity.depth
    return QueueStatus(
        name=activity.name,
        visible=depth.visible if depth else None,
        hidden=depth.hidden if depth else None,
        oldest=consumer.oldest_age(now),
        last_message=activity.last_message or None,
        last_receive=activity.last_receive or None,
        retention=activity.retention,
        trouble=consumer.trouble,
    )


def _totals(engine: Engine) -> Totals:
    counters, refreshes = engine.counters, engine.refreshes.counts
    return Totals(
        messages=counters.done + counters.rejected,
        events=counters.events,
        refreshes=refreshes["folders"] + refreshes["trees"],
        failures=refreshes["failed"],
    )


def _counts(engine: Engine) -> dict[str, int]:
    counters = engine.counters
    names = ("messages", "done", "retried", "rejected", "files", "files_known", "records", "bad_records", "events")
    refreshes = {f"refreshed {name}": count for name, count in engine.refreshes.counts.items()}
    return {**{name: getattr(counters, name) for name in names}, **refreshes}


def _unmapped(found: Mapping[str, Skipped], places: Places | None) -> list[SkippedBucket]:
    """The buckets whose changes were skipped, without those that are shown as a whole by now."""
    return [
        SkippedBucket(bucket=bucket, count=each.count, key=each.example.key)
        for bucket, each in _most(found)
        if not any(not place.prefix for place in (places or {}).get(bucket, ()))
    ]


def _most(found: Mapping[str, Skipped]) -> list[tuple[str, Skipped]]:
    return sorted(found.items(), key=lambda item: -item[1].count)[:MAX_ROWS]


def _comparison(truth: Truth) -> ComparisonStatus | None:
    if truth.current is None and truth.last is None:
        return None
    shown = truth.last or truth.current or Round(0.0)
    return ComparisonStatus(
        ratio=truth.true_ratio,
        objects=shown.objects,
        wrong=shown.wrong,
        unrepaired=shown.unrepaired,
        began=shown.began,
        ended=shown.ended or None,
        is_running=truth.current is not None and not truth.current.ended,
    )


def _sentence(reason: str) -> str:
    """The beginning of a sentence, with a capital letter. After its colon, it may go on for long."""
    short = reason.partition(": ")[0]
    return short[:1].upper() + short[1:]
