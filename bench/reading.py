"""A log file read to its end by a process of its own, and what that took."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_READER = """
import json, sys, time
from bench.memory import peak
from jibe_sqs.core.decisions import Decisions, Plan
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader

before, began = peak(), time.process_time()
log, plan, decisions = LogReader(sys.argv[2], Limits()), Plan(), Decisions()

def take(batches):
    for records in batches:
        for record in records:
            plan.add(record, decisions.decide(record))

with open(sys.argv[1], "rb") as file:
    while chunk := file.read(1 << 20):
        take(log.feed(chunk))
take(log.finish())
print(json.dumps({"before": before, "peak": peak(), "seconds": time.process_time() - began, "bad": log.bad.count,
                  "records": plan.records, "events": plan.events, "folders": len(plan.folders),
                  "skipped": {reason.value: count for reason, count in plan.skipped.items()}}))
"""


def read(path: Path, key: str, *, records: int) -> dict[str, Any]:
    """Read, and decide on, a file whose key tells its format. `before`, `peak`: bytes of memory; `seconds` of CPU."""
    done = subprocess.run([sys.executable, "-c", _READER, path, key], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["records"] != records or found["bad"]:
        sys.exit(f"read {found['records']} records of {records}, {found['bad']} bad ones")
    return found


def print_memory(found: dict[str, Any], goal: int) -> None:
    """The peak, beside what it is to be below."""
    peak, before = found["peak"] / 1e6, found["before"] / 1e6
    print(f"  peak memory     {peak:8.1f} MB, of which {before:.1f} MB before the first byte")
    print(f"  goal            {goal / 1e6:8.1f} MB: {'met' if found['peak'] < goal else 'MISSED'}")
