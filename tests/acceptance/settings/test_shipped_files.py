"""The files in config/ and infra/ load, and the documentation lists them."""

import json
import re
from pathlib import Path

import pytest
from tests.acceptance.settings.minimal import s3_logs
from tests.acceptance.test_deployment_files import PARAMETERS, render, variables

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
    return (folder / "jibe-config.json").read_text()


def test_the_configuration_for_kubernetes_loads(write, examples_secrets):
    settings = load(Settings, config=write(kubernetes_file()))
    assert settings.access_anywhere.login == "ana"
    assert settings.logs


def test_the_environment_of_the_task_on_ecs_loads(monkeypatch, examples_secrets, write):
    """The environment as CloudFormation renders it, with a document as docs/how-to/ecs.md has it."""
    container = render(PARAMETERS)
    for name, value in variables(container).items():
        if name != "JIBE_CONFIG":
            monkeypatch.setenv(name, value)
    settings = load(Settings, config=write(kubernetes_file()))
    assert settings.http.host == "127.0.0.1"
    assert settings.drain_timeout == 85
    assert not container.get("Secrets")


def test_the_example_of_several_replicas_shares_a_ledger():
    settings = load(Settings, config=ROOT / "config" / "several-replicas.json")
    assert settings.ledger.kind == "dynamodb"
    assert settings.ledger.table
