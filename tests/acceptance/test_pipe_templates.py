"""The templates of queues, topics, trails and EventBridge are safe: rules that cfn-lint does not know, and a deployment."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from infra.quickstart import Reader as Template
from tests.deployment.templates import Refused, properties, references

from jibe_sqs.sandbox.aws.deployment import client
from jibe_sqs.sandbox.processes import server

FOLDER = Path(__file__).parents[2] / "infra" / "cloudformation"
PIPES = ("central", "region", "trail", "eventbridge-central", "eventbridge-region")
READS = ("Get", "List", "Describe", "BatchGet", "Receive")
SOURCES = ("aws:SourceArn", "aws:SourceAccount", "events:source")
NO_VALUE = {"Ref": "AWS::NoValue"}


def template(name: str) -> dict[str, Any]:
    return yaml.load((FOLDER / f"{name}.yaml").read_text(), Template)


def of_type(document: dict[str, Any], *types: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, resource in document["Resources"].items():
        if resource["Type"] in types:
            yield name, resource


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def resource_policies(document: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for name, resource in document["Resources"].items():
        for key in ("PolicyDocument", "KeyPolicy", "AssumeRolePolicyDocument"):
            if key in resource.get("Properties", {}):
                yield name, resource["Properties"][key]["Statement"]
        if resource["Type"] == "AWS::Events::EventBusPolicy":
            yield name, [resource["Properties"]["Statement"]]


def unencrypted(document: dict[str, Any]) -> list[str]:
    """Queues without SSE-SQS or a key, topics that cannot have a key, and buckets without encryption."""
    queues = [
        name
        for name, each in of_type(document, "AWS::SQS::Queue")
        if not {"SqsManagedSseEnabled", "KmsMasterKeyId"} & set(each["Properties"])
        or each["Properties"].get("SqsManagedSseEnabled") in (False, NO_VALUE)
    ]
    topics = [n for n, each in of_type(document, "AWS::SNS::Topic") if "KmsMasterKeyId" not in each["Properties"]]
    buckets = [n for n, each in of_type(document, "AWS::S3::Bucket") if "BucketEncryption" not in each["Properties"]]
    return queues + topics + buckets


def without_tls_policy(document: dict[str, Any]) -> list[str]:
    """Queues, topics and buckets that no policy protects from requests without TLS."""
    protected = set()
    for _, resource in of_type(document, "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy"):
        properties = resource["Properties"]
        denied = [
            each
            for each in properties["PolicyDocument"]["Statement"]
            if each["Effect"] == "Deny" and each.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        targets = properties.get("Queues") or properties.get("Topics") or [properties.get("Bucket")]
        if denied:
            protected |= {each["Ref"] for each in targets}
    return [
        n for n, _ in of_type(document, "AWS::SQS::Queue", "AWS::SNS::Topic", "AWS::S3::Bucket") if n not in protected
    ]


def open_buckets(document: dict[str, Any]) -> list[str]:
    """Buckets that may become public, keep ACLs, or vanish with their stack."""
    found = []
    for name, resource in of_type(document, "AWS::S3::Bucket"):
        properties = resource["Properties"]
        block = properties.get("PublicAccessBlockConfiguration", {})
        owners = properties.get("OwnershipControls", {}).get("Rules")
        kept = (resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")) == ("Retain", "Retain")
        if list(block.values()) != [True] * 4 or owners != [{"ObjectOwnership": "BucketOwnerEnforced"}] or not kept:
            found.append(name)
    return found


def writes_to_everything(document: dict[str, Any]) -> list[str]:
    """Policies of roles that allow an action that writes on all resources."""
    return [
        f"{name}: {action}"
        for name, resource in of_type(document, "AWS::IAM::Role", "AWS::IAM::Policy")
        for policy in resource["Properties"].get("Policies", [resource["Properties"]])
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        if "*" in listed(statement["Resource"]) and not action.partition(":")[2].startswith(READS)
    ]


def without_source(document: dict[str, Any]) -> list[str]:
    """Statements that let a service or another account act for anyone."""
    return [
        f"{name}: {statement}"
        for name, statements in resource_policies(document)
        for statement in statements
        if statement["Effect"] == "Allow"
        and ":root" not in json.dumps(statement["Principal"])
        and not any(key in names for names in statement.get("Condition", {}).values() for key in SOURCES)
    ]


def alarms_that_guess(document: dict[str, Any]) -> list[str]:
    """Alarms that do not say what missing data means."""
    return [
        n for n, each in of_type(document, "AWS::CloudWatch::Alarm") if "TreatMissingData" not in each["Properties"]
    ]


def keys_without_care(document: dict[str, Any]) -> list[str]:
    """Keys that vanish with their stack, or do not rotate."""
    return [
        name
        for name, each in of_type(document, "AWS::KMS::Key")
        if each.get("DeletionPolicy") != "RetainExceptOnCreate"
        or each["Properties"].get("EnableKeyRotation") is not True
    ]


def names_taken_by_a_failure(document: dict[str, Any]) -> list[str]:
    """Queues, topics and tables that stay when the creation of their stack fails: the next try finds their names taken."""
    return [
        name
        for name, each in document["Resources"].items()
        if each.get("DeletionPolicy") == "Retain" and {"QueueName", "TopicName", "TableName"} & set(each["Properties"])
    ]


RULES = (
    unencrypted,
    without_tls_policy,
    open_buckets,
    writes_to_everything,
    without_source,
    alarms_that_guess,
    keys_without_care,
    names_taken_by_a_failure,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", PIPES)
def test_each_template_keeps_each_rule(name, rule):
    assert rule(template(name)) == []


def remove(*path: Any) -> Callable[[dict[str, Any]], None]:
    """A mutation that deletes what is at a path below `Resources`."""

    def mutate(document: dict[str, Any]) -> None:
        *parents, last = path
        found: Any = document["Resources"]
        for each in parents:
            found = found[each]
        del found[last]

    return mutate


def put(value: Any, *path: Any) -> Callable[[dict[str, Any]], None]:
    """A mutation that sets what is at a path below `Resources`."""

    def mutate(document: dict[str, Any]) -> None:
        *parents, last = path
        found: Any = document["Resources"]
        for each in parents:
            found = found[each]
        found[last] = value

    return mutate


STATEMENTS = ("Properties", "PolicyDocument", "Statement")
MUTATIONS = [
    (unencrypted, "eventbridge-region", put(False, "UndeliveredQueue", "Properties", "SqsManagedSseEnabled")),
    (unencrypted, "region", remove("Topic", "Properties", "KmsMasterKeyId")),
    (unencrypted, "trail", remove("LogBucket", "Properties", "BucketEncryption")),
    (without_tls_policy, "central", remove("DeadLetterQueuePolicy")),
    (without_tls_policy, "region", remove("TopicPolicy", *STATEMENTS, 2)),
    (without_tls_policy, "trail", put("Allow", "LogBucketPolicy", *STATEMENTS, 2, "Effect")),
    (open_buckets, "trail", remove("LogBucket", "DeletionPolicy")),
    (open_buckets, "trail", remove("LogBucket", "Properties", "OwnershipControls")),
    (
        open_buckets,
        "trail",
        put(False, "LogBucket", "Properties", "PublicAccessBlockConfiguration", "BlockPublicPolicy"),
    ),
    (
        writes_to_everything,
        "eventbridge-region",
        put("*", "Role", "Properties", "Policies", 0, "PolicyDocument", "Statement", 0, "Resource"),
    ),
    (without_source, "central", remove("QueuePolicy", *STATEMENTS, 0, "Condition")),
    (without_source, "central", remove("Key", "Properties", "KeyPolicy", "Statement", 1, "Condition")),
    (without_source, "trail", remove("LogBucketPolicy", *STATEMENTS, 1, "Condition", "StringEquals", "aws:SourceArn")),
    (without_source, "eventbridge-central", remove("BusPolicy", "Properties", "Statement", "Condition")),
    (alarms_that_guess, "central", remove("SilenceAlarm", "Properties", "TreatMissingData")),
    (keys_without_care, "region", remove("Key", "DeletionPolicy")),
    (names_taken_by_a_failure, "central", put("Retain", "DeadLetterQueue", "DeletionPolicy")),
]


@pytest.mark.parametrize(("rule", "name", "mutate"), MUTATIONS)
def test_each_rule_finds_a_template_that_breaks_it(rule, name, mutate):
    document = copy.deepcopy(template(name))
    mutate(document)
    assert rule(document)


def test_silence_counts_as_an_alarm_where_sqs_reports_nothing():
    """A queue without traffic has no metrics. A dead-letter queue without metrics is empty."""
    alarms = {
        n: each["Properties"]["TreatMissingData"] for n, each in of_type(template("central"), "AWS::CloudWatch::Alarm")
    }
    assert alarms == {
        "DeadLettersAlarm": "notBreaching",
        "OldestMessageAlarm": "notBreaching",
        "SilenceAlarm": "breaching",
    }


def test_each_alarm_of_the_quickstart_notifies_the_topic_of_alarms():
    """Also those of the queue. The alarm that adds a task is no fault."""
    alarms = dict(of_type(template("quickstart"), "AWS::CloudWatch::Alarm"))
    told = {n for n, each in alarms.items() if "AlarmTopicArn" in references(each["Properties"].get("AlarmActions"))}
    assert told == alarms.keys() - {"OldMessages"}
    assert {"DeadLettersAlarm", "UndeliveredAlarm", "MissingTasks"} <= told


def test_the_longest_topic_name_makes_a_queue_name_that_sqs_accepts():
    parameters = {"QueueArn": f"arn:aws:sqs:{REGION}:123456789012:jibe"}
    longest = properties(FOLDER / "region.yaml", "UndeliveredQueue", {**parameters, "TopicName": "t" * 68})
    assert len(longest["QueueName"]) == 80
    with pytest.raises(Refused, match="TopicName"):
        properties(FOLDER / "region.yaml", "UndeliveredQueue", {**parameters, "TopicName": "t" * 69})


def test_the_trail_waits_for_the_policy_of_its_bucket():
    """In a new account CloudTrail refuses a trail whose bucket it cannot write to."""
    assert template("trail")["Resources"]["Trail"]["DependsOn"] == "LogBucketPolicy"
    assert template("region")["Resources"]["Subscription"]["DependsOn"] == "UndeliveredQueuePolicy"


# Deployed


REGION = "us-east-1"
OTHER_REGION = "eu-west-1"


def deployed(endpoint: str, name: str, *, region: str = REGION, **parameters: str) -> dict[str, str]:
    """Deploy a template onto the emulator. Returns the stack's outputs."""
    formation = client(endpoint, "cloudformation", region)
    given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
    formation.create_stack(
        StackName=f"jibe-{name}",
        TemplateBody=(FOLDER / f"{name}.yaml").read_text(),
        Parameters=given,
        Capabilities=["CAPABILITY_IAM"],
    )
    (stack,) = formation.describe_stacks(StackName=f"jibe-{name}")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    return {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """The emulator's endpoint."""
    with server("jibe_sqs.sandbox.aws") as endpoint:
        yield endpoint


@pytest.fixture
def topic(aws) -> tuple[str, str]:
    """The emulator's endpoint, and the topic in a new account."""
    httpx.post(f"{aws}/moto-api/reset", timeout=60).raise_for_status()
    queue = deployed(aws, "central")["QueueArn"]
    return aws, deployed(aws, "region", QueueArn=queue)["TopicArn"]


def selectors(endpoint: str) -> list[dict[str, dict[str, Any]]]:
    found = client(endpoint, "cloudtrail", REGION).get_event_selectors(TrailName="jibe-data-events")
    return [{field.pop("Field"): field for field in each["FieldSelectors"]} for each in found["AdvancedEventSelectors"]]


def test_in_a_new_account_a_trail_logs_writes_of_all_buckets_but_its_own(topic):
    endpoint, arn = topic
    outputs = deployed(endpoint, "trail", TopicArn=arn)
    cloudtrail = client(endpoint, "cloudtrail", REGION)
    (trail,) = cloudtrail.describe_trails()["trailList"]
    assert (trail["SnsTopicARN"], trail["S3BucketName"]) == (arn, outputs["LogBucketName"])
    assert trail["IsMultiRegionTrail"]
    assert trail["LogFileValidationEnabled"]
    assert cloudtrail.get_trail_status(Name=outputs["TrailArn"])["IsLogging"]
    # A log file can be written and read.
    log_bucket = {"Bucket": outputs["LogBucketName"], "Key": "AWSLogs/example"}
    client(endpoint, "s3", REGION).put_object(**log_bucket, Body=b"records")
    assert client(endpoint, "s3", REGION).get_object(**log_bucket)["Body"].read() == b"records"
    objects, express = selectors(endpoint)
    assert objects["readOnly"]["Equals"] == express["readOnly"]["Equals"] == ["false"]
    assert objects["resources.ARN"] == {"NotStartsWith": [outputs["LogBucketArn"] + "/"]}
    assert express["resources.type"]["Equals"] == ["AWS::S3Express::Object"]
    assert "resources.ARN" not in express


def test_the_trail_logs_the_objects_of_the_given_buckets(topic):
    """The slash keeps out buckets whose names begin alike."""
    endpoint, arn = topic
    express = "arn:aws:s3express:us-east-1:123456789012:bucket/fast--use1-az4--x-s3"
    outputs = deployed(
        endpoint,
        "trail",
        TopicArn=arn,
        DataBucketArns="arn:aws:s3:::example-media, arn:aws:s3:::example-projects",
        ExpressBucketArns=express,
        LogManagementEvents="true",
    )
    objects, directory, management = selectors(endpoint)
    assert objects["resources.ARN"] == {
        "StartsWith": ["arn:aws:s3:::example-media/", "arn:aws:s3:::example-projects/"],
        "NotStartsWith": [outputs["LogBucketArn"] + "/"],
    }
    assert directory["resources.ARN"] == {"StartsWith": [f"{express}/"]}
    assert management["eventCategory"]["Equals"] == ["Management"]


def test_the_subscription_keeps_what_it_cannot_deliver(topic):
    endpoint, arn = topic
    sns = client(endpoint, "sns", REGION)
    (found,) = sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]
    attributes = sns.get_subscription_attributes(SubscriptionArn=found["SubscriptionArn"])["Attributes"]
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(":jibe-log-delivery-undelivered")


def test_the_rules_of_eventbridge_lead_to_the_queue_and_to_the_bus(topic):
    """A rule reaches SQS only in its own region, so the rule of another region sends to the bus."""
    endpoint, _ = topic
    queue = f"arn:aws:sqs:{REGION}:123456789012:jibe-log-delivery"
    bus = deployed(endpoint, "eventbridge-central", QueueArn=queue)["BusArn"]
    deployed(endpoint, "eventbridge-region", region=OTHER_REGION, BusArn=bus, BucketNames="example-media")

    def targets(region: str, **on_bus: str) -> list[str]:
        found = client(endpoint, "events", region).list_targets_by_rule(Rule="jibe-log-delivery", **on_bus)
        return [each["Arn"] for each in found["Targets"]]

    assert targets(REGION) == targets(REGION, EventBusName="jibe-log-delivery") == [queue]
    assert targets(OTHER_REGION) == [bus]
    rule = client(endpoint, "events", OTHER_REGION).describe_rule(Name="jibe-log-delivery")
    assert json.loads(rule["EventPattern"])["detail"] == {"bucket": {"name": ["example-media"]}}
