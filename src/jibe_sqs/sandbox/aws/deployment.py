"""Creates the sandbox's AWS resources from the CloudFormation templates that users deploy.

There are two buckets in each region, two queues and three topics. Each of the first two regions has its own queue.
The third region's topic forwards to the first region's queue.
"""

import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any, Final

import boto3
import botocore.session
import msgspec
from botocore.config import Config

REGIONS: Final = ("us-east-1", "eu-west-1", "ap-southeast-2")
ACCOUNT: Final = "123456789012"
"""moto's account id."""
DATA_EVENTS: Final = ("AWS::S3::Object", "AWS::S3Express::Object")
"""The types of data events that the trails log."""
ACCESS_KEY: Final = "AKIASANDBOXSANDBOX00"
SECRET_KEY: Final = "sandbox"  # noqa: S105 - not a secret: moto requires a key, but does not check it


class Deployment(msgspec.Struct, frozen=True):
    """The resources and their endpoint. The mappings' keys are regions; only `buckets` maps a bucket to its region."""

    endpoint: str
    account: str
    log_bucket: str
    buckets: dict[str, str]
    topics: dict[str, str]
    """ARNs."""
    queues: dict[str, str]
    """URLs, as in AWS. They also work at this endpoint: SQS reads only the queue's name from them."""
    dead_letters: dict[str, str]
    """URLs, as in AWS."""
    loses_notifications: bool = False
    """If true, every published or sent message is dropped."""

    @property
    def home(self) -> str:
        """The region of the log bucket."""
        return next(iter(self.topics))

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client for this endpoint. Default: the home region."""
        return client(self.endpoint, service, region or self.home)

    def publish(self, region: str, message: str) -> None:
        """Publish to the region's topic. The message arrives in an SNS envelope."""
        if self.loses_notifications:
            return
        self.client("sns", region).publish(TopicArn=self.topics[region], Message=message)

    def send(self, region: str, message: str) -> None:
        """Send directly to the queue that the region's topic feeds."""
        if self.loses_notifications:
            return
        where = region if region in self.queues else self.home
        self.client("sqs", where).send_message(QueueUrl=self.queues[where], MessageBody=message)


@cache
def client(endpoint: str, service: str, region: str) -> Any:
    """A shared boto3 client for an endpoint. It reads no profile, credentials or proxy from the environment."""
    with _making_clients:
        return _session().client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                proxies={},
                s3={"addressing_style": "path"},
                retries={"mode": "standard", "total_max_attempts": 3},
                # Not every store accepts a checksum after the body.
                request_checksum_calculation="when_required",
            ),
        )


_making_clients = Lock()
"""boto3 clients are safe for threads, but creating them is not."""


@cache
def _session() -> boto3.Session:
    unset = (None, None, None, None)
    nowhere = (None, None, os.devnull, None)
    session = {"profile": unset, "config_file": nowhere, "credentials_file": nowhere, "ca_bundle": unset}
    return boto3.Session(botocore_session=botocore.session.Session(session_vars=session))


def deploy(
    endpoint: str,
    *,
    regions: tuple[str, ...] = REGIONS,
    visibility_timeout: int = 120,
    max_receives: int = 10,
    topic: str = "jibe-log-delivery",
) -> Deployment:
    """Create the resources with moto. `visibility_timeout`: seconds; it may be lower than the template's minimum."""
    home = regions[0]
    log_bucket = "jibe-sandbox-logs"
    buckets = {f"jibe-sandbox-{region}-{purpose}": region for region in regions for purpose in ("media", "projects")}
    for bucket, region in {log_bucket: home, **buckets}.items():
        _create_bucket(endpoint, bucket, region)
    central = {
        region: _create_stack(
            endpoint,
            region,
            "central",
            QueueName=topic,
            TopicName=topic,
            VisibilityTimeout=visibility_timeout,
            MaxReceiveCount=max_receives,
        )
        for region in regions[:2]
    }
    topics = {
        region: _create_stack(
            endpoint, region, "region", TopicName=topic, QueueArn=central.get(region, central[home])["QueueArn"]
        )["TopicArn"]
        for region in regions
    }
    for region, arn in topics.items():
        _create_trail(endpoint, region, f"jibe-sandbox-{region}", log_bucket, arn)
    return Deployment(
        endpoint=endpoint,
        account=ACCOUNT,
        log_bucket=log_bucket,
        buckets=buckets,
        topics=topics,
        queues={region: outputs["QueueUrl"] for region, outputs in central.items()},
        dead_letters={region: outputs["DeadLetterQueueUrl"] for region, outputs in central.items()},
    )


def deploy_store(endpoint: str, *, visibility_timeout: int, max_receives: int) -> Deployment:
    """Create the resources in one region of a server that speaks S3, SQS and SNS. It needs no CloudFormation."""
    home, topic = REGIONS[0], "jibe-log-delivery"
    log_bucket = "jibe-sandbox-logs"
    buckets = dict.fromkeys(("jibe-sandbox-media", "jibe-sandbox-projects"), home)
    for bucket in (log_bucket, *buckets):
        _create_bucket(endpoint, bucket, home)
    sqs, sns = client(endpoint, "sqs", home), client(endpoint, "sns", home)
    dead_letters = sqs.create_queue(QueueName=f"{topic}-dead-letters")["QueueUrl"]
    redrive = {"deadLetterTargetArn": _arn(sqs, dead_letters), "maxReceiveCount": max_receives}
    attributes = {
        "VisibilityTimeout": str(visibility_timeout),
        "RedrivePolicy": msgspec.json.encode(redrive).decode(),
    }
    queue = sqs.create_queue(QueueName=topic, Attributes=attributes)["QueueUrl"]
    topic_arn = sns.create_topic(Name=topic)["TopicArn"]
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=_arn(sqs, queue))
    return Deployment(
        endpoint=endpoint,
        account=ACCOUNT,
        log_bucket=log_bucket,
        buckets=buckets,
        topics={home: topic_arn},
        queues={home: queue},
        dead_letters={home: dead_letters},
    )


def _arn(sqs: Any, queue: str) -> str:
    answer = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def template(name: str) -> str:
    """The text of the CloudFormation template `central` or `region`, from the wheel or from the source tree."""
    packaged = files("jibe_sqs") / "sandbox" / "cloudformation" / f"{name}.yaml"
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[4] / "infra" / "cloudformation" / f"{name}.yaml").read_text(encoding="utf-8")


def _create_bucket(endpoint: str, bucket: str, region: str) -> None:
    # us-east-1 is the only region that S3 does not accept as a location constraint.
    where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    client(endpoint, "s3", region).create_bucket(Bucket=bucket, **where)


def _create_trail(endpoint: str, region: str, name: str, log_bucket: str, topic: str) -> None:
    """Describe the region's trail to moto, which logs no data events. `trail.py` writes the log files."""
    cloudtrail = client(endpoint, "cloudtrail", region)
    cloudtrail.create_trail(Name=name, S3BucketName=log_bucket, SnsTopicName=topic.rpartition(":")[2])
    log_files = [f"arn:aws:s3:::{log_bucket}/"]
    cloudtrail.put_event_selectors(
        TrailName=name,
        AdvancedEventSelectors=[
            {
                "Name": resource,
                "FieldSelectors": [
                    {"Field": "eventCategory", "Equals": ["Data"]},
                    {"Field": "resources.type", "Equals": [resource]},
                    {"Field": "readOnly", "Equals": ["false"]},
                    *([{"Field": "resources.ARN", "NotStartsWith": log_files}] if resource == DATA_EVENTS[0] else []),
                ],
            }
            for resource in DATA_EVENTS
        ],
    )
    cloudtrail.start_logging(Name=name)


def _create_stack(endpoint: str, region: str, kind: str, **parameters: object) -> dict[str, str]:
    """Deploy a template as the stack `jibe-KIND`. Returns its outputs."""
    cloudformation = client(endpoint, "cloudformation", region)
    stack = f"jibe-{kind}"
    cloudformation.create_stack(
        StackName=stack,
        TemplateBody=template(kind),
        Parameters=[{"ParameterKey": key, "ParameterValue": str(value)} for key, value in parameters.items()],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
