"""Generates CloudTrail log files with the shape and compressibility of real ones."""

import json
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

from jibe_sqs.sandbox.aws import records

ACCOUNT = "111122223333"
REGION = "us-east-1"
KEY = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/11/21/{ACCOUNT}_CloudTrail_{REGION}_20261121T1005Z_x.json.gz"


def texts(
    count: int, *, seed: int = 1, changing: float = 0.3, folders: int = 3000, began: float = 1.7e9
) -> Iterator[bytes]:
    """The JSON of `count` records from `began` on. `changing`: the part of them that changes an object, from 0 to 1.

    The objects are in so many `folders`.
    """
    chance = random.Random(seed)
    caller = records.assumed_role("ingest", "ingest-1", account=ACCOUNT, access_key="ASIAINGESTINGEST0000")
    for number in range(count):
        call = records.Call(caller, began + number / 50, REGION, ACCOUNT, chance)
        key = f"projects/{chance.randrange(folders)}/renders/frame-{number:08d}.exr"
        record = (
            records.put_object(call, "example-projects", key, 3_000_000)
            if chance.random() < changing
            else records.get_object(call, "example-projects", key, 3_000_000)
        )
        record["eventID"] = str(uuid.UUID(int=chance.getrandbits(128)))
        # Real records also have long signatures and ids that we do not read.
        record["additionalEventData"]["x-amz-id-2"] = f"{chance.getrandbits(456):x}"
        yield json.dumps(record, separators=(",", ":")).encode()


def write(path: Path, size: int) -> tuple[int, int]:
    """Write a log file of about `size` bytes before compression. Returns its records, and its bytes before compression."""
    sample = list(texts(2000))
    count = text = 0
    with cast(BinaryIO, igzip.IGzipFile(path, "wb", compresslevel=3)) as file:  # type: ignore[no-untyped-call]
        file.write(b'{"Records":[')
        while text < size:
            batch = sample if count == 0 else list(texts(2000, seed=count))
            joined = (b"," if count else b"") + b",".join(batch)
            file.write(joined)
            count += len(batch)
            text += len(joined)
        file.write(b"]}")
    return count, text
