"""Background tasks, as users see them."""

from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

Status = Literal["a", "w", "p", "c", "error"]
TaskName = Literal["InitialSync", "ReSync", "FolderRefresh", "MoveFiles", "MoveFolder", "DeleteFileObjects"]
MAX_ENDED_REFRESHES = 10_000
"""Number of completed folder refreshes that are still listed. All other tasks are listed for ever."""


@dataclass(slots=True, eq=False)
class Task:
    """One background task. `status`: queued (`a`), working (`w`), paused (`p`), completed (`c`), or `error`.

    Times: seconds since the epoch.
    """

    id: int
    callback: TaskName
    provider: str
    added: float
    status: Status = "a"
    completed: float | None = None
    files: int = 0
    """Number of files that it found."""
    message: str = ""
    """The reason for its failure."""


class Tasks:
    """All running tasks, and the newest completed ones."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next = 1
        self._tasks: dict[int, Task] = {}
        self._refreshes: deque[Task] = deque()

    def add(self, task_name: TaskName, provider: str, *, added: float | None = None) -> Task:
        task = Task(self._next, task_name, provider, self._clock() if added is None else added)
        self._next += 1
        self._tasks[task.id] = task
        return task

    def end(self, task: Task, status: Status = "c", *, at: float | None = None, files: int = 0) -> None:
        task.status, task.files, task.completed = status, files, self._clock() if at is None else at
        if task.callback == "FolderRefresh":
            self._refreshes.append(task)
            if len(self._refreshes) > MAX_ENDED_REFRESHES:
                del self._tasks[self._refreshes.popleft().id]

    def chosen(self, task_id: int | None, statuses: Collection[str]) -> list[Task]:
        """The task with this id. Without an id: all tasks with one of these statuses (empty: any), newest first."""
        if task_id is not None:
            return [self._tasks[task_id]] if task_id in self._tasks else []
        return [task for task in reversed(self._tasks.values()) if not statuses or task.status in statuses]
