"""What the checks ask AWS for, against the sandbox's AWS; and AWS's refusals, which the sandbox cannot give."""

import json
from contextlib import asynccontextmanager

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_inspection import AwsInspection
from jibe_sqs.adapters.aws_questions import Asked, translated
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.commands.check.facts import (
    Expiry,
    NoAnswer,
    NoCredentials,
    NotAllowed,
    NotFound,
    Notifications,
    Selector,
    Subscription,
    SubscriptionState,
)
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, ACCOUNT, SECRET_KEY, client

REGION = "eu-west-1"


@asynccontextmanager
async def inspection(endpoint):
    account = Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY, region=REGION)
    async with Aws() as aws:
        yield AwsInspection(aws, account, Regions(aws, S3Clock()))


async def test_the_attributes_of_a_queue(new_aws):
    """With its dead-letter queue, its policy and its key."""
    sqs = client(new_aws, "sqs", REGION)
    sqs.create_queue(QueueName="dead", Attributes={"MessageRetentionPeriod": "1209600"})
    dead = f"arn:aws:sqs:{REGION}:{ACCOUNT}:dead"
    attributes = {
        "VisibilityTimeout": "120",
        "MessageRetentionPeriod": "3600",
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 7}),
        "KmsMasterKeyId": "alias/aws/sqs",
    }
    url = sqs.create_queue(QueueName="jibe", Attributes=attributes)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="waits")
    async with inspection(new_aws) as aws:
        found = await aws.queue(url, REGION)
        assert (found.arn, found.region) == (f"arn:aws:sqs:{REGION}:{ACCOUNT}:jibe", REGION)
        assert (found.visibility_timeout, found.retention, found.waiting) == (120, 3600, 1)
        assert (found.redrive_target, found.max_receives, found.key) == (dead, 7, "alias/aws/sqs")
        assert (await aws.queue_at(dead)).retention == 1209600
        assert await aws.oldest_message(found.arn) is None
        with pytest.raises(NotFound):
            await aws.queue(f"{url}-gone", REGION)
        with pytest.raises(NotFound):
            await aws.queue_at(f"{dead}-gone")


async def test_a_topic_and_its_subscriptions(new_aws):
    """In the region of the topic's ARN."""
    sns = client(new_aws, "sns", "us-east-1")
    topic = sns.create_topic(Name="jibe", Attributes={"KmsMasterKeyId": "alias/aws/sns"})["TopicArn"]
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:jibe"
    client(new_aws, "sqs", REGION).create_queue(QueueName="jibe")
    arn = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)["SubscriptionArn"]
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
    async with inspection(new_aws) as aws:
        assert await aws.subscriptions(topic) == [Subscription(arn, "sqs", queue)]
        assert await aws.subscription(arn) == SubscriptionState(is_raw=True)
        assert await aws.topic_key(topic) == "alias/aws/sns"
        with pytest.raises(NotFound):
            await aws.subscriptions(f"{topic}-gone")


async def test_a_trail_its_status_and_its_selectors(new_aws):
    """Basic and advanced selectors give the same values."""
    client(new_aws, "s3", "us-east-1").create_bucket(Bucket="logs")
    client(new_aws, "sns", REGION).create_topic(Name="jibe")
    trails = client(new_aws, "cloudtrail", REGION)
    trails.create_trail(
        Name="jibe", S3BucketName="logs", S3KeyPrefix="aws", SnsTopicName="jibe", IsMultiRegionTrail=True
    )
    resource = {"Type": "AWS::S3::Object", "Values": ["arn:aws:s3:::media/"]}
    trails.put_event_selectors(
        TrailName="jibe", EventSelectors=[{"ReadWriteType": "WriteOnly", "DataResources": [resource]}]
    )
    async with inspection(new_aws) as aws:
        (found,) = await aws.trails("us-east-1")
        assert (found.home, found.bucket, found.keys, found.is_multi_region) == (REGION, "logs", "aws/AWSLogs/", True)
        assert found.topic == f"arn:aws:sns:{REGION}:{ACCOUNT}:jibe"
        assert (found.is_logging, found.selectors) == (None, None)
        assert (await aws.trail_status(found)).is_logging is False
        trails.start_logging(Name="jibe")
        logging = await aws.trail_status(found)
        assert logging.is_logging
        assert logging.latest_delivery
        (selector,) = (await aws.trail_selectors(found)).selectors
        assert selector == Selector("AWS::S3::Object", reads=False, writes=True, starts=("arn:aws:s3:::media/",))


async def test_what_a_bucket_announces_and_how_its_objects_expire(new_aws):
    """A bucket without a lifecycle configuration has no rules."""
    s3 = client(new_aws, "s3", REGION)
    s3.create_bucket(Bucket="media", CreateBucketConfiguration={"LocationConstraint": REGION})
    topic = client(new_aws, "sns", REGION).create_topic(Name="jibe")["TopicArn"]
    async with inspection(new_aws) as aws:
        assert await aws.expiries("media", REGION) == []
        assert await aws.notifications("media", REGION) == Notifications()
        assert await aws.access_log_bucket("media", REGION) == ""
        events = ["s3:ObjectCreated:*", "s3:LifecycleExpiration:*"]
        configuration = {"TopicConfigurations": [{"TopicArn": topic, "Events": events}]}
        s3.put_bucket_notification_configuration(Bucket="media", NotificationConfiguration=configuration)
        rules = [
            {"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 7}},
            {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 7}},
            {
                "ID": "versions",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "NoncurrentVersionExpiration": {"NoncurrentDays": 7},
            },
        ]
        s3.put_bucket_lifecycle_configuration(Bucket="media", LifecycleConfiguration={"Rules": rules})
        assert await aws.expiries("media", REGION) == [Expiry("tidy", "tmp/")]
        assert await aws.notifications("media", REGION) == Notifications(tuple(events))
        with pytest.raises(NotFound):
            await aws.bucket_region("no-such-bucket")


async def test_a_key_and_its_policy(new_aws):
    """A disabled key has another state."""
    kms = client(new_aws, "kms", REGION)
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    async with inspection(new_aws) as aws:
        found = await aws.key(arn, REGION)
        assert (found.arn, found.state, found.is_managed_by_aws) == (arn, "Enabled", False)
        assert "kms:*" in await aws.key_policy(arn)
        kms.disable_key(KeyId=arn.rpartition("/")[2])
        assert (await aws.key(arn, REGION)).state == "Disabled"
        with pytest.raises(NotFound):
            await aws.key(arn.replace("key/", "key/0"), REGION)


def refused(code, status=400, operation="GetX"):
    answer = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused("AccessDenied", 403), NotAllowed),
        (refused("AccessDeniedException"), NotAllowed),
        (refused("AuthorizationError", 403), NotAllowed),
        (refused("403", 403), NotAllowed),
        (refused("NotFound", 404), NotFound),
        (refused("404", 404), NotFound),
        (refused("AWS.SimpleQueueService.NonExistentQueue"), NotFound),
        (refused("TrailNotFoundException"), NotFound),
        (refused("ExpiredToken", 403), NoCredentials),
        (refused("InvalidClientTokenId", 403), NoCredentials),
        (refused("RequestTimeTooSkewed", 403), NoCredentials),
        (refused("AccessDenied", 403, "AssumeRole"), NoCredentials),
        (NoCredentialsError(), NoCredentials),
        (EndpointConnectionError(endpoint_url="https://sns.example"), NoAnswer),
        (refused("InternalError", 500), NoAnswer),
    ],
)
def test_every_refusal_becomes_a_finding(error, kind):
    """A permission that is missing is a note with its name; everything else is a problem."""
    with pytest.raises(kind) as raised, translated(Asked("sns", "x", "sns:X", "arn:aws:sns:::jibe", {})):
        raise error
    problem = raised.value.as_problem("jibe")
    assert all([problem.what, problem.remedy])
    if kind is NotAllowed:
        assert (problem.code, problem.severity) == ("cannot-check", "note")
        assert "sns:X" in problem.remedy
