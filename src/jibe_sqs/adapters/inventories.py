"""An S3 inventory as a listing of its bucket.

Its files are sorted each by itself, or not at all. So all rows are put into a temporary SQLite file, ordered by folder: about
100 bytes of disk for each object. Memory does not depend on the number of objects.
"""

import asyncio
import csv
import gzip
import hashlib
import sqlite3
import tempfile
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cachetools import LRUCache

from jibe_sqs.core.errors import ComparisonError
from jibe_sqs.core.inventories import (
    InventoryFile,
    ListedObject,
    Manifest,
    csv_reader,
    parquet_columns,
    parquet_object,
    read_manifest,
)
from jibe_sqs.core.model import LogFile
from jibe_sqs.ports import Found, Listing, LogStore

MAX_MANIFEST: Final = 64 * 1024 * 1024
"""Bytes. A manifest has about 200 for each file, and a file lists about a million objects."""
BATCH: Final = 10_000
PAGE: Final = 1000
KNOWN_FOLDERS: Final = 10_000
ROOT: Final = 1

_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE folders (id INTEGER PRIMARY KEY, parent INTEGER, prefix TEXT UNIQUE);
CREATE TABLE objects (folder INTEGER, name TEXT, size INTEGER, modified REAL);
INSERT INTO folders VALUES (1, NULL, '');
"""
_INDEXES: Final = """
CREATE INDEX by_parent ON folders (parent);
CREATE INDEX by_folder ON objects (folder);
"""


async def manifest_at(bucket: str, key: str, store: LogStore) -> Manifest:
    """Read a manifest. Raises `ComparisonError`, `LogStoreError`."""
    body = bytearray()
    async with store.open(LogFile(bucket, key)) as log:
        async for chunk in log:
            body += chunk
            if len(body) > MAX_MANIFEST:
                raise ComparisonError(f"s3://{bucket}/{key}: has more than {MAX_MANIFEST:,} bytes: not a manifest")
    return read_manifest(bytes(body))


@asynccontextmanager
async def inventory(
    manifest: Manifest, store: LogStore, *, prefix: str = "", observe: Callable[[int, int], None] = lambda *_: None
) -> AsyncIterator["Inventory"]:
    """The objects with this prefix, as a listing. `observe` is called with the number of files read, and of all files.

    Raises `ComparisonError`, `LogStoreError`.
    """
    with ExitStack() as stack:
        with _disk_errors():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jibe-inventory-")))
            rows = stack.enter_context(closing(_Rows(folder / "rows.sqlite")))
            for number, each in enumerate(manifest.files):
                observe(number, len(manifest.files))
                await _download(each, store, folder / "file")
                await asyncio.to_thread(rows.add, _objects(manifest, folder / "file"), prefix)
            await asyncio.to_thread(rows.finish)
        yield Inventory(manifest.source, rows)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise ComparisonError(
            f"the rows of the inventory cannot be kept in temporary files: {error}: make room, or set TMPDIR"
        ) from error


class Inventory(Listing):
    """The `Listing` port. It lists the objects as they were when the inventory was made."""

    def __init__(self, bucket: str, rows: "_Rows") -> None:
        self._bucket = bucket
        self._rows = rows

    async def level(self, bucket: str, prefix: str) -> AsyncGenerator[Found | str, None]:
        """List one level."""
        folder = self._rows.folder(prefix)
        if folder is None or bucket != self._bucket:
            return
        for number, (below,) in enumerate(self._rows.query("SELECT prefix FROM folders WHERE parent = ?", folder), 1):
            yield below
            if not number % PAGE:
                await asyncio.sleep(0)
        rows = self._rows.query("SELECT name, size, modified FROM objects WHERE folder = ?", folder)
        for number, (name, size, modified) in enumerate(rows, 1):
            yield Found(LogFile(bucket, prefix + name, size=size), modified)
            if not number % PAGE:
                await asyncio.sleep(0)

    async def has(self, bucket: str, prefix: str) -> bool:
        """Whether there is anything below the prefix."""
        return bucket == self._bucket and self._rows.folder(prefix) is not None

    async def buckets(self) -> Sequence[str]:
        """The bucket that was listed."""
        return [self._bucket]


class _Rows:
    """The temporary file. One thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, check_same_thread=False)
        self._file.executescript(_TABLES)
        self._known: LRUCache[str, int] = LRUCache(KNOWN_FOLDERS)

    def add(self, objects: Iterable[ListedObject], prefix: str) -> None:
        wanted = (each for each in objects if each.key.startswith(prefix))
        while batch := [self._row(each) for each in islice(wanted, BATCH)]:
            self._file.executemany("INSERT INTO objects VALUES (?, ?, ?, ?)", batch)
        self._file.commit()

    def finish(self) -> None:
        self._file.executescript(_INDEXES)

    def folder(self, prefix: str) -> int | None:
        found = self._file.execute("SELECT id FROM folders WHERE prefix = ?", (prefix,)).fetchone()
        return found[0] if found else None

    def query(self, text: str, folder: int) -> Iterator[Any]:
        return self._file.execute(text, (folder,))

    def close(self) -> None:
        self._file.close()

    def _row(self, each: ListedObject) -> tuple[int, str, int, float]:
        slash = each.key.rfind("/") + 1
        return self._folder(each.key[:slash]), each.key[slash:], each.size, each.modified

    def _folder(self, prefix: str) -> int:
        """The id of the folder. It is created with those above it. Without recursion: a key may have 1,024 slashes."""
        absent = []
        while (known := self._known.get(prefix) or self.folder(prefix)) is None:
            absent.append(prefix)
            prefix = prefix[: prefix.rfind("/", 0, -1) + 1]
        self._known[prefix] = known
        for each in reversed(absent):
            cursor = self._file.execute("INSERT INTO folders (parent, prefix) VALUES (?, ?)", (known, each))
            self._known[each] = known = int(cursor.lastrowid or 0)
        return known


async def _download(each: InventoryFile, store: LogStore, path: Path) -> None:
    """Store a file on disk. Raises `ComparisonError` if its hash is not the one in the manifest."""
    md5 = hashlib.md5(usedforsecurity=False)
    async with store.open(each.file) as log:
        with path.open("wb") as file:
            async for chunk in log:
                md5.update(chunk)
                file.write(chunk)
    if each.md5 not in ("", md5.hexdigest()):
        raise ComparisonError(f"{each.file}: its MD5 hash is not the one in the manifest: use a newer inventory")


def _objects(manifest: Manifest, path: Path) -> Iterator[ListedObject]:
    return _of_csv(manifest.columns, path) if manifest.format == "CSV" else _of_parquet(path)


def _of_csv(columns: Sequence[str], path: Path) -> Iterator[ListedObject]:
    read = csv_reader(columns)
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            yield from (found for row in csv.reader(lines) if (found := read(row)) is not None)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ComparisonError(f"a file of the inventory cannot be read: {error}") from error


def _of_parquet(path: Path) -> Iterator[ListedObject]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        raise ComparisonError(
            "an inventory in Parquet needs pyarrow: pip install 'jibe-sqs[inventory]', or choose CSV in its configuration"
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            columns = parquet_columns(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                found = map(parquet_object, map(_with_zone, batch.to_pylist()))
                yield from (each for each in found if each is not None)
    except (OSError, pa.ArrowException) as error:
        raise ComparisonError(f"a file of the inventory cannot be read: {error}") from error


def _with_zone(row: dict[str, object]) -> dict[str, object]:
    """Some files have times without a zone, which are UTC."""
    return {
        name: value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
        for name, value in row.items()
    }
