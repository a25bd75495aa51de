"""A log bucket in a process of its own: S3's list and GET for generated CloudTrail files, with a count of the GETs of each.

Beside it, Access Anywhere from the sandbox, with storage in memory. `python -m bench.log_bucket FILES FOLDERS START` prints
both endpoints, and serves until its standard input ends.
"""

import asyncio
import gzip
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from xml.sax.saxutils import escape

import httpx
from aiohttp import web

from jibe_sqs.sandbox.access_anywhere import AccessAnywhereServer, MemoryStorage, Provider, Synced, create_app, serving

BUCKET: Final = "trail"
DATA: Final = "data"
TOKEN: Final = "permanent"
ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"
START: Final = datetime(2026, 1, 10, tzinfo=UTC)
DAYS: Final = 4
RECORDS: Final = 3
PAGE: Final = 1000
REFRESH_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Endpoints:
    """The addresses of the two servers."""

    s3: str
    access_anywhere: str

    def counts(self) -> dict[str, int]:
        """GETs, the number of keys that they were for, GETs beyond the first of each key, and LISTs."""
        counts: dict[str, int] = httpx.get(f"{self.s3}/-/counts", timeout=60).json()
        return counts


@contextmanager
def served(files: int, folders: int, *, start: datetime = START) -> Iterator[Endpoints]:
    """Run both servers in another process until the block ends. The first log file is of `start`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.log_bucket", str(files), str(folders), start.isoformat()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout
        try:
            yield Endpoints(**json.loads(process.stdout.readline()))
        finally:
            process.communicate()


def settings(endpoints: Endpoints, ledger: str) -> dict[str, Any]:
    """The settings of a service that reads this bucket."""
    store = {"endpoint": endpoints.s3, "region": REGION, "access_key_id": "AKIA", "secret_access_key": "secret"}
    return {
        "aws": store,
        "access_anywhere": {"endpoint": endpoints.access_anywhere, "permanent_token": TOKEN},
        "logs": [{"bucket": BUCKET}],
        "queues": [{"url": f"{endpoints.s3}/{ACCOUNT}/queue"}],
        "buckets": {DATA: f"/S3/{DATA}"},
        "ledger": {"path": ledger},
    }


def key_of(number: int, files: int, start: datetime) -> str:
    """The key of a file. They are spread over `DAYS`."""
    at = start + timedelta(days=DAYS) * (number / files)
    name = f"{ACCOUNT}_CloudTrail_{REGION}_{at:%Y%m%dT%H%MZ}_{number:08}.json.gz"
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{at:%Y/%m/%d}/{name}"


def log_body(number: int, folders: int, time: str = f"{START:%Y-%m-%dT%H:%M:%SZ}") -> bytes:
    """A log file with `RECORDS` writes, each in another folder."""
    records = [
        {
            "eventVersion": "1.11",
            "eventTime": time,
            "eventSource": "s3.amazonaws.com",
            "eventName": "PutObject",
            "eventID": f"{number}-{index}",
            "awsRegion": REGION,
            "readOnly": False,
            "requestParameters": {"bucketName": DATA, "key": f"{(number + index) % folders:05}/{number}"},
        }
        for index in range(RECORDS)
    ]
    return gzip.compress(json.dumps({"Records": records}).encode(), 1)


class _LogBucket:
    def __init__(self, files: int, folders: int, start: datetime) -> None:
        self._keys = sorted(key_of(number, files, start) for number in range(files))
        self._time = f"{start:%Y-%m-%dT%H:%M:%SZ}"
        self._folders = folders
        self._gets: Counter[str] = Counter()
        self._lists = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/-/counts", self._counts)
        app.router.add_get(f"/{BUCKET}", self._list)
        app.router.add_get(f"/{BUCKET}/", self._list)
        app.router.add_get(f"/{BUCKET}/{{key:.+}}", self._get)
        return app

    async def _counts(self, _: web.Request) -> web.Response:
        gets = self._gets
        twice = sum(count - 1 for count in gets.values())
        return web.json_response({"gets": gets.total(), "keys": len(gets), "twice": twice, "lists": self._lists})

    async def _get(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        self._gets[key] += 1
        number = int(key[-16:-8])
        body = log_body(number, self._folders, self._time)
        return web.Response(body=body, headers={"ETag": f'"{number}"', "Last-Modified": _http_date()})

    async def _list(self, request: web.Request) -> web.Response:
        self._lists += 1
        asked = request.query
        prefix, after = asked.get("prefix", ""), asked.get("continuation-token", "")
        limit = int(asked.get("max-keys", PAGE))
        folders: dict[str, None] = {}
        entries: list[str] = []
        token = ""
        for key in self._keys:
            if not key.startswith(prefix) or key <= after:
                continue
            below, slash, _ = key[len(prefix) :].partition("/")
            if slash and asked.get("delimiter"):
                folders[f"{prefix}{below}/"] = None
            elif len(entries) == limit:
                token = entries[-1]
                break
            else:
                entries.append(key)
        text = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_modified(key)}</LastModified>"
            f"<ETag>&quot;{int(key[-16:-8])}&quot;</ETag><Size>300</Size></Contents>"
            for key in entries
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{escape(token)}</NextContinuationToken>"
        body = f"<ListBucketResult><Name>{BUCKET}</Name>{text}{more if token else ''}</ListBucketResult>"
        return web.Response(text=body, content_type="application/xml", headers={"Date": _http_date()})


def _modified(key: str) -> str:
    at = datetime.strptime(key.split("_")[3], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S.000Z}"


def _http_date() -> str:
    return f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S GMT}"


async def _serve(files: int, folders: int, start: datetime) -> None:
    bucket = _LogBucket(files, folders, start)
    runner = web.AppRunner(bucket.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = AccessAnywhereServer(
        login="",
        password="",
        permanent_token=TOKEN,
        # A sync that began before the changes: one after them would have seen them all.
        providers=(Provider("S3", buckets=(DATA,), synced=Synced(0.0, 0.0)),),
        recent_window=0.0,
        refresh_seconds=REFRESH_SECONDS,
    )
    storage = MemoryStorage({DATA: {f"{folder:05}/object": b"" for folder in range(folders)}})
    with serving(create_app(config, storage)) as url:
        print(json.dumps({"s3": f"http://127.0.0.1:{runner.addresses[0][1]}", "access_anywhere": url}), flush=True)
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        def wait() -> None:
            sys.stdin.read()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=wait, daemon=True).start()
        await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
