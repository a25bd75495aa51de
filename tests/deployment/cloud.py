"""An AWS account and an Access Anywhere for a test: nothing is deployed yet, except the data buckets."""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tests.aws_permissions import not_allowed, recorded
from tests.deployment.ecs import Ecs
from tests.deployment.pages import ROOT

from jibe_sqs.sandbox.aws.certificates import CA_FILE
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, REGIONS, Deployment, client
from jibe_sqs.sandbox.aws.object_writes import WRITES
from jibe_sqs.sandbox.aws.records import iam_user
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call
from jibe_sqs.sandbox.aws.trail import Trail
from jibe_sqs.sandbox.environment import NO_AUTHORITIES, neutral, of_client
from jibe_sqs.sandbox.processes import server
from jibe_sqs.sandbox.service_configuration import LOGIN

PASSWORD = "a password of Access Anywhere"
LOCAL: dict[str, Any] = {"timeout": 60, "trust_env": False, "verify": NO_AUTHORITIES}
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class OneTrail(Deployment, frozen=True):
    """A multi-region trail: all regions are announced on the topic of its home region."""

    def publish(self, region: str, message: str) -> None:
        topic = self.topics[region]
        self.client("sns", topic.split(":")[3]).publish(TopicArn=topic, Message=message)


@dataclass
class Cloud:
    endpoint: str
    access_anywhere: str
    buckets: Mapping[str, str]
    """Data bucket -> region."""
    environment: Mapping[str, str]
    """For the AWS CLI and for jibe-sqs, as a reader's shell has it."""
    ecs: Ecs
    checkout: Path
    """The reader's checkout and working directory."""
    _seen: int = field(default=0)

    def client(self, service: str, region: str) -> Any:
        return client(self.endpoint, service, region)

    def network(self, region: str) -> tuple[str, str]:
        """Two subnets, with a comma between them, and a security group."""
        ec2 = self.client("ec2", region)
        subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]]
        (group,) = ec2.describe_security_groups()["SecurityGroups"]
        return ",".join(sorted(subnets)[:2]), group["GroupId"]

    def deliver(self) -> list[str]:
        """What CloudTrail does with the changes of objects since the last time: write those that a trail's selectors
        match to log files, and announce them. Returns the keys of the files.
        """
        writes = httpx.get(f"{self.endpoint}{WRITES}?since={self._seen}", **LOCAL).json()
        self._seen = max([self._seen, *(each["n"] for each in writes)])
        keys = []
        for region in REGIONS:
            for found in self.client("cloudtrail", region).describe_trails(includeShadowTrails=False)["trailList"]:
                keys += self._deliver(found, writes)
        return keys

    def _deliver(self, found: dict[str, Any], writes: list[dict[str, Any]]) -> list[str]:
        home, name = found["HomeRegion"], found["Name"]
        cloudtrail = self.client("cloudtrail", home)
        assert cloudtrail.get_trail_status(Name=name)["IsLogging"]
        selectors = cloudtrail.get_event_selectors(TrailName=name)["AdvancedEventSelectors"]
        assert selectors
        regions = {home, *self.buckets.values()} if found["IsMultiRegionTrail"] else {home}
        topic = found["SnsTopicARN"]
        deployment = OneTrail(
            endpoint=self.endpoint,
            account=ACCOUNT,
            log_bucket=found["S3BucketName"],
            buckets=dict(self.buckets),
            topics=dict.fromkeys(sorted(regions, key=lambda each: each != home), topic),
            queues={},
            dead_letters={},
        )
        trail = Trail(deployment)
        trail.start()
        for write in writes:
            bucket = write["bucket"]
            if (where := self.buckets.get(bucket)) in regions and any(
                _selects(each, f"arn:aws:s3:::{bucket}/{key}") for each in selectors for key in write["keys"]
            ):
                trail.record(_call(write, where))
        return trail.deliver()

    def index(self) -> set[tuple[str, str]]:
        """Bucket and key of each file that Access Anywhere shows."""
        found = httpx.get(f"{self.access_anywhere}/sandbox/index", **LOCAL).json()
        return {(each["bucket"], each["key"]) for each in found}

    def callers(self) -> set[str]:
        """The access keys that signed calls under AWS's real host names."""
        return {call.access_key for call in recorded(self.endpoint)}

    def refused(self) -> list[str]:
        """What tasks asked of AWS and the policies of their roles do not allow."""
        return [
            each for key, policy in self.ecs.roles.items() for each in not_allowed(policy, recorded(self.endpoint, key))
        ]


@contextmanager
def running(folder: Path, buckets: Mapping[str, str], *, region: str, aws: str = "aws") -> Iterator[Cloud]:
    """`buckets`: data bucket -> region. `region`: of the service. `aws`: the AWS CLI that `aws` is."""
    checkout = _checkout(folder, aws)
    with ExitStack() as stack:
        endpoint = stack.enter_context(server("tests.deployment.aws", "--certificates", str(folder)))
        for bucket, where in buckets.items():
            location = {} if where == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": where}}
            client(endpoint, "s3", where).create_bucket(Bucket=bucket, **location)
        shown = [{"name": "Amazon S3", "region": where, "buckets": [name]} for name, where in buckets.items()]
        for number, provider in enumerate(shown):
            provider["name"] = "Amazon S3" if not number else f"Amazon S3 {provider['region']}"
        config = folder / "access-anywhere.json"
        config.write_text(json.dumps({"login": LOGIN, "password": PASSWORD, "providers": shown}))
        options = ("--aws-endpoint", endpoint, "--config", str(config))
        access_anywhere = stack.enter_context(server("jibe_sqs.sandbox.access_anywhere", *options))
        reached = of_client(proxy=endpoint, ca_file=str(folder / CA_FILE), region=region)
        network = {name: value for name, value in reached.items() if name not in CREDENTIALS}
        # The credentials of a task come from loopback too.
        network = {name: value for name, value in network.items() if "REGION" not in name}
        ordinary = {name: value for name, value in neutral().items() if not name.startswith("JIBE_")}
        path = f"{checkout / 'bin'}:{os.environ['PATH']}"
        environment = {**ordinary, **reached, "PATH": path, "AWS_PAGER": ""}
        ecs = Ecs(folder, network, lambda service, where: client(endpoint, service, where), region)
        stack.callback(ecs.close)
        yield Cloud(endpoint, access_anywhere, buckets, environment, ecs, checkout)


def _checkout(folder: Path, aws: str) -> Path:
    """A folder with the files of the repository that the pages name, and programs in `bin` and `.jibe/bin`."""
    checkout = folder / "checkout"
    checkout.mkdir(parents=True)
    for name in ("infra", "requirements", "src", "pyproject.toml", "config"):
        (checkout / name).symlink_to(ROOT / name)
    _program(
        checkout / "bin" / "docker", f'echo "docker $*" >> {checkout}/docker.log; [ "$1" != login ] || cat > /dev/null'
    )
    _program(checkout / "bin" / "aws", f'exec {shutil.which(aws)} "$@"')
    _program(checkout / ".jibe" / "bin" / "jibe-sqs", f'exec {sys.executable} -m jibe_sqs "$@"')
    return checkout


def _program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def _selects(selector: dict[str, Any], arn: str) -> bool:
    """Whether an advanced event selector matches a write of an object."""
    values = {
        "eventCategory": "Data",
        "resources.type": "AWS::S3::Object",
        "readOnly": "false",
        "resources.ARN": arn,
        "eventName": "PutObject",
    }
    return all(_matches(field, values[field["Field"]]) for field in selector["FieldSelectors"])


def _matches(field: dict[str, Any], value: str) -> bool:
    tests = {
        "Equals": lambda each: value == each,
        "StartsWith": value.startswith,
        "EndsWith": value.endswith,
        "NotEquals": lambda each: value == each,
        "NotStartsWith": value.startswith,
        "NotEndsWith": value.endswith,
    }
    return all(
        any(map(tests[name], each)) is not name.startswith("Not") for name, each in field.items() if name != "Field"
    )


def _call(write: dict[str, Any], region: str) -> S3Call:
    who = iam_user("ana", account=ACCOUNT, access_key="AKIAANAANAANAANAANA0", address="198.51.100.23")
    return S3Call(
        kind=CallKind(write["kind"]),
        bucket=write["bucket"],
        region=region,
        account=ACCOUNT,
        caller=who,
        began=write["began"],
        at=write["at"],
        keys=tuple(write["keys"]),
        size=write.get("size", 0),
        etag=write.get("etag", ""),
    )
