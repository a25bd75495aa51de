"""`jibe-sqs config policy`, as a process: its policies are valid, and those of the template of ECS."""

import json
from pathlib import Path

import boto3
import pytest
from moto import mock_aws
from tests.acceptance.test_deployment_files import policy

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "config").iterdir())
KEYS = {"region_name": "us-east-1", "aws_access_key_id": "example", "aws_secret_access_key": "example"}
WITHOUT_AWS = {"jibe-original.json", "lyve.json", "s3-compatible.toml"}
"""The examples that need nothing of AWS."""

SECRET = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:jibe-AbCdEf"
WEBHOOK = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:webhook-AbCdEf"
TOKEN = "arn:aws:ssm:eu-west-1:111122223333:parameter/jibe/status-page"
TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/jibe-ledger"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:on-call"
CHANNEL = "arn:aws:cloudtrail:eu-west-1:111122223333:channel/example"
EXPRESS = "example-fast--use1-az4--x-s3"
ROLE = "arn:aws:iam::444455556666:role/logs"
OWNER = "111122223333"

CONFIGURATION = {
    "access_anywhere": {
        "endpoint": "https://files.example.com",
        "login": f"{SECRET}#login",
        "password": f"{SECRET}#password",
    },
    "queues": [
        {"url": "https://sqs.eu-west-1.amazonaws.com/111122223333/jibe"},
        {"url": "https://sqs.us-east-1.amazonaws.com/111122223333/more"},
    ],
    "logs": [
        {"bucket": "example-trail", "bucket_owner": OWNER},
        {"bucket": "example-audit", "bucket_owner": OWNER, "verify": "digest"},
        {"bucket": "*", "bucket_owner": OWNER},
        {"bucket": "example-other", "role_arn": ROLE},
    ],
    "buckets": {"example-media": "/S3/example-media", "example-projects": "/S3/example-projects", EXPRESS: "/S3/fast"},
    "ledger": {"kind": "dynamodb", "table": TABLE},
    "alerts": {"topic": TOPIC, "webhook": WEBHOOK},
    "audit": {"channel": CHANNEL},
    "http": {"port": 8080, "login": "ana", "password": TOKEN},
}
PARAMETERS = {
    "Image": "registry.example.com/jibe-sqs:0.1.0",
    "Subnets": "subnet-1",
    "SecurityGroups": "sg-1",
    "ConfigArn": "arn:aws:ssm:eu-west-1:111122223333:parameter/jibe/config",
    "ConfigSecretArn": SECRET,
    "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe",
    "DeadLetterQueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe-dead-letters",
    "MoreQueueArns": "arn:aws:sqs:us-east-1:111122223333:more",
    "MoreDeadLetterQueueArns": "arn:aws:sqs:us-east-1:111122223333:more-dead-letters",
    "LogBucketArns": "arn:aws:s3:::example-trail,arn:aws:s3:::example-audit,arn:aws:s3:::*",
    "VerifyLogs": "true",
    "FindLogBuckets": "true",
    "ExpressBucketArns": f"arn:aws:s3express:*:{OWNER}:bucket/{EXPRESS}",
    "LogBucketAccounts": OWNER,
    "DataBucketArns": "arn:aws:s3:::example-media,arn:aws:s3:::example-projects",
    "MoreSecretArns": f"{WEBHOOK},{TOKEN}",
    "LedgerTableArn": TABLE,
    "AlertTopicArn": TOPIC,
    "AuditChannelArn": CHANNEL,
    "RoleArns": ROLE,
    "AllowCheck": "true",
}
"""The parameters of the stack for that configuration."""
CONFIGURE = "Configure"
"""The statement about the settings' document, whose address is not in the settings."""


def as_list(value):
    return [value] if isinstance(value, str) else list(value)


def allowed(statements):
    """Each action with each resource and condition, by Sid."""
    return {
        (each["Sid"], action, resource, repr(each.get("Condition")).replace("[", "").replace("]", ""))
        for each in statements
        for action in as_list(each["Action"])
        for resource in as_list(each["Resource"])
    }


def test_the_task_role_of_the_template_allows_the_same(jibe, tmp_path):
    path = tmp_path / "jibe-config.json"
    path.write_text(json.dumps(CONFIGURATION))
    shown = jibe("config", "policy", "--config", str(path), "--check", "--compare")
    expected = allowed(each for each in policy(PARAMETERS) if each["Sid"] != CONFIGURE)
    assert {sid for sid, *_ in expected} >= {"Consume", "ReadLogs", "Compare", "Remember", "AssumeRoles", "Check"}
    assert allowed(json.loads(shown.stdout)["Statement"]) == expected


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_has_a_policy_that_iam_accepts(jibe, path):
    shown = jibe("config", "policy", "--config", str(path))
    assert shown.returncode == 0
    statements = json.loads(shown.stdout)["Statement"]
    assert bool(statements) == (path.name not in WITHOUT_AWS)
    if not statements:
        assert "attach none" in shown.stderr
        return
    with mock_aws():
        boto3.client("iam", **KEYS).create_policy(PolicyName="jibe-sqs", PolicyDocument=shown.stdout)


def test_a_role_has_a_policy_of_its_own(jibe):
    example = str(ROOT / "config" / "several-regions.json")
    role = "arn:aws:iam::444455556666:role/jibe-sqs"
    shown = jibe("config", "policy", "--config", example, "--role", role)
    assert "arn:aws:sqs:ap-southeast-2:444455556666:jibe-log-delivery" in shown.stdout
    wrong = jibe("config", "policy", "--config", example, "--role", "arn:aws:iam::444455556666:role/other")
    assert wrong.returncode == 2
    assert "assumes no role" in wrong.stderr


def test_a_policy_that_fits_into_no_policy_of_iam_is_not_called_an_inline_policy(jibe, tmp_path):
    path = tmp_path / "jibe-config.json"
    path.write_text(
        json.dumps(CONFIGURATION | {"logs": [{"bucket": f"example-trail-{number}"} for number in range(300)]})
    )
    shown = jibe("config", "policy", "--config", str(path))
    assert "too long for IAM" in shown.stderr
    assert "inline" not in shown.stderr


def test_a_configuration_without_its_account_is_enough(jibe, tmp_path):
    """Only the account may be missing."""
    path = tmp_path / "jibe-config.json"
    path.write_text(json.dumps(CONFIGURATION | {"access_anywhere": {"endpoint": "https://files.example.com"}}))
    shown = jibe("config", "policy", "--config", str(path))
    assert "LogIn" not in shown.stdout
    assert "the account of Access Anywhere is not in the configuration" in shown.stderr
    path.write_text(
        json.dumps(CONFIGURATION | {"access_anywhere": {"endpoint": "https://files.example.com"}, "logs": 7})
    )
    wrong = jibe("config", "policy", "--config", str(path))
    assert wrong.returncode == 2
    assert "logs: " in wrong.stderr
