"""Reads a log file in another process, and measures its memory and CPU time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_READER = """
import json, sys, time
from bench.memory import peak
from jibe_sqs.core.decisions import Decisions
from jibe_sqs.core.plan import Plan
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
needed = plan.needed(dict.fromkeys(plan.folders, 0.0)).folders
print(json.dumps({"before": before, "peak": peak(), "seconds": time.process_time() - began, "bad": log.bad.count,
                  "records": plan.records, "events": plan.events, "folders": len(needed),
                  "skipped": {reason.value: count for reason, count in plan.skipped.items()}}))
"""


def read(path: Path, key: str, *, records: int) -> dict[str, Any]:
    """Read a log file and decide on its records. Its key shows its format.

    In the result, `before` and `peak` are bytes of memory, and `seconds` is CPU time.
    """
    done = subprocess.run([sys.executable, "-c", _READER, path, key], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if found["records"] != records or found["bad"]:
        sys.exit(f"read {found['records']} records of {records}, {found['bad']} bad ones")
    return found


def print_memory(found: dict[str, Any], goal: int) -> None:
    """Print the peak, and whether it is below the goal."""
    peak, before = found["peak"] / 1e6, found["before"] / 1e6
    print(f"  peak memory     {peak:8.1f} MB, of which {before:.1f} MB before the first byte")
    print(f"  goal            {goal / 1e6:8.1f} MB: {'met' if found['peak'] < goal else 'MISSED'}")
