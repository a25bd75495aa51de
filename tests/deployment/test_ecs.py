"""The commands of docs/how-to/deploy.md and docs/how-to/ecs.md, run in order with the AWS CLI, in one shell."""

import json

import pytest
from tests.deployment.clis import CLIS
from tests.deployment.cloud import PASSWORD, running
from tests.deployment.pages import ROOT, Change, blocks, run
from tests.processes import eventually, finished

from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY
from jibe_sqs.sandbox.service_configuration import LOGIN

BEFORE = ROOT / "docs/how-to/deploy.md"
PAGE = ROOT / "docs/how-to/ecs.md"
BUCKET = "example-media"
REGION = "us-east-1"
TRAIL_REGION = "eu-west-1"
OBJECT = (BUCKET, "jibe/hello.txt")
EDITED = 'aws ssm put-parameter --region "$REGION" --name /jibe/config --type String --overwrite'


@pytest.mark.parametrize("aws", CLIS)
def test_the_pages_deploy_a_service_that_works_and_reads_its_configuration_again(tmp_path, aws):
    """The task uses only its role's keys. A changed document is in force without a new task."""
    with running(tmp_path, {BUCKET: REGION}, region=REGION, aws=aws) as cloud:
        subnets, group = cloud.network(REGION)
        tasks = []

        def after(number, block):
            cloud.ecs.settle()
            if "aws logs filter-log-events" in block:
                (task,) = cloud.ecs.tasks.values()
                tasks.append(task)
                written = ["put-object", "--bucket", BUCKET, "--key", OBJECT[1]]
                finished([str(cloud.checkout / "bin" / "aws"), "s3api", *written], env=cloud.environment)
                assert OBJECT not in cloud.index()
                assert cloud.deliver()
                eventually(lambda: OBJECT in cloud.index(), lambda: task.process.everything)
            if EDITED in block:
                (task,) = tasks
                eventually(lambda: task.process.events("settings_reloaded"), lambda: task.process.everything)
                assert task.process.events("settings_reloaded")[0]["changed"] == ["alerts.interval"]
                assert list(cloud.ecs.tasks.values()) == tasks
            if "MaxCount=4" in block:
                (target,) = cloud.client("application-autoscaling", REGION).describe_scalable_targets(
                    ServiceNamespace="ecs"
                )["ScalableTargets"]
                assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 4)

        elsewhere = Change("TRAIL_REGION=us-east-1", f"TRAIL_REGION={TRAIL_REGION}", "a second region")
        prepared = blocks(BEFORE, [elsewhere])
        removed = [each for each in prepared if "delete-stack" in each or "delete-queue" in each]
        first = [each for each in prepared if each not in removed]
        values = [
            elsewhere,
            Change("https://files.example.com", cloud.access_anywhere, "the test's Access Anywhere"),
            Change("subnet-11111111,subnet-22222222", subnets, "those of the emulator's network"),
            Change("sg-11111111", group, "the same"),
            Change(
                EDITED, f'sed -i \'2i "alerts": {{"interval": "7m"}},\' jibe-config.json\n{EDITED}', "the reader edits"
            ),
        ]
        said = run(
            [*first, *blocks(PAGE, values), *removed],
            cwd=cloud.checkout,
            env=cloud.environment,
            after=after,
            answers=f"{LOGIN}\n{PASSWORD}\n",
        )
        assert '"event": "started"' in said
        assert json.loads((cloud.checkout / "jibe-config.json").read_text())["alerts"] == {"interval": "7m"}
        assert cloud.callers() - {ACCESS_KEY} == cloud.ecs.roles.keys()
        assert cloud.refused() == []
        assert cloud.ecs.tasks == {}
        assert cloud.client("dynamodb", REGION).list_tables()["TableNames"] == []
        assert cloud.client("sqs", REGION).list_queues().get("QueueUrls", []) == []
        assert cloud.client("sns", TRAIL_REGION).list_topics()["Topics"] == []
        assert cloud.client("cloudtrail", TRAIL_REGION).describe_trails()["trailList"] == []
        assert [each["Name"] for each in cloud.client("s3", REGION).list_buckets()["Buckets"]] == [BUCKET]
