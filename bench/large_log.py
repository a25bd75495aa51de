"""Peak memory while a large CloudTrail log file is read."""

import tempfile
from pathlib import Path

from bench import logs, reading

SIZE = 700_000_000
LIMIT = 100_000_000


def run() -> None:
    """Peak memory of the whole process while a 700 MB log file is read and decided on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.json.gz"
        count, text = logs.write(path, SIZE)
        stored = path.stat().st_size
        found = reading.read(path, logs.KEY, records=count)
    print(f"  file            {stored / 1e6:8.1f} MB stored, {text / 1e6:.0f} MB of JSON, {count:,} records")
    print(f"  events          {found['events']:8,} in {found['folders']:,} folders")
    reading.print_memory(found, LIMIT)
    print(f"  CPU             {found['seconds']:8.1f} s, {text / 1e6 / found['seconds']:.0f} MB of JSON a second")
