"""The two sides of a comparison, in memory: S3's listing, and what Access Anywhere shows."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator

from jibe_sqs.commands.comparison import Scope
from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.ports import Found, Index, Listing

BUCKET, TOP = "media", "/S3/media"
SCOPE = Scope(BUCKET, "", TOP)
NOON = 1_767_268_800.0
"""When all objects were written."""


class Storage(Listing):
    """S3 in memory. `calls` counts the levels that were listed."""

    def __init__(self, keys=()):
        self.sizes = dict.fromkeys(keys, 1)
        self.calls = Counter()
        self.error = None

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        self.calls[prefix] += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        found = set()
        for key, size in list(self.sizes.items()):
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                if slash:
                    found.add(f"{prefix}{name}/")
                else:
                    yield Found(LogFile(bucket, key, size=size), NOON)
        for each in found:
            yield each

    async def has(self, bucket, prefix):
        return any(key.startswith(prefix) for key in self.sizes)

    async def buckets(self):
        return [BUCKET]


class Shown(Index):
    """An index in memory: keys with sizes, as they were at the last refresh. A folder's id is its path.

    `calls` counts the listings of each folder. `before[path]` is called once before that folder is listed.
    """

    def __init__(self, keys=()):
        self.sizes = dict.fromkeys(keys, 1)
        self.calls = Counter()
        self.errors = {}
        self.before = {}

    async def folder(self, path: str) -> str | None:
        below = path.removeprefix(TOP).lstrip("/") + "/"
        return path if path == TOP or any(key.startswith(below) for key in self.sizes) else None

    async def entries(self, folder: str) -> AsyncGenerator[Entry, None]:
        self.calls[folder] += 1
        if error := self.errors.get(folder):
            raise error
        self.before.pop(folder, lambda: None)()
        prefix = folder.removeprefix(TOP).lstrip("/")
        prefix = f"{prefix}/" if prefix else ""
        names = {}
        for key, size in self.sizes.items():
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names[name, bool(slash)] = size
        for (name, is_folder), size in names.items():
            path = f"{folder}/{name}" if is_folder else ""
            yield Entry(name, is_folder, size, NOON, path)

    def refresh_from(self, storage: Storage):
        """A `Repair` that makes a folder and the folders above it show what S3 has."""

        async def repair(folder: Folder):
            prefix = folder.path.removeprefix(TOP).lstrip("/") + "/"
            prefix = "" if prefix == "/" else prefix
            self.sizes = {
                key: size for key, size in self.sizes.items() if key.rpartition("/")[0] + "/" != (prefix or "/")
            }
            self.sizes |= {
                key: size for key, size in storage.sizes.items() if key.rpartition("/")[0] + "/" == (prefix or "/")
            }
            return []

        return repair
