"""S3 inventories, in both formats: what they list, folder by folder, and how a bad one is refused."""

import csv
import gzip
import hashlib
import io
import json
import sys
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest

from jibe_sqs.adapters.inventories import inventory, manifest_at
from jibe_sqs.core.errors import ComparisonError
from jibe_sqs.ports import Found
from jibe_sqs.testing import InMemoryLogStore

MANIFEST = "reports/media/daily/2026-01-01T01-00Z/manifest.json"
AT = datetime(2025, 12, 31, 12, tzinfo=UTC)
CSV_COLUMNS = ["Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "ETag"]
ROWS = [
    ("a.txt", True, False, 1),
    ("x/b c+d.txt", True, False, 2),
    ("x/y/ü/日本.txt", True, False, 3),
    ("x/y/old.txt", False, False, 4),
    ("x/y/deleted.txt", True, True, None),
    ("x//z", True, False, 5),
    ("q/", True, False, 0),
]
LISTED = {"a.txt": 1, "x/b c+d.txt": 2, "x/y/ü/日本.txt": 3, "x//z": 5, "q/": 0}


def as_csv(rows):
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for key, latest, marker, size in rows:
        moment = AT.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        flags = str(latest).lower(), str(marker).lower()
        writer.writerow(["media", quote_plus(key), "v1", *flags, "" if size is None else size, moment, "e"])
    return gzip.compress(text.getvalue().encode())


def as_parquet(rows, *, zone=UTC):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    keys, latest, markers, sizes = zip(*rows, strict=True)
    modified = pa.array([AT] * len(rows), pa.timestamp("ms", tz="UTC" if zone else None))
    table = pa.table(
        {
            "bucket": ["media"] * len(rows),
            "key": list(keys),
            "is_latest": list(latest),
            "is_delete_marker": list(markers),
            "size": pa.array(sizes, pa.int64()),
            "last_modified_date": modified,
        }
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def stored(files, *, file_format="CSV", columns=CSV_COLUMNS, created=AT):
    """A store with an inventory of these files."""
    store = InMemoryLogStore()
    listed = []
    for number, body in enumerate(files):
        key = f"reports/media/daily/data/{number}"
        store.objects["reports", key] = body
        listed.append({"key": key, "size": len(body), "MD5checksum": hashlib.md5(body).hexdigest()})
    manifest = {
        "sourceBucket": "media",
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": str(int(created.timestamp() * 1000)),
        "fileFormat": file_format,
        "fileSchema": ", ".join(columns)
        if file_format == "CSV"
        else "message s3.inventory { required binary bucket; }",
        "files": listed,
    }
    store.objects["reports", MANIFEST] = json.dumps(manifest).encode()
    return store


async def objects_in(listing, prefix=""):
    """All objects below a prefix: key -> size. Walks level by level."""
    found = {}
    async for each in listing.level("media", prefix):
        if isinstance(each, Found):
            assert each.modified == AT.timestamp()
            found[each.file.key] = each.file.size
        else:
            found |= await objects_in(listing, each)
    return found


async def listed(store, prefix=""):
    manifest = await manifest_at("reports", MANIFEST, store)
    async with inventory(manifest, store, prefix=prefix) as listing:
        return await objects_in(listing, prefix)


@pytest.mark.parametrize("file_format", ["CSV", "Parquet"])
async def test_it_lists_the_current_objects_of_all_files(file_format):
    """Old versions and delete markers are no objects. Keys are URL-encoded in CSV only. Files may be in any order."""
    encode = as_csv if file_format == "CSV" else as_parquet
    store = stored([encode(ROWS[3:]), encode(ROWS[:3])], file_format=file_format)
    assert await listed(store) == LISTED


async def test_times_without_a_zone_are_utc():
    assert await listed(stored([as_parquet(ROWS, zone=None)], file_format="Parquet")) == LISTED


async def test_it_lists_a_prefix_alone():
    store = stored([as_csv(ROWS)])
    assert await listed(store, "x/y/") == {"x/y/ü/日本.txt": 3}


async def test_a_key_may_have_a_thousand_slashes():
    store = stored([as_csv([("/" * 1024, True, False, 1), ("a/" * 511 + "b", True, False, 1)])])
    async with inventory(await manifest_at("reports", MANIFEST, store), store) as listing:
        assert [each async for each in listing.level("media", "/" * 1023)] == ["/" * 1024]
        assert [each.file.key async for each in listing.level("media", "a/" * 511)] == ["a/" * 511 + "b"]


async def test_an_inventory_without_versions_has_fewer_columns():
    body = gzip.compress(b'"media","a%2Bb+c","7","2025-12-31T12:00:00.000Z"\n')
    assert await listed(stored([body], columns=["Bucket", "Key", "Size", "LastModifiedDate"])) == {"a+b c": 7}


async def test_the_manifest_names_its_bucket_and_its_time():
    manifest = await manifest_at("reports", MANIFEST, stored([]))
    assert (manifest.source, manifest.created) == ("media", AT.timestamp())


async def test_an_empty_inventory_has_nothing():
    assert await listed(stored([])) == {}


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (
            stored([as_csv(ROWS)], columns=["Bucket", "Key", "Size"]),
            "no column last_modified_date: add the fields Size",
        ),
        (stored([], file_format="ORC"), "choose CSV or Parquet"),
        (stored([b"not compressed"]), "a file of the inventory cannot be read"),
        (stored([as_csv(ROWS)[:-20]]), "a file of the inventory cannot be read"),
        (stored([gzip.compress(b'"media"\n')]), "a row of the inventory cannot be read"),
        (stored([b"PAR1 no, it is not"], file_format="Parquet"), "a file of the inventory cannot be read"),
    ],
)
async def test_an_inventory_that_cannot_be_used_is_refused_with_its_remedy(store, reason):
    with pytest.raises(ComparisonError, match=reason):
        await listed(store)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"sourceBucket": 1}'])
async def test_what_is_no_manifest_is_refused(body):
    store = InMemoryLogStore()
    store.objects["reports", MANIFEST] = body
    with pytest.raises(ComparisonError, match="not the manifest of an S3 inventory"):
        await manifest_at("reports", MANIFEST, store)


async def test_a_file_that_changed_since_is_refused():
    """Its hash is not the one in the manifest."""
    store = stored([as_csv(ROWS)])
    store.objects["reports", "reports/media/daily/data/0"] = as_csv(ROWS[:1])
    with pytest.raises(ComparisonError, match="MD5"):
        await listed(store)


async def test_parquet_without_pyarrow_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ComparisonError, match=r"pip install 'jibe-sqs\[inventory\]'"):
        await listed(stored([b"PAR1"], file_format="Parquet"))


async def test_without_room_for_temporary_files_there_is_a_remedy(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/no/such/directory")
    with pytest.raises(ComparisonError, match="set TMPDIR"):
        await listed(stored([as_csv(ROWS)]))
