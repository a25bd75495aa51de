"""The files in config/ and infra/ load, and the documentation lists them."""

import json
import re
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws
from tests.acceptance.settings.minimal import s3_logs

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.compose import rules, stores
from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.settings import Settings, load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "config").iterdir() if path.is_file())
DOCUMENT = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_every_example_loads_and_composes(path, examples_secrets):
    settings = load(Settings, config=path)
    assert rules.decisions(settings)
    async with Aws() as clients:
        assert s3_logs(settings, clients)
        for queue in settings.queues:
            assert stores.queue(queue, settings, clients)._calls._region


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_in_the_document(path):
    assert f"`{path.name}`" in DOCUMENT


def test_there_are_examples():
    assert len(EXAMPLES) >= 7


def test_the_document_begins_with_the_minimal_example():
    (shown, *_) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert json.loads(shown) == json.loads((ROOT / "config" / "jibe-config.json").read_text())


def test_the_example_of_several_regions_has_queues_roles_and_own_writes():
    settings = load(Settings, config=ROOT / "config" / "several-regions.json")
    assert len(settings.queues) == 3
    assert any(queue.role_arn for queue in settings.queues)
    assert any(len(places) > 1 for places in settings.buckets.values())
    assert all(getattr(settings.own_writes, kind) for kind in type(settings.own_writes).model_fields)


def test_the_example_for_lyve_reads_its_audit_logs_and_no_other_stream():
    settings = load(Settings, config=ROOT / "config" / "lyve.json")
    found = rules.sources(settings)
    assert found.of("example-audit-logs", "S3-example-media-2026-01-31-12-00-00.gz").format is Format.AUDIT_LOG
    assert found.of("example-audit-logs", "IAM-2026-01-31-12-00-00.gz") is None
    # Lyve's largest files have 500 MB.
    assert rules.limits(settings).compressed_size > 500 * 1024**2
    assert rules.limits(settings).decompressed_size is None


async def test_the_example_of_notifications_reads_events_and_needs_no_logs():
    settings = load(Settings, config=ROOT / "config" / "notifications.json")
    assert not settings.logs
    assert len(settings.queues) == 2
    assert rules.sources(settings).key_encodings == KEY_ENCODINGS


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (
            {"events": [{"bucketName": "b", "objectName": "a+b", "eventType": "b2:ObjectDeleted:Delete"}]},
            ("deleted", "b", "a+b"),
        ),
        (
            {"Records": [{"eventVersion": "3.0", "obs": {"bucket": {"bucket": "b"}, "object": {"key": "a+b"}}}]},
            ("written", "b", "a b"),
        ),
        (
            {"account": "1", "action": "PutObject", "bucket": "b", "object": {"key": "a+b"}},
            ("written", "b", "a+b"),
        ),
    ],
)
def test_the_example_of_other_notifications_reads_them(body, event):
    settings = load(Settings, config=ROOT / "config" / "other-notifications.json")
    (found,) = announcements(json.dumps(body), rules.sources(settings))
    assert (found.kind, found.bucket, found.key) == event


def kubernetes_file():
    folder = ROOT / "infra" / "kubernetes" / "base"
    return yaml.safe_load((folder / "configmap.yaml").read_text())["data"]["jibe-config.json"]


def test_the_configuration_for_kubernetes_loads(write, examples_secrets):
    settings = load(Settings, config=write(kubernetes_file()))
    assert settings.access_anywhere.login == "ana"
    assert settings.logs


def test_the_environment_of_the_task_on_ecs_loads(monkeypatch, examples_secrets):
    """The environment as CloudFormation renders it. Secrets are passed by reference."""
    keys = {"region_name": "us-east-1", "aws_access_key_id": "example", "aws_secret_access_key": "example"}
    parameters = {
        "Image": "registry.example.com/jibe-sqs:0.1.0",
        "Subnets": "subnet-1",
        "SecurityGroups": "sg-1",
        "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe",
        "DeadLetterQueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe-dead",
        "LogBucketArn": "arn:aws:s3:::example-trail",
        "AccessAnywhereEndpoint": "https://files.example.com",
        "ConfigSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:jibe-AbCdEf",
        "Buckets": '{"example-media": "/Amazon S3/example-media"}',
        "OwnWritePrincipals": "arn:aws:iam::111122223333:user/access-anywhere,arn:aws:iam::111122223333:role/aa-*",
    }
    with mock_aws():
        boto3.client("cloudformation", **keys).create_stack(
            StackName="jibe",
            TemplateBody=(ROOT / "infra" / "cloudformation" / "service.yaml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        ecs = boto3.client("ecs", **keys)
        (arn,) = ecs.list_task_definitions()["taskDefinitionArns"]
        (container,) = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"]
    # moto makes null what CloudFormation drops.
    for entry in filter(None, container["environment"]):
        monkeypatch.setenv(entry["name"], entry["value"])
    settings = load(Settings)
    assert [queue.url for queue in settings.queues] == ["https://sqs.eu-west-1.amazonaws.com/111122223333/jibe"]
    assert [log.bucket for log in settings.logs] == ["example-trail"]
    assert list(settings.buckets) == ["example-media"]
    assert len(settings.own_writes.principals) == 2
    assert {entry["name"] for entry in container["secrets"]} == {
        "JIBE_ACCESS_ANYWHERE__LOGIN",
        "JIBE_ACCESS_ANYWHERE__PASSWORD",
    }


def test_the_example_of_several_replicas_shares_a_ledger():
    settings = load(Settings, config=ROOT / "config" / "several-replicas.json")
    assert settings.ledger.kind == "dynamodb"
    assert settings.ledger.table
