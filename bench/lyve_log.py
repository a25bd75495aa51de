"""Peak memory and CPU time while the largest audit log of Lyve Cloud is read."""

import json
import random
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from isal import isal_zlib

from bench import reading

SIZE = 500_000_000
"""Bytes as stored. Lyve Cloud's documentation gives 500 MB as the maximum."""
LIMIT = 150_000_000
POOL = 128 * 1024 * 1024
"""Bytes of lines that are made once and then repeated. This is more than the window of gzip and of the reader's ids."""
BUCKET = "example-projects"
KEY = f"S3-{BUCKET}-2026-11-21-10-00-00.gz"


def run() -> None:
    """Peak memory of the whole process while a 500 MB audit log is read and decided on."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KEY
        began = time.perf_counter()
        count, text = write(path, SIZE)
        stored, written = path.stat().st_size, time.perf_counter() - began
        found = reading.read(path, KEY, records=count)
    skipped = ", ".join(f"{number:,} {reason}" for reason, number in found["skipped"].items())
    print(
        f"  file            {stored / 1e6:8.1f} MB stored, {text / 1e6:,.0f} MB of lines ({text / stored:.1f} times),"
        f" {count:,} records; made in {written:.0f} s"
    )
    print(f"  events          {found['events']:8,} in {found['folders']:,} folders; skipped {skipped}")
    reading.print_memory(found, LIMIT)
    seconds = found["seconds"]
    print(
        f"  CPU             {seconds:8.1f} s: {stored / 1e6 / seconds:.1f} MB stored, {text / 1e6 / seconds:.0f} MB of"
        f" lines, {count / seconds:,.0f} records a second"
    )


def write(path: Path, size: int) -> tuple[int, int]:
    """Write a log file of `size` bytes in one gzip member. Returns its records, and its bytes before compression."""
    blocks, counts = _pool()
    stored = count = text = at = 0
    stream = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    with path.open("wb") as file:
        while stored < size:
            stored += file.write(stream.compress(blocks[at]))
            text += len(blocks[at])
            count += counts[at]
            at = (at + 1) % len(blocks)
        file.write(stream.flush())
    return count, text


def _pool() -> tuple[list[bytes], list[int]]:
    """Blocks of whole lines, and the number of lines in each."""
    blocks, counts, block, total = [], [], [], 0
    for line in lines():
        block.append(line)
        if len(block) == 1000:
            blocks.append(b"".join(block))
            counts.append(len(block))
            total += len(blocks[-1])
            block = []
            if total >= POOL:
                break
    return blocks, counts


def lines(*, seed: int = 1) -> Iterator[bytes]:
    """Endless lines, as in Lyve Cloud's manual: MinIO's audit records in an envelope. Four of ten change an object."""
    chance = random.Random(seed)
    agent = "APN/1.0 Veritas/1.0 example-client/9.1 (linux; x86_64) aws-sdk-java/1.12.770"
    deployment = str(uuid.UUID(int=chance.getrandbits(128)))
    accounts = [
        (f"{name}-service", str(uuid.UUID(int=chance.getrandbits(128)))) for name in ("ingest", "backup", "web")
    ]
    calls = ["PutObject"] * 30 + ["DeleteObject"] * 8 + ["CompleteMultipartUpload"] * 2
    calls += ["GetObject"] * 35 + ["HeadObject"] * 10 + ["PutObjectPart"] * 10 + ["ListObjectsV2"] * 5
    number = 0
    while True:
        number += 1
        name = chance.choice(calls)
        key = f"projects/{chance.randrange(3000):04d}/renders/shot-{chance.randrange(400):03d}/frame-{number:08d}.exr"
        code = 204 if name == "DeleteObject" else 404 if chance.random() < 0.01 else 200
        account, creator = chance.choice(accounts)
        moment = 36_000_000_000_000 + number * 7_654_321
        seconds, nanoseconds = divmod(moment, 1_000_000_000)
        clock = f"{seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{nanoseconds:09d}"
        request = f"{chance.getrandbits(64):016X}"
        host = f"203.0.113.{chance.randrange(1, 250)}"
        api = {
            "name": name,
            "bucket": BUCKET,
            "object": "" if name == "ListObjectsV2" else key,
            "status": "Not Found" if code == 404 else "OK",
            "statusCode": code,
            "timeToFirstByte": f"{chance.randrange(10**6, 10**8)}ns",
            "timeToResponse": f"{chance.randrange(10**6, 10**9)}ns",
        }
        entry = {
            "auditEntry": {
                "api": api,
                "time": f"2026-11-21T{clock}Z",
                "version": "1",
                "requestID": request,
                "userAgent": agent,
                "remotehost": host,
                "deploymentid": deployment,
                "requestQuery": {"prefix": "projects/"} if name == "ListObjectsV2" else {},
                "requestHeader": {
                    "Accept-Encoding": "identity",
                    "Content-Length": str(chance.randrange(10**7)),
                    "Content-Type": "application/octet-stream",
                    "Host": "s3.us-east-1.lyvecloud.seagate.com",
                    "User-Agent": agent,
                    "X-Amz-Content-Sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                    "X-Amz-Date": "20261121T100000Z",
                    "X-Forwarded-For": host,
                    "X-Forwarded-Proto": "https",
                },
                "responseHeader": {
                    "Accept-Ranges": "bytes",
                    "Content-Security-Policy": "block-all-mixed-content",
                    "ETag": f"{chance.getrandbits(128):032x}",
                    "Server": "MinIO",
                    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
                    "Vary": "Origin, Accept-Encoding",
                    "X-Amz-Request-Id": request,
                    "X-Content-Type-Options": "nosniff",
                    "X-Xss-Protection": "1; mode=block",
                },
            },
            "serviceAccountName": account,
            "serviceAccountCreatorId": creator,
        }
        yield json.dumps(entry, separators=(",", ":")).encode() + b"\n"
