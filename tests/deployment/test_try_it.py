"""The commands of docs/how-to/try-it.md, run in order with the AWS CLI. They end without anything left."""

import pytest
from tests.deployment.clis import CLIS
from tests.deployment.cloud import PASSWORD, running
from tests.deployment.pages import ROOT, Change, blocks, run
from tests.processes import eventually

from jibe_sqs.sandbox.service_configuration import LOGIN

PAGE = ROOT / "docs/how-to/try-it.md"
BUCKET = "example-media"
REGION = "us-east-1"
RUN = ".jibe/bin/jibe-sqs run --config jibe-config.json\n"


def changes(access_anywhere):
    return [
        Change("https://files.example.com", access_anywhere, "the test's Access Anywhere"),
        Change("python3 -m venv .jibe\n", "", "tests/acceptance/test_install.py installs; .jibe exists"),
        Change(".jibe/bin/pip install --require-hashes -r requirements/runtime.lock\n", "", "the same"),
        Change(".jibe/bin/pip install --no-deps .\n", "", "the same"),
        Change(RUN, f"{RUN.strip()} 2> service.log & service=$!\n", "it runs until Ctrl-C: in the background"),
        Change('aws s3api put-bucket-notification-configuration --bucket "$BUCKET" --notification-configuration \'{}\'\n',
               'kill "$service"; wait "$service"\n'
               'aws s3api put-bucket-notification-configuration --bucket "$BUCKET" --notification-configuration \'{}\'\n',
               "Ctrl-C, before everything is removed"),
    ]  # fmt: skip


@pytest.mark.parametrize("aws", CLIS)
def test_the_page_ends_with_a_refreshed_folder_and_nothing_left(tmp_path, aws):
    """S3's notifications refresh the folder, which the page's deletion refreshes again."""
    with running(tmp_path, {BUCKET: REGION}, region=REGION, aws=aws) as cloud:
        shown = []

        def after(number, block):
            log = cloud.checkout / "service.log"
            if "jibe-sqs run" in block:
                eventually(lambda: log.exists() and "buckets_found" in log.read_text(), "the start")
            if "aws s3 cp" in block:
                eventually(lambda: (BUCKET, "jibe-quickstart/hello.txt") in cloud.index(), log.read_text)
                shown.append(number)
            if "aws s3 rm" in block:
                eventually(lambda: (BUCKET, "jibe-quickstart/hello.txt") not in cloud.index(), log.read_text)
                shown.append(number)

        found = blocks(PAGE, changes(cloud.access_anywhere))
        run(found, cwd=cloud.checkout, env=cloud.environment, after=after, answers=f"{LOGIN}\n{PASSWORD}\n")
        assert len(shown) == 2
        assert cloud.client("sqs", REGION).list_queues().get("QueueUrls", []) == []
        assert cloud.client("sns", REGION).list_topics()["Topics"] == []
