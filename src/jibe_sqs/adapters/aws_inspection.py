"""What `jibe-sqs check` asks AWS for. It only reads.

The names of permissions are those of the Service Authorization Reference. They differ from the operations in places: the
permission for `GetBucketLifecycleConfiguration` is `s3:GetLifecycleConfiguration`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_questions import Asked, Questions, translated
from jibe_sqs.adapters.aws_selectors import selectors
from jibe_sqs.adapters.s3 import Regions, Source
from jibe_sqs.commands.check.facts import (
    Cloud,
    Expiry,
    KeyState,
    Notifications,
    QueueState,
    Subscription,
    SubscriptionState,
    TrailState,
)

AGE_WINDOW: Final = timedelta(minutes=30)
"""SQS reports the age of the oldest message to CloudWatch each minute, and some minutes late."""
_NO_LIFECYCLE: Final = "NoSuchLifecycleConfiguration"
_TARGETS: Final = ("QueueConfigurations", "TopicConfigurations")
"""Where events may lead to our queues. A Lambda function does not."""


class AwsInspection(Cloud):
    """The `Cloud` port, with the credentials of one account."""

    def __init__(self, aws: Aws, account: Account, regions: Regions, *, own: str = "s3") -> None:
        """`regions`: of buckets. `own`: the service that the account's endpoint belongs to."""
        self._questions = Questions(aws, account, own=own)
        self._regions = regions
        self._source = Source(account)

    async def identity(self) -> str:
        """Ask STS. Every caller is allowed to."""
        answer = await self._ask("sts", "get_caller_identity", "sts:GetCallerIdentity", "the caller")
        return str(answer.get("Arn", "an unknown caller"))

    async def queue(self, url: str, region: str | None) -> QueueState:
        """Ask SQS for all attributes."""
        answer = await self._ask(
            "sqs", "get_queue_attributes", "sqs:GetQueueAttributes", url, region, QueueUrl=url, AttributeNames=["All"]
        )
        return _queue(answer.get("Attributes", {}))

    async def queue_at(self, arn: str) -> QueueState:
        """Ask SQS for the queue's URL, then for its attributes."""
        _, _, _, region, account, name = arn.split(":", 5)
        answer = await self._ask(
            "sqs", "get_queue_url", "sqs:GetQueueUrl", arn, region, QueueName=name, QueueOwnerAWSAccountId=account
        )
        return await self.queue(str(answer["QueueUrl"]), region)

    async def oldest_message(self, arn: str) -> float | None:
        """Ask CloudWatch: SQS itself does not answer this."""
        _, _, _, region, _, name = arn.split(":", 5)
        now = datetime.now(UTC)
        answer = await self._ask(
            "cloudwatch",
            "get_metric_statistics",
            "cloudwatch:GetMetricStatistics",
            "*",
            region,
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": name}],
            StartTime=now - AGE_WINDOW,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
        points = sorted(answer.get("Datapoints", ()), key=lambda point: point["Timestamp"])
        return float(points[-1]["Maximum"]) if points else None

    async def subscriptions(self, topic: str) -> Sequence[Subscription]:
        """Ask SNS, page by page."""
        found: list[Subscription] = []
        page: dict[str, Any] = {}
        while True:
            answer = await self._ask(
                "sns",
                "list_subscriptions_by_topic",
                "sns:ListSubscriptionsByTopic",
                topic,
                _region(topic),
                TopicArn=topic,
                **page,
            )
            found += [
                Subscription(each["SubscriptionArn"], each["Protocol"], each["Endpoint"])
                for each in answer.get("Subscriptions", ())
            ]
            if not answer.get("NextToken"):
                return found
            page = {"NextToken": answer["NextToken"]}

    async def subscription(self, arn: str) -> SubscriptionState:
        """Ask SNS for its attributes."""
        answer = await self._ask(
            "sns",
            "get_subscription_attributes",
            "sns:GetSubscriptionAttributes",
            arn,
            _region(arn),
            SubscriptionArn=arn,
        )
        attributes = answer.get("Attributes", {})
        return SubscriptionState(
            is_raw=str(attributes.get("RawMessageDelivery")).lower() == "true",
            filter_policy=str(attributes.get("FilterPolicy") or ""),
        )

    async def topic_key(self, topic: str) -> str:
        """Ask SNS for the topic's attributes."""
        answer = await self._ask(
            "sns", "get_topic_attributes", "sns:GetTopicAttributes", topic, _region(topic), TopicArn=topic
        )
        return str(answer.get("Attributes", {}).get("KmsMasterKeyId") or "")

    async def key(self, key: str, region: str) -> KeyState:
        """Ask KMS. `key`: an id, an ARN or an alias."""
        answer = await self._ask("kms", "describe_key", "kms:DescribeKey", key, region, KeyId=key)
        found = answer.get("KeyMetadata", {})
        return KeyState(
            arn=found.get("Arn", key),
            state=found.get("KeyState", "unknown"),
            is_managed_by_aws=found.get("KeyManager") == "AWS",
        )

    async def key_policy(self, arn: str) -> str:
        """Ask KMS."""
        answer = await self._ask(
            "kms", "get_key_policy", "kms:GetKeyPolicy", arn, _region(arn), KeyId=arn, PolicyName="default"
        )
        return str(answer.get("Policy", ""))

    async def bucket_region(self, bucket: str) -> str:
        """Ask S3. Its refusal of a HEAD names the region, too, so this needs no permission."""
        with translated(Asked("s3", "head_bucket", "s3:ListBucket", f"arn:aws:s3:::{bucket}", {})):
            return await self._regions.of(bucket, self._source)

    async def notifications(self, bucket: str, region: str) -> Notifications:
        """Ask S3 for the queues and topics that get the bucket's events."""
        answer = await self._of_bucket(
            bucket, region, "get_bucket_notification_configuration", "s3:GetBucketNotification"
        )
        events = [event for target in _TARGETS for each in answer.get(target, ()) for event in each.get("Events", ())]
        return Notifications(tuple(dict.fromkeys(events)), has_eventbridge="EventBridgeConfiguration" in answer)

    async def access_log_bucket(self, bucket: str, region: str) -> str:
        """Ask S3 where it delivers the bucket's server access logs."""
        answer = await self._of_bucket(bucket, region, "get_bucket_logging", "s3:GetBucketLogging")
        return str(answer.get("LoggingEnabled", {}).get("TargetBucket", ""))

    async def expiries(self, bucket: str, region: str) -> Sequence[Expiry]:
        """Ask S3 for the bucket's lifecycle rules."""
        answer = await self._of_bucket(
            bucket, region, "get_bucket_lifecycle_configuration", "s3:GetLifecycleConfiguration"
        )
        return [
            Expiry(each.get("ID", "without a name"), _prefix(each))
            for each in answer.get("Rules", ())
            # ExpiredObjectDeleteMarker and rules of noncurrent versions delete nothing that is visible.
            if each.get("Status") == "Enabled" and {"Days", "Date"} & each.get("Expiration", {}).keys()
        ]

    async def trails(self, region: str) -> Sequence[TrailState]:
        """Ask CloudTrail: it answers with the region's trails, and with those of all regions."""
        answer = await self._ask("cloudtrail", "describe_trails", "cloudtrail:DescribeTrails", "*", region)
        return [
            TrailState(
                arn=each["TrailARN"],
                home=each.get("HomeRegion") or _region(each["TrailARN"]),
                bucket=each.get("S3BucketName", ""),
                prefix=each.get("S3KeyPrefix", ""),
                topic=each.get("SnsTopicARN") or "",
                is_multi_region=bool(each.get("IsMultiRegionTrail")),
            )
            for each in answer.get("trailList", ())
        ]

    async def trail_status(self, trail: TrailState) -> TrailState:
        """Ask CloudTrail in the trail's own region."""
        answer = await self._ask(
            "cloudtrail", "get_trail_status", "cloudtrail:GetTrailStatus", trail.arn, trail.home, Name=trail.arn
        )
        return msgspec.structs.replace(
            trail,
            is_logging=bool(answer.get("IsLogging")),
            latest_delivery=_seconds(answer.get("LatestDeliveryTime")),
            delivery_error=str(answer.get("LatestDeliveryError") or ""),
            notification_error=str(answer.get("LatestNotificationError") or ""),
        )

    async def trail_selectors(self, trail: TrailState) -> TrailState:
        """Ask CloudTrail in the trail's own region."""
        answer = await self._ask(
            "cloudtrail",
            "get_event_selectors",
            "cloudtrail:GetEventSelectors",
            trail.arn,
            trail.home,
            TrailName=trail.arn,
        )
        return msgspec.structs.replace(trail, selectors=selectors(answer))

    async def _of_bucket(self, bucket: str, region: str, operation: str, action: str) -> Mapping[str, Any]:
        asked = Asked("s3", operation, action, f"arn:aws:s3:::{bucket}", {"Bucket": bucket}, region)
        return await self._questions.ask(asked, absent=lambda code: code == _NO_LIFECYCLE)

    async def _ask(
        self, service: str, operation: str, action: str, resource: str, region: str | None = None, **arguments: Any
    ) -> Mapping[str, Any]:
        return await self._questions.ask(Asked(service, operation, action, resource, arguments, region))


def _queue(attributes: Mapping[str, str]) -> QueueState:
    redrive = _object(attributes.get("RedrivePolicy"))
    receives = redrive.get("maxReceiveCount")
    return QueueState(
        arn=attributes.get("QueueArn", ":::::"),
        visibility_timeout=float(attributes.get("VisibilityTimeout", 30)),
        retention=float(attributes.get("MessageRetentionPeriod", 345_600)),
        policy=attributes.get("Policy", ""),
        key=attributes.get("KmsMasterKeyId", ""),
        redrive_target=str(redrive.get("deadLetterTargetArn") or ""),
        max_receives=int(receives) if receives is not None else None,
        waiting=int(attributes.get("ApproximateNumberOfMessages", 0)),
        in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)),
    )


def _object(text: str | None) -> Mapping[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _prefix(rule: Mapping[str, Any]) -> str:
    """The prefix of a lifecycle rule, in each of the places where S3 allows it."""
    conditions = rule.get("Filter") or {}
    return str(rule.get("Prefix") or conditions.get("Prefix") or conditions.get("And", {}).get("Prefix") or "")


def _region(arn: str) -> str:
    return arn.split(":")[3]


def _seconds(time: object) -> float | None:
    return time.timestamp() if isinstance(time, datetime) else None
