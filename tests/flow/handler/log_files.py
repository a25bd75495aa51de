"""Log files and messages of the handler's tests."""

import asyncio
import gzip
import json

from jibe_sqs.core.verdicts import RetryPolicy

AUDIT_LOG_KEY = "S3-data-2026-01-01-00-05-00.gz"
ACCESS_LOG_KEY = "2026-01-01-00-05-00-0123456789ABCDEF"
DIGEST_POLICY = RetryPolicy(first=10, longest=700, max_receives=5)
"""The delays of messages whose files are verified, in seconds."""


def audit_line(key="a/b.txt", **api):
    """One record of an audit log: this object was written by ana."""
    call = {"name": "PutObject", "bucket": "data", "object": key, "statusCode": 200, **api}
    return json.dumps({"time": "2026-01-01T00:00:00Z", "api": call, "parentUser": "ana"}).encode() + b"\n"


def access_line(key="a/b.txt"):
    """One line of an S3 access log: this object was written by ana."""
    start = f"0wner data [01/Jan/2026:00:00:00 +0000] 192.0.2.1 ana R-{key} REST.PUT.OBJECT {key}"
    return f'{start} "PUT /x HTTP/1.1" 200 - - 5 40 7 "-" "cli/1" - h= SigV4 c AuthHeader host TLSv1.3\n'.encode()


def with_bad_record(flow, *keys):
    """A CloudTrail log. The record of each key that starts with `?` has no bucket, as when its field was too large."""
    text = json.loads(gzip.decompress(flow.log_of(*keys)))
    for record in text["Records"]:
        if record["requestParameters"]["key"].startswith("?"):
            record["requestParameters"] = {"omitted": True, "reasonCode": "FIELD_SIZE_EXCEEDED"}
    return gzip.compress(json.dumps(text, separators=(",", ":")).encode())


def announcing_version(flow, key, version):
    """A message body that announces one version of a log file."""
    body = json.loads(flow.s3_event(key, bucket=flow.LOG_BUCKET))
    body["Records"][0]["s3"]["object"]["versionId"] = version
    return json.dumps(body)


async def read_in_progress(flow, world, body):
    """A task that handles the message, and has already opened its file."""
    opened = world.logs.opens.total()
    handling = asyncio.create_task(world.handle(body))
    await flow.until(lambda: world.logs.opens.total() > opened)
    return handling
