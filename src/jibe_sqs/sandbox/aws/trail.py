"""CloudTrail in the sandbox: collects records, writes them to log files, and announces these.

moto does not log data events. This trail delivers as CloudTrail does: late (on request), by region, in any order,
sometimes with a record twice, and sometimes with several files in one announcement.
"""

import gzip
import json
import string
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Final

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import Deployment
from jibe_sqs.sandbox.aws.records import Call, Record, aws_service, log_delivery
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call

VALIDATION: Final = "CloudTrail validation message."
"""The plain text that CloudTrail publishes when a trail gets a topic."""


class Trail:
    """One trail for all regions.

    `delivered`: number of a change -> when its record was announced, in seconds since the epoch.
    """

    def __init__(self, deployment: Deployment, *, seed: int = 0) -> None:
        self.delivered: dict[int, float] = {}
        self.files: list[str] = []
        """Keys of all log files in the log bucket, in the order of delivery."""
        self.messages = 0
        self._deployment = deployment
        self._random = Random(f"trail {seed}")
        # A second generator, so that the contents of records do not influence their delivery.
        self._ids = Random(f"records {seed}")
        self._collected: dict[str, list[tuple[list[Record], tuple[int, ...]]]] = {r: [] for r in deployment.topics}
        self._own_writes: list[Record] = []
        self._lock = threading.Lock()

    def start(self, buckets: Sequence[str] = ()) -> None:  # noqa: ARG002 - a trail concerns all buckets
        """Write the zero-byte object and publish the validation messages, as CloudTrail does for a new trail."""
        self._put(f"AWSLogs/{self._deployment.account}/CloudTrail/", b"", ContentType="application/x-directory")
        for region in self._deployment.topics:
            self._publish(region, VALIDATION)

    def record(self, call: S3Call) -> None:
        """Collect the records of one call. Sometimes a record precedes them that shows how the
        caller's session began.
        """
        context = Call(call.caller, call.at, call.region, call.account, self._ids)
        noise = _session_start(context) if "sessionContext" in call.caller.identity and self._ids.random() < 0.3 else []
        self.add(call.region, [*noise, *cloudtrail_records(call, context)], call.changes)

    def add(self, region: str, group: Iterable[Record], changes: Iterable[int] = ()) -> None:
        """Collect the records of one call, and the numbers of the changes that it made. They stay
        together in one file.
        """
        with self._lock:
            self._collected[region].append((list(group), tuple(changes)))

    def deliver(self) -> list[str]:
        """Write the collected records to log files, and announce them. Returns the keys of the new files."""
        with self._lock:
            collected, self._collected = self._collected, {region: [] for region in self._collected}
            return [key for region, groups in collected.items() if groups for key in self._deliver(region, groups)]

    def _deliver(self, region: str, groups: list[tuple[list[Record], tuple[int, ...]]]) -> list[str]:
        shares = min(len(groups), self._random.choice((1, 1, 1, 2, 3)))
        keys = []
        for share in range(shares):
            found = [record for group, _ in groups[share::shares] for record in group]
            if region == self._deployment.home:
                found += self._own_writes
                self._own_writes = []
            if self._random.random() < 0.2:
                found.append(self._random.choice(found))
            self._random.shuffle(found)
            keys.append(self._write(region, found))
        changes = [change for _, numbers in groups for change in numbers]
        now = time.time()
        # Before the announcement: a change must not be refreshed before its recorded time of delivery.
        self.delivered.update(dict.fromkeys(changes, now))
        together = self._random.random() < 0.5
        for announced in [keys] if together else [[key] for key in keys]:
            message = {"s3Bucket": self._deployment.log_bucket, "s3ObjectKey": announced}
            self._publish(region, json.dumps(message, separators=(",", ":")))
            self.messages += 1
        return keys

    def _write(self, region: str, found: list[Record]) -> str:
        account = self._deployment.account
        at = datetime.now(UTC)
        unique = "".join(self._random.choices(string.ascii_letters + string.digits, k=16))
        folder = f"AWSLogs/{account}/CloudTrail/{region}/{at:%Y/%m/%d}"
        key = f"{folder}/{account}_CloudTrail_{region}_{at:%Y%m%dT%H%MZ}_{unique}.json.gz"
        text = json.dumps({"Records": found}, separators=(",", ":"), ensure_ascii=False)
        body = gzip.compress(text.encode())
        self._put(key, body, ContentType="application/json", ContentEncoding="gzip")
        self.files.append(key)
        # CloudTrail also logs its own write. That record appears in a later file of the log bucket's region.
        context = Call(
            aws_service("cloudtrail.amazonaws.com"), at.timestamp(), self._deployment.home, account, self._random
        )
        self._own_writes.append(log_delivery(context, self._deployment.log_bucket, key, len(body)))
        return key

    def _put(self, key: str, body: bytes, **headers: str) -> None:
        s3 = self._deployment.client("s3")
        s3.put_object(Bucket=self._deployment.log_bucket, Key=key, Body=body, **headers)

    def _publish(self, region: str, message: str) -> None:
        self._deployment.publish(region, message)


def cloudtrail_records(call: S3Call, context: Call) -> list[Record]:
    """CloudTrail's records for a call. The record of a refused call contains the error."""
    found = _records(call, context, call.bucket, call.key)
    return [records.failed(record) for record in found] if call.failed else found


def _records(call: S3Call, context: Call, bucket: str, key: str) -> list[Record]:
    match call.kind:
        case CallKind.PUT:
            return [records.put_object(context, bucket, key, call.size)]
        case CallKind.POST:
            return [records.post_object(context, bucket, key, call.size)]
        case CallKind.COPY:
            return [records.copy_object(context, bucket, key, *(call.source or (bucket, key)))]
        case CallKind.MULTIPART:
            return [
                records.create_multipart_upload(context, bucket, key),
                records.upload_part(context, bucket, key, call.upload, size=call.size),
                records.complete_multipart_upload(context, bucket, key, call.upload),
            ]
        case CallKind.DELETE:
            return [records.delete_object(context, bucket, key)]
        case CallKind.DELETE_MANY:
            parent = records.delete_objects(context, bucket)
            return [parent, *(records.deleted_by(context, parent, list(call.keys)) if call.listed else ())]
        case CallKind.GET:
            return [records.get_object(context, bucket, key, call.size)]
        case CallKind.HEAD:
            return [records.head_object(context, bucket, key)]
        case CallKind.LIST:
            return [records.list_objects(context, bucket, call.prefix)]
        case CallKind.TAG:
            return [records.put_object_tagging(context, bucket, key)]
        case CallKind.ACL:
            return [records.put_object_acl(context, bucket, key)]
        case CallKind.CREATE_BUCKET:
            return [records.create_bucket(context, bucket)]


def _session_start(context: Call) -> list[Record]:
    """The `AssumeRole` record for the caller's session. A real trail contains many such records."""
    issuer = context.caller.identity["sessionContext"]["sessionIssuer"]["userName"]
    session = context.caller.identity["arn"].rpartition("/")[2]
    service = Call(
        aws_service("ecs-tasks.amazonaws.com"), context.at - 1, context.region, context.account, context.random
    )
    return [records.assume_role(service, issuer, session)]
