"""The program with a collector: one trace for each message, from its sender to the calls of Access Anywhere."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import COMMAND, SmallService
from tests.collector import Collector, collector
from tests.processes import Started, eventually, finished, started

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture
def traces() -> Iterator[Collector]:
    with collector() as found:
        yield found


@contextmanager
def _running(
    sandbox: dict[str, Any], small: SmallService, folder: Path, address: str, **settings: Any
) -> Iterator[Started]:
    small.configure(tracing={"enabled": True}, **settings)
    environment = {**os.environ, **sandbox["environment"], "OTEL_EXPORTER_OTLP_ENDPOINT": address}
    with started([*COMMAND, "run", "--config", str(small.config)], folder, cwd=folder, env=environment) as service:
        service.wait_for("started")
        yield service


def test_a_change_is_followed_from_its_message_to_access_anywhere(
    sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path, traces: Collector
) -> None:
    """The last spans arrive when the service stops."""
    with _running(sandbox, small_service, tmp_path, traces.address) as service:
        small_service.announce_change()
        service.wait_for("message_done")
        assert service.stop() == 0
        (done,) = service.events("message_done")
        refreshed = service.events("refreshed")
    (message,) = [each for each in traces.spans if each.name.startswith("process ")]
    assert message.attributes["messaging.message.id"] == done["message"]
    assert message.attributes["jibe.verdict"] == "done"
    assert (done["trace_id"], done["span_id"]) == (message.trace, message.id)
    children = [each for each in traces.spans if each.parent == message.id]
    assert {"fetch", "parse"} <= {each.name for each in children}
    refreshes = traces.named("refresh")
    linked = [each for each in refreshes if (message.trace, message.id) in each.links]
    assert linked
    assert not any(each.parent for each in refreshes)
    calls = [each for each in traces.spans if each.parent in {refresh.id for refresh in refreshes}]
    assert "getFolderContents" in {each.name for each in calls}
    assert {each["span_id"] for each in refreshed} == {each.id for each in refreshes}
    password = json.loads(small_service.config.read_text())["access_anywhere"]["password"]
    assert not [each for each in traces.spans if password in str(each.attributes) + each.reason]
    assert message.resource["service.name"] == "jibe-sqs"


def test_a_collector_that_is_down_costs_no_change_and_does_not_hold_up_the_stop(
    sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path, traces: Collector
) -> None:
    traces.hanging.set()
    with _running(sandbox, small_service, tmp_path, traces.address) as service:
        small_service.announce_change()
        service.wait_for("message_done")
        assert service.stop() == 0
        assert service.events("traces_abandoned")
    assert not small_service.messages()


def test_each_worker_traces_for_itself(
    sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path, traces: Collector
) -> None:
    with _running(sandbox, small_service, tmp_path, traces.address, workers=2) as service:
        for _ in range(20):
            small_service.announce_change()
        eventually(lambda: not small_service.messages(), "all messages are done")
        assert service.stop() == 0
    processed = [each for each in traces.spans if each.name.startswith("process ")]
    assert len(processed) == 20
    assert {each.resource["service.instance.id"].rpartition("-")[2] for each in processed} <= {"0", "1"}


def test_without_the_extra_the_setting_is_a_clear_mistake(
    sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path
) -> None:
    small_service.configure(tracing={"enabled": True})
    # A module that cannot be imported, as if it were not installed.
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "opentelemetry.py").write_text(
        "raise ModuleNotFoundError('No module named opentelemetry', name='opentelemetry')"
    )
    environment = {**os.environ, **sandbox["environment"], "PYTHONPATH": str(tmp_path / "without")}
    done = finished([*COMMAND, "run", "--config", str(small_service.config)], cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "pip install 'jibe-sqs[tracing]'" in done.stderr
