"""Settings that need or exclude each other, and the units of durations."""

import json

import pytest
from tests.acceptance.settings.minimal import MINIMAL, changed, problems

from jibe_sqs.compose import rules
from jibe_sqs.core.model import Kind, ObjectEvent, Skip
from jibe_sqs.settings import Settings, load


def test_no_queue_is_required_if_logs_are_swept(write):
    swept = {**MINIMAL, "queues": [], "logs": [{"bucket": "audit-logs", "sweep": "3m"}]}
    assert load(Settings, config=write(swept)).logs[0].sweep == 180


def test_a_queue_is_required_if_no_logs_are_swept(write):
    found = problems(config=write({**MINIMAL, "queues": [], "logs": [{"bucket": "audit-logs"}]}))
    assert found == ["queues: missing: the SQS queues, each with its url; or logs with a sweep"]


def test_buckets_are_optional(write):
    assert load(Settings, config=write({name: MINIMAL[name] for name in MINIMAL if name != "buckets"})).buckets is None


def test_a_dry_run_requires_buckets(write):
    least = {name: MINIMAL[name] for name in MINIMAL if name != "buckets"}
    found = problems(config=write({**least, "sync": {"strategy": "dry-run"}}))
    assert found == ["sync: a dry run makes no calls, so it cannot ask Access Anywhere for the buckets: set buckets"]


def test_provider_event_requires_parameters(write):
    (found,) = problems(config=write(changed(sync={"strategy": "provider-event"})))
    assert found.startswith("sync: provider-event needs the parameters of its call")
    configuration = write(changed(sync={"strategy": "provider-event", "parameters": {"bucket": "{bucket}"}}))
    assert load(Settings, config=configuration).sync.function == "syncOnProviderEvent"


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), (90, 90), ("90s", 90), ("3m", 180), (" 1.5h ", 5400), (0.5, 0.5)]
)
def test_a_duration_may_have_a_unit(write, written, seconds):
    settings = load(Settings, config=write(changed(access_anywhere={**MINIMAL["access_anywhere"], "timeout": written})))
    assert settings.access_anywhere.timeout == seconds


TIMES = ["drain_timeout", "watermark_margin", "tree_refresh_interval", "progress_interval", "retry.first",
         "retry.longest", "poll.wait", "report.interval", "alerts.interval", "sync.min_refresh_interval",
         "limits.read_seconds", "access_anywhere.refresh_timeout", "access_anywhere.look_interval"]  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_every_duration_may_have_a_unit(write, name):
    """Found by this test: half of them accepted only numbers."""
    group, _, last = name.rpartition(".")
    time = "18s" if name == "poll.wait" else "2m"
    configuration = changed(**{group: {**MINIMAL.get(group, {}), last: time}} if group else {last: time})
    found = load(Settings, config=write(configuration))
    for part in name.split("."):
        found = getattr(found, part)
    assert found == (18 if name == "poll.wait" else 120)


@pytest.mark.parametrize("written", ["0.5", 0.5, "1m", "-1s"])
def test_a_long_poll_has_whole_seconds_up_to_twenty(write, written):
    (found,) = problems(config=write(changed(poll={"wait": written})))
    assert found.startswith("poll.wait: ")


@pytest.mark.parametrize("name", [*TIMES, "ledger.retain_days", "access_anywhere.calls_per_second"])
@pytest.mark.parametrize("nonsense", ["1e999", "-1", "NaN", '"1e999"', '"-1"', '""', '"soon"', f'"{"9" * 400}"', "{}"])
def test_numbers_out_of_range_are_reported(write, name, nonsense):
    group, _, last = name.rpartition(".")
    configuration = changed(**{group: {**MINIMAL.get(group, {}), last: "NONSENSE"}} if group else {last: "NONSENSE"})
    (found,) = problems(config=write(json.dumps(configuration).replace('"NONSENSE"', nonsense)))
    assert found.startswith(f"{name}: ")


@pytest.mark.parametrize(("interval", "good"), [(0, True), (1, True), ("15m", True), (0.25, False), (0.001, False)])
def test_the_report_interval_is_zero_or_at_least_a_second(write, interval, good):
    """An operator who writes 0.25 means a quarter of an hour. The result was four report files per second in Access Anywhere."""
    file = write(changed(report={"interval": interval}))
    if good:
        assert load(Settings, config=file)
    else:
        assert problems(config=file) == ["report.interval: must be at least 1 second, such as 15m; or 0 for no reports"]


def test_the_ledger_does_not_remember_beyond_the_last_date_of_python(write):
    """A ledger in DynamoDB raised an OverflowError for each message, so no message was ever done."""
    (found,) = problems(config=write(changed(ledger={"retain_days": 1e305})))
    assert found.startswith("ledger.retain_days: ")


@pytest.mark.parametrize("written", ["3 days", "m", "-3m", "1h30m", ""])
def test_a_text_that_is_not_a_duration_is_reported(write, written):
    (found,) = problems(config=write(changed(access_anywhere={**MINIMAL["access_anywhere"], "timeout": written})))
    assert found.startswith("access_anywhere.timeout: ")


def test_patterns_of_keys_become_filters_of_logs_places_and_all_buckets(write):
    configuration = changed(
        logs=[{"bucket": "trail", "ignore": "AWSLogs/*/222222222222/*"}],
        buckets={"media": {"folder": "/S3/media", "ignore": ["_temporary/"]}},
        ignore_keys="*.tmp",
    )
    settings = load(Settings, config=write(configuration))
    assert rules.log_source(settings.logs[0]).ignores("AWSLogs/o-abc/222222222222/x.json.gz")
    decisions = rules.decisions(settings)
    keys = ["a/_temporary/x", "a/x.tmp", "a/x"]
    found = [decisions.decide(ObjectEvent(Kind.WRITTEN, "media", key, 1.0)) for key in keys]
    assert [isinstance(each, Skip) and each.reason.value for each in found] == ["ignored", "ignored", False]


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("ignore_keys.0", {"ignore_keys": ["/tmp/"]}),
        ("logs.0.ignore.0", {"logs": [{"bucket": "trail", "ignore": "/AWSLogs/"}]}),
        ("buckets.media.0.ignore.1", {"buckets": {"media": {"folder": "/S3/media", "ignore": ["a", "/b"]}}}),
    ],
)
def test_a_pattern_that_begins_with_a_slash_is_a_mistake(write, setting, changes):
    """It would match nothing, and the operator would not notice."""
    (found,) = problems(config=write(changed(**changes)))
    assert found.startswith(f"{setting}: begins with /, and keys do not: remove it")


def test_one_pattern_may_come_from_a_variable(write, monkeypatch):
    monkeypatch.setenv("JIBE_IGNORE_KEYS", "_temporary/")
    assert load(Settings, config=write(MINIMAL)).ignore_keys == ("_temporary/",)


@pytest.mark.parametrize("strategy", ["refresh", "provider-event"])
def test_only_a_dry_run_may_leave_its_messages(write, strategy):
    sync = {"strategy": strategy, "parameters": {"bucket": "{bucket}"}, "acknowledge": False}
    (found,) = problems(config=write(changed(sync=sync)))
    assert found.startswith("sync: acknowledge: false is for strategy dry-run only")
    assert not load(Settings, config=write(changed(sync=sync | {"strategy": "dry-run"}))).sync.acknowledge
