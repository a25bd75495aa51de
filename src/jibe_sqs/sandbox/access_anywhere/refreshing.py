"""Refreshes, by which the index learns what S3 contains.

A refresh lists its folder after the request, waits, and then changes the index. It certainly shows what happened
before the request, and nothing that happened later. Each folder has at most one running and one waiting refresh. A
request during a waiting refresh gets that refresh. A request during a running refresh gets a new one.
"""

import asyncio
import secrets
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.fault_plan import FaultPlan
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused
from jibe_sqs.sandbox.access_anywhere.storage import Storage, StorageError, StoredObject
from jibe_sqs.sandbox.access_anywhere.tasks import Tasks

MAX_JOBS = 10_000
"""Number of jobs whose tokens are known."""
MAX_RECORDS = 200_000


@dataclass(slots=True)
class CompletedRefresh:
    """The record of a completed refresh. Times: seconds since the epoch. `n` counts from 1."""

    n: int
    folder: str
    bucket: str
    prefix: str
    asked: float
    listed: float
    """The time before S3 was listed."""
    done: float
    """The time after the index changed."""


@dataclass(slots=True, eq=False)
class Job:
    """One refresh, running or completed."""

    folder: Folder
    asked: float
    token: str = field(default_factory=lambda: secrets.token_hex(12))
    refused: Refused | None = None
    task: "asyncio.Task[None] | None" = None

    @property
    def still_syncing(self) -> bool:
        """Raises `Refused` if it failed."""
        if self.refused:
            raise self.refused
        if self.task is None or not self.task.done():
            return True
        self.task.result()
        return False


class Refresher:
    """Refreshes folders of the index on request."""

    def __init__(
        self,
        config: AccessAnywhereServer,
        index: Index,
        storage: Storage,
        fault_plan: FaultPlan,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._index = index
        self._storage = storage
        self._fault_plan = fault_plan
        self._tasks = tasks
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[int, Job] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._records: deque[CompletedRefresh] = deque(maxlen=MAX_RECORDS)
        self.completed = 0

    def request(self, folder: Folder) -> str | None:
        """Start a refresh. Returns its token, or None if the folder was refreshed within `recent_window`."""
        asked = self._clock()
        if (job := self._waiting.get(folder.id)) is not None:
            return job.token
        if asked - folder.refreshed < self._config.recent_window:
            return None
        job = Job(folder, asked)
        self._jobs[job.token] = self._waiting[folder.id] = job
        job.task = asyncio.create_task(self._run(job))
        self._forget_old()
        return job.token

    def still_syncing(self, token: str) -> bool:
        """Whether the refresh is still running. Raises `Refused` if it failed, or if the token is unknown."""
        if token not in self._jobs:
            raise Refused("refresh_not_found", "There is no such refresh")
        return self._jobs[token].still_syncing

    def guard(self, folder: Folder) -> asyncio.Lock:
        """The lock of a folder. Hold it while reading or writing S3 in order to change what this folder shows."""
        return self._locks[folder.id]

    def records(self, since: int) -> list[dict[str, Any]]:
        return [asdict(r) for r in self._records if r.n > since]

    async def _run(self, job: Job) -> None:
        shown = self._tasks.add("FolderRefresh", job.folder.provider, added=job.asked)
        async with self.guard(job.folder):
            del self._waiting[job.folder.id]
            shown.status = "w"
            try:
                await self._refresh(job)
            except StorageError as e:
                job.refused = Refused.by_provider(e)
            except Refused as e:
                job.refused = e
        self._tasks.end(shown, "error" if job.refused else "c", files=len(job.folder.files))

    async def _refresh(self, job: Job) -> None:
        folder = job.folder
        listed = self._clock()
        # Listed at the start and shown at the end, so that a change in between is certainly missed.
        (names, objects), _ = await asyncio.gather(self._listing(folder), asyncio.sleep(self._config.refresh_seconds))
        await self._apply_size_fault(len(names) + len(objects))
        if not self._index.shows(folder):
            raise Refused("not_found", "The folder is gone")
        self._index.refresh(folder, names, objects, listed=listed)
        folder.refreshed = done = self._clock()
        self.completed += 1
        self._records.append(
            CompletedRefresh(self.completed, folder.path or "/", folder.bucket, folder.prefix, job.asked, listed, done)
        )

    async def _apply_size_fault(self, entries: int) -> None:
        if (limit := self._fault_plan.for_refresh(entries)) is None:
            return
        if limit.refuse:
            raise Refused("folder_too_large", f"The folder has more than {limit.most} entries")
        await asyncio.sleep(limit.seconds_per_thousand * entries / 1000)

    async def _listing(self, folder: Folder) -> tuple[list[str], list[StoredObject]]:
        """The names of the folders, and the objects, that S3 has for this folder."""
        if folder.bucket:
            listing = await self._storage.list(folder.bucket, folder.prefix)
            names = [p.removeprefix(folder.prefix).removesuffix("/") for p in listing.prefixes]
            # A key that ends in `/` is the marker of a folder, not a file.
            return names, [o for o in listing.files if not o.key.endswith("/")]
        if folder.provider:
            if (provider := self._index.providers.get(folder.provider)) is None:
                raise Refused("not_found", "The folder is gone")
            configured = provider.buckets
            there = await asyncio.gather(*(self._storage.exists(bucket) for bucket in configured))
            return [bucket for bucket, exists in zip(configured, there, strict=True) if exists], []
        return list(self._index.providers), []

    def _forget_old(self) -> None:
        oldest = next(iter(self._jobs.values()))
        if len(self._jobs) > MAX_JOBS and oldest.task is not None and oldest.task.done():
            del self._jobs[oldest.token]
