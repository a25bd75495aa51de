"""The truth: what S3 itself says is in the data buckets, for a judge to compare an index with."""

from jibe_sqs.sandbox.aws.deployment import Deployment

Objects = dict[tuple[str, str], tuple[int, str]]
"""(bucket, key) -> (size in bytes, unquoted ETag)."""


def objects(deployment: Deployment) -> Objects:
    """Every object of every data bucket; the log bucket is not among them."""
    found: Objects = {}
    for bucket, region in deployment.buckets.items():
        pages = deployment.client("s3", region).get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            for item in page.get("Contents", ()):
                found[bucket, item["Key"]] = (item["Size"], item["ETag"].strip('"'))
    return found
