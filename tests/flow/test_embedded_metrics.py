"""Lines in CloudWatch's embedded metric format: they keep its rules, and say what happened since the line before."""

import asyncio
import io
import json
import re
import sys

import pytest

from jibe_sqs.compose.embedded_metrics import embedded_metrics
from jibe_sqs.settings import Settings
from jibe_sqs.settings.groups.metrics import MetricsSettings
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.emf import CLOUDWATCH, INTERVAL, EmbeddedMetrics
from jibe_sqs.telemetry.lag import Lag
from jibe_sqs.telemetry.metrics import METRICS
from jibe_sqs.telemetry.samples import Samples

UNITS = re.compile(
    "Seconds|Microseconds|Milliseconds|(Kilo|Mega|Giga|Tera)?(bytes|bits)|Bytes|Bits|Percent|Count|None|.*/Second"
)
"""Of the specification's JSON schema."""
MAX_METRICS, MAX_DIMENSIONS, MAX_NAME, MAX_EVENT = 100, 30, 255, 256 * 1024


def samples(done=0, lag=(), ages=()):
    found = Samples()
    found.add("jibe_messages_done_total", done)
    for number, age in enumerate(ages):
        found.add("jibe_oldest_message_age_seconds", age, f"queue {number}")
    delays = Lag()
    for each in lag:
        delays.add(each)
    found.add_histogram("jibe_index_lag_seconds", delays, "media")
    return found


def everything():
    """Samples with a value of each metric."""
    found = Samples()
    for metric in METRICS.values():
        if metric.kind != "histogram":
            found.add(metric.name, 3, *(["failed"] * len(metric.labels)))
    delays = Lag()
    delays.add(12.0)
    found.add_histogram("jibe_index_lag_seconds", delays, "media")
    return found


def metrics(found=None, **options):
    async def current():
        return found

    options = {"namespace": "JibeSqs", "service": "jibe-sqs", **options}
    return EmbeddedMetrics(current, wall_clock=lambda: 1796005191.5, **options)


def assert_valid(line):
    """The rules of the specification: "Specification: Embedded metric format", CloudWatch User Guide."""
    assert len(line) < MAX_EVENT
    root = json.loads(line)
    assert isinstance(root["_aws"]["Timestamp"], int)
    for directive in root["_aws"]["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= MAX_NAME
        assert len(directive["Metrics"]) <= MAX_METRICS
        assert directive["Dimensions"]
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= MAX_DIMENSIONS
            for name in dimensions:
                assert isinstance(root[name], str)
                assert root[name].strip()
                assert root[name].isascii()
        for metric in directive["Metrics"]:
            assert metric.keys() == {"Name", "Unit"}
            assert 1 <= len(metric["Name"]) <= MAX_NAME
            assert UNITS.fullmatch(metric["Unit"])
            assert type(root[metric["Name"]]) in (int, float)
    return root


@pytest.fixture
def log_lines(monkeypatch):
    """What is logged in JSON, line by line."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "json", worker=1)
    yield lambda: stream.getvalue().splitlines()
    logs.configure("info", "auto")


async def test_a_line_keeps_all_rules_of_the_format(log_lines):
    """The line as it is written, with the fields that each log line has."""
    await metrics(everything()).log()
    (line,) = log_lines()
    root = assert_valid(line)
    assert root["event"] == "metrics"
    assert root["level"] == "info"
    assert root["_aws"]["Timestamp"] == 1796005191500
    named = [each["Name"] for each in root["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
    assert named == [each.name for each in CLOUDWATCH]
    assert not {"timestamp", "event", "level", "service", "worker"} & set(named)


async def test_a_line_is_logged_each_minute_and_at_the_end_also_after_one_that_failed(log_lines, flow):
    """The second of three lines cannot be made. The last one, at the stop, has what is left."""
    answers = [samples(done=1), None, samples(done=5), samples(done=6)]

    async def current():
        return answers.pop(0)

    needed = {"access_anywhere": {"endpoint": "https://aa.example", "login": "a", "password": "b"}}
    settings = Settings(**needed, metrics={"emf": True}, log={"format": "json"})
    async with embedded_metrics(settings, current):
        await asyncio.sleep(3 * INTERVAL + 1)
    lines = [json.loads(line) for line in log_lines()]
    assert [line["event"] for line in lines] == ["metrics", "metrics_failed", "metrics", "metrics"]
    assert [line.get("MessagesDone") for line in lines] == [1, None, 4, 1]


def test_counters_show_their_growth_and_gauges_their_value():
    """CloudWatch adds up what each line says, so a count since the start would be wrong."""
    embedded = metrics()
    first = embedded.fields(samples(done=10, ages=[5, 90]))
    assert (first["MessagesDone"], first["OldestMessageAge"]) == (10, 90)
    second = embedded.fields(samples(done=12, ages=[7]))
    assert (second["MessagesDone"], second["OldestMessageAge"]) == (2, 7)
    restarted = embedded.fields(samples(done=1))
    assert restarted["MessagesDone"] == 0
    assert "OldestMessageAge" not in restarted


def test_the_lag_is_that_of_the_events_since_the_last_line():
    """Without events there is no lag, and no metric: 0 would be a lie."""
    embedded = metrics()
    assert "IndexLagP99" not in embedded.fields(samples())
    assert embedded.fields(samples(lag=[1.0] * 50))["IndexLagP99"] == pytest.approx(1.6)
    assert embedded.fields(samples(lag=[1.0] * 50 + [100.0] * 10))["IndexLagP99"] == pytest.approx(102.4)
    assert "IndexLagP99" not in embedded.fields(samples(lag=[1.0] * 50 + [100.0] * 10))


def test_a_service_that_has_just_started_breaks_no_rule():
    """Nearly all metrics are missing then."""
    fields = metrics().fields(Samples())
    assert_valid(json.dumps(fields))


@pytest.mark.parametrize(
    ("log", "mistake"),
    [({"format": "console"}, "needs log lines in JSON"), ({"level": "warning"}, "log.level must not be warning")],
)
def test_settings_under_which_no_line_would_be_written_are_refused(log, mistake):
    """Otherwise an operator would wait for metrics in vain."""
    needed = {"access_anywhere": {"endpoint": "https://aa.example", "login": "a", "password": "b"}}
    Settings(**needed, metrics={"emf": True})
    with pytest.raises(ValueError, match=mistake):
        Settings(**needed, metrics={"emf": True}, log=log)


@pytest.mark.parametrize("name", ["", " ", "naïve", "x" * 251, "line\nend"])
def test_names_that_cloudwatch_does_not_accept_are_refused(name):
    """Dimensions are ASCII, and not blank."""
    with pytest.raises(ValueError, match="service"):
        MetricsSettings(service=name)
