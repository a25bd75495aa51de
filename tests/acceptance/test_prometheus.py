"""The dashboard and the alert rules ask for metrics that exist, and a real Prometheus answers all of their queries."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.acceptance.conftest import MEDIA, REGION
from tests.processes import PATIENCE, Started, eventually, finished, started

from jibe_sqs.sandbox.aws.deployment import client
from jibe_sqs.telemetry import alert_kinds
from jibe_sqs.telemetry.alert_kinds import BY_EVENT
from jibe_sqs.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "infra/prometheus/alerts.yaml"
DASHBOARD = json.loads((ROOT / "infra/grafana/jibe-sqs.json").read_text(encoding="utf-8"))
RUNBOOKS = (ROOT / "docs/how-to/runbooks.md").read_text(encoding="utf-8")
ALERTS = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
PANELS = [
    pytest.param(panel["title"], target, id=f"{panel['title']} {target['refId']}")
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]
OF_SCRAPES = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of the bounds of histograms."""
NOT_HERE = {"jibe_refresh_failures_total", "jibe_aws_credentials_expiry_timestamp_seconds"}
"""Metrics without a value in a sandbox: all refreshes succeed, and its credentials do not expire."""


def names(expression: str) -> set[str]:
    """The metrics in an expression, without the suffixes of histograms."""
    found = re.findall(r"\b(?:jibe|process)_[a-z_]+\b", re.sub(r'"[^"]*"', "", expression))
    return {name if name in METRICS else re.sub("_(bucket|sum|count)$", "", name) for name in found}


def labels(expression: str) -> set[str]:
    """The labels in the matchers and groupings of an expression."""
    matched = re.findall(r"[{,]\s*([a-z_]+)\s*(?:=|!=|=~|!~)", expression)
    grouped = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    return {*matched, *(each.strip() for group in grouped for each in group.split(","))}


def assert_known(expression: str, shown: str) -> None:
    """`shown`: text with labels as `{{label}}` or `$labels.label`."""
    found = names(expression)
    assert found <= METRICS.keys()
    known = OF_SCRAPES.union(*(METRICS[name].labels for name in found))
    known |= {"worker"} if any(METRICS[name].combine == "worker" for name in found) else set()
    in_text = set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}", shown))
    assert labels(expression) | in_text <= known


@pytest.mark.parametrize(("title", "target"), PANELS)
def test_each_query_of_the_dashboard_names_metrics_and_labels_that_exist(title, target):
    """A renamed metric would leave an empty panel, which looks like good news."""
    assert names(target["expr"]), title
    assert_known(target["expr"], target["legendFormat"])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_names_metrics_and_labels_that_exist_and_has_a_runbook(alert):
    """An alert about a metric that does not exist never fires."""
    notes = alert["annotations"]
    assert names(alert["expr"]) or "up{" in alert["expr"]
    assert_known(alert["expr"], notes["summary"] + notes["description"])
    assert alert["labels"]["severity"] in {"critical", "warning"}
    page, _, anchor = notes["runbook"].partition("#")
    assert (ROOT / page).is_file()
    assert re.search(rf"^## {anchor}$", RUNBOOKS, re.IGNORECASE | re.MULTILINE)


def test_there_is_no_runbook_of_an_alert_that_does_not_exist():
    """A heading that no alert leads to is out of date."""
    headings = re.findall(r"^## (Jibe.*)$", RUNBOOKS, re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]


@pytest.mark.parametrize("event", BY_EVENT)
def test_each_event_of_a_state_leads_to_a_section(event):
    """The service's own alerts have the address of the page, with the event's name."""
    assert f"\n## {event}\n" in (ROOT / alert_kinds.RUNBOOKS).read_text(encoding="utf-8")


@pytest.mark.parametrize("what", ["check rules alerts.yaml", "test rules tests.yaml"])
def test_promtool_accepts_the_rules(what):
    """Each alert fires when its cause is there, and none fires for a healthy service."""
    if not shutil.which("promtool"):
        pytest.skip("needs promtool, of Debian's package prometheus")
    ended = finished(["promtool", *what.split()], cwd=RULES.parent)
    assert ended.returncode == 0, ended.stdout + ended.stderr


class Prometheus:
    """A running Prometheus."""

    def __init__(self, running: Started) -> None:
        line = eventually(lambda: re.search(r'"Listening on" address=(\S+)', running.output), "Prometheus' address")
        self._url = f"http://{line[1]}/api/v1"
        # It listens before it can answer.
        ready = f"http://{line[1]}/-/ready"
        eventually(lambda: httpx.get(ready, timeout=PATIENCE).status_code == HTTPStatus.OK, "Prometheus is ready")

    def ask(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self._url}/{path}", params=parameters, timeout=PATIENCE)
        assert answer.status_code == 200, (parameters, answer.text)
        return answer.json()["data"]

    def value(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus that scrapes this address, and loads the alert rules."""
    command = shutil.which("prometheus")
    if command is None:
        pytest.skip("needs prometheus, of Debian")
    stack = ExitStack()

    def start(target: str) -> Prometheus:
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "jibe-sqs", "static_configs": [{"targets": [target]}]}],
        }
        file = tmp_path / "prometheus.yaml"
        file.write_text(yaml.safe_dump(settings))
        options = [
            f"--config.file={file}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            "--web.listen-address=127.0.0.1:0",
        ]
        return Prometheus(stack.enter_context(started([command, *options], tmp_path)))

    with stack:
        yield start


def test_prometheus_answers_each_query_of_the_dashboard_and_the_alerts(sandbox, small_service, prometheus):
    """The real program, its metrics in a real Prometheus, and every query: none fails, and those with a cause have data."""
    configured = json.loads(small_service.config.read_text())
    queue = configured["queues"][0]
    small_service.configure(http={"port": 0}, compare={"every": "1h"}, queues=[{**queue, "expect": "1d"}])
    # Something to compare.
    client(sandbox["aws"], "s3", REGION).put_object(Bucket=MEDIA, Key="compared.txt", Body=b"")
    with small_service.started() as service:
        address = f"127.0.0.1:{service.wait_for('health_answered')['port']}"
        service.wait_for("started")
        server = prometheus(address)
        eventually(lambda: server.value("jibe_ready == 1"), "the first scrape")
        small_service.announce_change()
        small_service.announce("elsewhere.txt", bucket="not-mapped-anywhere")
        small_service.send("no announcement")
        small_service.send(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"}))
        eventually(lambda: not small_service.messages(), "the end of all messages")
        eventually(lambda: server.value("jibe_messages_done_total >= 3"), "their scrape")
        eventually(lambda: server.value("jibe_compare_round_timestamp_seconds"), "a whole comparison")
        eventually(lambda: server.value("jibe_queue_messages"), "the depth of the queue")

        def without_data():
            expressions = [
                (title, target["expr"].replace("$job", ".*").replace("$instance", ".*"))
                for title, target in (each.values for each in PANELS)
            ]
            return [each for each in expressions if not server.value(each[1]) and not names(each[1]) & NOT_HERE]

        # Rates need two scrapes of each series.
        eventually(lambda: not without_data(), lambda: f"data for each panel: {without_data()}")
        for alert in ALERTS:
            server.value(alert["expr"])
            for name in names(alert["expr"]) - NOT_HERE:
                shown = f"{name}_count" if METRICS[name].kind == "histogram" else name
                assert server.value(shown), (alert["alert"], name)
        rules = server.ask("rules")["groups"][0]["rules"]
        assert [rule["name"] for rule in rules] == [alert["alert"] for alert in ALERTS]
        assert {rule["health"] for rule in rules} == {"ok"}
        assert service.stop() == 0
    eventually(lambda: server.value('ALERTS{alertname="JibeNotScraped"}'), "the alert about the end of the service")
