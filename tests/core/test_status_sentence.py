"""The first sentence of a status says whether the index is true, and how far behind it is."""

import msgspec
import pytest

from jibe_sqs.telemetry.status import (
    DeadLetterStatus,
    FolderStatus,
    LagStatus,
    Minute,
    PauseStatus,
    QueueStatus,
    SkippedBucket,
    Status,
)
from jibe_sqs.telemetry.status_sentence import with_sentence

WELL = Status(
    at=10_000.0, version="1", queues=[QueueStatus(name="jibe", visible=0)], lag=LagStatus(p50=4.2, p99=9.0, longest=9.0)
)
BACKLOG = QueueStatus(name="jibe", visible=118, oldest=840.0)


@pytest.mark.parametrize(
    ("changes", "state", "sentence"),
    [
        ({}, "in-sync", "In sync; 4 s behind"),
        ({"lag": LagStatus()}, "in-sync", "In sync; no changes in the last 15 min"),
        ({"stage": "starting"}, "starting", "Starting: connecting to the ledger, the queues and Access Anywhere"),
        ({"stage": "stopping", "messages_held": 1}, "stopping", "Stopping: 1 message in hand is finished first"),
        (
            {"held_up": "Access Anywhere is down for 3 min", "queues": [BACKLOG], "messages_held": 2},
            "held-up",
            "Access Anywhere is down for 3 min; 120 messages wait",
        ),
        (
            {"pauses": [PauseStatus(provider="", since=9000.0, until=14_800.0, reason="upgrade")], "messages_held": 1},
            "paused",
            "Paused for 1 h 20 min more: upgrade; 1 message waits",
        ),
        (
            {"pauses": [PauseStatus(provider="S3", since=9000.0, until=14_800.0)]},
            "trouble",
            "In sync; 4 s behind; 1 provider paused",
        ),
        ({"queues": [BACKLOG]}, "catching-up", "Catching up: 118 messages wait, the oldest for 14 min"),
        (
            {"queues": [BACKLOG], "minutes": [Minute(at=0.0, messages=59), Minute(at=60.0, messages=1)]},
            "catching-up",
            "Catching up: 118 messages wait, the oldest for 14 min; about 2 min left",
        ),
        (
            {"reasons": ["Log bucket a cannot be read since 10:15 (UTC): AccessDenied", "another"]},
            "trouble",
            "Not all work is done: Log bucket a cannot be read since 10:15 (UTC) (and 1 more)",
        ),
        (
            {"reasons": ["worker 0: Queue a is away: no answer"]},
            "trouble",
            "Not all work is done: worker 0: Queue a is away",
        ),
        (
            {"dead_letters": [DeadLetterStatus(at=at, queue="q", error="E", reason="r") for at in (9000.0, -80_000.0)]},
            "trouble",
            "In sync; 4 s behind; 1 new dead letter",
        ),
        (
            {"failing": [FolderStatus(path=f"/{number}", error="CallFailed: no") for number in range(50)]},
            "trouble",
            "In sync; 4 s behind; 50 or more folders cannot be refreshed",
        ),
        ({"warnings": ["No message from jibe since 10:15"]}, "trouble", "In sync; 4 s behind; 1 warning"),
        (
            {
                "pauses": [PauseStatus(provider="S3", since=9000.0, until=14_800.0)],
                "settings_problem": "these changed settings need a restart: queues",
                "warnings": [
                    "S3: paused by an operator until 14:00 (UTC)",
                    "these changed settings need a restart: queues",
                    "No message from jibe since 10:15",
                ],
            },
            "trouble",
            "In sync; 4 s behind; changed settings are not in force, 1 provider paused, 1 warning",
        ),
        (
            {
                "failing": [FolderStatus(path="/a", error="CallFailed: no")],
                "unmapped": [SkippedBucket(bucket="b", count=3)],
                "settings_problem": "buckets: not an object",
            },
            "trouble",
            (
                "In sync; 4 s behind; 1 folder cannot be refreshed, changed settings are not in force, changes of 1 bucket "
                "are not shown"
            ),
        ),
    ],
)
def test_the_sentence_answers_first_what_an_operator_wants_to_know(changes, state, sentence):
    found = with_sentence(msgspec.structs.replace(WELL, **changes))
    assert (found.state, found.sentence) == (state, sentence)
