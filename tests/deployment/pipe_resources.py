"""How queues, topics, buckets, trails, keys, alarms and rules are created."""

import json

from tests.deployment.policies import allows
from tests.deployment.resources import Context, Created, Properties, kind, text, whole
from tests.deployment.templates import Refused

from jibe_sqs.sandbox.aws.aws_calls import Need
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client


@kind("AWS::SQS::Queue", again=True)
def queue(context: Context, properties: Properties) -> Created:
    name = properties.pop("QueueName", None) or context.name()
    properties.pop("Tags", None)
    sqs = context.client("sqs")
    attributes = {key: text(value) for key, value in properties.items()}
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
    arn = f"arn:aws:sqs:{context.region}:{ACCOUNT}:{name}"
    url = f"https://sqs.{context.region}.amazonaws.com/{ACCOUNT}/{name}"
    return Created(url, {"Arn": arn, "QueueName": name, "QueueUrl": url}, lambda: sqs.delete_queue(QueueUrl=url))


@kind("AWS::SQS::QueuePolicy", again=True)
def queue_policy(context: Context, properties: Properties) -> Created:
    for url in properties.pop("Queues"):
        policy = {"Policy": json.dumps(properties["PolicyDocument"])}
        context.client("sqs").set_queue_attributes(QueueUrl=url, Attributes=policy)
    return whole(context, properties, "PolicyDocument")


@kind("AWS::SNS::Topic", again=True)
def topic(context: Context, properties: Properties) -> Created:
    sns = context.client("sns")
    arn = sns.create_topic(Name=properties.pop("TopicName", None) or context.name())["TopicArn"]
    for name in ("KmsMasterKeyId", "DisplayName"):
        if name in properties:
            sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=properties.pop(name))
    whole(context, properties, "Tags")
    attributes = {"TopicArn": arn, "TopicName": arn.rpartition(":")[2]}
    return Created(arn, attributes, lambda: sns.delete_topic(TopicArn=arn))


@kind("AWS::SNS::TopicPolicy", again=True)
def topic_policy(context: Context, properties: Properties) -> Created:
    for arn in properties.pop("Topics"):
        policy = json.dumps(properties["PolicyDocument"])
        context.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return whole(context, properties, "PolicyDocument")


@kind("AWS::SNS::Subscription", again=True)
def subscription(context: Context, properties: Properties) -> Created:
    where = properties.pop("Region", context.region)
    sns = client(context.endpoint, "sns", where)
    named = {name: properties.pop(name) for name in ("TopicArn", "Protocol", "Endpoint")}
    arn = sns.subscribe(**named)["SubscriptionArn"]
    for name, value in properties.items():
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=text(value))
    return Created(arn, {"Arn": arn}, lambda: sns.unsubscribe(SubscriptionArn=arn))


@kind("AWS::S3::Bucket")
def bucket(context: Context, properties: Properties) -> Created:
    s3 = context.client("s3")
    name = properties.pop("BucketName", None) or context.name(longest=63).lower()
    where = {} if context.region == "us-east-1" else {"LocationConstraint": context.region}
    s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": where} if where else {}))
    for part, (operation, member) in BUCKET_PARTS.items():
        if part in properties:
            value = properties.pop(part)
            value = _lifecycle(value) if part == "LifecycleConfiguration" else value
            value = _encryption(value) if part == "BucketEncryption" else value
            context.call("s3", operation, {"Bucket": name, member: value})
    whole(context, properties, "Tags")
    domain = f"{name}.s3.{context.region}.amazonaws.com"
    attributes = {"Arn": f"arn:aws:s3:::{name}", "RegionalDomainName": domain}
    return Created(name, attributes, lambda: s3.delete_bucket(Bucket=name))


BUCKET_PARTS = {
    "PublicAccessBlockConfiguration": ("put_public_access_block", "PublicAccessBlockConfiguration"),
    "OwnershipControls": ("put_bucket_ownership_controls", "OwnershipControls"),
    "VersioningConfiguration": ("put_bucket_versioning", "VersioningConfiguration"),
    "BucketEncryption": ("put_bucket_encryption", "ServerSideEncryptionConfiguration"),
    "LifecycleConfiguration": ("put_bucket_lifecycle_configuration", "LifecycleConfiguration"),
}


def _encryption(value: Properties) -> Properties:
    renamed = {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}
    rules = value["ServerSideEncryptionConfiguration"]
    return {"Rules": [{renamed.get(name, name): each for name, each in rule.items()} for rule in rules]}


def _lifecycle(value: Properties) -> Properties:
    rules = []
    for rule in value["Rules"]:
        found = {name: each for name, each in rule.items() if name not in ("ExpirationInDays", "Prefix")}
        if "ExpirationInDays" in rule:
            found["Expiration"] = {"Days": rule["ExpirationInDays"]}
        if "NoncurrentVersionExpirationInDays" in found:
            found["NoncurrentVersionExpiration"] = {"NoncurrentDays": found.pop("NoncurrentVersionExpirationInDays")}
        rules.append(found | {"Filter": {"Prefix": rule.get("Prefix", "")}})
    return {"Rules": rules}


@kind("AWS::S3::BucketPolicy", again=True)
def bucket_policy(context: Context, properties: Properties) -> Created:
    s3, name = context.client("s3"), properties.pop("Bucket")
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(properties["PolicyDocument"]))
    whole(context, properties, "PolicyDocument")
    return Created(context.name(), delete=lambda: s3.delete_bucket_policy(Bucket=name))


@kind("AWS::CloudTrail::Trail")
def trail(context: Context, properties: Properties) -> Created:
    """CloudTrail refuses a bucket or a topic whose policy does not let it write."""
    cloudtrail = context.client("cloudtrail")
    name = properties.pop("TrailName", None) or context.name()
    arn = f"arn:aws:cloudtrail:{context.region}:{ACCOUNT}:trail/{name}"
    selectors, is_logging = properties.pop("AdvancedEventSelectors", None), properties.pop("IsLogging")
    properties.pop("Tags", None)
    topic = properties.get("SnsTopicName", "")
    topic = topic if topic.startswith("arn:") else f"arn:aws:sns:{context.region}:{ACCOUNT}:{topic}"
    check_trail(context, arn, properties["S3BucketName"], properties.get("S3KeyPrefix", ""), topic)
    if properties.get("SnsTopicName"):
        # moto knows the name only.
        properties["SnsTopicName"] = topic.rpartition(":")[2]
    context.call("cloudtrail", "create_trail", {"Name": name, **properties})
    if selectors:
        selecting = {"TrailName": name, "AdvancedEventSelectors": selectors}
        context.call("cloudtrail", "put_event_selectors", selecting)
    if str(is_logging).lower() == "true":
        cloudtrail.start_logging(Name=name)
    return Created(name, {"Arn": arn, "SnsTopicArn": topic}, lambda: cloudtrail.delete_trail(Name=name))


def check_trail(context: Context, arn: str, log_bucket: str, prefix: str, topic: str) -> None:
    """Raises `Refused` if CloudTrail may not write to the bucket or publish to the topic."""
    named = {"aws:SourceArn": arn, "aws:SourceAccount": ACCOUNT, "aws:SecureTransport": "true"}
    of_bucket = json.loads(context.client("s3").get_bucket_policy(Bucket=log_bucket)["Policy"])
    key = f"{prefix}/AWSLogs/{ACCOUNT}/x".lstrip("/")
    writing = {**named, "s3:x-amz-acl": "bucket-owner-full-control"}
    service, whole = "cloudtrail.amazonaws.com", f"arn:aws:s3:::{log_bucket}"
    needed = Need("s3:GetBucketAcl", whole, named), Need("s3:PutObject", f"{whole}/{key}", writing)
    if not all(allows(of_bucket, service, each) for each in needed):
        raise Refused(f"InsufficientS3BucketPolicyException: {arn} may not write to {log_bucket}")
    sns = client(context.endpoint, "sns", topic.split(":")[3])
    of_topic = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    if not allows(of_topic, service, Need("sns:Publish", topic, named)):
        raise Refused(f"InsufficientSnsTopicPolicyException: {arn} may not publish to {topic}")


@kind("AWS::KMS::Key")
def key(context: Context, properties: Properties) -> Created:
    kms = context.client("kms")
    for name in ("EnableKeyRotation", "PendingWindowInDays"):
        properties.pop(name, None)
    properties["Policy"] = properties.pop("KeyPolicy")
    made = context.call("kms", "create_key", properties)["KeyMetadata"]

    def delete() -> None:
        kms.schedule_key_deletion(KeyId=made["KeyId"], PendingWindowInDays=7)

    return Created(made["KeyId"], {"Arn": made["Arn"], "KeyId": made["KeyId"]}, delete)


@kind("AWS::KMS::Alias")
def alias(context: Context, properties: Properties) -> Created:
    kms, name = context.client("kms"), properties["AliasName"]
    context.call("kms", "create_alias", properties)
    return Created(name, delete=lambda: kms.delete_alias(AliasName=name))


@kind("AWS::CloudWatch::Alarm", again=True)
def alarm(context: Context, properties: Properties) -> Created:
    cloudwatch, name = context.client("cloudwatch"), properties.get("AlarmName") or context.name()
    context.call("cloudwatch", "put_metric_alarm", properties | {"AlarmName": name})
    arn = f"arn:aws:cloudwatch:{context.region}:{ACCOUNT}:alarm:{name}"
    return Created(name, {"Arn": arn}, lambda: cloudwatch.delete_alarms(AlarmNames=[name]))


@kind("AWS::Events::Rule", again=True)
def rule(context: Context, properties: Properties) -> Created:
    events, targets = context.client("events"), properties.pop("Targets", [])
    name, bus = properties.get("Name") or context.name(), properties.get("EventBusName", "default")
    arn = context.call("events", "put_rule", properties | {"Name": name})["RuleArn"]
    context.call("events", "put_targets", {"Rule": name, "EventBusName": bus, "Targets": targets})

    def delete() -> None:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=[each["Id"] for each in targets])
        events.delete_rule(Name=name, EventBusName=bus)

    return Created(name, {"Arn": arn}, delete)


@kind("AWS::Events::EventBusPolicy", again=True)
def bus_policy(context: Context, properties: Properties) -> Created:
    statement = {"Sid": properties["StatementId"], **properties.pop("Statement")}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    bus = properties.pop("EventBusName", "default")
    context.client("events").put_permission(EventBusName=bus, Policy=policy)
    return whole(context, properties, "StatementId")
