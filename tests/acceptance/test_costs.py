"""What is delivered and of no use is seen on the status page of the running service, and the readers in its ledger."""

import json
import time
import urllib.request
from random import Random
from typing import Any

from tests.acceptance.conftest import ACCOUNT, COMMAND, MEDIA, REGION
from tests.processes import eventually, finished

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.records import Call

CHANGES = 600


def call(caller: records.Caller, number: int) -> Call:
    return Call(caller, time.time(), REGION, ACCOUNT, Random(number))


def test_reads_a_log_bucket_that_logs_itself_and_two_trails_are_shown_with_their_price(small_service):
    ana = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    aa = records.iam_user("access-anywhere-2", account=ACCOUNT, access_key="AKIAAA", agent="Storage Made Easy/1")
    delivery = records.aws_service("cloudtrail.amazonaws.com")
    log_bucket = small_service.log_bucket
    changes = [records.put_object(call(aa, n), MEDIA, f"costs/{n}", 1) for n in range(CHANGES)]
    reads = [records.get_object(call(ana, CHANGES + n), MEDIA, f"costs/{n}") for n in range(70)]
    own = [records.put_object(call(delivery, 2 * CHANGES + n), log_bucket, f"AWSLogs/{n}", 1) for n in range(5)]
    small_service.configure(principals="readers", http={"port": 0, "host": "127.0.0.1"})
    with small_service.started() as running:
        small_service.announce_records([*changes, *reads, *own])
        small_service.announce_records(changes, prefix="second-trail/")
        http = running.wait_for("health_answered")

        def status() -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{http['port']}/status.json", timeout=10) as answer:
                return json.load(answer)

        found = eventually(lambda: costs if len(costs := status()["costs"]) == 3 else None, "three causes of costs")
        by_what = {each["what"].split()[0]: each for each in found}
        assert by_what["reads"]["events"] == 70
        assert f"s3://{log_bucket}/" in by_what["reads"]["what"]
        assert by_what["events"]["events"] == 5
        assert f"arn:aws:s3:::{log_bucket}/" in by_what["events"]["remedy"]
        assert CHANGES / 4 < by_what["changes"]["events"] < CHANGES * 4
        assert "second-trail/" in by_what["changes"]["what"]
        assert all(each["dollars"] > 0 for each in found)
        eventually(lambda: any(each["only_reads"] for each in status()["principals"]), "a principal that only reads")
        assert running.stop() == 0
    result = finished(
        [*COMMAND, "principals", "--json", "--config", str(small_service.config)],
        cwd=small_service.folder,
        env=small_service.environment,
    )
    principals = {each["principal"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert (principals[ana.arn]["count"], principals[ana.arn]["reads"]) == (0, 70)
    assert principals[aa.arn]["count"] == 2 * CHANGES
    assert principals[aa.arn]["own_writes"] == {"principals": [aa.arn]}
    assert len(principals[aa.arn]["evidence"]) == 2
    table = finished(
        [*COMMAND, "principals", "--config", str(small_service.config)],
        cwd=small_service.folder,
        env=small_service.environment,
    )
    assert "Probably Access Anywhere" in table.stdout
