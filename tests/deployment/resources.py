"""How each type of CloudFormation resource is created: with the calls of AWS's API. Other types are errors."""

import json
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.deployment.policies import allows
from tests.deployment.shapes import arguments
from tests.deployment.templates import Refused

from jibe_sqs.sandbox.aws.aws_calls import Need
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client

Properties = dict[str, Any]


@dataclass
class Context:
    """Where a resource is created, and what it is called if its properties do not say so."""

    endpoint: str
    region: str
    stack: str
    logical: str

    def client(self, service: str) -> Any:
        return client(self.endpoint, service, self.region)

    def name(self, *, longest: int = 80) -> str:
        unique = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
        return f"{self.stack}-{self.logical}"[: longest - 13] + f"-{unique}"

    def call(self, service: str, operation: str, properties: Properties) -> Any:
        api = self.client(service)
        return getattr(api, operation)(**arguments(api, operation, properties))


@dataclass
class Created:
    """A resource: the value of `Ref`, its attributes, and how it is deleted."""

    reference: str
    attributes: dict[str, Any] = field(default_factory=dict)
    delete: Callable[[], Any] = lambda: None


Kind = Callable[[Context, Properties], Created]
KINDS: dict[str, Kind] = {}
SET_AGAIN = set[str]()
"""Types that can be created again to update them: a call that sets everything."""


def kind(name: str, *, again: bool = False) -> Callable[[Kind], Kind]:
    def register(create: Kind) -> Kind:
        KINDS[name] = create
        if again:
            SET_AGAIN.add(name)
        return create

    return register


@kind("AWS::SQS::Queue", again=True)
def queue(context: Context, properties: Properties) -> Created:
    name = properties.pop("QueueName", None) or context.name()
    properties.pop("Tags", None)
    sqs = context.client("sqs")
    attributes = {key: _text(value) for key, value in properties.items()}
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
    return _whole(context, properties, "PolicyDocument")


@kind("AWS::SNS::Topic", again=True)
def topic(context: Context, properties: Properties) -> Created:
    sns = context.client("sns")
    arn = sns.create_topic(Name=properties.pop("TopicName", None) or context.name())["TopicArn"]
    for name in ("KmsMasterKeyId", "DisplayName"):
        if name in properties:
            sns.set_topic_attributes(TopicArn=arn, AttributeName=name, AttributeValue=properties.pop(name))
    _whole(context, properties, "Tags")
    attributes = {"TopicArn": arn, "TopicName": arn.rpartition(":")[2]}
    return Created(arn, attributes, lambda: sns.delete_topic(TopicArn=arn))


@kind("AWS::SNS::TopicPolicy", again=True)
def topic_policy(context: Context, properties: Properties) -> Created:
    for arn in properties.pop("Topics"):
        policy = json.dumps(properties["PolicyDocument"])
        context.client("sns").set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)
    return _whole(context, properties, "PolicyDocument")


@kind("AWS::SNS::Subscription", again=True)
def subscription(context: Context, properties: Properties) -> Created:
    where = properties.pop("Region", context.region)
    sns = client(context.endpoint, "sns", where)
    named = {name: properties.pop(name) for name in ("TopicArn", "Protocol", "Endpoint")}
    arn = sns.subscribe(**named)["SubscriptionArn"]
    for name, value in properties.items():
        sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName=name, AttributeValue=_text(value))
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
    _whole(context, properties, "Tags")
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
    _whole(context, properties, "PolicyDocument")
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
    return _whole(context, properties, "StatementId")


@kind("AWS::DynamoDB::Table", again=True)
def table(context: Context, properties: Properties) -> Created:
    """Creates a table, or changes the protection of the one of this stack and logical name."""
    dynamodb, name = context.client("dynamodb"), properties.pop("TableName", None) or context.name()
    names = dynamodb.list_tables()["TableNames"]
    if there := [each for each in names if each == name or each.startswith(f"{context.stack}-{context.logical}-")]:
        changed = {"TableName": there[0], "DeletionProtectionEnabled": properties["DeletionProtectionEnabled"]}
        arn = context.call("dynamodb", "update_table", changed)["TableDescription"]["TableArn"]
        return Created(there[0], {"Arn": arn}, lambda: dynamodb.delete_table(TableName=there[0]))
    expiry, recovery = properties.pop("TimeToLiveSpecification", None), "PointInTimeRecoverySpecification"
    recovering = properties.pop(recovery, None)
    arn = context.call("dynamodb", "create_table", {"TableName": name, **properties})["TableDescription"]["TableArn"]
    if expiry:
        context.call("dynamodb", "update_time_to_live", {"TableName": name, "TimeToLiveSpecification": expiry})
    if recovering:
        context.call("dynamodb", "update_continuous_backups", {"TableName": name, recovery: recovering})
    return Created(name, {"Arn": arn}, lambda: dynamodb.delete_table(TableName=name))


@kind("AWS::IAM::Role")
def role(context: Context, properties: Properties) -> Created:
    iam, name = context.client("iam"), properties.pop("RoleName", None) or context.name(longest=64)
    policies, managed = properties.pop("Policies", []), properties.pop("ManagedPolicyArns", [])
    made = context.call("iam", "create_role", {"RoleName": name, **properties})["Role"]
    for policy in policies:
        context.call("iam", "put_role_policy", {"RoleName": name, **policy})
    for arn in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)

    def delete() -> None:
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=policy)
        for arn in managed:
            iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        iam.delete_role(RoleName=name)

    return Created(name, {"Arn": made["Arn"], "RoleId": made["RoleId"]}, delete)


@kind("AWS::IAM::Policy", again=True)
def policy_of_roles(context: Context, properties: Properties) -> Created:
    iam, roles, name = context.client("iam"), properties.pop("Roles"), properties["PolicyName"]
    for each in roles:
        context.call("iam", "put_role_policy", {"RoleName": each, **properties})

    def delete() -> None:
        for each in roles:
            iam.delete_role_policy(RoleName=each, PolicyName=name)

    return Created(name, delete=delete)


@kind("AWS::Logs::LogGroup")
def log_group(context: Context, properties: Properties) -> Created:
    logs, name = context.client("logs"), properties.pop("LogGroupName", None) or context.name()
    logs.create_log_group(logGroupName=name)
    if days := properties.pop("RetentionInDays", None):
        logs.put_retention_policy(logGroupName=name, retentionInDays=int(days))
    _whole(context, properties, "Tags")
    arn = f"arn:aws:logs:{context.region}:{ACCOUNT}:log-group:{name}:*"
    return Created(name, {"Arn": arn}, lambda: logs.delete_log_group(logGroupName=name))


@kind("AWS::Logs::MetricFilter", again=True)
def metric_filter(context: Context, properties: Properties) -> Created:
    name = properties.get("FilterName") or context.name()
    renamed = {"MetricTransformations": properties.pop("MetricTransformations")}
    context.call("logs", "put_metric_filter", {**properties, **renamed, "FilterName": name})
    return Created(name)


@kind("AWS::SSM::Parameter", again=True)
def parameter(context: Context, properties: Properties) -> Created:
    ssm, name = context.client("ssm"), properties.get("Name") or context.name()
    context.call("ssm", "put_parameter", properties | {"Name": name, "Overwrite": True})
    return Created(name, {"Value": properties["Value"]}, lambda: ssm.delete_parameter(Name=name))


@kind("AWS::SecretsManager::Secret")
def secret(context: Context, properties: Properties) -> Created:
    api, name = context.client("secretsmanager"), properties.get("Name") or context.name()
    arn = context.call("secretsmanager", "create_secret", properties | {"Name": name})["ARN"]
    return Created(arn, {"Id": arn}, lambda: api.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True))


@kind("AWS::ECS::Cluster")
def cluster(context: Context, properties: Properties) -> Created:
    ecs, name = context.client("ecs"), properties.get("ClusterName") or context.name()
    settings = properties.pop("ClusterSettings", [])
    given = properties | {"ClusterName": name, "Settings": settings}
    arn = context.call("ecs", "create_cluster", given)["cluster"]["clusterArn"]
    return Created(name, {"Arn": arn}, lambda: ecs.delete_cluster(cluster=name))


@kind("AWS::ECS::TaskDefinition", again=True)
def task_definition(context: Context, properties: Properties) -> Created:
    ecs, family = context.client("ecs"), properties.get("Family") or context.name()
    made = context.call("ecs", "register_task_definition", properties | {"Family": family})["taskDefinition"]
    arn = made["taskDefinitionArn"]
    return Created(arn, {"TaskDefinitionArn": arn}, lambda: ecs.deregister_task_definition(taskDefinition=arn))


@kind("AWS::ECS::Service", again=True)
def service(context: Context, properties: Properties) -> Created:
    """Creates a service, or updates the one of this stack and logical name."""
    ecs = context.client("ecs")
    name, where = properties.pop("ServiceName", None) or f"{context.stack}-{context.logical}", properties["Cluster"]
    there = ecs.describe_services(cluster=where, services=[name])["services"]
    if [each for each in there if each["status"] == "ACTIVE"]:
        changed = {
            each: properties[each] for each in ("Cluster", "TaskDefinition", "DesiredCount") if each in properties
        }
        arn = context.call("ecs", "update_service", {"service": name, **changed})["service"]["serviceArn"]
    else:
        arn = context.call("ecs", "create_service", {"ServiceName": name, **properties})["service"]["serviceArn"]

    def delete() -> None:
        ecs.update_service(cluster=where, service=name, desiredCount=0)
        ecs.delete_service(cluster=where, service=name, force=True)

    return Created(arn, {"Name": name, "ServiceArn": arn}, delete)


@kind("AWS::ApplicationAutoScaling::ScalableTarget", again=True)
def scalable_target(context: Context, properties: Properties) -> Created:
    context.call("application-autoscaling", "register_scalable_target", properties)
    identity = "|".join(properties[each] for each in ("ResourceId", "ScalableDimension", "ServiceNamespace"))

    def delete() -> None:
        named = ("ServiceNamespace", "ResourceId", "ScalableDimension")
        api = context.client("application-autoscaling")
        api.deregister_scalable_target(**{each: properties[each] for each in named})

    return Created(identity, {"Id": identity}, delete)


@kind("AWS::ApplicationAutoScaling::ScalingPolicy", again=True)
def scaling_policy(context: Context, properties: Properties) -> Created:
    if target := properties.pop("ScalingTargetId", None):
        named = ("ResourceId", "ScalableDimension", "ServiceNamespace")
        properties |= dict(zip(named, target.split("|"), strict=True))
    renamed = {name: properties.pop(name) for name in list(properties) if name.endswith("PolicyConfiguration")}
    made = context.call("application-autoscaling", "put_scaling_policy", {**properties, **renamed})
    return Created(made["PolicyARN"], {"Arn": made["PolicyARN"]})


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _whole(context: Context, properties: Properties, *known: str) -> Created:
    """Raises `Refused` if there are other properties than these."""
    if unknown := sorted(properties.keys() - set(known)):
        raise Refused(f"{context.logical}: unknown properties {unknown}")
    return Created(context.name())
