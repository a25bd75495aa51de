"""How fast the stub is, so that it is not what the comparison measures: requests a second, and CPU time of each."""

import time
from contextlib import closing
from typing import Final
from urllib.parse import urlencode

import msgspec

from bench.contenders import QUEUE
from bench.peers.limit import Connection
from bench.stub.log_files import LOG_BUCKET, key_of
from bench.stub.process import StubProcess, running

REQUESTS: Final = 20_000
AT_ONCE: Final = 50
"""Requests that are sent before the first answer is read, as if from so many connections."""


def run() -> None:
    """Requests a second of the stub, from one raw socket, and the stub's CPU time for each."""
    with running() as stub:
        stub.events("tiny", REQUESTS)
        gets = [_get(key_of("tiny", number)) for number in range(REQUESTS)]
        _print(stub, "GET of a tiny file", gets)
        stub.load(QUEUE, "tiny", REQUESTS * 10)
        _print(stub, "receive of ten", [_receive(stub)] * (REQUESTS // 10))
        _print(stub, "delete of ten", [_delete(stub, first) for first in range(1, REQUESTS, 10)])
        _print(stub, "look-up of a folder", [_look_up(number) for number in range(REQUESTS // 10)])


def _print(stub: StubProcess, what: str, requests: list[bytes]) -> None:
    host, port = stub.endpoint.removeprefix("http://").split(":")
    before = stub.state()["cpu"]
    with closing(Connection(host, int(port))) as connection:
        began = time.monotonic()
        for first in range(0, len(requests), AT_ONCE):
            some = requests[first : first + AT_ONCE]
            connection.send(b"".join(some))
            for _ in some:
                connection.body()
        seconds = time.monotonic() - began
    cpu = stub.state()["cpu"] - before
    print(
        f"  {what:20}{len(requests) / seconds:>10,.0f} a second,{cpu / len(requests) * 1e6:>6.0f} us of its CPU, "
        f"{cpu / seconds:.0%} of a core",
        flush=True,
    )


def _get(key: str) -> bytes:
    return f"GET /{LOG_BUCKET}/{key} HTTP/1.1\r\nHost: stub\r\n\r\n".encode()


def _receive(stub: StubProcess) -> bytes:
    return _sqs("ReceiveMessage", {"QueueUrl": stub.queue_url(QUEUE), "MaxNumberOfMessages": 10})


def _delete(stub: StubProcess, first: int) -> bytes:
    entries = [{"Id": str(receipt), "ReceiptHandle": str(receipt)} for receipt in range(first, first + 10)]
    return _sqs("DeleteMessageBatch", {"QueueUrl": stub.queue_url(QUEUE), "Entries": entries})


def _sqs(operation: str, asked: dict[str, object]) -> bytes:
    return _post("/", f"X-Amz-Target: AmazonSQS.{operation}\r\n", msgspec.json.encode(asked))


def _look_up(number: int) -> bytes:
    called = urlencode({"function": "checkPathExists", "path": f"folder {number}", "pid": "2", "token": "t"})
    return _post("/api/rpc.php", "", called.encode())


def _post(path: str, headers: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: stub\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
