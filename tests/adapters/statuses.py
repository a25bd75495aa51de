"""Snapshots for the tests of the status page: each state, with foreign texts that must not become markup."""

from collections.abc import Mapping
from math import sin
from typing import Any, Final

from jibe_sqs.telemetry.status import (
    AccessAnywhereStatus,
    ComparisonStatus,
    CostStatus,
    DeadLetterStatus,
    FolderStatus,
    LagStatus,
    LoggedError,
    Minute,
    PauseStatus,
    PrincipalStatus,
    QueueStatus,
    SettingStatus,
    SkippedBucket,
    Status,
)

NOW: Final = 1_795_996_805.0
"""2026-11-30 00:00:05 UTC."""
HOSTILE: Final = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e&amp;"
LONG_KEY: Final = "projects/" + "very-long-name-of-a-folder/" * 12 + "file.mov"


def minutes(scale: float = 1.0, *, failures: int = 0) -> list[Minute]:
    """An hour of work."""
    return [
        Minute(
            at=NOW - 5 - 60 * (59 - each),
            messages=int(scale * 10),
            events=int(scale * (120 + 90 * sin(each / 6) + (400 if each == 41 else 0))),
            refreshes=int(scale * (24 + 15 * sin(each / 6))),
            failures=failures if each > 55 else 0,
        )
        for each in range(60)
    ]


def queue(name: str = "jibe-log-delivery", **fields: Any) -> QueueStatus:
    known = {"visible": 0, "hidden": 3, "oldest": 4.2, "last_message": NOW - 3, "last_receive": NOW - 1}
    return QueueStatus(name=f"{name} (eu-west-1)", **(known | {"retention": 345_600.0} | fields))


SETTINGS: Final = [
    SettingStatus(name="access_anywhere.endpoint", value="https://files.example.com", source="file"),
    SettingStatus(name="access_anywhere.login", value="jibe", source="file"),
    SettingStatus(name="access_anywhere.password", value="********", source="JIBE_ACCESS_ANYWHERE__PASSWORD"),
    SettingStatus(name="access_anywhere.concurrency", value=8),
    SettingStatus(name="buckets", value={"example-media": ["/Amazon S3/example-media"]}, source="file"),
    SettingStatus(name="compare.every", value=None),
    SettingStatus(name="log.level", value="info"),
]
COMMON: Final[Mapping[str, Any]] = {
    "at": NOW,
    "version": "1.7.0",
    "instance": "jibe-sqs-5d9f7c",
    "started": NOW - 93_000,
    "queues": [queue(), queue("jibe-s3-events", hidden=0, oldest=None, last_message=NOW - 5400)],
    "lag": LagStatus(p50=3.8, p99=41.0, longest=96.0),
    "minutes": minutes(),
    "messages_held": 3,
    "folders_waiting": 2,
    "oldest_waiting": 4.2,
    "totals": {"messages": 48_211, "events": 412_009, "refreshes": 60_114},
    "skipped": {"read-only": 812_345, "own-write": 30_112, "already-refreshed": 9001, "not-mapped": 12},
    "slowest": [
        FolderStatus(path="/Amazon S3/example-media/renders/2026/11", seconds=42.0, at=NOW - 1300),
        FolderStatus(path="/Amazon S3/example-projects", tree=True, seconds=17.5, at=NOW - 4000),
        FolderStatus(path="/Archive/example-projects/plans", seconds=6.1, at=NOW - 100),
    ],
    "comparison": ComparisonStatus(ratio=0.99987, objects=1_204_511, wrong=151, ended=NOW - 40_000, began=NOW - 900),
    "principals": [
        PrincipalStatus(
            name="arn:aws:iam::111122223333:user/access-anywhere", count=30_112, last=NOW - 4, rule="principals"
        ),
        PrincipalStatus(name="arn:aws:sts::111122223333:assumed-role/render-farm", count=88_000, last=NOW - 2),
        PrincipalStatus(
            name="arn:aws:sts::111122223333:assumed-role/viewer", count=7, last=NOW - 90_000, only_reads=True
        ),
    ],
    "access_anywhere": AccessAnywhereStatus(
        endpoint="https://files.example.com",
        limit=8,
        running=2,
        waiting=0,
        calls={"getFileList": 70_001, "refresh": 60_114},
    ),
    "settings": SETTINGS,
}
REFUSED: Final = FolderStatus(
    path="/Amazon S3/example-media/a",
    seconds=0.2,
    at=NOW - 20,
    since=NOW - 190,
    error="CallFailed: 503 from doFolderRefresh",
)
STATUSES: Final[Mapping[str, Status]] = {
    "starting": Status(sentence="Starting: connecting", state="starting", at=NOW, version="1.7.0", started=NOW - 1),
    "in-sync": Status(sentence="In sync; 4 s behind", state="in-sync", **COMMON),
    "catching-up": Status(
        sentence="Catching up: 38 min behind; 12,400 messages wait",
        state="catching-up",
        **{
            **COMMON,
            "queues": [queue(visible=12_400, hidden=500, oldest=2280.0)],
            "lag": LagStatus(p50=2200.0, p99=2290.0, longest=2300.0),
            "minutes": minutes(12),
            "messages_held": 500,
            "folders_waiting": 842,
            "oldest_waiting": 75.0,
        },
    ),
    "paused": Status(
        sentence="Paused for 1 h 40 min more; 120 messages wait",
        state="paused",
        **{
            **COMMON,
            "reasons": ["Paused by an operator until 01:40 UTC: upgrade of Access Anywhere"],
            "pauses": [
                PauseStatus(
                    provider="", since=NOW - 1200, until=NOW + 6000, reason="upgrade of Access Anywhere", waiting=120
                )
            ],
            "workers": 4,
        },
    ),
    "held-up": Status(
        sentence="Access Anywhere is down for 3 min; 120 messages wait",
        state="held-up",
        **{
            **COMMON,
            "reasons": ["Access Anywhere is down since 2026-11-29 23:57 (UTC): 503 Service Unavailable"],
            "warnings": ["Queue jibe-s3-events (eu-west-1) cannot be received from since 23:40 (UTC): AccessDenied"],
            "queues": [
                queue(visible=120, hidden=40, oldest=190.0),
                queue(
                    "jibe-s3-events",
                    visible=None,
                    hidden=None,
                    trouble="AccessDenied: sqs:ReceiveMessage is not allowed",
                ),
            ],
            "minutes": minutes(failures=14),
            "failing": [REFUSED],
            "errors": [
                LoggedError(
                    event="access_anywhere_down", level="error", at=NOW - 180, reason="503 Service Unavailable"
                ),
                LoggedError(
                    event="refresh_failed", level="warning", at=NOW - 181, count=14, error="CallFailed", reason="503"
                ),
            ],
        },
    ),
    "trouble": Status(
        sentence="In sync, but 12 changes of 2 buckets are skipped because they are not mapped",
        state="trouble",
        **{
            **COMMON,
            "warnings": ["3 log lines were lost"],
            "queues": [queue(oldest=250_000.0), queue("jibe-" + "x" * 70)],
            "unmapped": [
                SkippedBucket(bucket="example-scratch", count=9, key=LONG_KEY),
                SkippedBucket(bucket="example-new", count=3, key=HOSTILE),
            ],
            "own_writes": [
                SkippedBucket(bucket="example-media", count=30_112, key="a", rule="principals: access-anywhere")
            ],
            "dead_letters": [
                DeadLetterStatus(at=NOW - 7000, queue="jibe-log-delivery-dead", error="LogMissing", reason=HOSTILE),
                DeadLetterStatus(
                    at=NOW - 9000, queue="jibe-log-delivery-dead", error="BadBody", reason="BadBody: not JSON: line 1"
                ),
            ],
            "errors": [
                LoggedError(event="bucket_not_mapped", level="warning", at=NOW - 30, count=12, reason=LONG_KEY),
                LoggedError(event="message_rejected", level="error", at=NOW - 7000, error="LogMissing", reason=HOSTILE),
            ],
            "comparison": ComparisonStatus(ratio=0.97, objects=20_000, wrong=600, unrepaired=14, ended=NOW - 90_000),
            "costs": [
                CostStatus(
                    what="reads of example-media that are logged",
                    events=812_345,
                    dollars=24.37,
                    remedy="log writes only: readOnly equals false in the selectors of example-trail",
                )
            ],
            "settings_problem": "buckets: example-new: must begin with /",
        },
    ),
    "stopping": Status(sentence="Stopping: 3 messages are finished first", state="stopping", **COMMON),
}


def full(rows: int = 1000) -> Status:
    """A snapshot in which each list is far longer than the page shows."""
    many = range(rows)
    return Status(
        sentence="Catching up",
        state="catching-up",
        **{
            **COMMON,
            "reasons": [f"reason {each}" for each in many],
            "warnings": [f"warning {each}" for each in many],
            "queues": [queue(f"queue-{each}") for each in many],
            "skipped": {f"reason-{each}": 7 for each in many},
            "slowest": [FolderStatus(path=f"/slow/{each}/{LONG_KEY}", seconds=9.0, at=NOW - each) for each in many],
            "failing": [
                FolderStatus(path=f"/failing/{each}/{LONG_KEY}", error=HOSTILE, since=NOW - each) for each in many
            ],
            "dead_letters": [DeadLetterStatus(at=NOW, queue="dead", error="LogMissing", reason=HOSTILE)] * rows,
            "unmapped": [SkippedBucket(bucket=f"bucket-{each}", count=each, key=LONG_KEY) for each in many],
            "own_writes": [SkippedBucket(bucket=f"own-{each}", count=each, rule="agents") for each in many],
            "errors": [LoggedError(event=f"event-{each}", level="error", at=NOW, reason=HOSTILE) for each in many],
            "principals": [PrincipalStatus(name=f"arn:{each}", count=each, last=NOW) for each in many],
            "costs": [
                CostStatus(what=f"reads {each}", events=9, dollars=each, remedy="log writes only") for each in many
            ],
            "pauses": [PauseStatus(provider=f"/P{each}", since=NOW - 9, until=NOW + 9) for each in many],
            "settings": [SettingStatus(name=f"setting.{each}", value=LONG_KEY, source="file") for each in many],
        },
    )
