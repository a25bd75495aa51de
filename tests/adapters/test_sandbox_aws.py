"""The sandbox's AWS: moto as a real process on loopback, with the project's own templates."""

import gzip
import json
import re
import signal
import socket
import sys
import time
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.processes import PATIENCE, children, eventually, is_alive, started

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.change_kinds import ChangeKind
from jibe_sqs.sandbox.aws.changes import Writer
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, REGIONS, deploy
from jibe_sqs.sandbox.aws.listing import objects
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.aws.s3_calls import ACCESS_ANYWHERE_KEY, access_anywhere_arn
from jibe_sqs.sandbox.aws.trail import VALIDATION, Trail

SERVER = [sys.executable, "-m", "jibe_sqs.sandbox.aws"]


@pytest.fixture
def aws(emptied_aws):
    """New AWS resources for each test."""
    return deploy(emptied_aws(), visibility_timeout=30, max_receives=2)


def receive(aws, region, count, *, url=None):
    """Receive and delete at least `count` messages. Returns their bodies."""
    sqs, url = aws.client("sqs", region), url or aws.queues[region]
    bodies, deadline = [], time.monotonic() + PATIENCE
    while len(bodies) < count:
        assert time.monotonic() < deadline, f"only {bodies} of {count} messages in {region}"
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return bodies


def empty(aws, region):
    return "Messages" not in aws.client("sqs", region).receive_message(QueueUrl=aws.queues[region], WaitTimeSeconds=0)


def write_directly(aws):
    def own_write(bucket, key, body):
        aws.client("s3", aws.buckets[bucket]).put_object(Bucket=bucket, Key=key, Body=body)

    return own_write


def logged(aws, trail):
    """All records in the log files that the trail delivered."""
    s3 = aws.client("s3")
    bodies = (s3.get_object(Bucket=aws.log_bucket, Key=key)["Body"].read() for key in trail.files)
    return [record for body in bodies for record in json.loads(gzip.decompress(body))["Records"]]


def a_call(caller=None, at=1_767_225_600.75, seed=0):
    caller = caller or records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
    return Call(caller, at, "eu-west-1", ACCOUNT, Random(seed))


# The process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_prints_its_endpoint_and_stops_on_a_signal(tmp_path, number):
    with started(SERVER, tmp_path) as server:
        where = urlsplit(json.loads(server.line())["endpoint"])
        socket.create_connection((where.hostname, where.port), PATIENCE).close()
        assert server.stop(number) == 0


def test_the_server_ends_after_its_parent_was_killed(tmp_path):
    starter = f"import subprocess, time; subprocess.Popen({[*SERVER, '--exit-with-parent']!r}); time.sleep(600)"
    with started([sys.executable, "-c", starter], tmp_path) as parent:
        where = urlsplit(json.loads(parent.line())["endpoint"])
        (server,) = children(parent.process.pid)
        socket.create_connection((where.hostname, where.port), PATIENCE).close()
        parent.process.kill()
        eventually(lambda: not is_alive(server), "the end of the server")
    with pytest.raises(ConnectionError):
        socket.create_connection((where.hostname, where.port), PATIENCE)


def test_no_message_is_lost_or_comes_back_when_many_threads_send_and_delete(aws):
    sqs, url = aws.client("sqs"), aws.queues[aws.home]
    sent, received = [f"message {number}" for number in range(100)], []
    deadline = time.monotonic() + PATIENCE

    def receive_and_delete():
        while len(received) < len(sent) and time.monotonic() < deadline:
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                received.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    with ThreadPoolExecutor(4) as pool:
        receiving = [pool.submit(receive_and_delete) for _ in range(2)]
        list(pool.map(lambda body: sqs.send_message(QueueUrl=url, MessageBody=body), sent))
        for future in receiving:
            future.result()
    assert sorted(received) == sorted(sent)
    left = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert (left["ApproximateNumberOfMessages"], left["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")


def test_a_long_poll_of_a_fifo_queue_receives_the_rest_of_a_group_after_a_delete(aws):
    """Found by a rejected message that came back: a long poll kept out the delete until the message was visible again."""
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName="ordered.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    for body in ("first", "second"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)

    def poll(wait=20):
        answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=wait, VisibilityTimeout=3600)
        return answer.get("Messages", [])

    (first,) = poll()
    assert poll(wait=0) == []
    with ThreadPoolExecutor(1) as pool:
        polling = pool.submit(poll)
        for _ in range(20):
            # The poll is under way before these calls are answered.
            sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
        (second,) = polling.result()
    assert (first["Body"], second["Body"]) == ("first", "second")


# The deployment


def test_each_topic_reaches_its_queue_and_the_third_regions_topic_reaches_the_first_queue(aws):
    for region, topic in aws.topics.items():
        aws.client("sns", region).publish(TopicArn=topic, Message=f"from {region}")
    first, second, third = REGIONS
    envelopes = [json.loads(body) for body in receive(aws, first, 2)]
    assert {envelope["Message"] for envelope in envelopes} == {f"from {first}", f"from {third}"}
    assert {envelope["TopicArn"] for envelope in envelopes} == {aws.topics[first], aws.topics[third]}
    assert json.loads(receive(aws, second, 1)[0])["Message"] == f"from {second}"
    assert empty(aws, first)
    assert empty(aws, second)


def test_every_queue_has_its_own_url(aws):
    assert len({*aws.queues.values(), *aws.dead_letters.values()}) == 4


def test_a_message_that_is_received_too_often_becomes_a_dead_letter(aws):
    sqs, url = aws.client("sqs"), aws.queues[aws.home]
    sqs.send_message(QueueUrl=url, MessageBody="hopeless")
    for _ in range(2):
        (message,) = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert empty(aws, aws.home)
    assert receive(aws, aws.home, 1, url=aws.dead_letters[aws.home]) == ["hopeless"]


def test_a_service_without_resource_types_in_cloudformation_answers(aws):
    """CloudFormation is imported without it: see `few_services`."""
    found = aws.client("ec2").describe_regions()["Regions"]
    assert aws.home in {region["RegionName"] for region in found}


def test_queues_have_the_attributes_in_the_template(aws):
    for region in aws.queues:
        attributes, dead = (
            aws.client("sqs", region).get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            for url in (aws.queues[region], aws.dead_letters[region])
        )
        assert json.loads(attributes["RedrivePolicy"]) == {
            "deadLetterTargetArn": dead["QueueArn"],
            "maxReceiveCount": 2,
        }
        assert attributes["VisibilityTimeout"] == "30"
        assert attributes["ReceiveMessageWaitTimeSeconds"] == "20"
        assert attributes["SqsManagedSseEnabled"] == dead["SqsManagedSseEnabled"] == "true"
        assert (attributes["MessageRetentionPeriod"], dead["MessageRetentionPeriod"]) == ("1209600", "1209600")
        allow, deny = json.loads(attributes["Policy"])["Statement"]
        assert allow["Principal"] == {"Service": ["sns.amazonaws.com", "events.amazonaws.com"]}
        name = aws.topics[region].rpartition(":")[2]
        topics, rules = f"arn:aws:sns:*:{aws.account}:{name}", f"arn:aws:events:*:{aws.account}:rule/{name}"
        assert allow["Condition"] == {"ArnLike": {"aws:SourceArn": [topics, rules, f"{rules}/{name}"]}}
        assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_only_trails_of_this_account_may_publish_to_a_topic(aws):
    """The second statement is for buckets. Without s3.amazonaws.com in `PublisherServices`, it allows nothing."""
    for region, topic in aws.topics.items():
        attributes = aws.client("sns", region).get_topic_attributes(TopicArn=topic)["Attributes"]
        *allowed, _ = json.loads(attributes["Policy"])["Statement"]
        for statement, sources in zip(allowed, ("arn:aws:cloudtrail:*:*:trail/*", "arn:aws:s3:::*"), strict=True):
            assert statement["Principal"] == {"Service": ["cloudtrail.amazonaws.com"]}
            assert statement["Condition"] == {
                "StringEquals": {"aws:SourceAccount": aws.account},
                "ArnLike": {"aws:SourceArn": sources},
            }


# The trail


def test_a_new_trail_validates_each_topic_and_writes_an_empty_object(aws):
    Trail(aws).start()
    first, second, _ = REGIONS
    envelopes = [json.loads(body) for body in receive(aws, first, 2) + receive(aws, second, 1)]
    assert [envelope["Message"] for envelope in envelopes] == [VALIDATION] * 3
    assert all("Subject" not in envelope for envelope in envelopes)
    start = aws.client("s3").get_object(Bucket=aws.log_bucket, Key=f"AWSLogs/{aws.account}/CloudTrail/")
    assert start["ContentLength"] == 0


def test_a_log_file_has_cloudtrails_name_headers_and_content_and_is_announced(aws):
    trail = Trail(aws)
    record = records.put_object(a_call(), "a-bucket", "folder/naïve café.txt", 3)
    trail.add("eu-west-1", [record], [7])
    before = time.time()
    (key,) = trail.deliver()
    assert before <= trail.delivered[7] <= time.time()
    assert re.fullmatch(
        rf"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/(\d{{4}})/(\d\d)/(\d\d)/"
        rf"{ACCOUNT}_CloudTrail_eu-west-1_\1\2\3T\d{{4}}Z_[A-Za-z0-9]{{16}}\.json\.gz",
        key,
    )
    answer = aws.client("s3").get_object(Bucket=aws.log_bucket, Key=key)
    assert (answer["ContentType"], answer["ContentEncoding"]) == ("application/json", "gzip")
    text = gzip.decompress(answer["Body"].read()).decode()
    assert text.startswith('{"Records":[{"eventVersion":"1.11","userIdentity":{"type":')
    assert record in json.loads(text)["Records"]
    (envelope,) = (json.loads(body) for body in receive(aws, "eu-west-1", 1))
    assert json.loads(envelope["Message"]) == {"s3Bucket": aws.log_bucket, "s3ObjectKey": [key]}
    assert trail.deliver() == []


def test_records_are_split_duplicated_and_shuffled_but_not_lost(aws):
    trail, given_ids = Trail(aws, seed=3), []
    for _ in range(12):
        logged_keys = [records.put_object(a_call(seed=len(given_ids) + n), "a-bucket", f"k{n}") for n in range(6)]
        for record in logged_keys:
            given_ids.append(record["eventID"])
            trail.add("us-east-1", [record])
        trail.deliver()
    found = logged(aws, trail)
    ours = [r["eventID"] for r in found if r["userIdentity"]["type"] != "AWSService"]
    assert set(ours) == set(given_ids)
    assert ours != given_ids
    assert max(Counter(ours).values()) == 2
    announced = []
    while sum(announced) < len(trail.files):
        bodies = receive(aws, "us-east-1", 1)
        announced += [len(json.loads(json.loads(body)["Message"])["s3ObjectKey"]) for body in bodies]
    assert sum(announced) == len(trail.files)
    assert {1} < set(announced)
    # CloudTrail's own writes are logged as well, each in a later file.
    own = [r["requestParameters"]["key"] for r in found if r["userIdentity"]["type"] == "AWSService"]
    assert set(own) <= set(trail.files)
    assert own


# Changes


def test_the_same_seed_makes_the_same_changes_and_another_seed_makes_others(emptied_aws):
    def made(seed):
        aws = deploy(emptied_aws())
        writer = Writer(aws, Trail(aws), seed=seed, access_anywhere=write_directly(aws))
        changes = [(c.number, c.kind, c.bucket, c.key, c.own) for c in writer.changes(80)]
        return changes, objects(aws)

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_s3_lists_the_result_of_the_changes_and_the_trail_logs_each(aws):
    trail = Trail(aws)
    writer = Writer(aws, trail, seed=5, access_anywhere=write_directly(aws))
    changes = []
    for change in writer.changes(240):
        changes.append(change)
        if change.number % 60 == 0:
            trail.deliver()
    trail.deliver()
    assert [change.number for change in changes] == list(range(1, 241))
    assert {change.kind for change in changes} == set(ChangeKind)
    assert all(trail.delivered[change.number] >= change.at for change in changes)
    assert objects(aws) == writer.objects

    index = set()
    for change in changes:
        if "delete" in change.kind:
            index.discard((change.bucket, change.key))
        elif change.makes_stale or change.own:
            index.add((change.bucket, change.key))
    assert index == set(writer.objects)

    found = [r for r in logged(aws, trail) if "key" in r["requestParameters"]]
    logged_keys = {(r["requestParameters"]["bucketName"], r["requestParameters"]["key"]) for r in found}
    unnamed = {ChangeKind.BULK_DELETE, ChangeKind.READ}
    assert logged_keys >= {(c.bucket, c.key) for c in changes if c.kind not in unnamed}
    own = {r["requestParameters"]["key"] for r in found if r["userIdentity"].get("accessKeyId") == ACCESS_ANYWHERE_KEY}
    assert own == {change.key for change in changes if change.own}
    arns = {r["userIdentity"].get("arn") for r in found if r["requestParameters"]["key"] in own and not r["readOnly"]}
    assert access_anywhere_arn(aws.account) in arns


def test_keys_are_unusual_but_a_file_index_can_show_all_of_them(aws):
    changes = list(Writer(aws, Trail(aws), seed=8).changes(160))
    places = {(change.bucket, change.key) for change in changes}
    keys = "\n".join(key for _, key in places)
    assert all(odd in keys for odd in (" ", "+", "%2F", "&", "#", "?", "'", '"', "🎬"))
    assert keys != unicodedata.normalize("NFC", keys)
    assert all(all(key.split("/")) and len(key.encode()) <= 1024 for _, key in places)
    folded = {(bucket, unicodedata.normalize("NFC", key).casefold()) for bucket, key in places}
    assert len(folded) == len(places)
    parents = {(bucket, key[:end]) for bucket, key in folded for end, sign in enumerate(key) if sign == "/"}
    assert not parents & folded
    folders = {(bucket, key.rpartition("/")[0]) for bucket, key in places}
    assert 8 <= len(folders) <= 30


# Records

WRITES = {
    "PutObject": records.put_object,
    "PostObject": records.post_object,
    "CopyObject": lambda call, bucket, key: records.copy_object(call, bucket, key, "source-bucket", "from here"),
    "CreateMultipartUpload": records.create_multipart_upload,
    "UploadPart": lambda call, bucket, key: records.upload_part(call, bucket, key, "an-upload"),
    "CompleteMultipartUpload": lambda call, bucket, key: records.complete_multipart_upload(
        call, bucket, key, "an-upload"
    ),
    "DeleteObject": records.delete_object,
    "PutObjectTagging": records.put_object_tagging,
    "PutObjectAcl": records.put_object_acl,
}
READS = {"GetObject": records.get_object, "HeadObject": records.head_object}
FIELDS = [
    *("eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress"),
    *("userAgent", "errorCode", "errorMessage", "requestParameters", "responseElements", "additionalEventData"),
    *("requestID", "eventID", "readOnly", "resources", "eventType", "managementEvent", "recipientAccountId"),
    *("sharedEventID", "eventCategory", "tlsDetails"),
]
OPTIONAL = {"errorCode", "errorMessage", "sharedEventID"}


@given(
    st.sampled_from(sorted(WRITES | READS)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.integers(),
)
def test_a_record_has_the_unencoded_key_and_cloudtrails_fields_in_order(name, key, seed):
    record = (WRITES | READS)[name](a_call(seed=seed), "a-bucket", key)
    assert list(record) == [field for field in FIELDS if field not in OPTIONAL]
    assert (record["eventName"], record["eventSource"]) == (name, "s3.amazonaws.com")
    assert record["requestParameters"]["bucketName"] == "a-bucket"
    assert record["requestParameters"]["key"] == key
    assert {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::a-bucket/{key}"} in record["resources"]
    assert {"accountId": ACCOUNT, "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::a-bucket"} in record["resources"]
    assert record["eventTime"] == "2026-01-01T00:00:00Z"
    assert record["readOnly"] == (name in READS)
    assert (record["eventCategory"], record["managementEvent"], record["eventType"]) == ("Data", False, "AwsApiCall")
    assert re.fullmatch(r"\[.+\]", record["userAgent"])
    assert json.loads(json.dumps(record)) == record


def test_a_copy_lists_its_source_as_a_second_object_in_any_order():
    copies = [records.copy_object(a_call(seed=n), "a-bucket", "to", "b-bucket", "from here") for n in range(30)]
    for copy in copies:
        arns = {r["ARN"] for r in copy["resources"] if r["type"] == "AWS::S3::Object"}
        assert arns == {"arn:aws:s3:::a-bucket/to", "arn:aws:s3:::b-bucket/from here"}
        assert copy["requestParameters"]["x-amz-copy-source"] == "b-bucket/from%20here"
    assert len({tuple(r["ARN"] for r in copy["resources"]) for copy in copies}) == 6


def test_a_bulk_delete_has_no_keys_and_its_children_share_its_request_id():
    call = a_call()
    parent = records.delete_objects(call, "a-bucket")
    assert parent["requestParameters"]["delete"] == ""
    assert "key" not in parent["requestParameters"]
    assert [r["ARNPrefix"] for r in parent["resources"] if r["type"] == "AWS::S3::Object"] == ["arn:aws:s3:::a-bucket/"]
    children = records.deleted_by(call, parent, ["a", "b c"])
    assert [child["requestParameters"]["key"] for child in children] == ["a", "b c"]
    assert {(c["eventName"], c["eventType"], c["requestID"]) for c in children} == {
        ("DeleteObject", "AwsServiceEvent", parent["requestID"])
    }
    assert len({record["eventID"] for record in [parent, *children]}) == 3
    assert [f for f in FIELDS if f in children[0]] == list(children[0])


def test_the_record_of_a_failed_call_has_an_error_and_no_response():
    record = records.failed(records.put_object(a_call(), "a-bucket", "k"))
    assert (record["errorCode"], record["responseElements"]) == ("AccessDenied", None)
    assert list(record) == [field for field in FIELDS if field != "sharedEventID"]


def test_cloudtrails_own_write_is_invoked_by_cloudtrail():
    record = records.log_delivery(a_call(records.aws_service("cloudtrail.amazonaws.com")), "logs", "AWSLogs/x", 10)
    assert record["userIdentity"] == {"type": "AWSService", "invokedBy": "cloudtrail.amazonaws.com"}
    assert record["userAgent"] == record["sourceIPAddress"] == "cloudtrail.amazonaws.com"
    assert [f for f in FIELDS if f in record] == list(record)
    assert record["sharedEventID"]


def test_a_role_shows_its_session_and_its_issuer():
    identity = records.assumed_role("ingest", "one", account=ACCOUNT, access_key="ASIA").identity
    assert identity["type"] == "AssumedRole"
    assert identity["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/ingest/one"
    assert identity["sessionContext"]["sessionIssuer"]["arn"] == f"arn:aws:iam::{ACCOUNT}:role/ingest"


def test_events_that_concern_no_object_have_no_key():
    bucket = records.create_bucket(a_call(), "a-bucket")
    assert (bucket["eventCategory"], bucket["managementEvent"]) == ("Management", True)
    assert "key" not in bucket["requestParameters"]
    role = records.assume_role(a_call(), "ingest", "one")
    assert (role["eventSource"], role["eventName"]) == ("sts.amazonaws.com", "AssumeRole")
    assert "bucketName" not in role["requestParameters"]
    listing = records.list_objects(a_call(), "a-bucket", "a/")
    assert (listing["eventName"], listing["readOnly"]) == ("ListObjects", True)
