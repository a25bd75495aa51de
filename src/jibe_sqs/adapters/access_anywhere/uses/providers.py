"""Finds which buckets Access Anywhere shows in which folders, and when their last complete sync began."""

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, PAGE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, TOP, joined
from jibe_sqs.adapters.access_anywhere.wire.tasks import Task, TaskStatus
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.errors import AnswerMalformed, CallFailed

SYNCS: Final = frozenset({"initialsync", "resync"})
"""The callbacks of tasks that list a whole provider, in lower case."""

TASK_TYPES: Final = ("sync", "custom")
"""The types of sync tasks, which differ between servers. Servers match a type exactly."""
TASK_LIMITS: Final = (1000, 20_000)
"""How many tasks to ask for first, and if a sync is missing. Thousands of refreshes, `custom` tasks too, may hide it."""

MAX_SHOWN_BYTES: Final = 128 * 1024 * 1024
"""Memory of all providers and buckets: about 100,000 of them. Beyond it, none is known: a part would lose events."""
SHOWN_BYTES: Final = 1000
"""Memory of one of them, without its texts."""

CLOCK_MARGIN: Final = 60.0
"""By how many seconds Access Anywhere's clock may be ahead of S3's."""

MAX_SECONDS_PER_FILE: Final = 0.02
MIN_SYNC_SECONDS: Final = 60.0
"""Seconds. Both are much longer than a sync takes: if the start is estimated, it must not be too late."""


class Providers:
    """The providers, by their top-level folders. Every call raises only `AccessAnywhereError`s."""

    def __init__(self, client: AccessAnywhere) -> None:
        self._client = client

    async def places(self) -> Places:
        """All buckets that are shown, with their folders. Does not ask for syncs.

        A top-level folder is a bucket or contains buckets; any other folder belongs to a provider without buckets. If an
        item seems to show only a part of its bucket, it counts as the whole bucket, too. That meaning of the field is not
        documented. A folder that does not exist costs one look-up, but a change that counts as unmapped is lost.
        Raises `AnswerMalformed` if they need more memory than `MAX_SHOWN_BYTES`.
        """
        memory = _Memory()
        found: dict[str, dict[Place, None]] = {}
        for top in await self._tops():
            shown = {joined(ROOT, top.name): top}
            if not top.is_bucket:
                shown = await self._buckets_in(top, memory)
            for path, each in shown.items():
                places = found.setdefault(each.bucket or each.name, {})
                places |= dict.fromkeys([Place(path, prefix_of(each)), Place(path)])
        return {bucket: tuple(places) for bucket, places in found.items()}

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        """When the last complete sync of each of these top-level folders began, in seconds since the epoch.

        The time is never too late: events that the sync has not seen would be skipped. A folder is absent if its sync is
        uncertain. Names may differ in case.
        """
        tops = await self._tops()
        ids = {folder: [top.id for top in tops if top.name.casefold() == folder.casefold()] for folder in folders}
        sure = {folder: found[0] for folder, found in ids.items() if len(found) == 1}
        latest = await self._latest(tops, frozenset(sure.values()))
        return {folder: latest[top] for folder, top in sure.items() if top in latest}

    async def _latest(self, tops: Sequence[Item], wanted: frozenset[str]) -> Mapping[str, float]:
        """When the last complete sync of each top-level folder began, by its `fi_id`.

        Asks for more tasks only if a wanted folder has no sync among the listed tasks. If a later sync was cut off from
        the list, an earlier one counts. Fewer events are then skipped, and no event is lost.
        """
        latest: dict[str, float] = {}
        for kind in TASK_TYPES:
            for limit in TASK_LIMITS:
                listed = await self._client.background_tasks(kind=kind, limit=limit)
                for task in listed.tasks:
                    began, top = beginning(task), provider_of(task, tops)
                    if began is not None and top is not None:
                        latest[top.id] = max(began, latest.get(top.id, began))
                if listed.is_whole(limit) or wanted <= latest.keys():
                    break
        return latest

    async def _tops(self) -> list[Item]:
        tops = []
        memory = _Memory()
        async with aclosing(self._client.list_folder(TOP, details=True)) as items:
            async for item in items:
                if item.is_folder:
                    memory.take(joined(ROOT, item.name), item)
                    tops.append(item)
        return tops

    async def _buckets_in(self, top: Item, memory: "_Memory") -> dict[str, Item]:
        """The buckets by their paths. Returns nothing if the provider was removed meanwhile."""
        buckets: dict[str, Item] = {}
        try:
            async with aclosing(self._client.list_folder(top.id, details=True)) as items:
                seen = 0
                async for item in items:
                    seen += 1
                    if item.is_folder and item.is_bucket:
                        path = joined(joined(ROOT, top.name), item.name)
                        memory.take(path, item)
                        buckets[path] = item
                    # A folder with buckets contains nothing else. Another folder may contain a million files.
                    if seen >= PAGE and not buckets:
                        break
        except CallFailed as error:
            if error.code in GONE:
                return {}
            raise CallFailed(f"{joined(ROOT, top.name)}: {error}", code=error.code) from error
        return buckets


class _Memory:
    """Limits the memory of providers and buckets."""

    def __init__(self) -> None:
        self._left = MAX_SHOWN_BYTES

    def take(self, path: str, item: Item) -> None:
        """Count one more. Raises `AnswerMalformed` if that is too many."""
        texts = (path, item.name, item.bucket, item.provider, item.provider_folder)
        self._left -= SHOWN_BYTES + sum(map(sys.getsizeof, texts))
        if self._left < 0:
            raise AnswerMalformed("Access Anywhere shows more providers and buckets than can be kept")


def prefix_of(bucket: Item) -> str:
    """The prefix of its bucket that an item shows. It is empty or ends in `/`."""
    prefix = bucket.provider_folder.lstrip("/")
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def beginning(task: Task) -> float | None:
    """A time (seconds since the epoch) such that this sync has seen all earlier changes. Returns None if it is unknown.

    Only a complete sync counts. It was queued, at `added`, before it began to list. Without that time, the start is
    estimated from the end and the number of files.
    """
    if task.status is not TaskStatus.COMPLETED or task.callback.casefold() not in SYNCS:
        return None
    if task.added is not None:
        return task.added.timestamp() - CLOCK_MARGIN
    if task.completed is None or task.files is None:
        return None
    return task.completed.timestamp() - max(MIN_SYNC_SECONDS, task.files * MAX_SECONDS_PER_FILE) - CLOCK_MARGIN


def provider_of(task: Task, tops: Sequence[Item]) -> Item | None:
    """The top-level folder of the provider of a task. Returns None if no folder matches, or several do."""
    if not task.provider:
        return tops[0] if len(tops) == 1 else None
    # The field may contain a name, an id, or the kind of provider, which several folders may share.
    called = task.provider.casefold()
    named = [top for top in tops if called in (top.provider.casefold(), top.name.casefold())]
    return named[0] if len(named) == 1 else None
