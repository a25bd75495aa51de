"""Comparing Access Anywhere's index with S3: differences found and repaired, time, CPU time, memory, calls.

Access Anywhere is the sandbox's, in another process, with a small S3 beside it. `jibe-sqs compare` is a process of its own,
so that its memory can be measured. `python -m bench compare [--objects N]`.
"""

import csv
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jibe_sqs.sandbox.access_anywhere import AccessAnywhereServer, MemoryStorage, Provider, create_app, serving

OBJECTS = 100_000
IN_A_FOLDER = 200
DIFFERENCES = 1000
BUCKET, REPORTS = "data", "reports"
TOKEN = "permanent"
REGION = "us-east-1"
CONCURRENCY = 8
OLDER = 3600.0
PAGE = 1000
KINDS = ("missing", "stale by size", "stale by time", "extra")
ENVIRONMENT = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


def run(objects: int = OBJECTS) -> None:
    """100,000 objects with 1,000 planted differences: compared, and repaired; the same from S3 inventories."""
    print(
        f"  {objects:,} objects in folders of {IN_A_FOLDER}, and one folder with a tenth of them; {CONCURRENCY} at a time"
    )
    with tempfile.TemporaryDirectory() as folder, _servers(objects) as there:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(_configuration(there, Path(folder))))
        aa = there["access_anywhere"]
        _plant(aa, objects)
        _report("compared with --repair", _measured(config, aa, "--repair"))
        for file_format in ("CSV", "Parquet"):
            _plant(aa, objects)
            arguments = ("--inventory", _inventory(there["aws"], objects, file_format), "--repair")
            _report(f"compared with an inventory as {file_format}, and --repair", _measured(config, aa, *arguments))


def keys(objects: int) -> Iterator[str]:
    """Nine tenths are in folders of two levels, the others in one folder."""
    for n in range(objects):
        few = n // IN_A_FOLDER
        yield f"all/{n:08}" if n % 10 == 0 else f"{few // 50:04}/{few % 50:02}/object-{n:08}"


def _planted(objects: int) -> list[dict[str, Any]]:
    """As many of each kind, spread over all folders. What the index shows is wrong then."""
    there = list(keys(objects))
    count = min(DIFFERENCES, objects // 10)
    changes: list[dict[str, Any]] = []
    for n in range(count):
        key = there[n * (objects // count) + n % 10]
        change: dict[str, Any] = {"bucket": BUCKET, "key": key}
        match KINDS[n % len(KINDS)]:
            case "stale by size":
                change |= {"size": 7, "modified": time.time() - OLDER}
            case "stale by time":
                change |= {"size": 1, "modified": time.time() - OLDER}
            case "extra":
                change |= {"key": f"{key}-extra", "size": 1, "modified": time.time() - OLDER}
        changes.append(change)
    return changes


def _plant(url: str, objects: int) -> None:
    httpx.put(f"{url}/sandbox/index", json=_planted(objects), timeout=600).raise_for_status()


def _report(what: str, found: dict[str, Any]) -> None:
    result = found["result"]
    counts = ", ".join(f"{result[kind]:,} {kind}" for kind in ("missing", "stale", "extra", "repaired"))
    print(f"  {what}: {result['objects']:,} objects in {result['folders']:,} folders: {counts}", flush=True)
    print(f"    in sync                       {result['in_sync']!s:>8}, exit code {found['code']}")
    print(f"    time                          {found['seconds']:8.1f} s, of it {found['cpu']:.1f} s of our CPU")
    print(f"    peak memory                   {found['peak'] / 1e6:8.1f} MB")
    calls = ", ".join(f"{count:,} {function}" for function, count in sorted(found["calls"].items()))
    print(f"    calls to Access Anywhere      {calls}")


# The processes


@contextmanager
def _servers(objects: int) -> Iterator[dict[str, str]]:
    arguments = [sys.executable, "-m", "bench.compare", "serve", str(objects)]
    server = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    with server:
        assert server.stdout
        yield json.loads(server.stdout.readline())
        server.communicate()


def _serve(objects: int) -> None:
    """Serve until standard input ends."""
    storage = MemoryStorage({BUCKET: dict.fromkeys(keys(objects), b"x"), REPORTS: {}})
    config = AccessAnywhereServer(
        login="", password="", permanent_token=TOKEN, providers=(Provider("S3", buckets=(BUCKET,)),), recent_window=0.0
    )
    s3 = Starlette(routes=[Route("/{path:path}", S3(storage).answer, methods=["GET", "HEAD", "PUT"])])
    with serving(create_app(config, storage)) as url, serving(s3) as endpoint:
        task = httpx.post(f"{url}/sandbox/sync", json={"provider": "S3"}, timeout=600).json()["bt_id"]
        while (status := _status(url, task)) != "c":
            assert status != "error", "the sync failed"
            time.sleep(0.2)
        print(json.dumps({"aws": endpoint, "access_anywhere": url}), flush=True)
        sys.stdin.read()


def _status(url: str, task: int) -> str:
    tasks = httpx.get(f"{url}/sandbox/tasks", timeout=600).json()
    return str(next(each["status"] for each in tasks if each["id"] == task))


class S3:
    """The calls of S3 that a comparison makes, on the same storage as Access Anywhere's. moto needs minutes for 100,000 keys."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    async def answer(self, request: Request) -> Response:
        """HeadBucket, ListObjectsV2, GetObject and PutObject."""
        bucket, _, key = request.path_params["path"].partition("/")
        if request.method == "PUT":
            self._storage.put(bucket, key, await request.body())
            return Response()
        if key:
            body = await (await self._storage.read(bucket, key)).body()
            return Response(body, headers={"ETag": '"e"', "Date": formatdate(usegmt=True)})
        region = {"x-amz-bucket-region": REGION, "Date": formatdate(usegmt=True)}
        if "list-type" not in request.query_params:
            return Response(headers=region)
        return Response(await self._page(bucket, request.query_params), media_type="application/xml", headers=region)

    async def _page(self, bucket: str, wanted: Mapping[str, str]) -> str:
        level = await self._storage.list(bucket, wanted["prefix"])
        assert wanted["delimiter"] == "/", "a comparison lists level by level"
        entries = sorted(
            [*((each.key, each) for each in level.files), *((each, None) for each in level.prefixes)],
            key=lambda entry: entry[0],
        )
        start = int(wanted.get("continuation-token", 0))
        shown, left = entries[start : start + PAGE], entries[start + PAGE :]
        parts = [
            f"<CommonPrefixes><Prefix>{quote_plus(name)}</Prefix></CommonPrefixes>"
            if each is None
            else f"<Contents><Key>{quote_plus(name)}</Key><Size>{each.size}</Size><ETag>e</ETag>"
            f"<LastModified>{datetime.fromtimestamp(each.modified, UTC).isoformat()}</LastModified></Contents>"
            for name, each in shown
        ]
        token = f"<NextContinuationToken>{start + PAGE}</NextContinuationToken>" if left else ""
        return (
            f"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{str(bool(left)).lower()}</IsTruncated>"
            f"{token}{''.join(parts)}</ListBucketResult>"
        )


def _configuration(there: dict[str, str], folder: Path) -> dict[str, Any]:
    return {
        "access_anywhere": {
            "endpoint": there["access_anywhere"],
            "permanent_token": TOKEN,
            "concurrency": CONCURRENCY,
        },
        "buckets": {BUCKET: f"/S3/{BUCKET}"},
        "queues": [{"url": f"{there['aws']}/123456789012/unused"}],
        "aws": {"endpoint": there["aws"], "region": REGION},
        "ledger": {"path": str(folder / "ledger.sqlite")},
    }


def _inventory(endpoint: str, objects: int, file_format: str) -> str:
    """Store an inventory in several files, not in the order of the keys. Returns the address of its manifest."""
    s3 = boto3.client("s3", REGION, endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test")
    there = list(keys(objects))
    files = []
    for number in range(4):
        rows = there[number::4]
        body = _csv(rows) if file_format == "CSV" else _parquet(rows)
        key = f"data/{file_format}-{number}"
        s3.put_object(Bucket=REPORTS, Key=key, Body=body)
        files.append(
            {"key": key, "size": len(body), "MD5checksum": hashlib.md5(body, usedforsecurity=False).hexdigest()}
        )
    manifest = {
        "sourceBucket": BUCKET,
        "destinationBucket": f"arn:aws:s3:::{REPORTS}",
        "creationTimestamp": str(int(time.time() * 1000)),
        "fileFormat": file_format,
        "fileSchema": "Bucket, Key, Size, LastModifiedDate" if file_format == "CSV" else "message s3.inventory {}",
        "files": files,
    }
    s3.put_object(Bucket=REPORTS, Key=f"{file_format}/manifest.json", Body=json.dumps(manifest).encode())
    return f"s3://{REPORTS}/{file_format}/manifest.json"


def _csv(rows: Sequence[str]) -> bytes:
    text = io.StringIO()
    modified = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([BUCKET, quote_plus(key), 1, modified] for key in rows)
    return gzip.compress(text.getvalue().encode())


def _parquet(rows: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    now = pa.array([datetime.now(UTC)] * len(rows), pa.timestamp("ms", tz="UTC"))
    out = io.BytesIO()
    parquet.write_table(
        pa.table({"bucket": [BUCKET] * len(rows), "key": rows, "size": [1] * len(rows), "last_modified_date": now}), out
    )
    return out.getvalue()


def _measured(config: Path, url: str, *arguments: str) -> dict[str, Any]:
    before = httpx.get(f"{url}/sandbox/stats", timeout=60).json()["calls"]
    command = [
        sys.executable,
        "-m",
        "bench.compare",
        "measure",
        "compare",
        "--json",
        "--config",
        str(config),
        *arguments,
    ]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    seconds = time.monotonic() - began
    try:
        result, measured = map(json.loads, done.stdout.splitlines())
    except ValueError:
        raise SystemExit(done.stdout + done.stderr) from None
    after = httpx.get(f"{url}/sandbox/stats", timeout=60).json()["calls"]
    calls = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    return {"result": result, "code": done.returncode, "seconds": seconds, "calls": calls, **measured}


def _measure(arguments: Sequence[str]) -> None:
    """The command, and then its memory and CPU time in one more line."""
    from bench import memory
    from jibe_sqs import cli

    sys.argv = ["jibe-sqs", *arguments]
    try:
        cli.main()
    finally:
        print(json.dumps({"peak": memory.peak(), "cpu": time.process_time()}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(int(sys.argv[2]))
    else:
        _measure(sys.argv[2:])
