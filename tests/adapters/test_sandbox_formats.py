"""Each format of the sandbox, round trip: calls are recorded and delivered, and then read by the
service's own readers.
"""

import gzip
import json
import time
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.decisions import Decisions, OwnWrites
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.formats.reader import LogReader
from jibe_sqs.core.model import Kind, LogFile, Nothing, ObjectEvent, Refresh, SkipReason
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.access_logs import access_log_lines
from jibe_sqs.sandbox.aws.audit_logs import audit_entries
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, REGIONS, deploy
from jibe_sqs.sandbox.aws.eventbridge import eventbridge_events
from jibe_sqs.sandbox.aws.publishers import Publishers
from jibe_sqs.sandbox.aws.s3_calls import CREATES, DELETES, CallKind, S3Call, access_anywhere
from jibe_sqs.sandbox.aws.s3_events import s3_events
from jibe_sqs.sandbox.change_feeds import ChangeFeed, feed_by_bucket
from jibe_sqs.sandbox.service_configuration import logs, own_writes
from jibe_sqs.settings import OwnWritesSettings

EVENTS = (ChangeFeed.S3_EVENT, ChangeFeed.MINIO_EVENT, ChangeFeed.CEPH_EVENT, ChangeFeed.EVENTBRIDGE)
LOGS = (ChangeFeed.CLOUDTRAIL, ChangeFeed.ACCESS_LOG, ChangeFeed.LYVE_AUDIT, ChangeFeed.MINIO_AUDIT)
KEYS = [
    "plain.txt", "a folder/two  spaces", "a+b", "100%", "50%2F50", "%41", "x/ü/é/日本語.txt", "🎬 takes/ta ke.mov",
    'the "good" ones/say "hi" 200.txt', "why?#1&a=b;c,d", "tilde~star*", "it's", "[a](b){c}<d>|e^f`g", "back\\slash",
]  # fmt: skip
ANA = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA", address="198.51.100.23")
BO = records.assumed_role("Editors", "bo@example.com", account=ACCOUNT, access_key="ASIABO")
AA = access_anywhere(ACCOUNT)


@pytest.fixture(scope="module")
def deployment(endpoint):
    return deploy(endpoint, visibility_timeout=30)


@pytest.fixture
def aws(deployment):
    """The AWS resources, with empty queues."""
    bodies(deployment)
    return deployment


def bodies(aws):
    """Receive and delete all messages in all queues. All of them were sent before."""
    found = []
    for region, url in aws.queues.items():
        sqs = aws.client("sqs", region)
        while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages"):
            for message in got:
                found.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


class Received:
    """What the service's own readers find in the queues and log files, with the sandbox's configuration."""

    def __init__(self, aws, formats):
        own = own_writes(aws.account)
        assert own["source_addresses"] == ["192.0.2.66"]
        self._decisions = Decisions(own=_own(own))
        self._sources = Sources(
            [
                LogSource(each["bucket"], each.get("prefix", ""), Format(each["format"]) if "format" in each else None)
                for each in logs(aws, formats)
            ]
        )
        self._aws = aws
        self.changed, self.stale, self.skipped = set(), set(), Counter()
        self.files, self.nothing, self.events, self.messages = set(), [], 0, 0
        for body in bodies(aws):
            self.messages += 1
            for announced in announcements(body, self._sources):
                self._receive(announced)

    def _receive(self, announced):
        if isinstance(announced, Nothing):
            self.nothing.append(announced.about)
        elif isinstance(announced, LogFile):
            if announced.key not in self.files:
                self.files.add(announced.key)
                self._read(announced)
        else:
            self.events += 1
            self._decide(announced)

    def _read(self, file):
        source = self._sources.of(file.bucket, file.key)
        reader = LogReader(file.key, Limits(), configured=source.format)
        stored = self._aws.client("s3").get_object(Bucket=file.bucket, Key=file.key)["Body"].read()
        if file.size is not None:
            assert file.size == len(stored)
        for batch in (*reader.feed(stored), *reader.finish()):
            for record in batch:
                self._decide(record)
        assert reader.bad.count == 0

    def _decide(self, record):
        if record.bucket == self._aws.log_bucket:
            return  # CloudTrail's own writes
        decision = self._decisions.decide(record)
        if not isinstance(decision, Refresh):
            self.skipped[decision.reason] += 1
        elif record.kind.is_unlisted:
            self.stale.add(record.bucket)
        else:
            self.changed.add((record.kind, record.bucket, record.key))


def _own(given):
    own = OwnWritesSettings(**given)
    return OwnWrites(
        access_keys=frozenset(own.access_keys), principals=own.principals, source_addresses=own.source_addresses
    )


def s3_call(kind, bucket, *keys, region=REGIONS[1], caller=ANA, **more):
    now = time.time()
    return S3Call(
        kind=kind, bucket=bucket, region=region, account=ACCOUNT, caller=caller, began=now - 0.5, at=now, keys=keys,
        **{"size": 3, "etag": "f" * 32, **more},
    )  # fmt: skip


def s3_calls_of(bucket, region):
    """Each kind of call with each unusual key, by a user, a role and Access Anywhere. Some calls are refused."""
    number = 0
    for key in KEYS:
        for kind, caller in (
            (CallKind.PUT, ANA), (CallKind.COPY, BO), (CallKind.MULTIPART, ANA), (CallKind.DELETE, BO),
            (CallKind.GET, ANA), (CallKind.HEAD, BO), (CallKind.TAG, ANA), (CallKind.ACL, BO),
        ):  # fmt: skip
            number += 1
            source = (bucket, f"source of {key}") if kind is CallKind.COPY else None
            yield s3_call(kind, bucket, f"{kind}/{key}", region=region, caller=caller, source=source, changes=(number,))
        yield s3_call(CallKind.PUT, bucket, f"own/{key}", region=region, caller=AA)
        yield s3_call(CallKind.DELETE, bucket, f"own/{key}", region=region, caller=AA)
        yield s3_call(CallKind.PUT, bucket, f"refused/{key}", region=region, failed=True)
        yield s3_call(CallKind.DELETE, bucket, f"refused/{key}", region=region, caller=BO, failed=True)
    yield s3_call(CallKind.DELETE_MANY, bucket, *(f"many/{key}" for key in KEYS), region=region, listed=True)
    yield s3_call(CallKind.LIST, bucket, region=region, prefix="a folder/")
    yield s3_call(CallKind.CREATE_BUCKET, bucket, region=region)


def expected(calls):
    return {
        (Kind.DELETED if each.kind in DELETES else Kind.WRITTEN, each.bucket, key)
        for each in calls
        if each.kind in CREATES | DELETES and not each.failed and each.caller is not AA
        for key in each.keys
    }


def other_readings(changes):
    """In an access log, a space that is encoded twice may also mean a plus. The result is an extra refresh."""
    return {(kind, bucket, key.replace(" ", "+")) for kind, bucket, key in changes} - changes


def publish(aws, format_, calls, seed=1):
    """Record the calls with the publisher of that format, in two deliveries."""
    publishers = Publishers(aws, feed_by_bucket(format_, aws.buckets), seed=seed)
    calls = list(calls)
    for half in (calls[: len(calls) // 2], calls[len(calls) // 2 :]):
        for each in half:
            publishers.record(each)
        publishers.deliver()
    return publishers


# Round trip


@pytest.mark.parametrize("format_", [*EVENTS, *LOGS])
def test_the_service_reads_exactly_the_recorded_writes_and_deletions(aws, format_):
    calls = [each for bucket, region in list(aws.buckets.items())[::2] for each in s3_calls_of(bucket, region)]
    publishers = publish(aws, format_, calls)
    received = Received(aws, [format_])
    changed, wanted = received.changed, expected(calls)
    if format_ is ChangeFeed.MINIO_EVENT:
        # MinIO reports tagging as the creation of an object. The result is at most an extra refresh.
        tagged = {(Kind.WRITTEN, each.bucket, each.key) for each in calls if each.kind is CallKind.TAG}
        changed = changed - tagged
    if format_ is ChangeFeed.ACCESS_LOG:
        changed = changed - other_readings(wanted)
    assert changed == wanted
    assert not received.stale
    own = sum(each.caller is AA for each in calls)
    assert received.skipped[SkipReason.OWN_WRITE] >= own
    if format_ in EVENTS:
        assert not publishers.files
        assert received.messages == publishers.counts()[format_]
        assert SkipReason.FAILED not in received.skipped
    else:
        assert set(publishers.files) == received.files
        assert len(publishers.files) == publishers.counts()[format_]
        assert received.skipped[SkipReason.FAILED] == sum(each.failed for each in calls)
        assert received.skipped[SkipReason.READ_ONLY] >= sum(
            each.kind in (CallKind.GET, CallKind.HEAD, CallKind.LIST) for each in calls
        )


@pytest.mark.parametrize("format_", [*EVENTS, *LOGS])
def test_a_form_upload_is_recorded(aws, format_):
    bucket, region = next(iter(aws.buckets.items()))
    publish(
        aws, format_, [s3_call(CallKind.POST, bucket, "a-form/é%25.txt", region=region), s3_call(CallKind.LIST, bucket)]
    )
    received = Received(aws, [format_])
    if format_ in (ChangeFeed.LYVE_AUDIT, ChangeFeed.MINIO_AUDIT):
        # These formats do not contain the key.
        assert received.stale == {bucket}
    else:
        assert received.changed == {(Kind.WRITTEN, bucket, "a-form/é%25.txt")}


@pytest.mark.parametrize("format_", [*EVENTS, *LOGS])
def test_only_cloudtrail_omits_the_keys_of_a_bulk_delete(aws, format_):
    bucket, region = next(iter(aws.buckets.items()))
    publish(
        aws, format_, [s3_call(CallKind.DELETE_MANY, bucket, "a", "b", region=region), s3_call(CallKind.LIST, bucket)]
    )
    received = Received(aws, [format_])
    listed = {(Kind.DELETED, bucket, key) for key in "ab"}
    assert (received.stale, received.changed) == (
        ({bucket}, set()) if format_ is ChangeFeed.CLOUDTRAIL else (set(), listed)
    )


@pytest.mark.parametrize("format_", [*EVENTS, *LOGS])
def test_a_recorded_change_is_published_only_by_the_delivery(aws, format_):
    bucket, region = next(iter(aws.buckets.items()))
    publishers = Publishers(aws, feed_by_bucket(format_, aws.buckets))
    publishers.record(s3_call(CallKind.PUT, bucket, "a", region=region, changes=(7,)))
    assert publishers.delivered == {}
    before = time.time()
    publishers.deliver()
    assert before <= publishers.delivered[7] <= time.time()
    assert bodies(aws)
    publishers.deliver()
    assert bodies(aws) == []


def test_with_mixed_formats_each_bucket_has_its_own_format(aws):
    by_bucket = feed_by_bucket(ChangeFeed.MIXED, aws.buckets)
    assert set(by_bucket) == set(aws.buckets)
    assert Counter(by_bucket.values())[ChangeFeed.CLOUDTRAIL] == 2
    assert {*by_bucket.values()} == {
        *(
            ChangeFeed.CLOUDTRAIL,
            ChangeFeed.S3_EVENT,
            ChangeFeed.EVENTBRIDGE,
            ChangeFeed.ACCESS_LOG,
            ChangeFeed.LYVE_AUDIT,
        )
    }
    calls = [each for bucket, region in aws.buckets.items() for each in s3_calls_of(bucket, region)]
    publishers = publish(aws, ChangeFeed.MIXED, calls)
    received = Received(aws, publishers.by_format)
    assert received.changed - other_readings(expected(calls)) == expected(calls)
    assert set(publishers.counts()) == {format_.value for format_ in by_bucket.values()}
    assert all(publishers.counts().values())


@pytest.mark.parametrize("format_", [*EVENTS, *LOGS])
def test_the_same_seed_publishes_the_same_messages(aws, format_):
    bucket, region = next(iter(aws.buckets.items()))
    calls = list(s3_calls_of(bucket, region))

    def counts():
        publishers = publish(aws, format_, calls, seed=4)
        found = Received(aws, [format_])
        return publishers.counts(), found.messages, len(found.nothing), found.changed

    assert counts() == counts()


# Properties of single formats


def test_s3_sends_one_test_event_for_each_bucket(aws):
    Publishers(aws, feed_by_bucket(ChangeFeed.S3_EVENT, aws.buckets)).start()
    received = Received(aws, [ChangeFeed.S3_EVENT])
    assert received.nothing == ["s3:TestEvent"] * len(aws.buckets)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(sorted(CREATES | DELETES)))
def test_the_key_in_an_s3_event_is_form_encoded(key, kind):
    (record,) = s3_events(s3_call(kind, "a-bucket", key), Random(1))
    encoded = record["s3"]["object"]["key"]
    assert encoded.isascii()
    assert " " not in encoded
    assert encoded.count("/") == key.count("/")
    assert ("size" in record["s3"]["object"]) == (kind in CREATES)
    assert record["eventVersion"].startswith("2.")
    (event,) = announcements(json.dumps({"Records": [record]}))
    assert isinstance(event, ObjectEvent)
    assert event.key == key


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_the_key_in_an_eventbridge_event_is_not_encoded(key):
    (message,) = eventbridge_events(s3_call(CallKind.PUT, "a-bucket", key), key, Random(1))
    assert message["detail"]["object"]["key"] == key
    (event,) = announcements(json.dumps(message))
    assert (event.kind, event.bucket, event.key) == (Kind.WRITTEN, "a-bucket", key)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(), st.booleans())
def test_keys_in_access_logs_are_encoded_twice_and_in_bulk_deletes_once(key, seed, many):
    kind = CallKind.DELETE_MANY if many else CallKind.DELETE
    text = b"".join(access_log_lines(s3_call(kind, "a-bucket", key), Random(seed)))
    reader = LogReader("2026-01-01-00-00-00-0123456789ABCDEF", Limits())
    found = [record for batch in (*reader.feed(text), *reader.finish()) for record in batch]
    events = [record for record in found if isinstance(record, ObjectEvent)]
    # A key `-` looks like a missing value.
    assert key in [event.key for event in events] or key == "-"
    # A space that is encoded twice may also mean a plus.
    assert len(events) == (2 if " " in key and not many else 1)
    assert len(found) - len(events) == (1 if many else 0)


def test_access_logs_have_spaces_and_pluses_as_s3_writes_them():
    for kind, expected in (
        (CallKind.DELETE, b" My%2BFolder/a%252Bb%252525.txt "),
        (CallKind.DELETE_MANY, b" My+Folder/a%2Bb%2525.txt "),
    ):
        text = b"".join(access_log_lines(s3_call(kind, "a-bucket", "My Folder/a+b%25.txt"), Random(1)))
        assert expected in text


def test_times_are_never_before_the_change_was_visible():
    """A refresh during a long upload must not count as having shown it. Comparisons add a second."""
    at = 1_767_225_600.75
    slow = S3Call(
        kind=CallKind.PUT, bucket="a-bucket", region="eu-west-1", account=ACCOUNT, caller=ANA, began=at - 100.5, at=at,
        keys=("a",),
    )  # fmt: skip
    text = b"".join(access_log_lines(slow, Random(1)))
    entries = b"".join(json.dumps(entry).encode() + b"\n" for entry in audit_entries(slow, Random(1)))
    for key, stored in (("2026-01-01-00-00-00-0123456789ABCDEF", text), ("S3-b-2026-01-01-00-00-00.gz", entries)):
        reader = LogReader(key, Limits())
        (event,) = (record for batch in (*reader.feed(stored), *reader.finish()) for record in batch)
        assert at - 1 <= event.time <= at + 0.01


def test_names_of_access_log_files_contain_account_region_bucket_and_day(aws):
    bucket, region = next(iter(aws.buckets.items()))
    publishers = publish(aws, ChangeFeed.ACCESS_LOG, s3_calls_of(bucket, region))
    for key in publishers.files:
        assert key.startswith(f"access-logs/{ACCOUNT}/{region}/{bucket}/20")
        *_, year, month, day, name = key.split("/")
        assert name.startswith(f"{year}-{month}-{day}-")


def test_lyves_files_have_unique_names_and_its_other_streams_need_no_refresh(aws):
    bucket, region = next(iter(aws.buckets.items()))
    publishers = Publishers(aws, feed_by_bucket(ChangeFeed.LYVE_AUDIT, aws.buckets), seed=2)
    for number in range(20):
        publishers.record(s3_call(CallKind.PUT, bucket, f"{number}", region=region))
        publishers.deliver()
    assert len(set(publishers.files)) == 20
    received = Received(aws, [ChangeFeed.LYVE_AUDIT])
    assert {key for _, _, key in received.changed} == {str(number) for number in range(20)}
    assert set(received.nothing) == {"Lyve Cloud IAM audit log", "Lyve Cloud console audit log"}
    body = aws.client("s3").get_object(Bucket=aws.log_bucket, Key=publishers.files[0])["Body"].read()
    (line,) = gzip.decompress(body).splitlines()
    assert set(json.loads(line)) == {"auditEntry", "serviceAccountName", "serviceAccountCreatorId"}


def test_minios_files_have_different_compressions(aws):
    bucket, region = next(iter(aws.buckets.items()))
    publishers = Publishers(aws, feed_by_bucket(ChangeFeed.MINIO_AUDIT, aws.buckets), seed=2)
    for number in range(20):
        publishers.record(s3_call(CallKind.PUT, bucket, f"{number}", region=region))
        publishers.deliver()
    assert {key.rpartition(".")[2] for key in publishers.files} == {"ndjson", "gz", "zst"}
    assert len(Received(aws, [ChangeFeed.MINIO_AUDIT]).changed) == 20
