"""The status of several processes that share the queues, as one."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from jibe_sqs.telemetry import logged_errors
from jibe_sqs.telemetry.principals import merged_principals
from jibe_sqs.telemetry.status import (
    MAX_ROWS,
    AccessAnywhereStatus,
    CostStatus,
    FolderStatus,
    LagStatus,
    Minute,
    PauseStatus,
    QueueStatus,
    SkippedBucket,
    Stage,
    Status,
)
from jibe_sqs.telemetry.status_sentence import with_sentence

T = TypeVar("T")
K = TypeVar("K")


def merged(statuses: Sequence[Status]) -> Status:
    """The status of all of them together. The lag is that of the slowest process. What one process knows alone stays as it is.

    `statuses`: one at least, the first worker's first. `reasons` and `warnings` are not merged: see `compose.workers.combined`.
    """
    first = statuses[0]
    if len(statuses) == 1:
        return first
    whole = msgspec.structs.replace(
        first,
        workers=len(statuses),
        started=min(each.started for each in statuses),
        stage=_stage(statuses),
        # One worker that works is enough: then the work is done.
        held_up=first.held_up if all(each.held_up for each in statuses) else "",
        queues=_queues(statuses),
        lag=LagStatus(
            p50=_largest(each.lag.p50 for each in statuses),
            p99=_largest(each.lag.p99 for each in statuses),
            longest=_largest(each.lag.longest for each in statuses),
        ),
        minutes=_minutes(statuses),
        messages_held=sum(each.messages_held for each in statuses),
        folders_waiting=sum(each.folders_waiting for each in statuses),
        oldest_waiting=max(each.oldest_waiting for each in statuses),
        totals=_summed(each.totals for each in statuses),
        skipped=_summed(each.skipped for each in statuses),
        slowest=sorted(_all(statuses, lambda each: each.slowest), key=lambda each: -each.seconds)[:MAX_ROWS],
        failing=_failing(_all(statuses, lambda each: each.failing)),
        dead_letters=sorted(_all(statuses, lambda each: each.dead_letters), key=lambda each: -each.at)[:MAX_ROWS],
        unmapped=_skipped(_all(statuses, lambda each: each.unmapped)),
        own_writes=_skipped(_all(statuses, lambda each: each.own_writes)),
        errors=logged_errors.merged(_all(statuses, lambda each: each.errors))[:MAX_ROWS],
        principals=merged_principals([each.principals for each in statuses], MAX_ROWS),
        pauses=_pauses(_all(statuses, lambda each: each.pauses)),
        costs=_costs(_all(statuses, lambda each: each.costs)),
        access_anywhere=_access_anywhere(statuses),
        settings_problem=next((each.settings_problem for each in statuses if each.settings_problem), ""),
    )
    return with_sentence(whole)


def _stage(statuses: Sequence[Status]) -> Stage:
    """It runs if one process does. It stops if one does: then all do, soon."""
    stages = {each.stage for each in statuses}
    return next(stage for stage in ("stopping", "running", "starting") if stage in stages)


def _all(statuses: Iterable[Status], of: Callable[[Status], Iterable[T]]) -> list[T]:
    return [each for status in statuses for each in of(status)]


def _largest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in counts:
        total.update(each)
    return dict(total)


def _by(entries: Iterable[T], key: Callable[[T], K]) -> list[list[T]]:
    """The entries in groups with the same key, in the order of the first of each group."""
    groups: dict[K, list[T]] = {}
    for each in entries:
        groups.setdefault(key(each), []).append(each)
    return list(groups.values())


def _queues(statuses: Sequence[Status]) -> list[QueueStatus]:
    """Each queue once. Its depth is the same for all; it works if one process can receive from it."""
    return [
        QueueStatus(
            name=same[0].name,
            visible=next((each.visible for each in same if each.visible is not None), None),
            hidden=next((each.hidden for each in same if each.hidden is not None), None),
            oldest=_largest(each.oldest for each in same),
            last_message=_largest(each.last_message for each in same),
            last_receive=_largest(each.last_receive for each in same),
            retention=same[0].retention,
            trouble=same[0].trouble if all(each.trouble for each in same) else "",
        )
        for same in _by(_all(statuses, lambda each: each.queues), lambda each: each.name)
    ]


def _minutes(statuses: Sequence[Status]) -> list[Minute]:
    groups = _by(_all(statuses, lambda each: each.minutes), lambda each: each.at)
    return sorted(
        (
            Minute(
                at=same[0].at,
                messages=sum(each.messages for each in same),
                events=sum(each.events for each in same),
                refreshes=sum(each.refreshes for each in same),
                failures=sum(each.failures for each in same),
            )
            for same in groups
        ),
        key=lambda each: each.at,
    )


def _failing(entries: Iterable[FolderStatus]) -> list[FolderStatus]:
    """Each folder once, as it was tried last, and stale since it first was for any process."""
    found = [
        msgspec.structs.replace(
            max(same, key=lambda each: each.at), since=min(each.since or 0.0 for each in same) or None
        )
        for same in _by(entries, lambda each: (each.path, each.tree))
    ]
    return sorted(found, key=lambda each: each.since or 0.0)[:MAX_ROWS]


def _skipped(entries: Iterable[SkippedBucket]) -> list[SkippedBucket]:
    groups = _by(entries, lambda each: (each.bucket, each.rule))
    found = [msgspec.structs.replace(same[-1], count=sum(each.count for each in same)) for same in groups]
    return sorted(found, key=lambda each: -each.count)[:MAX_ROWS]


def _pauses(entries: Iterable[PauseStatus]) -> list[PauseStatus]:
    groups = _by(entries, lambda each: each.provider)
    return [msgspec.structs.replace(same[0], waiting=sum(each.waiting for each in same)) for same in groups]


def _costs(entries: Iterable[CostStatus]) -> list[CostStatus]:
    return [
        msgspec.structs.replace(
            same[0], events=sum(each.events for each in same), dollars=sum(each.dollars for each in same)
        )
        for same in _by(entries, lambda each: each.what)
    ]


def _access_anywhere(statuses: Sequence[Status]) -> AccessAnywhereStatus:
    each = [status.access_anywhere for status in statuses]
    return AccessAnywhereStatus(
        endpoint=each[0].endpoint,
        limit=sum(one.limit for one in each),
        running=sum(one.running for one in each),
        waiting=sum(one.waiting for one in each),
        calls=_summed(one.calls for one in each),
    )
