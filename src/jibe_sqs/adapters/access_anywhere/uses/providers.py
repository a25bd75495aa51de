"""Which buckets Access Anywhere shows, where, and since when it has known what is in them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from jibe_sqs.adapters.access_anywhere.wire.answers import Item
from jibe_sqs.adapters.access_anywhere.wire.client import GONE, PAGE, AccessAnywhere
from jibe_sqs.adapters.access_anywhere.wire.paths import ROOT, TOP, joined
from jibe_sqs.adapters.access_anywhere.wire.tasks import Task, TaskStatus
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.errors import CallFailed

SYNCS: Final = frozenset({"initialsync", "resync"})
"""The callbacks, in lower case, of tasks that list a whole provider."""

TASK_TYPES: Final = ("sync", "custom")
"""The types that syncs have on one server or another. Servers match a type exactly."""
TASK_LIMITS: Final = (1000, 20_000)
"""How many tasks to ask for at first, and then. Refreshes are `custom` tasks too: thousands of them may hide a sync."""

CLOCK_MARGIN: Final = 60.0
"""Seconds by which Access Anywhere's clock may be ahead of S3's."""

MAX_SECONDS_PER_FILE: Final = 0.02
MIN_SYNC_SECONDS: Final = 60.0
"""Seconds. Both are far more than a sync takes: where its start is only estimated, too early is right."""


class Providers:
    """What Access Anywhere's top-level folders show. Every call raises only `AccessAnywhereError`s."""

    def __init__(self, client: AccessAnywhere) -> None:
        self._client = client

    async def places(self) -> Places:
        """Every bucket that is shown, and where; nothing of syncs.

        A top-level folder is a bucket, or holds buckets; one that is neither is of a provider with folders of its own. One
        that seems to show a part of its bucket stands for the whole bucket as well: nobody has told us that it means that,
        and a folder that is not there costs a look, where a change that is taken for unmapped is lost.
        """
        found: dict[str, dict[Place, None]] = {}
        for top in await self._tops():
            shown = {joined(ROOT, top.name): top}
            if not top.is_bucket:
                shown = {joined(joined(ROOT, top.name), each.name): each for each in await self._buckets_in(top)}
            for path, each in shown.items():
                places = found.setdefault(each.bucket or each.name, {})
                places |= dict.fromkeys([Place(path, prefix_of(each)), Place(path)])
        return {bucket: tuple(places) for bucket, places in found.items()}

    async def synced(self, folders: Collection[str]) -> Mapping[str, float]:
        """When the last complete sync of each of these top-level folders began, at the latest: seconds since the epoch.

        Names may differ in case. A folder whose sync is not known for sure is absent: a start that is too late would skip
        events that the sync has not seen.
        """
        tops = await self._tops()
        ids = {folder: [top.id for top in tops if top.name.casefold() == folder.casefold()] for folder in folders}
        sure = {folder: found[0] for folder, found in ids.items() if len(found) == 1}
        latest = await self._latest(tops, frozenset(sure.values()))
        return {folder: latest[top] for folder, top in sure.items() if top in latest}

    async def _latest(self, tops: Sequence[Item], wanted: frozenset[str]) -> Mapping[str, float]:
        """By the `fi_id` of a top-level folder: when its last complete sync began.

        Asks for more tasks only while a wanted folder has no sync among those that the server listed. If a later sync is
        among those that are cut off, an earlier one counts: that skips less, and loses nothing.
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
        return [item async for item in self._client.list_folder(TOP, details=True) if item.is_folder]

    async def _buckets_in(self, top: Item) -> list[Item]:
        """None for a provider that is gone by now."""
        buckets = []
        try:
            async with aclosing(self._client.list_folder(top.id, details=True)) as items:
                seen = 0
                async for item in items:
                    seen += 1
                    if item.is_folder and item.is_bucket:
                        buckets.append(item)
                    # Where buckets are, there is nothing else; and elsewhere there may be a million files.
                    if seen >= PAGE and not buckets:
                        break
        except CallFailed as error:
            if error.code in GONE:
                return []
            raise CallFailed(f"{joined(ROOT, top.name)}: {error}", code=error.code) from error
        return buckets


def prefix_of(bucket: Item) -> str:
    """The part of its bucket that an item shows: empty, or ending in `/`."""
    prefix = bucket.provider_folder.lstrip("/")
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def beginning(task: Task) -> float | None:
    """A moment (seconds since the epoch) before which nothing happened that this sync has not seen. None if unknown.

    Only a sync that is complete has seen anything for sure. It was queued, at `added`, before it began to list. Without
    that time, the start is estimated from the end and the number of files.
    """
    if task.status is not TaskStatus.COMPLETED or task.callback.casefold() not in SYNCS:
        return None
    if task.added is not None:
        return task.added.timestamp() - CLOCK_MARGIN
    if task.completed is None or task.files is None:
        return None
    return task.completed.timestamp() - max(MIN_SYNC_SECONDS, task.files * MAX_SECONDS_PER_FILE) - CLOCK_MARGIN


def provider_of(task: Task, tops: Sequence[Item]) -> Item | None:
    """The top-level folder of the provider that a task is about. None if several folders fit, or no folder."""
    if not task.provider:
        return tops[0] if len(tops) == 1 else None
    # The field may hold a name, an id, or a kind, which several have in common.
    called = task.provider.casefold()
    named = [top for top in tops if called in (top.provider.casefold(), top.name.casefold())]
    return named[0] if len(named) == 1 else None
