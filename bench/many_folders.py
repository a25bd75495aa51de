"""Peak memory and CPU time while a log file with a very large number of folders is read."""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import reading

FOLDERS = 700_000
LIMIT = 150_000_000
KEY = "logs/2026-11-21-10-00-00-0123456789ABCDEF"

SHAPES: dict[str, Callable[[int], str]] = {
    "in one parent": lambda n: f"hot/{n:07d}/x",
    "in 1,000 parents": lambda n: f"hot/{n % 1000:03d}/{n:07d}/x",
    "a binary tree": lambda n: "/".join(f"{n:b}") + "/x",
}


def run() -> None:
    """Peak memory of the whole process while a log file with 700,000 folders is read and decided on."""
    for shape, key in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log"
            write(path, key)
            stored = path.stat().st_size
            found = reading.read(path, KEY, records=FOLDERS)
        print(f"  {shape:15} {stored / 1e6:8.1f} MB stored, {FOLDERS:,} folders; {found['folders']:,} to refresh")
        reading.print_memory(found, LIMIT)
        print(f"  CPU             {found['seconds']:8.1f} s, {FOLDERS / found['seconds']:,.0f} records a second")


def write(path: Path, key: Callable[[int], str]) -> None:
    """Write an S3 access log with one write in each folder."""
    rest = '"PUT /x HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" - h= SigV4 cipher AuthHeader photos.s3.amazonaws.com TLSv1.3'
    with gzip.open(path, "wt", encoding="ascii", compresslevel=6) as file:
        for n in range(FOLDERS):
            file.write(f"0wner photos [21/Nov/2026:09:59:59 +0000] 192.0.2.1 me R{n} REST.PUT.OBJECT {key(n)} {rest}\n")
