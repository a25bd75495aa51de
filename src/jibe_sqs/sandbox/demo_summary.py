"""What the demo found: the differences between index and S3, and the counts of its run."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from jibe_sqs.sandbox.aws.change_kinds import Change
from jibe_sqs.sandbox.counts import dead_letters
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.world import World


class Lag(msgspec.Struct, frozen=True):
    """Seconds from the delivery of a change's log or message to its appearance in Access Anywhere's index."""

    p50: float
    p99: float


class Summary(msgspec.Struct, kw_only=True):
    """The result of a demo. Counts are for this run only. The field names are the keys of `jibe-sqs demo --json`."""

    in_sync: bool
    objects: int
    """Objects in S3. An object counts once for each folder that shows its bucket."""
    missing: int
    """In S3, but not in Access Anywhere's index."""
    stale: int
    """In both, with another size or ETag."""
    extra: int
    """In Access Anywhere's index, but not in S3."""
    examples: list[str]
    """Up to three differences of each kind."""
    changes: int
    changes_by_kind: dict[str, int]
    formats: dict[str, int]
    """Format -> number of log files; for formats without log files, number of messages."""
    log_files: int
    messages: int
    redelivered: int
    """Messages that were received more than once."""
    files_read: int
    files_not_fetched_again: int
    """Log files that were announced again after the ledger had recorded them as finished."""
    records: int
    events: int
    """Records that needed a refresh."""
    skipped: dict[str, int]
    refreshes: int
    """Refreshes that Access Anywhere completed, including those of parent folders."""
    refreshes_for_events: int
    """Refreshes of the folders and trees that events needed."""
    coalescing: float
    """Events for each such refresh."""
    lag: Lag | None
    dead_letters: int
    errors: dict[str, int]
    receives: dict[str, int]
    """Receive count of a message -> number of receives with that count."""
    hosts: dict[str, int]
    """AWS host name -> number of requests that the consumer sent to it."""
    calls: int
    """Calls to Access Anywhere."""
    faults: dict[str, int]
    """Injected faults of Access Anywhere, by kind."""
    swept: int
    """Log files that a sweep found because their notifications were lost."""
    kills: int
    consumer_exit_code: int | None
    seconds: float
    seed: int


class ConsumerRun(msgspec.Struct, frozen=True):
    """What the demo knows about its consumers. `counts`: the sum of their last reports."""

    counts: Mapping[str, Any]
    kills: int
    exit_code: int | None


def summary(running: World, made: Sequence[Change], consumer: ConsumerRun, seed: int, seconds: float) -> Summary:
    """Compare the index with S3, and collect all counts. `seconds`: the duration of the demo."""
    found = differences(running)
    counts = consumer.counts
    stats = running.get_state("stats")
    needed = sum(counts.get("refreshes", {}).get(kind, 0) for kind in ("folders", "trees"))
    refreshes = running.get_state("refreshes")
    return Summary(
        in_sync=not found.count and found.expected > 0,
        objects=found.expected,
        missing=len(found.missing),
        stale=len(found.stale),
        extra=len(found.extra),
        examples=found.examples(),
        changes=len(made),
        changes_by_kind=dict(Counter(change.kind.value for change in made).most_common()),
        formats=running.publishers.counts(),
        log_files=len(running.publishers.files),
        messages=counts.get("messages", 0),
        redelivered=counts.get("redelivered", 0),
        files_read=counts.get("files", 0),
        files_not_fetched_again=counts.get("files_known", 0),
        records=counts.get("records", 0),
        events=counts.get("events", 0),
        skipped=counts.get("skipped", {}),
        refreshes=len(refreshes),
        refreshes_for_events=needed,
        coalescing=round(counts.get("events", 0) / max(1, needed), 2),
        lag=_lag(running, made, refreshes),
        dead_letters=dead_letters(running),
        errors=counts.get("errors", {}),
        receives=dict(sorted(counts.get("receives", {}).items(), key=lambda each: int(each[0]))),
        hosts=running.hosts(),
        calls=sum(stats["calls"].values()),
        faults={kind: count for kind, count in stats.get("faults", {}).items() if count},
        swept=counts.get("swept", {}).get("offered", 0),
        kills=consumer.kills,
        consumer_exit_code=consumer.exit_code,
        seconds=round(seconds, 1),
        seed=seed,
    )


def _lag(running: World, made: Iterable[Change], refreshes: Iterable[Mapping[str, Any]]) -> Lag | None:
    """For each change that made the index stale: the time until the first refresh that showed it had ended.

    A change that a refresh showed before its delivery has a lag of 0.
    """
    by_folder: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for refresh in refreshes:
        by_folder[refresh["bucket"], refresh["prefix"]].append(refresh)
    lags = []
    for change in made:
        delivered = running.publishers.delivered.get(change.number)
        if change.makes_stale and delivered is not None and (first := _first_refresh(change, by_folder)):
            lags.append(max(0.0, first["done"] - delivered))
    if not lags:
        return None
    lags.sort()
    return Lag(p50=round(lags[len(lags) // 2], 2), p99=round(lags[min(len(lags) - 1, int(len(lags) * 0.99))], 2))


def _first_refresh(
    change: Change, by_folder: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> Mapping[str, Any] | None:
    """The first refresh of the change's folder that listed S3 after the change; otherwise one of a folder above it.

    A folder whose objects were all deleted does not exist any more. Then the refresh of a folder above it shows the change.
    """
    prefix = _parent(change.key)
    while True:
        for refresh in by_folder.get((change.bucket, prefix), ()):
            if refresh["listed"] >= change.at:
                return refresh
        if not prefix:
            return None
        prefix = _parent(prefix[:-1])


def _parent(key: str) -> str:
    """The prefix of the folder that contains this key: "" or a text that ends in a slash."""
    return key[: key.rfind("/") + 1]
