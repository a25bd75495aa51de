"""Reads the server's background tasks, with the same tolerance as its other answers.

Two shapes are attested. In one, each task has a `bt_type` of its own, such as `sync`. In the other, syncs, refreshes,
moves and deletions all have the `bt_type` `custom`, and only `bt_data.callback` names what a task does. `bt_data` is an
object, or an object written as JSON text.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from jibe_sqs.adapters.access_anywhere.wire.answers import count, kept, moment, shared, text, truth
from jibe_sqs.adapters.access_anywhere.wire.reader import Answer, ListShape
from jibe_sqs.core.errors import AnswerMalformed

ZERO_TIME = "0000-00-00 00:00:00"


class TaskStatus(Enum):
    """The state of a task."""

    QUEUED = "queued"
    WORKING = "working"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"
    """The server's word is not known here, or its fields contradict each other."""


WORDS = {
    "a": TaskStatus.QUEUED,
    "w": TaskStatus.WORKING,
    "p": TaskStatus.PAUSED,
    "c": TaskStatus.COMPLETED,
    "error": TaskStatus.FAILED,
    "cancelled": TaskStatus.CANCELED,
} | {status.value: status for status in TaskStatus}

SUCCESS = frozenset({"", "c", "complete", "completed", "done", "ok", "success", "y", "yes", "1"})
"""The values of `bt_completestatus`, in lower case, of a task that succeeded. Its values are not documented."""


class Task(msgspec.Struct, frozen=True, gc=False):
    """One background task. Times are UTC; `percent` is from 0 to 100.

    `callback` says what the task does: `InitialSync`, `ReSync`, `FolderRefresh`, … `provider` and `files` (the number of
    files that it handled) are not attested: no server is known to send them.
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


class TaskList(msgspec.Struct, frozen=True):
    """Tasks that the server listed. `total` counts all that match, if the server says so."""

    tasks: list[Task]
    total: int | None

    def is_whole(self, limit: int) -> bool:
        """Whether no matching task was cut off by the `limit` of the request."""
        return len(self.tasks) < limit if self.total is None else len(self.tasks) >= self.total


def task_list(answer: Answer) -> TaskList:
    """The answer of `getUserBackgroundTasks`: at its top level, or under `response`. Raises `AnswerMalformed`."""
    response = answer.get(TASKS.inside)
    inner = response if isinstance(response, Mapping) else {}
    listed = answer.get(TASKS.name) or inner.get(TASKS.name)
    total = answer.get("total", inner.get("total"))
    return TaskList(kept(listed, Task), count(total))


def task(value: object) -> Task:
    """Read one task. Raises `AnswerMalformed`."""
    if not isinstance(value, Mapping) or not text(value.get("bt_id")):
        raise AnswerMalformed("a background task without a `bt_id`")
    data = data_of(value.get("bt_data"))
    return Task(
        id=text(value["bt_id"]),
        type=shared(value.get("bt_type")),
        subtype=shared(value.get("bt_subtype")),
        status=status_of(value),
        percent=percent(value.get("bt_procent")),
        added=moment(value.get("bt_added")),
        completed=moment(value.get("bt_completed")),
        callback=shared(value.get("callback")) or shared(data.get("callback")),
        provider=shared(value.get("fi_provider")) or shared(data.get("fi_provider")),
        files=count(value.get("bt_files")),
    )


TASKS: Final = ListShape("tasks", known_by="bt_id", kept=task, max_entry=1024 * 1024, inside="response")
"""Background tasks. The `bt_data` of one that moves or deletes files may list these."""


def data_of(value: object) -> Mapping[str, object]:
    """The fields of `bt_data`. Returns no fields if it is missing or malformed: one task must not fail the whole answer."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def status_of(value: Mapping[str, object]) -> TaskStatus:
    """The state of a task. A task counts as completed only if no other field says that it was canceled or failed."""
    status = WORDS.get(text(value.get("bt_status")).strip().lower(), TaskStatus.UNKNOWN)
    if status is not TaskStatus.COMPLETED:
        return status
    canceled = value.get("bt_canceled")
    if canceled != ZERO_TIME and truth(canceled):
        return TaskStatus.CANCELED
    return status if text(value.get("bt_completestatus")).strip().lower() in SUCCESS else TaskStatus.UNKNOWN


def percent(value: object) -> float | None:
    """Returns None if the field is missing or malformed: no decision depends on it."""
    try:
        share = float(text(value).strip().removesuffix("%"))
    except ValueError:
        return None
    return share if 0 <= share <= 100 else None
