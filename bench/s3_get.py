"""GETs of small objects from a server with a canned answer: obstore beside aiobotocore, each as S3Logs would use it."""

import asyncio
import os
import statistics
from contextlib import AsyncExitStack

import obstore
import uvloop
from aiobotocore.session import get_session
from obstore.store import S3Store

from bench.canned import cpu_of, server

OBJECT = os.urandom(1500)
GETS = 1500
AT_ONCE = 50
ROUNDS = 5
ANSWER = (
    b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "0123456789abcdef"\r\nDate: Sat, 21 Nov 2026 10:00:00 GMT\r\n'
    b"Last-Modified: Sat, 21 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nx-amz-request-id: X\r\n\r\n"
    % len(OBJECT)
) + OBJECT


def run() -> None:
    """CPU of this process per GET, server included in neither; medians of paired rounds."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_compare())


async def _compare() -> None:
    async with server(ANSWER) as endpoint, AsyncExitStack() as stack:
        store = S3Store(
            "logs",
            region="us-east-1",
            endpoint=endpoint,
            access_key_id="a",
            secret_access_key="b",
            client_options={"allow_http": True},
        )
        client = await stack.enter_async_context(
            get_session().create_client(
                "s3",
                region_name="us-east-1",
                endpoint_url=endpoint,
                aws_access_key_id="a",
                aws_secret_access_key="b",
            )
        )

        async def by_obstore() -> None:
            found = await obstore.get_async(store, "a/b.json.gz")
            async for _ in found.stream():
                pass

        async def by_aiobotocore() -> None:
            found = await client.get_object(Bucket="logs", Key="a/b.json.gz")
            await found["Body"].read()

        candidates = {"obstore": by_obstore, "aiobotocore": by_aiobotocore}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, get in candidates.items():
                times[name].append(await cpu_of(get, times=GETS, at_once=AT_ONCE))
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    for name, median in medians.items():
        print(f"  {name:14} {median * 1e6:7.0f} µs of CPU per GET")
    print(f"  aiobotocore costs {medians['aiobotocore'] / medians['obstore']:.1f} times as much")
