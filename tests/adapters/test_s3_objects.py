"""Single objects in S3, found with either of two permissions."""

import pytest

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions, Source
from jibe_sqs.adapters.s3_objects import S3Objects
from jibe_sqs.core.errors import LogAccessDenied, LogBucketMissing
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client

REGION = "us-east-1"
BUCKET = "data"


@pytest.fixture
def s3(new_aws):
    s3 = client(new_aws, "s3", REGION)
    s3.create_bucket(Bucket=BUCKET)
    for key, body in (("a", b"x"), ("a/b c+ü.txt", b"hello"), ("a/b", b"xy")):
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return s3


class DeniedListing(S3Objects):
    """As if the credentials had no permission to list."""

    async def _listed(self, bucket, key):
        raise LogAccessDenied(f"AccessDenied: s3://{bucket}/{key}")


@pytest.fixture(params=[S3Objects, DeniedListing], ids=["may list", "may read"])
async def objects(request, s3, new_aws):
    account = Account(endpoint=new_aws, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, region=REGION)
    async with Aws() as aws:
        yield request.param(aws=aws, source=Source(account, region=REGION), regions=Regions(aws, S3Clock()))


@pytest.mark.parametrize(("key", "size"), [("a", 1), ("a/b c+ü.txt", 5), ("a/b", 2)])
async def test_an_object_is_found_with_its_size_and_time(objects, s3, key, size):
    found = await objects.find(BUCKET, key)
    modified = s3.head_object(Bucket=BUCKET, Key=key)["LastModified"].timestamp()
    assert (found.size, int(found.modified)) == (size, int(modified))


@pytest.mark.parametrize("key", ["a/", "a/b c", "z"])
async def test_a_key_that_only_begins_other_keys_is_no_object(objects, key):
    assert await objects.find(BUCKET, key) is None


async def test_a_bucket_that_does_not_exist_is_an_error(s3, new_aws):
    account = Account(endpoint=new_aws, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, region=REGION)
    async with Aws() as aws:
        objects = S3Objects(aws=aws, source=Source(account, region=REGION), regions=Regions(aws, S3Clock()))
        with pytest.raises(LogBucketMissing):
            await objects.find("no-such-bucket", "a")
