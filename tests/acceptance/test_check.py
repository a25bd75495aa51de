"""`jibe-sqs check` as an operator uses it: a sandbox that works, then the same with everything broken at once."""

import gzip
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from tests.acceptance.conftest import COMMAND
from tests.processes import finished, started

from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client

US, EU, AP = "us-east-1", "eu-west-1", "ap-southeast-2"
MEDIA = f"jibe-sandbox-{US}-media"
FIELDS = ("code", "subject", "what", "remedy")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A sandbox with log files, and its configuration."""
    folder = tmp_path_factory.mktemp("check")
    with started([*COMMAND, "sandbox", "--json", "--changes", "40"], folder) as running:
        sandbox = json.loads(running.line())
        yield SimpleNamespace(
            sandbox=sandbox,
            folder=folder,
            settings=json.loads(Path(sandbox["config"]).read_text(encoding="utf-8")),
            environment={**os.environ, **sandbox["environment"]},
            aws=lambda service, region=US: client(sandbox["aws"], service, region),
        )


def check(world, settings, *arguments, **variables):
    path = world.folder / "checked.json"
    path.write_text(json.dumps(settings))
    command = [*COMMAND, "check", "--config", str(path), *arguments]
    return finished(command, cwd=world.folder, env={**world.environment, **variables})


@pytest.fixture(scope="module")
def healthy(world):
    """The report before anything is broken."""
    ended = check(world, world.settings, "--json")
    return SimpleNamespace(code=ended.returncode, report=json.loads(ended.stdout))


def break_queues(world):
    """Everything about the queues that an operator can get wrong without deleting them."""
    sandbox = world.sandbox
    us, eu, dead = sandbox["queues"][US], sandbox["queues"][EU], sandbox["dead_letters"][US]
    of_us, of_eu = world.aws("sqs"), world.aws("sqs", EU)
    redrive = {"deadLetterTargetArn": arn(of_us, dead), "maxReceiveCount": 1}
    other = {"ArnLike": {"aws:SourceArn": f"arn:aws:sns:*:{ACCOUNT}:another-topic"}}
    statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn(of_us, us), "Condition": other}]}
    changes = {"RedrivePolicy": json.dumps(redrive), "Policy": json.dumps(policy)}
    of_us.set_queue_attributes(QueueUrl=us, Attributes=changes)
    of_us.set_queue_attributes(QueueUrl=dead, Attributes={"MessageRetentionPeriod": "3600"})
    of_us.send_message(QueueUrl=dead, MessageBody="a dead letter")
    # moto forgets the policy if other attributes are set.
    kept = of_eu.get_queue_attributes(QueueUrl=eu, AttributeNames=["Policy"])["Attributes"]
    changes = kept | {"KmsMasterKeyId": "alias/aws/sqs", "MessageRetentionPeriod": "3600", "VisibilityTimeout": "43200"}
    of_eu.set_queue_attributes(QueueUrl=eu, Attributes=changes)


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def break_topics(world):
    """One subscription is removed, and another one has a filter."""
    topics = world.sandbox["topics"]
    (of_ap,) = world.aws("sns", AP).list_subscriptions_by_topic(TopicArn=topics[AP])["Subscriptions"]
    world.aws("sns", AP).unsubscribe(SubscriptionArn=of_ap["SubscriptionArn"])
    (of_eu,) = world.aws("sns", EU).list_subscriptions_by_topic(TopicArn=topics[EU])["Subscriptions"]
    world.aws("sns", EU).set_subscription_attributes(
        SubscriptionArn=of_eu["SubscriptionArn"],
        AttributeName="FilterPolicy",
        AttributeValue=json.dumps({"kind": ["important"]}),
    )


def break_trails(world):
    """A trail is stopped and would log too much, and one logs the events of another a second time."""
    world.aws("cloudtrail").stop_logging(Name=f"jibe-sandbox-{US}")
    everything = {
        "ReadWriteType": "All",
        "IncludeManagementEvents": True,
        "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}],
    }
    world.aws("cloudtrail").put_event_selectors(TrailName=f"jibe-sandbox-{US}", EventSelectors=[everything])
    of_ap = world.aws("cloudtrail", AP)
    of_ap.create_trail(Name="again", S3BucketName=world.sandbox["log_bucket"])
    of_ap.put_event_selectors(TrailName="again", EventSelectors=[{**everything, "ReadWriteType": "WriteOnly"}])
    of_ap.start_logging(Name="again")


def break_buckets(world):
    """The newest log file is not one, and objects of a data bucket expire in silence."""
    name = f"AWSLogs/{ACCOUNT}/CloudTrail/{US}/{datetime.now(UTC):%Y/%m/%d}/broken.json.gz"
    # S3's times are whole seconds: this one must be the newest.
    time.sleep(1.1)
    world.aws("s3").put_object(
        Bucket=world.sandbox["log_bucket"], Key=name, Body=gzip.compress(b'{"Records": [{"eventName"')
    )
    rule = {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 7}}
    world.aws("s3").put_bucket_lifecycle_configuration(Bucket=MEDIA, LifecycleConfiguration={"Rules": [rule]})


@pytest.fixture(scope="module")
def broken(world, healthy):
    """The report of one process after all of this, and the settings that it read."""
    assert healthy.code == 0
    for break_some in (break_queues, break_topics, break_trails, break_buckets):
        break_some(world)
    faults = {"folders_too_large": {"most": 0, "refuse": True}}
    httpx.put(f"{world.sandbox['access_anywhere']}/sandbox/faults", json=faults, timeout=60).raise_for_status()
    missing_queue = world.sandbox["queues"][US].replace("jibe-log-delivery", "no-such-queue")
    settings = world.settings | {
        "queues": [*world.settings["queues"], {"url": missing_queue}],
        "logs": [*world.settings["logs"], {"bucket": "jibe-sandbox-no-such-logs"}],
        "buckets": {**world.settings["buckets"], "jibe-sandbox-no-such-bucket": ["/Amazon S3 us-east-1/misspelt"]},
        "own_writes": {"principals": ["*"]},
        "ledger": {"path": str(world.folder / "no-such-folder" / "ledger.sqlite")},
    }
    ended = check(world, settings, "--json")
    return SimpleNamespace(
        code=ended.returncode, report=json.loads(ended.stdout), lines=ended.stdout.splitlines(), settings=settings
    )


def test_a_sandbox_that_works_has_no_problem(healthy):
    """Notes are no problems: the sandbox has a short visibility timeout on purpose."""
    assert (healthy.code, healthy.report["ok"], healthy.report["problems"]) == (0, True, [])
    assert {each["code"] for each in healthy.report["notes"]} <= {"visibility-timeout-short"}


EXPECTED = {
    "max-receives-low": "jibe-log-delivery (us-east-1)",
    "topic-not-admitted": "jibe-log-delivery (us-east-1)",
    "dead-letters-retention": "jibe-log-delivery-dead-letters (us-east-1)",
    "dead-letters-waiting": "jibe-log-delivery-dead-letters (us-east-1)",
    "queue-key-unusable": "jibe-log-delivery (eu-west-1)",
    "queue-retention-short": "jibe-log-delivery (eu-west-1)",
    "visibility-timeout-long": "jibe-log-delivery (eu-west-1)",
    "queue-missing": "no-such-queue",
    "subscription-missing": "jibe-log-delivery (ap-southeast-2)",
    "subscription-filtered": "jibe-log-delivery (eu-west-1)",
    "log-bucket-missing": "jibe-sandbox-no-such-logs",
    "log-file-malformed": "jibe-sandbox-logs",
    "trail-not-logging": "jibe-sandbox-us-east-1 (us-east-1)",
    "trail-logs-reads": "jibe-sandbox-us-east-1 (us-east-1)",
    "trail-logs-log-bucket": "jibe-sandbox-us-east-1 (us-east-1)",
    "trail-duplicate": "again (ap-southeast-2)",
    "trail-without-topic": "again (ap-southeast-2)",
    "bucket-missing": "jibe-sandbox-no-such-bucket",
    "lifecycle-unheard": MEDIA,
    "folder-missing": "/Amazon S3 us-east-1/misspelt",
    "refresh-failed": f"/Amazon S3 us-east-1/{MEDIA}",
    "own-writes-too-broad": "own_writes",
    "ledger-unusable": "no-such-folder/ledger.sqlite",
}
"""What is broken, by code, and the end of its subject. The us-east-1 trail does not log, so its buckets are not logged, too."""


def test_everything_that_is_broken_is_found_at_once(broken):
    """One process finds all of it: no failure hides another one."""
    found = {(each["code"], each["subject"]) for each in broken.report["problems"]}
    missing = {
        code: subject
        for code, subject in EXPECTED.items()
        if not any(each == code and about.endswith(subject) for each, about in found)
    }
    assert not missing
    assert {code for code, _ in found} - EXPECTED.keys() <= {"bucket-not-logged", "trail-missing"}


def test_the_json_is_one_object_with_a_remedy_for_each_problem(broken):
    """Programs read one line, and each problem says what to do."""
    assert (broken.code, len(broken.lines), broken.report["ok"]) == (1, 1, False)
    for each in [*broken.report["problems"], *broken.report["notes"]]:
        assert tuple(each) == FIELDS
        assert all(each.values())


def test_the_table_of_many_problems_has_80_columns(world, broken):
    """Also on a wider terminal. Nothing is cut off: every code of the JSON is in the table."""
    ended = check(world, broken.settings, COLUMNS="200")
    assert ended.returncode == 1
    assert max(map(len, ended.stdout.splitlines())) <= 80
    joined = "".join(ended.stdout.split())
    assert all(f"[{each['code']}]" in joined for each in broken.report["problems"])


def test_access_anywhere_that_is_down_hides_nothing_else(world, broken):
    """Its own problem is reported at once, and those of AWS, too."""
    elsewhere = {"endpoint": "http://127.0.0.1:1", "login": "a", "password": "b"}
    ended = check(world, broken.settings | {"access_anywhere": elsewhere}, "--json")
    codes = {each["code"] for each in json.loads(ended.stdout)["problems"]}
    assert codes >= {"access-anywhere-down", "subscription-missing", "lifecycle-unheard", "trail-not-logging"}


def test_refused_logins_and_missing_credentials_are_one_problem_each(world, broken):
    """Missing credentials of AWS are not repeated for each queue and bucket."""
    environment = {**world.environment}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del environment[name]
    alone = SimpleNamespace(folder=world.folder, environment=environment)
    refused = world.settings["access_anywhere"] | {"password": "wrong"}
    problems = json.loads(check(alone, broken.settings | {"access_anywhere": refused}, "--json").stdout)["problems"]
    codes = [each["code"] for each in problems]
    assert (codes.count("credentials"), codes.count("login-refused")) == (1, 1)
    assert "own-writes-too-broad" in codes


def test_wrong_settings_are_problems_of_the_report(jibe, tmp_path):
    """All mistakes at once, as an object for programs and as a table."""
    config = tmp_path / "wrong.json"
    config.write_text(json.dumps({"access_anywhere": {"endpoint": "nowhere"}, "queues": [{"url": 3}], "pol": 1}))
    ended = jibe("check", "--json", "--config", str(config))
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["ok"], {each["code"] for each in report["problems"]}) == (1, False, {"settings"})
    assert len(report["problems"]) >= 3
    ended = jibe("check", "--config", str(config))
    assert ended.returncode == 1
    assert "queues.0.url" in ended.stdout


def test_the_service_warns_at_its_start_of_a_wrong_folder_and_a_missing_log_bucket(world, tmp_path):
    """It works on: neither of them ends it, and the others do not wait."""
    settings = world.settings | {
        "logs": [*world.settings["logs"], {"bucket": "jibe-sandbox-no-such-logs"}],
        "buckets": {**world.settings["buckets"], "somewhere": ["/Amazon S3 us-east-1/misspelt"]},
        "ledger": {"path": str(tmp_path / "ledger.sqlite")},
        "log": {"format": "json"},
    }
    path = tmp_path / "start.json"
    path.write_text(json.dumps(settings))
    with started([*COMMAND, "run", "--config", str(path)], tmp_path, cwd=tmp_path, env=world.environment) as running:
        folder = running.wait_for("check_failed", code="folder-missing")
        bucket = running.wait_for("check_failed", code="log-bucket-missing")
        running.wait_for("started")
        assert folder["subject"] == "/Amazon S3 us-east-1/misspelt"
        assert bucket["subject"] == "jibe-sandbox-no-such-logs"
        assert folder["remedy"]
        assert bucket["remedy"]
        assert running.stop() == 0
        assert len(running.events("check_failed")) == 2


def test_a_wrong_option_is_wrong_usage(jibe):
    """Exit code 2, as for every command."""
    assert jibe("check", "--jsn").returncode == 2
