"""Each AWS call of the program is allowed by what users are told to grant, and each granted action is used.

The program runs against the sandbox's AWS, which records the calls and what they need. Each role has an access key of its
own. `pytest -s` prints the table.
"""

import gzip
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.acceptance.conftest import COMMAND, MEDIA, REGION
from tests.acceptance.test_deployment_files import policy
from tests.aws_permissions import not_allowed, recorded
from tests.processes import Finished, eventually, finished, started

from jibe_sqs.sandbox.aws import records
from jibe_sqs.sandbox.aws.aws_calls import AwsCall
from jibe_sqs.sandbox.aws.deployment import ACCOUNT, client
from jibe_sqs.sandbox.aws.digests import SigningKey, publish_key, write_digest
from jibe_sqs.sandbox.aws.policies import applies
from jibe_sqs.sandbox.aws.records import Call

DOCS = Path(__file__).parents[2] / "docs"
NAME = "permissions"
LOGS, OTHER_LOGS, CONFIGS = f"{NAME}-logs", f"{NAME}-other-logs", f"{NAME}-configs"
CHANNEL = f"arn:aws:cloudtrail:{REGION}:{ACCOUNT}:channel/EXAMPLE8-0558-4f7e-a06a-43969EXAMPLE"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}-other"
NUMBER = count(1)
SINCE = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"

Statement = dict[str, Any]
Granted = tuple[str, str, str]
"""Who, the statement's name, and the action."""


def arn(service: str, name: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{name}"


@dataclass(frozen=True)
class Resources:
    """What the program uses in AWS. The attributes are ARNs, if nothing else is said."""

    key: str
    queue: str
    dead: str
    queue_url: str
    dead_url: str
    table: str
    topic: str
    account: str
    webhook: str
    password: str
    parameter: str = field(default=arn("ssm", f"parameter/{NAME}/config"))
    stored: str = f"arn:aws:s3:::{CONFIGS}/jibe.json"

    def parameters(self, **changes: str) -> dict[str, str]:
        """The parameters of `service.yaml`: everything that it can grant, except for checks."""
        return {
            "Image": "registry.example.com/jibe-sqs:0.1.0",
            "Subnets": "subnet-1",
            "SecurityGroups": "sg-1",
            "ConfigArn": self.parameter,
            "ConfigSecretArn": self.account,
            "MoreSecretArns": f"{self.password},{self.webhook}",
            "QueueArn": self.queue,
            "DeadLetterQueueArn": self.dead,
            "LogBucketArns": f"arn:aws:s3:::{LOGS},arn:aws:s3:::{OTHER_LOGS}",
            "DataBucketArns": "arn:aws:s3:::jibe-sandbox-*",
            "LedgerTableArn": self.table,
            "AlertTopicArn": self.topic,
            "AuditChannelArn": CHANNEL,
            "RoleArns": ROLE,
            "KmsKeyArns": self.key,
        } | changes


@pytest.fixture(scope="module")
def owner(sandbox):
    """Clients whose calls are not recorded."""
    return lambda service: client(sandbox["aws"], service, REGION)


@pytest.fixture(scope="module")
def resources(owner) -> Resources:
    """Everything is encrypted with a customer managed key."""
    key = owner("kms").create_key()["KeyMetadata"]["Arn"]
    s3, sqs, secrets = owner("s3"), owner("sqs"), owner("secretsmanager")
    for bucket in (LOGS, OTHER_LOGS, CONFIGS):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=LOGS, VersioningConfiguration={"Status": "Enabled"})
    encrypted = {"KmsMasterKeyId": key}
    dead = sqs.create_queue(QueueName=f"{NAME}-dead", Attributes=encrypted)["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": arn("sqs", f"{NAME}-dead"), "maxReceiveCount": 2})
    queue = sqs.create_queue(QueueName=NAME, Attributes=encrypted | {"RedrivePolicy": redrive})["QueueUrl"]
    table = owner("dynamodb").create_table(
        TableName=NAME,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
    )
    owner("ssm").put_parameter(Name=f"/{NAME}/password", Value="x", Type="SecureString", KeyId=key)
    return Resources(
        key=key,
        queue=arn("sqs", NAME),
        dead=arn("sqs", f"{NAME}-dead"),
        queue_url=queue,
        dead_url=dead,
        table=table["TableDescription"]["TableArn"],
        topic=owner("sns").create_topic(Name=NAME, Attributes=encrypted)["TopicArn"],
        account=secrets.create_secret(Name=f"{NAME}-account", SecretString="{}", KmsKeyId=key)["ARN"],
        webhook=secrets.create_secret(Name=f"{NAME}-webhook", SecretString="http://127.0.0.1:9/webhook", KmsKeyId=key)[
            "ARN"
        ],
        password=arn("ssm", f"parameter/{NAME}/password"),
    )


class Program:
    """Runs the program with the access key of a role."""

    def __init__(self, sandbox: dict[str, Any], owner: Any, resources: Resources, folder: Path) -> None:
        self.sandbox, self.owner, self.resources, self.folder = sandbox, owner, resources, folder
        self.base = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8"))
        self._keys: dict[str, str] = {}
        self._secure_account()
        self.settings = self.base | {
            "queues": [{"url": resources.queue_url}],
            "logs": [{"bucket": LOGS, "sweep": "2s"}, {"bucket": OTHER_LOGS, "role_arn": ROLE, "sweep": "2s"}],
            "ledger": {"kind": "dynamodb", "table": resources.table},
            "alerts": {"topic": resources.topic, "webhook": resources.webhook, "interval": 1},
            "audit": {"channel": CHANNEL},
            "report": {"interval": 1},
            "poll": {"wait": 1},
            "retry": {"first": 1, "longest": 1},
            "compare": {"every": "60s"},
            "drain_timeout": 20,
            "log": {"format": "json", "level": "debug"},
        }
        self.config = folder / "jibe.json"
        self.config.write_text(json.dumps(self.settings))
        self.any_bucket = folder / "any-bucket.json"
        logs = [{"bucket": "*", "verify": "digest", "format": "cloudtrail"}]
        self.any_bucket.write_text(json.dumps(self.settings | {"logs": logs, "ledger": {"kind": "memory"}}))
        # The service's account is in secrets. Operators have it in a file.
        of_account = {"login": f"{resources.account}#login", "password": resources.password}
        document = json.dumps(self.settings | {"access_anywhere": self.base["access_anywhere"] | of_account})
        owner("ssm").put_parameter(
            Name=f"/{NAME}/config", Value=document, Type="SecureString", KeyId=resources.key, Tier="Advanced"
        )
        encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": resources.key}
        owner("s3").put_object(Bucket=CONFIGS, Key="jibe.json", Body=document.encode(), **encrypted)

    def _secure_account(self) -> None:
        account, resources = self.base["access_anywhere"], self.resources
        self.owner("secretsmanager").put_secret_value(
            SecretId=resources.account, SecretString=json.dumps({"login": account["login"]})
        )
        self.owner("ssm").put_parameter(
            Name=f"/{NAME}/password",
            Value=account["password"],
            Type="SecureString",
            KeyId=resources.key,
            Overwrite=True,
        )

    def environment(self, who: str) -> dict[str, str]:
        key = self._keys.setdefault(who, f"AKIAPERMISSIONS{len(self._keys):05}")
        return {**os.environ, **self.sandbox["environment"], "AWS_ACCESS_KEY_ID": key}

    def run(self, who: str, arguments: tuple[str, ...]) -> Finished:
        config = {IN_S3: f"s3://{CONFIGS}/jibe.json", ANY_BUCKET: str(self.any_bucket)}.get(who, str(self.config))
        command = [*COMMAND, *arguments, "--config", config]
        return finished(command, cwd=self.folder, env=self.environment(who))

    def calls(self, who: str) -> list[AwsCall]:
        return recorded(self.sandbox["aws"], self._keys[who])

    def log_file(self, *, bucket: str = LOGS) -> tuple[str, str]:
        """Store an encrypted log file about one change. Returns its key and its version."""
        number = next(NUMBER)
        who = records.iam_user("ana", account=ACCOUNT, access_key="AKIAANA")
        call = Call(who, time.time(), REGION, ACCOUNT, Random(number))
        found = {"Records": [records.put_object(call, MEDIA, f"{NAME}/{number}/a.txt", 10)]}
        self.owner("s3").put_object(Bucket=MEDIA, Key=f"{NAME}/{number}/a.txt", Body=b"a")
        now = datetime.now(UTC)
        name = f"{ACCOUNT}_CloudTrail_{REGION}_{now:%Y%m%dT%H%MZ}_{NAME}-{number}.json.gz"
        key = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{now:%Y/%m/%d}/{name}"
        encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.resources.key}
        stored = self.owner("s3").put_object(
            Bucket=bucket, Key=key, Body=gzip.compress(json.dumps(found).encode()), **encrypted
        )
        return key, stored.get("VersionId", "")

    def let_check_look_everywhere(self) -> None:
        """A message waits, a topic announces, and objects expire: each makes `check` ask further questions."""
        sqs, sns, s3 = (self.owner(service) for service in ("sqs", "sns", "s3"))
        topic = sns.create_topic(Name=f"{NAME}-logs")["TopicArn"]
        admits = allow("Topic", "sqs:SendMessage", on=self.resources.queue) | {
            "Principal": {"Service": "sns.amazonaws.com"},
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [admits]})
        sqs.set_queue_attributes(QueueUrl=self.resources.queue_url, Attributes={"Policy": document})
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=self.resources.queue)
        self.send("waits")
        expiry = {"ID": NAME, "Status": "Enabled", "Filter": {"Prefix": f"{NAME}/old/"}, "Expiration": {"Days": 1}}
        s3.put_bucket_lifecycle_configuration(Bucket=MEDIA, LifecycleConfiguration={"Rules": [expiry]})

    def write_digest(self, key: str) -> None:
        """Write CloudTrail's digest of this log file, encrypted."""
        now = datetime.now(UTC).replace(microsecond=0)
        signing = SigningKey(now - timedelta(days=1), now + timedelta(days=1))
        publish_key(self.owner("s3"), REGION, signing)
        log = gzip.decompress(self.owner("s3").get_object(Bucket=LOGS, Key=key)["Body"].read())
        digest = write_digest(
            signing,
            bucket=LOGS,
            account=ACCOUNT,
            region=REGION,
            trail=NAME,
            home=REGION,
            start=now - timedelta(hours=1),
            end=now,
            logs=[(LOGS, key, log)],
        )
        encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.resources.key}
        self.owner("s3").put_object(
            Bucket=LOGS, Key=digest.key, Body=digest.body, Metadata=digest.metadata, **encrypted
        )

    def send(self, body: Any) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        self.owner("sqs").send_message(QueueUrl=self.resources.queue_url, MessageBody=text)

    def left(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.owner("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))


def versioned(key: str, version: str) -> dict[str, Any]:
    """S3's own announcement of a version of a log file."""
    event = {"eventSource": "aws:s3", "eventVersion": "2.1", "eventName": "ObjectCreated:Put", "awsRegion": REGION}
    stored = {"bucket": {"name": LOGS}, "object": {"key": key, "versionId": version}}
    return {"Records": [event | {"eventTime": "2026-01-01T00:00:00.000Z", "s3": stored}]}


@pytest.fixture(scope="module")
def program(sandbox, owner, resources, tmp_path_factory) -> Program:
    """The program, after it has done everything once."""
    found = Program(sandbox, owner, resources, tmp_path_factory.mktemp(NAME))
    found.log_file()  # a sweep finds it
    read, _ = found.log_file()
    found.send({"s3Bucket": LOGS, "s3ObjectKey": [read]})
    found.send(versioned(*found.log_file()))
    found.send({"s3Bucket": LOGS, "s3ObjectKey": [read.replace(NAME, "missing")]})
    found.send("nonsense")
    command = [*COMMAND, "run", "--config", resources.parameter]
    with started(command, found.folder, cwd=found.folder, env=found.environment("service")) as service:
        service.wait_for("started")
        eventually(lambda: found.left(resources.dead_url) == 2, lambda: f"dead letters\n{service.everything}")
        eventually(lambda: not found.left(resources.queue_url), lambda: f"an empty queue\n{service.everything}")
        for action in WAITED_FOR:
            eventually(
                lambda action=action: any(n.action == action for c in found.calls("service") for n in c.needs),
                lambda action=action: f"{action}\n{service.everything}",
                within=60,
            )
        assert service.stop() == 0
    found.let_check_look_everywhere()
    found.write_digest(read)
    with ThreadPoolExecutor(4) as pool:
        for done in pool.map(lambda command: found.run(*command), COMMANDS):
            assert done.returncode in (0, 1, 3), (done.args, done.stderr)
    owner("s3").delete_bucket_lifecycle(Bucket=MEDIA)
    # Alone: dead letters that another command looks at are hidden.
    for arguments in (("dead-letters", "list"), ("dead-letters", "redrive", "--all")):
        done = found.run("dead-letters", arguments)
        assert done.returncode == 0, done.stderr
    return found


IN_S3 = "service, configured in S3"
ANY_BUCKET = "service, with log files in any bucket that are verified"
WAITED_FOR = ("s3:ListBucket", "sns:Publish", "sts:AssumeRole")
COMMANDS = [
    (IN_S3, ("explain", "--body", "{}")),
    ("service", ("compare", f"{MEDIA}/{NAME}")),
    ("service", ("backfill", "--since", "1h", "--json")),
    (ANY_BUCKET, ("backfill", "--since", "1h", "--json")),
    ("service", ("history", f"s3://{MEDIA}/{NAME}", "--since", "1h")),
    ("why", ("why", f"s3://{MEDIA}/{NAME}/1/a.txt")),
    ("verify", ("verify", "--bucket", LOGS, "--account", ACCOUNT, "--region", REGION, "--from", SINCE)),
    ("check", ("check",)),
    ("principals", ("principals",)),
]


@cache
def policies(found: Resources) -> dict[str, list[Statement]]:
    """Who -> the statements that users are told to give. Operators' are those of `docs/reference/permissions.md`."""
    logs, data = f"arn:aws:s3:::{LOGS}", f"arn:aws:s3:::{MEDIA}"
    with_key = allow("Decrypt", "kms:Decrypt", on=found.key)
    return {
        "service": policy(found.parameters()),
        IN_S3: [each for each in policy(found.parameters(ConfigArn=found.stored)) if each["Sid"] in IN_CONFIGURATION],
        ANY_BUCKET: policy(found.parameters(LogBucketArns="arn:aws:s3:::*", VerifyLogs="true", FindLogBuckets="true")),
        "check": policy(found.parameters(AllowCheck="true")),
        "dead-letters": [
            allow("Queues", "sqs:GetQueueAttributes", "sqs:SendMessage", on=found.queue),
            allow(
                "DeadLetters",
                *(
                    f"sqs:{each}"
                    for each in ("GetQueueUrl", "ReceiveMessage", "ChangeMessageVisibility", "DeleteMessage")
                ),
                on=found.dead,
            ),
            allow("Decrypt", "kms:Decrypt", "kms:GenerateDataKey", on=found.key),
        ],
        "principals": [allow("Ledger", "dynamodb:GetItem", "dynamodb:Scan", on=found.table), with_key],
        "why": [
            allow("Data", "s3:GetObject", on=f"{data}/*"),
            allow("List", "s3:ListBucket", on=data),
            allow("Ledger", "dynamodb:GetItem", "dynamodb:BatchGetItem", on=found.table),
            allow("Queues", "sqs:GetQueueAttributes", on=found.queue),
            allow("DeadLetters", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", on=found.dead),
            allow("Secrets", "secretsmanager:GetSecretValue", on=found.webhook),
            with_key,
        ],
        "verify": [
            allow("Logs", "s3:GetObject", on=f"{logs}/*"),
            allow("List", "s3:ListBucket", on=logs),
            allow("PublicKeys", "cloudtrail:ListPublicKeys", on="*"),
            with_key,
        ],
    }


IN_CONFIGURATION = ("Configure", "Decrypt")
ADDED = {"check": ("Check", "CheckLedger"), ANY_BUCKET: ("Verify", "FindBuckets")}
"""What these have beyond the service, by the names of the statements."""


def allow(name: str, *actions: str, on: str) -> Statement:
    return {"Sid": name, "Effect": "Allow", "Action": [*actions], "Resource": on}


def granted(found: Resources) -> dict[Granted, Statement]:
    """Each granted action, as a statement with this action alone. What others share with the service counts once."""
    every = {
        (who, each["Sid"], action): each | {"Action": action}
        for who, statements in policies(found).items()
        for each in statements
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    }
    return {name: each for name, each in every.items() if name[1] in ADDED.get(name[0], (name[1],))}


def unused(program: Program) -> set[Granted]:
    needs = {who: [need for call in program.calls(who) for need in call.needs] for who in policies(program.resources)}
    return {
        name
        for name, statement in granted(program.resources).items()
        if not any(applies(statement, need) for need in needs[name[0]])
    }


NEVER_USED: dict[Granted, str] = {
    ("why", "Data", "s3:GetObject"): "asked for only if `s3:ListBucket` is refused, and moto refuses nothing",
}
"""What is granted, and used by no call of these tests, with the reason."""


def test_every_call_is_allowed(program: Program) -> None:
    refused = {
        who: not_allowed({"Statement": statements}, program.calls(who))
        for who, statements in policies(program.resources).items()
    }
    assert not any(refused.values()), refused
    assert all(program.calls(who) for who in refused)


def test_every_granted_action_is_used(program: Program) -> None:
    """With one table of exceptions, which has no entry too many."""
    never = unused(program)
    for name in granted(program.resources):
        print(" | ".join((*name, NEVER_USED.get(name, "not used") if name in never else "used")))
    assert never == NEVER_USED.keys()


def test_the_page_lists_what_is_granted(resources: Resources) -> None:
    """Its rows name who, actions, resources, and when they are needed."""
    text = (DOCS / "reference" / "permissions.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    ]
    listed = {(who.strip("`"), action) for who, actions, *_ in rows for action in re.findall(r"`([^`]+)`", actions)}
    assert listed == {(who.partition(",")[0], action) for who, _, action in granted(resources)}
