"""Peak memory while a large CloudTrail log file is read to its end."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import logs

SIZE = 700_000_000
LIMIT = 100_000_000

READER = """
import json, sys, time
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.log_names import Format
from jibe_sqs.core.decisions import Decisions, Plan
from jibe_sqs.core.formats.limits import Limits

def peak():
    # Not ru_maxrss, which a process inherits from the one that started it.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

before, began = peak(), time.process_time()
log, plan, decisions = LogReader("", Limits(), configured=Format.CLOUDTRAIL), Plan(), Decisions()

def take(batches):
    for records in batches:
        for record in records:
            plan.add(record, decisions.decide(record))

with open(sys.argv[1], "rb") as file:
    while chunk := file.read(1 << 20):
        take(log.feed(chunk))
take(log.finish())
print(json.dumps({"before": before, "peak": peak(), "seconds": time.process_time() - began,
                  "records": plan.records, "events": plan.events, "folders": len(plan.stale)}))
"""


def run() -> None:
    """Peak memory (of the whole process) while a 700 MB log is read, and decided on, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.json.gz"
        count, text = logs.write(path, SIZE)
        stored = path.stat().st_size
        found = json.loads(
            subprocess.run([sys.executable, "-c", READER, path], stdout=subprocess.PIPE, check=True).stdout
        )
    if found["records"] != count:
        sys.exit(f"read {found['records']} records of {count}")
    print(f"  file            {stored / 1e6:8.1f} MB stored, {text / 1e6:.0f} MB of JSON, {count:,} records")
    print(f"  events          {found['events']:8,} in {found['folders']:,} folders")
    print(
        f"  peak memory     {found['peak'] / 1e6:8.1f} MB, of which {found['before'] / 1e6:.1f} MB before the first byte"
    )
    print(f"  goal            {LIMIT / 1e6:8.1f} MB: {'met' if found['peak'] < LIMIT else 'MISSED'}")
    print(f"  CPU             {found['seconds']:8.1f} s, {text / 1e6 / found['seconds']:.0f} MB of JSON a second")
