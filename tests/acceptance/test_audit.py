"""The program with a channel of CloudTrail Lake: what it did is there when it has stopped."""

import os
from pathlib import Path
from typing import Any

from tests.acceptance.conftest import COMMAND, SmallService
from tests.cloudtrail_lake import CHANNEL, lake, throttling
from tests.processes import Started, started


def _started(sandbox: dict[str, Any], small: SmallService, folder: Path, address: str) -> Any:
    small.configure(
        audit={"channel": CHANNEL, "channel_external_id": "the-id", "endpoint": address},
        report={"interval": 1},
    )
    environment = {**os.environ, **sandbox["environment"]}
    return started([*COMMAND, "run", "--config", str(small.config)], folder, cwd=folder, env=environment)


def _work(small: SmallService, service: Started) -> None:
    service.wait_for("started")
    small.announce_change()
    small.send("not an announcement")
    service.wait_for("message_done")
    service.wait_for("message_rejected")
    assert service.stop() == 0


def test_what_the_service_did_is_recorded(sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path) -> None:
    with lake("the-id") as found:
        with _started(sandbox, small_service, tmp_path, found.address) as service:
            _work(small_service, service)
            assert not service.events("audit_not_sent")
        assert found.signed_for == {("eu-west-1", "cloudtrail-data")}
    (done,) = found.named("FileDone")
    assert done["requestParameters"]["bucketName"] == sandbox["log_bucket"]
    assert done["additionalEventData"]["folders"] == 1
    assert len(found.named("MessageDeadLettered")) == 1
    assert {each["requestParameters"]["bucketName"] for each in found.named("ProviderReport")}


def test_a_channel_that_takes_nothing_costs_no_message(
    sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path
) -> None:
    with lake("the-id") as found:
        found.always = throttling
        with _started(sandbox, small_service, tmp_path, found.address) as service:
            _work(small_service, service)
            assert service.wait_for("audit_events_lost")["reasons"].keys() == {"stopped"}
    assert not small_service.messages()
    assert small_service.dead_letters() == 1
