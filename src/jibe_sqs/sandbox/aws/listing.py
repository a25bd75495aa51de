"""Lists the data buckets of S3, to compare them with an index."""

from jibe_sqs.sandbox.aws.deployment import Deployment

Objects = dict[tuple[str, str], tuple[int, str]]
"""(bucket, key) -> (size in bytes, unquoted ETag)."""


def objects(deployment: Deployment) -> Objects:
    """All objects of all data buckets, without the log bucket."""
    found: Objects = {}
    for bucket, region in deployment.buckets.items():
        pages = deployment.client("s3", region).get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            for item in page.get("Contents", ()):
                found[bucket, item["Key"]] = (item["Size"], item["ETag"].strip('"'))
    return found
