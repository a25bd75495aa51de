"""GETs of small objects from a server with a canned answer: our client beside aiobotocore's, as `S3Logs` uses them."""

import asyncio
import os
import statistics

import uvloop

from bench.canned import cpu_of, server
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.s3_get import Objects, address

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
    """CPU time of this process per GET, without the server; medians of paired rounds."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_compare())


async def _compare() -> None:
    async with server(ANSWER) as endpoint, Aws() as aws:
        account = Account(endpoint=endpoint, access_key_id="a", secret_access_key="b")
        client = await aws.client("s3", "us-east-1", account)
        objects = Objects(aws, account, await address(client, "logs", {}))

        async def by_us() -> None:
            found = await objects.open("a/b.json.gz", None)
            while await found.chunk():
                pass
            found.close()

        async def by_aiobotocore() -> None:
            found = await client.get_object(Bucket="logs", Key="a/b.json.gz")
            await found["Body"].read()

        candidates = {"jibe-sqs": by_us, "aiobotocore": by_aiobotocore}
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for _ in range(ROUNDS + 1):
            for name, get in candidates.items():
                times[name].append(await cpu_of(get, times=GETS, at_once=AT_ONCE))
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    for name, median in medians.items():
        print(f"  {name:14} {median * 1e6:7.0f} µs of CPU per GET")
    print(f"  aiobotocore costs {medians['aiobotocore'] / medians['jibe-sqs']:.1f} times as much")
