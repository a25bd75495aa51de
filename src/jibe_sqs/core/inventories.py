"""S3 inventories: the manifest, and the rows of its files.

A manifest names files in its own bucket, which together list the objects of the source bucket as of some hours ago. An
inventory with versions also lists old versions and delete markers. Format: S3 User Guide, "Amazon S3 Inventory list".
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from urllib.parse import unquote_plus

import msgspec

from jibe_sqs.core.errors import ComparisonError
from jibe_sqs.core.model import LogFile

Format = Literal["CSV", "Parquet"]

KEY, SIZE, MODIFIED, LATEST, MARKER = "key", "size", "last_modified_date", "is_latest", "is_delete_marker"
"""The columns that are read, as Parquet names them."""
CSV_NAMES: Final = {
    "Key": KEY,
    "Size": SIZE,
    "LastModifiedDate": MODIFIED,
    "IsLatest": LATEST,
    "IsDeleteMarker": MARKER,
}
NEEDED: Final = (KEY, SIZE, MODIFIED)
_FIELDS_REMEDY: Final = "add the fields Size and Last modified date to the configuration of the inventory"


class InventoryFile(msgspec.Struct, frozen=True):
    """One file of an inventory. `md5`: of its bytes, in hexadecimal; empty if the manifest does not have it."""

    file: LogFile
    md5: str


class Manifest(msgspec.Struct, frozen=True):
    """An inventory of the bucket `source`. `created`: seconds since the epoch.

    `columns`: the columns of CSV files, which have no header. Parquet files name theirs.
    """

    source: str
    created: float
    format: Format
    columns: Sequence[str]
    files: Sequence[InventoryFile]


class ListedObject(msgspec.Struct, frozen=True, gc=False):
    """One object that the source bucket had."""

    key: str
    size: int
    modified: float


class _File(msgspec.Struct):
    key: str
    size: int | None = None
    md5: str = msgspec.field(name="MD5checksum", default="")


class _Manifest(msgspec.Struct, rename="camel"):
    source_bucket: str
    destination_bucket: str
    creation_timestamp: str | int
    file_format: str
    file_schema: str
    files: list[_File]


def read_manifest(body: bytes) -> Manifest:
    """Read a `manifest.json`. Raises `ComparisonError`."""
    try:
        found = msgspec.json.decode(body, type=_Manifest)
        created = int(found.creation_timestamp) / 1000
    except (msgspec.DecodeError, ValueError) as error:
        raise ComparisonError(f"not the manifest of an S3 inventory: {error}") from None
    if found.file_format not in ("CSV", "Parquet"):
        raise ComparisonError(
            f"the inventory has the format {found.file_format!r:.20}, which cannot be read: choose CSV or Parquet in its "
            "configuration"
        )
    columns = [name.strip() for name in found.file_schema.split(",")] if found.file_format == "CSV" else []
    if columns:
        _check({CSV_NAMES.get(name, name) for name in columns})
    bucket = found.destination_bucket.rpartition(":")[2]
    return Manifest(
        source=found.source_bucket,
        created=created,
        format="CSV" if found.file_format == "CSV" else "Parquet",
        columns=columns,
        files=[InventoryFile(LogFile(bucket, each.key, size=each.size), each.md5.lower()) for each in found.files],
    )


def csv_reader(columns: Sequence[str]) -> Callable[[Sequence[str]], ListedObject | None]:
    """A function that reads a row of a CSV file. It returns None for old versions and delete markers.

    It raises `ComparisonError`.
    """
    at = {CSV_NAMES[name]: number for number, name in enumerate(columns) if name in CSV_NAMES}
    key, size, modified = (at[name] for name in NEEDED)
    latest, marker = at.get(LATEST), at.get(MARKER)

    def read(row: Sequence[str]) -> ListedObject | None:
        try:
            if (latest is not None and row[latest] == "false") or (marker is not None and row[marker] == "true"):
                return None
            # S3 encodes the keys as in URLs, also a space as `+`.
            moment = datetime.fromisoformat(row[modified]).timestamp()
            return ListedObject(unquote_plus(row[key]), int(row[size] or 0), moment)
        except (IndexError, ValueError) as error:
            raise ComparisonError(f"a row of the inventory cannot be read: {error}") from None

    return read


def parquet_columns(names: Sequence[str]) -> list[str]:
    """Those of the columns of a Parquet file that are read. Raises `ComparisonError` if one is missing."""
    _check(set(names))
    return [name for name in (KEY, SIZE, MODIFIED, LATEST, MARKER) if name in names]


def parquet_object(row: Mapping[str, object]) -> ListedObject | None:
    """Read a row of a Parquet file. Returns None for old versions and delete markers. Raises `ComparisonError`."""
    if row.get(LATEST) is False or row.get(MARKER) is True:
        return None
    key, size, modified = (row[name] for name in NEEDED)
    if not isinstance(key, str) or not isinstance(size, int | None) or not isinstance(modified, datetime):
        raise ComparisonError("a row of the inventory cannot be read: a value has an unexpected type")
    # Keys are not encoded here.
    return ListedObject(key, size or 0, modified.timestamp())


def _check(names: set[str]) -> None:
    if missing := [name for name in NEEDED if name not in names]:
        raise ComparisonError(f"the inventory has no column {missing[0]}: {_FIELDS_REMEDY}")
