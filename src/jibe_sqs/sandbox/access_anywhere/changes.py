"""What users change through Access Anywhere: copies, moves, renames and deletions, in S3 and in the index.

Files change at once. Folders change in the background: the index shows the result at once, and S3 has it when the task is
complete. Until then, calls that need the folder's old or new name are answered with `error_background`.
"""

import asyncio
from collections.abc import Callable

from jibe_sqs.sandbox.access_anywhere.background import BackgroundChanges
from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks
from jibe_sqs.sandbox.access_anywhere.file_changes import FileChanges
from jibe_sqs.sandbox.access_anywhere.folder_changes import FolderChanges
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import Folder
from jibe_sqs.sandbox.access_anywhere.s3_writes import S3Writes
from jibe_sqs.sandbox.access_anywhere.storage import Storage
from jibe_sqs.sandbox.access_anywhere.tasks import Tasks
from jibe_sqs.sandbox.access_anywhere.trash import Trash


class Changes:
    """The changes of files and of folders, which share locks, trash and background tasks."""

    def __init__(
        self,
        index: Index,
        storage: Storage,
        writes: S3Writes,
        guard: Callable[[Folder], asyncio.Lock],
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self.trash = Trash(index)
        self.locks = ChangeLocks(guard)
        self.background = BackgroundChanges(tasks, self.locks)
        self.files = FileChanges(index, writes, self.trash, self.locks, self.background, clock)
        self.folders = FolderChanges(index, storage, writes, self.trash, self.locks, self.background, clock)
