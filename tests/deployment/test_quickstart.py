"""The commands of docs/quickstart.md, run in order with the AWS CLI: from an empty account to "in sync", and back."""

import pytest
from infra import quickstart
from tests.deployment.clis import CLIS
from tests.deployment.cloud import PASSWORD, running
from tests.deployment.pages import ROOT, Change, blocks, run
from tests.processes import eventually

from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY
from jibe_sqs.sandbox.service_configuration import LOGIN

PAGE = ROOT / "docs/quickstart.md"
BUCKET = "example-media"
REGION = "us-east-1"
OBJECT = (BUCKET, "jibe-quickstart/hello.txt")
NOT_RUN = [
    Change("python3 -m venv .jibe\n", "", "tests/acceptance/test_install.py installs; .jibe exists"),
    Change(".jibe/bin/pip install --require-hashes -r requirements/runtime.lock\n", "", "the same"),
    Change(".jibe/bin/pip install --no-deps .\n", "", "the same"),
]
"""The commands of the page that do not run. `docker` is a program that only notes how it was called."""


def test_the_committed_template_is_what_the_generator_writes():
    assert quickstart.QUICKSTART.read_text(encoding="utf-8") == quickstart.quickstart()


@pytest.mark.parametrize("aws", CLIS)
def test_the_page_ends_in_sync_and_leaves_nothing(tmp_path, aws):
    """Before CloudTrail's delivery, the object is not shown; after it, all is in sync. The task uses only its role's keys."""
    with running(tmp_path, {BUCKET: REGION}, region=REGION, aws=aws) as cloud:

        def after(number, block):
            cloud.ecs.settle()
            if "aws s3 cp" in block:
                assert OBJECT not in cloud.index()
                assert cloud.deliver()
                (task,) = cloud.ecs.tasks.values()
                eventually(lambda: OBJECT in cloud.index(), lambda: task.process.everything)

        subnets, group = cloud.network(REGION)
        values = [
            Change("https://files.example.com", cloud.access_anywhere, "the test's Access Anywhere"),
            Change("subnet-11111111,subnet-22222222", subnets, "those of the emulator's network"),
            Change("sg-11111111", group, "the same"),
        ]
        found = blocks(PAGE, [*values, *NOT_RUN])
        said = run(found, cwd=cloud.checkout, env=cloud.environment, after=after, answers=f"{LOGIN}\n{PASSWORD}\n")
        assert "\nin sync" in said
        assert '"event": "started"' in said
        docker = (cloud.checkout / "docker.log").read_text().splitlines()
        assert [line.split()[1] for line in docker] == ["login", "build", "push"]
        assert cloud.callers() - {ACCESS_KEY} == cloud.ecs.roles.keys()
        assert cloud.refused() == []
        assert_only_the_data_bucket_is_left(cloud)


def assert_only_the_data_bucket_is_left(cloud):
    buckets = cloud.client("s3", REGION).list_buckets()["Buckets"]
    assert [each["Name"] for each in buckets] == [BUCKET]
    assert cloud.client("sqs", REGION).list_queues().get("QueueUrls", []) == []
    assert cloud.client("sns", REGION).list_topics()["Topics"] == []
    assert cloud.client("cloudtrail", REGION).describe_trails()["trailList"] == []
    assert cloud.client("dynamodb", REGION).list_tables()["TableNames"] == []
    assert cloud.client("iam", REGION).list_roles()["Roles"] == []
    assert cloud.client("secretsmanager", REGION).list_secrets()["SecretList"] == []
    assert cloud.client("ecr", REGION).describe_repositories()["repositories"] == []
    assert cloud.ecs.tasks == {}
