"""Comparing Access Anywhere's index with S3: differences found and repaired, time, CPU time, memory, calls.

S3 is moto's and Access Anywhere is the sandbox's, both in another process. `jibe-sqs compare` is a process of its own, so
that its memory can be measured. `python -m bench compare [--objects N]`.
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
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3
import httpx

from jibe_sqs.sandbox.access_anywhere import AccessAnywhereServer, Provider, S3Storage, create_app, serving

OBJECTS = 100_000
IN_A_FOLDER = 200
DIFFERENCES = 1000
BUCKET, REPORTS = "data", "reports"
TOKEN = "permanent"
REGION = "us-east-1"
CONCURRENCY = 8
OLDER = 3600.0
KINDS = ("missing", "stale by size", "stale by time", "extra")
ENVIRONMENT = {**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}


def run(objects: int = OBJECTS) -> None:
    """100,000 objects with 1,000 planted differences: compared, sampled, repaired; the same from S3 inventories."""
    print(
        f"  {objects:,} objects in folders of {IN_A_FOLDER}, and one folder with a tenth of them; {CONCURRENCY} at a time"
    )
    with tempfile.TemporaryDirectory() as folder, _servers(objects) as there:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(_configuration(there, Path(folder))))
        aa = there["access_anywhere"]
        _report("the index is true", _measured(config, aa))
        _plant(aa, objects)
        _report("1,000 differences", _measured(config, aa))
        _report("a sample of 10 % of the folders", _measured(config, aa, "--sample", "10%"))
        _report("repaired", _measured(config, aa, "--repair"))
        for file_format in ("CSV", "Parquet"):
            _plant(aa, objects)
            arguments = ("--inventory", _inventory(there["aws"], objects, file_format))
            _report(f"1,000 differences, S3 inventory as {file_format}", _measured(config, aa, *arguments))
            _report("repaired", _measured(config, aa, "--repair", *arguments))


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
        key = there[n * (objects // count)]
        change: dict[str, Any] = {"bucket": BUCKET, "key": key}
        match KINDS[n % len(KINDS)]:
            case "stale by size":
                change["size"] = 7
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
    from moto.s3.models import s3_backends
    from moto.server import ThreadedMotoServer

    _list_fast()
    moto = ThreadedMotoServer(port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    backend = s3_backends["123456789012"]["aws"]
    for bucket in (BUCKET, REPORTS):
        backend.create_bucket(bucket, REGION)
    for key in keys(objects):
        backend.put_object(BUCKET, key, b"x")
    config = AccessAnywhereServer(
        login="", password="", permanent_token=TOKEN, providers=(Provider("S3", buckets=(BUCKET,)),), recent_window=0.0
    )
    with serving(create_app(config, S3Storage(endpoint, {BUCKET: REGION}))) as url:
        task = httpx.post(f"{url}/sandbox/sync", json={"provider": "S3"}, timeout=600).json()["bt_id"]
        while not any(
            each["id"] == task and each["status"] == "c"
            for each in httpx.get(f"{url}/sandbox/tasks", timeout=600).json()
        ):
            time.sleep(0.2)
        print(json.dumps({"aws": endpoint, "access_anywhere": url}), flush=True)
        sys.stdin.read()


def _status(url: str, task: int) -> str:
    tasks = httpx.get(f"{url}/sandbox/tasks", timeout=600).json()
    return str(next(each["status"] for each in tasks if each["id"] == task))


def _list_fast() -> None:
    """moto looks at every key of the bucket for each page: a second for 100,000 keys. This finds the prefix in order."""
    from moto.s3.models import S3Backend

    names: dict[str, list[str]] = {}

    def list_objects(
        _: Any, bucket: Any, prefix: str | None, delimiter: str | None, marker: None, max_keys: None
    ) -> tuple[Any, Any, bool, str | None]:
        assert marker is max_keys is None, "ListObjectsV2 makes the pages itself"
        known = names.get(bucket.name, [])
        if len(known) != len(bucket.keys):
            known = names[bucket.name] = sorted(bucket.keys)
        prefix = prefix or ""
        at, end = bisect_left(known, prefix), bisect_left(known, prefix + "\U0010ffff")
        found, folders = [], []
        while at < end:
            key = known[at]
            slash = key.find("/", len(prefix)) if delimiter else -1
            if slash < 0:
                found.append(key)
                at += 1
            else:
                folders.append(key[: slash + 1])
                at = bisect_left(known, key[:slash] + "0", at, end)
        return [bucket.keys[key] for key in found], folders, False, None

    S3Backend.list_objects = list_objects


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
