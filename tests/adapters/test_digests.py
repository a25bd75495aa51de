"""Digests that the sandbox's trail writes into moto's S3 in another process, and their verification."""

import asyncio
import gzip
import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random

import pytest
from botocore.exceptions import ClientError
from tests.processes import finished

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.digests import LISTING_AGE, DigestVerifier, PublicKeys, S3Digests, cloudtrail_keys
from jibe_sqs.core.digests import Fault
from jibe_sqs.core.errors import (
    DigestInvalid,
    DigestMissing,
    KeysUnavailable,
    LogAccessDenied,
    LogStoreUnavailable,
    LogTampered,
)
from jibe_sqs.core.model import LogFile
from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, ACCOUNT, SECRET_KEY, Deployment
from jibe_sqs.sandbox.aws.digests import SigningKey, TrailDigests, write_digest
from jibe_sqs.sandbox.aws.records import Call
from jibe_sqs.sandbox.aws.trail import Trail

LOGS, REGION = "jibe-sandbox-logs", "eu-west-1"
HOUR = timedelta(hours=1)


@cache
def a_key(region):
    """Cached: making a key is slow."""
    del region
    now = datetime.now(UTC).replace(microsecond=0)
    return SigningKey(now - 30 * 24 * HOUR, now + 30 * 24 * HOUR)


class World:
    """A log bucket, and a trail that writes digests into it from now on."""

    def __init__(self, endpoint):
        regions = (REGION, "us-east-1")
        self.deployment = Deployment(endpoint, ACCOUNT, LOGS, {}, dict.fromkeys(regions, ""), {}, {})
        self.s3 = self.deployment.client("s3")
        self.s3.create_bucket(Bucket=LOGS, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.trail = Trail(self.deployment)
        self.trail._publish = lambda region, message: None
        self.digests = TrailDigests(self.deployment, self.trail, keys={region: a_key(region) for region in regions})
        self.at = datetime.now(UTC).replace(microsecond=0)
        self.asked = []

    def deliver(self, regions=(REGION, "us-east-1")):
        for region in regions:
            call = Call(records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA"), 1e9, region, ACCOUNT, Random(0))
            self.trail.add(region, [records.log_delivery(call, "bucket", "key", 1)])
        return self.trail.deliver()

    def hour(self):
        """Let an hour pass, and deliver its digests."""
        self.at += HOUR
        return self.digests.write(self.at)

    def file(self, region=REGION):
        return LogFile(LOGS, next(key for key in self.trail.files if f"/{region}/" in key))

    def text(self, file):
        return gzip.decompress(self.s3.get_object(Bucket=file.bucket, Key=file.key)["Body"].read())

    def sha(self, file):
        return hashlib.sha256(self.text(file)).hexdigest()

    def change(self, key, change=lambda text: text, **metadata):
        found = self.s3.get_object(Bucket=LOGS, Key=key)
        body = gzip.compress(change(gzip.decompress(found["Body"].read())))
        self.s3.put_object(Bucket=LOGS, Key=key, Body=body, Metadata=found["Metadata"] | metadata)

    async def list_keys(self, region, start, end):
        self.asked.append((region, start, end))
        return [key for key in self.digests.public_keys(region) if key["ValidityStartTime"] < end]


@pytest.fixture
def world(emptied_aws):
    return World(emptied_aws())


@pytest.fixture
async def aws(monkeypatch):
    # No pauses between botocore's retries.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    async with Aws() as aws:
        yield aws


def account(endpoint):
    return Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)


def verifier(world, aws, list_keys=None, **more):
    digests = S3Digests(aws=aws, account=account(world.deployment.endpoint), region=REGION)
    return DigestVerifier(digests=digests, keys=PublicKeys(list_keys or world.list_keys), **more)


async def fault(verifying):
    with pytest.raises(DigestInvalid) as caught:
        await verifying
    return caught.value.fault


async def test_a_delivered_log_file_is_verified_by_its_digest(world, aws):
    world.deliver()
    world.hour()
    verify = verifier(world, aws).verify
    for region in (REGION, "us-east-1"):
        await verify(world.file(region), world.sha(world.file(region)))
    assert {region for region, *_ in world.asked} == {REGION, "us-east-1"}


async def test_log_files_of_an_earlier_hour_and_of_a_later_digest_are_found(world, aws):
    first = world.deliver()
    world.hour()
    world.deliver()
    world.hour()
    world.hour()
    verify = verifier(world, aws).verify
    assert len(world.trail.files) > len(first)
    for key in world.trail.files:
        await verify(LogFile(LOGS, key), world.sha(LogFile(LOGS, key)))


async def test_concurrent_verifications_fetch_a_digest_and_a_key_once(world, aws):
    world.deliver()
    world.hour()
    verifying = verifier(world, aws)
    fetched, fetch = [], verifying._digests.digest

    async def counted(bucket, key):
        fetched.append(key)
        return await fetch(bucket, key)

    verifying._digests.digest = counted
    file = world.file()
    await asyncio.gather(*(verifying.verify(file, world.sha(file)) for _ in range(20)))
    assert len(fetched) == len(world.asked) == 1


@pytest.mark.parametrize("kept_logs", [1, 2, 3])
async def test_the_number_of_cached_digests_is_limited(world, aws, kept_logs):
    """A digest counts as its log files and one. One digest is cached in any case."""
    for _ in range(3):
        world.deliver([REGION])
        world.hour()
    verifying = verifier(world, aws, kept_logs=kept_logs)
    for key in world.trail.files:
        await verifying.verify(LogFile(LOGS, key), world.sha(LogFile(LOGS, key)))
    assert len(verifying._signed.values) == 1


async def test_a_log_file_is_verified_after_its_digest_is_delivered(world, aws):
    """The digests are listed again when the list has become too old."""
    now = 0.0
    world.deliver()
    file, verifying = world.file(), verifier(world, aws, timer=lambda: now)
    with pytest.raises(DigestMissing) as caught:
        await verifying.verify(file, world.sha(file))
    assert 0 < caught.value.expected_at - world.at.timestamp() < 2 * 3600
    world.hour()
    with pytest.raises(DigestMissing):
        await verifying.verify(file, world.sha(file))
    now = LISTING_AGE
    await verifying.verify(file, world.sha(file))


async def test_concurrent_verifications_list_the_digests_once(world, aws):
    world.deliver()
    verifying = verifier(world, aws)
    listed, keys = [], verifying._digests.keys

    async def counted(bucket, prefix):
        listed.append(prefix)
        return await keys(bucket, prefix)

    verifying._digests.keys = counted
    results = await asyncio.gather(*(verifying.verify(world.file(), "00") for _ in range(20)), return_exceptions=True)
    assert {type(result) for result in results} == {DigestMissing}
    assert len(listed) == len(set(listed))


async def test_a_changed_log_file_is_detected(world, aws):
    world.deliver()
    world.hour()
    world.change(world.file().key, lambda text: text + b" ")
    with pytest.raises(LogTampered):
        await verifier(world, aws).verify(world.file(), world.sha(world.file()))


async def test_an_added_log_file_is_in_no_digest(world, aws):
    world.deliver()
    world.hour()
    forged = LogFile(LOGS, world.file().key.replace(".json.gz", "x.json.gz"))
    with pytest.raises(DigestMissing):
        await verifier(world, aws).verify(forged, world.sha(world.file()))


async def test_a_renamed_log_file_is_detected(world, aws):
    with pytest.raises(LogTampered, match="named"):
        await verifier(world, aws).verify(LogFile(LOGS, f"{world.trail._deployment.account}/mine.json.gz"), "00")


async def test_a_changed_digest_is_detected(world, aws):
    world.deliver()
    key, _ = world.hour()
    world.change(key, lambda text: text.replace(b'"hashValue":"', b'"hashValue":"0'))
    assert await fault(verifier(world, aws).verify(world.file(), world.sha(world.file()))) == Fault.SIGNATURE


async def test_a_changed_signature_is_detected(world, aws):
    world.deliver()
    key, _ = world.hour()
    world.change(key, signature="00" * 256)
    assert await fault(verifier(world, aws).verify(world.file(), world.sha(world.file()))) == Fault.SIGNATURE


async def test_a_digest_signed_with_an_unknown_key_is_detected(world, aws):
    world.deliver()
    world.hour()
    world.digests = TrailDigests(world.deployment, world.trail)
    assert await fault(verifier(world, aws).verify(world.file(), world.sha(world.file()))) == Fault.UNKNOWN_KEY


async def test_a_key_of_another_region_is_unknown(world, aws):
    world.deliver()
    world.hour()

    async def others(region, start, end):
        return world.digests.public_keys({REGION: "us-east-1", "us-east-1": REGION}[region])

    assert await fault(verifier(world, aws, others).verify(world.file(), world.sha(world.file()))) == Fault.UNKNOWN_KEY


async def test_a_digest_copied_to_another_bucket_is_detected(world, aws):
    world.deliver()
    world.hour()
    world.s3.create_bucket(Bucket="copied-logs", CreateBucketConfiguration={"LocationConstraint": REGION})
    for item in world.s3.list_objects_v2(Bucket=LOGS)["Contents"]:
        world.s3.copy_object(Bucket="copied-logs", Key=item["Key"], CopySource={"Bucket": LOGS, "Key": item["Key"]})
    copied = LogFile("copied-logs", world.file().key)
    assert await fault(verifier(world, aws).verify(copied, world.sha(copied))) == Fault.MOVED


async def test_an_invalid_digest_beside_the_valid_one_changes_nothing(world, aws):
    world.deliver()
    key, _ = world.hour()
    world.s3.copy_object(Bucket=LOGS, Key=key.replace("_jibe_", "_aaaa_"), CopySource={"Bucket": LOGS, "Key": key})
    await verifier(world, aws).verify(world.file(), world.sha(world.file()))


async def test_a_backfill_digest_verifies_log_files_that_were_omitted(world, aws):
    world.deliver()
    file = world.file()
    (key,) = (found for found in world.hour() if f"/{REGION}/" in found)
    backfill = write_digest(
        world.digests._keys[REGION], bucket=LOGS, account=ACCOUNT, region=REGION, trail="jibe", home=REGION,
        start=world.at - HOUR, end=world.at, logs=[(LOGS, file.key, world.text(file))], backfill=True,
    )  # fmt: skip
    world.s3.delete_object(Bucket=LOGS, Key=key)
    world.s3.put_object(Bucket=LOGS, Key=backfill.key, Body=backfill.body, Metadata=backfill.metadata)
    await verifier(world, aws).verify(file, world.sha(file))
    ((_, start, end),) = world.asked
    assert start < world.at + 24 * HOUR < end


# Errors


async def test_a_missing_bucket_has_no_digests(world, aws):
    with pytest.raises(DigestMissing, match="NoSuchBucket"):
        await verifier(world, aws).verify(LogFile("no-such-bucket", "x/" + _a_key()), "00")


def _a_key():
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/01/{ACCOUNT}_CloudTrail_{REGION}_20260101T0930Z_x.json.gz"


async def test_an_unreachable_store_is_unavailable(aws):
    gone = Account(endpoint="http://127.0.0.1:9", access_key_id="a", secret_access_key="b")
    with pytest.raises(LogStoreUnavailable):
        await S3Digests(aws=aws, account=gone, region=REGION).keys(LOGS, "")
    with pytest.raises(KeysUnavailable):
        await cloudtrail_keys(aws=aws, account=gone)(REGION, datetime.now(UTC), datetime.now(UTC))


async def test_missing_credentials_are_an_access_error(world, aws, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    digests = S3Digests(aws=aws, account=Account(endpoint=world.deployment.endpoint), region=REGION)
    with pytest.raises(LogAccessDenied):
        await digests.keys(LOGS, "")


async def test_an_unreachable_cloudtrail_has_no_keys_available(world, aws):
    world.deliver()
    world.hour()
    asking = verifier(world, aws, cloudtrail_keys(aws=aws, account=account("http://127.0.0.1:1")))
    with pytest.raises(KeysUnavailable):
        await asking.verify(world.file(), world.sha(world.file()))


# CloudTrail's API


async def test_a_message_of_cloudtrail_is_cut(aws, monkeypatch):
    """For a wrong signature, AWS's message contains the signed text, which includes the session token."""
    client = await aws.client("cloudtrail", REGION, account("http://127.0.0.1:1"))

    async def refuses(**_named):
        words = "The Canonical String should have been " + "h" * 300 + "x-amz-security-token:CANARY"
        raise ClientError({"Error": {"Code": "InvalidSignatureException", "Message": words}}, "ListPublicKeys")

    monkeypatch.setattr(client, "list_public_keys", refuses)
    keys = cloudtrail_keys(aws=aws, account=account("http://127.0.0.1:1"))
    with pytest.raises(KeysUnavailable, match="InvalidSignatureException") as raised:
        await keys(REGION, datetime.now(UTC), datetime.now(UTC))
    assert "CANARY" not in str(raised.value)


async def test_cloudtrails_published_keys_are_used(world, endpoint, aws):
    world.deliver()
    world.hour()
    asking = verifier(world, aws, cloudtrail_keys(aws=aws, account=account(endpoint)))
    assert await fault(asking.verify(world.file(), world.sha(world.file()))) == Fault.UNKNOWN_KEY
    world.digests.publish_keys()
    await asking.verify(world.file(), world.sha(world.file()))
    await asking.verify(world.file("us-east-1"), world.sha(world.file("us-east-1")))


@pytest.mark.skipif(shutil.which("aws") is None, reason="no AWS CLI")
def test_the_aws_cli_validates_the_sandboxs_digests(world, endpoint):
    world.digests.publish_keys()
    for _ in range(3):
        world.deliver()
        world.hour()

    def validated():
        command = ["aws", "cloudtrail", "validate-logs", "--verbose", "--s3-bucket", LOGS]
        command += ["--trail-arn", f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:trail/jibe"]
        command += ["--start-time", f"{world.at - 3 * HOUR:%FT%TZ}", "--end-time", f"{world.at:%FT%TZ}"]
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.devnull,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        done = finished(command, env=environment)
        return done.returncode, done.stdout + done.stderr

    code, said = validated()
    if code == 127:
        pytest.skip("the AWS CLI does not start")
    if "Could not connect to the endpoint URL" in said:
        pytest.skip("this AWS CLI knows no AWS_ENDPOINT_URL: it is older than 2.13")
    assert "3/3 digest files valid" in said, said
    assert code == 0
    world.change(world.file().key, lambda text: text + b" ")
    code, said = validated()
    assert "hash value doesn't match" in said, said
