"""What the server does in the background, as it tells: read with the same tolerance as all its answers."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

import msgspec

from jibe_sqs.adapters.access_anywhere.answers import Answer, count, entries, moment, text
from jibe_sqs.core.errors import AnswerMalformed


class TaskStatus(Enum):
    """How a task stands."""

    QUEUED = "queued"
    WORKING = "working"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    """A word that we don't know."""


WORDS = {
    "a": TaskStatus.QUEUED,
    "w": TaskStatus.WORKING,
    "p": TaskStatus.PAUSED,
    "c": TaskStatus.COMPLETED,
    "error": TaskStatus.FAILED,
    "cancelled": TaskStatus.CANCELED,
} | {status.value: status for status in TaskStatus}


class Task(msgspec.Struct, frozen=True):
    """One background task. Times are UTC; `percent` is from 0 to 100.

    `callback` is what it is for: `InitialSync`, `ReSync`, `FolderRefresh`, … `provider` and `files` (how many it has
    to do with) are not attested: no server is known that tells them.
    """

    id: str
    type: str
    subtype: str
    status: TaskStatus
    percent: float | None
    added: datetime | None
    completed: datetime | None
    callback: str
    provider: str
    files: int | None


def tasks(answer: Answer) -> list[Task]:
    """What `getUserBackgroundTasks` answered; releases differ in where it stands. Raises `AnswerMalformed`."""
    response = answer.get("response")
    listed = answer.get("tasks") or (response.get("tasks") if isinstance(response, dict) else None)
    return [task(entry) for entry in entries(listed, known_by="bt_id")]


def task(value: object) -> Task:
    """One task. Raises `AnswerMalformed`."""
    if not isinstance(value, Mapping) or not text(value.get("bt_id")):
        raise AnswerMalformed("a background task without a `bt_id`")
    return Task(
        id=text(value["bt_id"]),
        type=text(value.get("bt_type")),
        subtype=text(value.get("bt_subtype")),
        status=WORDS.get(text(value.get("bt_status")).strip().lower(), TaskStatus.UNKNOWN),
        percent=percent(value.get("bt_procent")),
        added=moment(value.get("bt_added")),
        completed=moment(value.get("bt_completed")),
        callback=text(value.get("callback")),
        provider=text(value.get("fi_provider")),
        files=count(value.get("bt_files")),
    )


def percent(value: object) -> float | None:
    """None for what is none: nothing hangs on it."""
    try:
        share = float(text(value).strip().removesuffix("%"))
    except ValueError:
        return None
    return share if 0 <= share <= 100 else None
