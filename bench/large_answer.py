"""Memory and event loop while Access Anywhere answers with a very large list of files.

The client runs in a process of its own. The server is here, and sends the lists piece by piece.
"""

import asyncio
import json
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from jibe_sqs.sandbox.access_anywhere import serving

SIZE = 60_000_000
GOAL = 50_000_000
CASES = ("100,000 files", "4,000,000 tiny files", "one huge file", "deeply nested", "gzip of 4 GB")

_CLIENT = """
import asyncio, json, sys, time
from bench.memory import peak
from jibe_sqs.adapters.access_anywhere import connect
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.core.errors import AccessAnywhereError

async def ask(endpoint, fi_id):
    found = {"listed": 0, "error": "", "longest": 0.0}

    async def take_turns():
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            found["longest"] = max(found["longest"], time.monotonic() - began)

    async with connect(endpoint=endpoint, permanent_token="x", clock=S3Clock()) as client:
        await client.version()
        before, began, other = peak(), time.process_time(), asyncio.create_task(take_turns())
        try:
            async for _ in client.list_folder(fi_id):
                found["listed"] += 1
        except AccessAnywhereError as error:
            found["error"] = str(error)
        other.cancel()
        return found | {"rise": peak() - before, "seconds": time.process_time() - began}

print(json.dumps(asyncio.run(ask(*sys.argv[1:]))))
"""


def run() -> None:
    """Peak memory of the client above its memory before, for answers of 60 MB, and the longest turn of its event loop."""
    with serving(Starlette(routes=[Route("/api/rpc.php", _answer, methods=["POST"])])) as endpoint:
        for number, name in enumerate(CASES):
            done = subprocess.run(
                [sys.executable, "-c", _CLIENT, endpoint, str(number)], stdout=subprocess.PIPE, check=True
            )
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            verdict = "met" if found["rise"] < GOAL else "MISSED"
            print(
                f"  {name:21} {found['rise'] / 1e6:8.1f} MB (goal {GOAL / 1e6:.0f} MB: {verdict}), longest turn "
                f"{found['longest'] * 1e3:6.1f} ms, {found['seconds']:5.1f} s of CPU, {found['listed']:,} files "
                f"{found['error']}"
            )


async def _answer(request: Request) -> Response:
    form = await request.form()
    if form["function"] != "getFolderContents":
        return JSONResponse({"status": "ok", "token": "1"})
    case = int(str(form["fi_pid"]))
    entries = (_files, _tiny_files, _huge_file, _nested, _spaces)[case]
    pieces: Iterator[bytes] = _listed(entries)
    headers = {}
    if case == len(CASES) - 1:
        pieces, headers = _packed(pieces), {"Content-Encoding": "gzip"}
    return StreamingResponse(_slowly(pieces), media_type="application/json", headers=headers)


async def _slowly(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
        await asyncio.sleep(0)


def _listed(entries: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    yield b'{"status":"ok","total":100000,"filelist":['
    yield from entries()
    yield b"]}"


def _files() -> Iterator[bytes]:
    for number in range(100_000):
        item = {
            "fi_id": str(10_000_000 + number),
            "fi_pid": "4711",
            "fi_name": f"2026-11-29-{number:012}-0123456789abcdef.json.gz",
            "fi_type": "0",
            "fi_size": "123456",
            "fi_contenttype": "application/octet-stream",
            "fi_modified": "2026-11-29 10:15:00",
            "fi_localtime": "2026-11-29 10:14:59",
            "trash": "n",
        }
        item["fi_other"] = "x" * (599 - len(json.dumps(item)) - 16)
        yield (b"," if number else b"") + json.dumps(item).encode()


def _tiny_files() -> Iterator[bytes]:
    entry = b'{"fi_id":"1"},'
    for _ in range(SIZE // (len(entry) * 4096)):
        yield entry * 4096
    yield entry[:-1]


def _huge_file() -> Iterator[bytes]:
    yield b'{"fi_id":"1","fi_name":"'
    for _ in range(SIZE // 65_536):
        yield b"x" * 65_536
    yield b'"}'


def _nested() -> Iterator[bytes]:
    for bracket in (b"[", b"]"):
        for _ in range(SIZE // 2 // 65_536):
            yield bracket * 65_536


def _spaces() -> Iterator[bytes]:
    for _ in range(4096):
        yield b" " * 1024 * 1024


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    squeeze = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield squeeze.compress(piece)
    yield squeeze.flush()
