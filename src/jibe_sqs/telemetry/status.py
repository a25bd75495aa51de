"""What the service shows of itself: one snapshot, for `/status.json`, the status page and the commands on the same host.

All moments are seconds since the epoch by the local clock, and all durations are seconds. Every list is bounded where it is
made. A snapshot contains no secret.
"""

from typing import Any, Final, Literal

import msgspec

State = Literal["starting", "in-sync", "catching-up", "paused", "held-up", "trouble", "stopping"]
"""The service as a whole. `held-up`: no work is taken, because Access Anywhere or every queue is down. `trouble`: work goes on, but
not all of it can be done."""

Stage = Literal["starting", "running", "stopping"]

MAX_ROWS: Final = 50
"""Entries of each list."""


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. `visible`, `hidden`: messages, approximately; None if they are not known.

    `oldest`: how long ago the oldest message was sent that is not done, as far as this process knows.
    `trouble`: why it cannot be received from; empty if it can.
    """

    name: str
    visible: int | None = None
    hidden: int | None = None
    oldest: float | None = None
    last_message: float | None = None
    last_receive: float | None = None
    retention: float | None = None
    trouble: str = ""


class LagStatus(msgspec.Struct, frozen=True, kw_only=True):
    """From the time of an event to the end of its refresh, over the last quarter of an hour. None without events."""

    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """The work of one minute, which began at `at`."""

    at: float
    messages: int = 0
    events: int = 0
    refreshes: int = 0
    failures: int = 0


class FolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A folder of Access Anywhere: its last refresh took `seconds`, and failed with `error` unless that is empty.

    `since`: when it became stale; None if it is not.
    """

    path: str
    tree: bool = False
    seconds: float = 0.0
    at: float = 0.0
    since: float | None = None
    error: str = ""


class DeadLetterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A message that this process has sent to a dead-letter queue."""

    at: float
    queue: str
    error: str
    reason: str


class SkippedBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that were skipped because of the configuration, since the start: their number and the latest key.

    `rule`: of `own_writes`; empty if the bucket is not mapped.
    """

    bucket: str
    count: int
    key: str = ""
    rule: str = ""


class ComparisonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The continuous comparison with S3. `ratio`: the share of objects that were right; `ended`: of the last whole round."""

    ratio: float | None = None
    objects: int = 0
    wrong: int = 0
    unrepaired: int = 0
    began: float | None = None
    ended: float | None = None
    is_running: bool = False


class LoggedError(msgspec.Struct, frozen=True, kw_only=True):
    """A warning or an error of the log: how often it was logged since the start, and the latest of them."""

    event: str
    level: str
    at: float
    count: int = 1
    error: str = ""
    reason: str = ""


class PrincipalStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes objects, as the source names it. `rule`: of `own_writes` that matches it; empty if none does."""

    name: str
    count: int
    last: float
    rule: str = ""
    only_reads: bool = False


class PauseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A pause that an operator asked for. `provider`: empty for all. `waiting`: folders that wait for its end."""

    provider: str
    since: float
    until: float
    reason: str = ""
    waiting: int = 0


class CostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Events that are delivered and of no use. `dollars`: a month at the present rate. `remedy`: what avoids them.

    `dollars` is 0.0 if the price is not known. `seconds`: the time up to now in which the events were counted.
    """

    what: str
    events: int
    dollars: float
    remedy: str
    seconds: float = 0.0


class SettingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One setting with its value, secrets masked, and where the value comes from."""

    name: str
    value: Any
    source: str = "default"


class AccessAnywhereStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of Access Anywhere. `limit`: refreshes at a time, as it is now."""

    endpoint: str = ""
    limit: int = 0
    running: int = 0
    waiting: int = 0
    calls: dict[str, int] = {}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of the service. `sentence` answers first: is the index true, and how far behind is it."""

    sentence: str = ""
    state: State = "starting"
    stage: Stage = "running"
    held_up: str = ""
    """What keeps the service from all of its work, in a few words, such as `Access Anywhere is down for 3 min`."""
    at: float
    version: str
    instance: str = ""
    workers: int = 1
    started: float = 0.0
    reasons: list[str] = []
    """Why it does not do its work, one sentence each, as in `/readyz`."""
    warnings: list[str] = []
    queues: list[QueueStatus] = []
    lag: LagStatus = LagStatus()
    minutes: list[Minute] = []
    """The last hour, the oldest first. The last one is not over."""
    messages_held: int = 0
    folders_waiting: int = 0
    oldest_waiting: float = 0.0
    totals: dict[str, int] = {}
    """Counts since the start, by name."""
    skipped: dict[str, int] = {}
    """Records that were skipped since the start, by reason."""
    slowest: list[FolderStatus] = []
    failing: list[FolderStatus] = []
    dead_letters: list[DeadLetterStatus] = []
    unmapped: list[SkippedBucket] = []
    own_writes: list[SkippedBucket] = []
    comparison: ComparisonStatus | None = None
    errors: list[LoggedError] = []
    principals: list[PrincipalStatus] = []
    pauses: list[PauseStatus] = []
    costs: list[CostStatus] = []
    access_anywhere: AccessAnywhereStatus = AccessAnywhereStatus()
    settings: list[SettingStatus] = []
    settings_problem: str = ""
    """Why the settings in force are not those of the configuration: a sentence. Empty if they are."""
