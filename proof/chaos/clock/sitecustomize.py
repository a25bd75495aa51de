"""Python imports this module first in a replica. It makes the replica's wall clock differ from the true time.

Only `time.time` changes, because the service reads the time of day with it. `datetime.now`, which botocore uses for
signatures, and the monotonic clock stay right.
"""

import os
import struct
import time
from mmap import ACCESS_READ, mmap
from pathlib import Path

if file := os.environ.get("CHAOS_CLOCK"):
    with Path(file).open("rb") as opened:
        ahead = mmap(opened.fileno(), 8, access=ACCESS_READ)
    true_time = time.time

    def stepped_time() -> float:
        return true_time() + float(struct.unpack_from("<d", ahead)[0])

    time.time = stepped_time
