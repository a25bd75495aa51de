"""Parsing of CloudTrail log files: our reader beside the standard library's gzip and json."""

import gzip
import json
import time
from collections.abc import Callable
from functools import partial

from bench import logs
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import ObjectEvent

ROUNDS = 7


def run() -> None:
    """Time from stored bytes to events: medians of both, and their ratio."""
    for name, count in (("tiny (3 records)", 3), ("normal (300 records)", 300), ("large (10,000)", 10_000)):
        data = gzip.compress(b'{"Records":[' + b",".join(logs.texts(count)) + b"]}", 6)
        repeat = max(1, 3000 // count)
        ours, plain = _medians(repeat, partial(_ours, data), partial(_plain, data))
        print(
            f"  {name:22} {len(data) / 1000:8.1f} KB   ours {ours * 1e6:10.0f} µs   gzip + json {plain * 1e6:10.0f} µs"
            f"   {plain / ours:5.1f} times"
        )


def _ours(data: bytes) -> int:
    log = LogReader(logs.KEY, Limits())
    batches = [*log.feed(data), *log.finish()]
    return sum(isinstance(record, ObjectEvent) for records in batches for record in records)


def _plain(data: bytes) -> int:
    records = json.loads(gzip.decompress(data))["Records"]
    return sum(record["eventName"] == "PutObject" and "errorCode" not in record for record in records)


def _medians(repeat: int, *candidates: Callable[[], int]) -> list[float]:
    if len({candidate() for candidate in candidates}) != 1:
        raise SystemExit("the candidates find different events")
    times: list[list[float]] = [[] for _ in candidates]
    for _ in range(ROUNDS):
        for candidate, taken in zip(candidates, times, strict=True):
            began = time.perf_counter()
            for _ in range(repeat):
                candidate()
            taken.append((time.perf_counter() - began) / repeat)
    return [sorted(taken)[ROUNDS // 2] for taken in times]
