"""Metrics: a scrape shows what the work has counted, in a bounded text that Prometheus can parse, also of several workers."""

import asyncio
import re
from collections import Counter

import msgspec
import pytest
from tests.expositions import parsed, shown, value
from tests.flow.test_engine import Job

from jibe_sqs.adapters.access_anywhere.wire.tries import Tries
from jibe_sqs.compose.metrics import Measured
from jibe_sqs.core.model import SkipReason
from jibe_sqs.core.plan import Counts, Plan
from jibe_sqs.core.stale_folders import Needed
from jibe_sqs.ports import QueueDepth
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.telemetry.exposition import exposition
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.lag import BOUNDS, SHORT_BOUNDS, Durations, Lag
from jibe_sqs.telemetry.metrics import METRICS, MOST_BUCKETS, OTHER
from jibe_sqs.telemetry.samples import Merger, Samples, Sent
from jibe_sqs.telemetry.scrapes import Metrics
from jibe_sqs.telemetry.truth import Round, Truth

MANY = 100_000
FOREIGN = 'a "quoted"\nname \\ with \ud800 and {braces}, é'
"""Text that an attacker may put into a key or a bucket's name."""


async def test_a_scrape_shows_the_work_of_a_whole_job(flow):
    """Every number of a small job: messages, files, records, stages, refreshes and limits."""
    job = Job(flow)
    metrics = Metrics()
    metrics.add_health(job.health)
    Measured(
        engine=job.engine, outputs=job.engine._outputs, wall_clock=lambda: flow.EPOCH + 3600.0 + flow.time()
    ).add_to(metrics)
    announced = job.put("announced")  # which the first sweep finds, too: a third message
    assert value(parsed((await metrics.exposition())[0]), "jibe_ready") == 0
    async with job.running():
        job.queues[0].send(flow.announcing(announced))
        job.queues[1].send(flow.s3_event("direct/file"))
        await flow.until(lambda: job.ledger.finished and all(queue.deleted for queue in job.queues))
        await asyncio.sleep(60)
        text, content_type = await metrics.exposition()
    assert content_type.startswith("text/plain; version=")
    series = parsed(text)
    assert value(series, "jibe_ready") == 1
    assert value(series, "jibe_metrics_failures_total") == 0
    assert value(series, "jibe_messages_received_total") == value(series, "jibe_messages_done_total") == 3
    assert value(series, "jibe_files_read_total") == 1
    assert value(series, "jibe_events_total", bucket="data") == 2
    assert value(series, "jibe_index_lag_seconds_count", provider="data") == 2
    assert value(series, "jibe_refresh_requests_total") == value(series, "jibe_refreshes_total", kind="folder") == 2
    for stage, count in {"queued": 2, "read": 1, "refresh": 2, "refresh_wait": 2, "message": 3}.items():
        assert value(series, "jibe_stage_seconds_count", stage=stage) == count, stage
    assert value(series, "jibe_messages_held") == 0
    assert value(series, "jibe_messages_held_limit") == 100
    assert value(series, "jibe_oldest_message_age_seconds", queue="one") == 0
    assert value(series, "jibe_queue_up", queue="two") == 1
    assert value(series, "jibe_queue_messages", queue="one", state="visible") == 0


async def test_the_oldest_message_is_the_one_that_waits_in_the_queue_or_in_hand(flow):
    """Messages that were never received are as old as the last moment up to which all were seen."""
    job = Job(flow)
    now = flow.EPOCH + 10_000.0
    measured = Measured(engine=job.engine, outputs=job.engine._outputs, wall_clock=lambda: now)
    activity = job.engine.consumers[0].activity
    activity.seen_until = now - 500
    for visible, expected in ((0, 0), (3, 500)):
        activity.measured(QueueDepth(visible, 0, 345_600.0))
        samples = Samples()
        measured._queues(samples)
        assert samples.values["jibe_oldest_message_age_seconds"]["one",] == expected


def test_each_metric_follows_the_conventions_of_prometheus():
    """Names, units and suffixes are as promtool and people expect, and nothing is undocumented."""
    for name, metric in METRICS.items():
        assert re.fullmatch(r"(jibe|process)_[a-z_]+", name)
        assert (metric.kind == "counter") == name.endswith("_total"), name
        if metric.unit:
            assert re.search(rf"_{metric.unit}(_total)?$", name), name
        assert (metric.kind == "histogram") == bool(metric.bounds), name
        assert metric.help, name
        assert metric.answers.endswith(("?", ")", "save")), name
        assert set(metric.bounds) <= {*BOUNDS, *SHORT_BOUNDS}


def test_names_from_outside_are_escaped_and_cut():
    """A name with quotes, line ends and broken Unicode comes back from Prometheus' parser as one label of one series."""
    samples = Samples()
    samples.add("jibe_records_total", 7, FOREIGN)
    samples.add("jibe_records_total", 1, "x" * 10_000)
    series = shown(samples)
    assert value(series, "jibe_records_total", bucket=FOREIGN.replace("\ud800", "?")) == 7
    assert value(series, "jibe_records_total", bucket="x" * 128) == 1
    assert len(series) == 2


async def test_a_flood_of_names_leaves_a_bounded_exposition(flow):
    """100,000 buckets, folders, errors, functions and queues: the text stays small, and the sums stay right."""
    job = Job(flow)
    counters, activity = job.engine.counters, job.engine.activity
    for start in range(0, MANY, 500):
        plan = Plan()
        for number in range(start, start + 500):
            skipped = Counter({SkipReason.NOT_MAPPED: 1})
            plan.buckets[f"bucket-{number}"] = Counts(10, 1, skipped)
        needed = Needed([], Counter())
        counters.planned(plan, needed)
        activity.planned(plan, needed)
    tries = Tries()
    for number in range(MANY):
        counters.errors[f"Error{number}"] += 1
        counters.dead_letters[f"queue-{number}", f"Error{number}"] += 1
        counters.nothing[f"about {number}"] += 1
        activity._now.row(f"provider-{number}", "").lag.add(1.0)
        activity._now.row(f"provider-{number}", "").failed[f"Error{number}"] += 1
        tries.ended(f"function{number}", "ok", 0.1)
    assert len(counters.buckets) <= MOST_BUCKETS + 1
    assert len(tries.seconds) <= 51

    metrics = Metrics()
    Measured(engine=job.engine, outputs=job.engine._outputs).add_to(metrics)
    text, _ = await metrics.exposition()
    series = parsed(text)
    assert value(series, "jibe_metrics_failures_total") == 0
    assert len(text.splitlines()) < 3000
    assert len(text) < 300_000

    def total(name):
        return sum(each for (found, *_), each in series.items() if found == name)

    assert total("jibe_records_total") == 10 * MANY
    assert total("jibe_records_skipped_total") == MANY
    assert total("jibe_message_errors_total") == total("jibe_dead_letters_total") == MANY
    assert total("jibe_index_lag_seconds_count") == MANY
    assert value(series, "jibe_records_total", bucket=OTHER) > 0


def test_a_series_never_moves_between_its_own_name_and_the_others():
    """First come, first served: a counter that becomes `other` later would look like a restart."""
    counters, before = Counters(), {}
    for number in range(3 * MOST_BUCKETS):
        plan = Plan()
        plan.buckets[f"bucket-{number % (2 * MOST_BUCKETS)}"] = Counts(1, 0, Counter())
        counters.planned(plan, Needed([], Counter()))
        now = {name: each.records for name, each in counters.buckets.items()}
        assert all(now[name] >= count for name, count in before.items())
        before = now


@pytest.mark.parametrize(
    ("kind", "name"), [(Lag, "jibe_index_lag_seconds"), (Durations, "jibe_event_loop_delay_seconds")]
)
def test_coarser_histograms_count_each_value_below_its_bound(kind, name):
    """The exported buckets are sums of the counted ones, so no value changes its side of a bound."""
    lag = kind()
    values = [0.0, 0.0011, 0.11, 0.2, 0.21, 7.0, 3000.0, 10_000_000.0]
    for each in values:
        lag.add(each)
    samples = Samples()
    samples.add_histogram(name, lag, *(["media"] if METRICS[name].labels else []))
    series = shown(samples)
    labels = {"provider": "media"} if METRICS[name].labels else {}
    for bound in METRICS[name].bounds:
        le = next(
            le
            for key in series
            for label, le in key[1:]
            if label == "le" and le != "+Inf" and abs(float(le) - bound) < 1e-5 * bound
        )
        expected = sum(each <= bound for each in values)
        assert value(series, f"{name}_bucket", le=le, **labels) == expected, bound
    assert value(series, f"{name}_count", **labels) == len(values)
    assert value(series, f"{name}_sum", **labels) == pytest.approx(sum(values))


def test_a_source_that_fails_costs_only_its_own_metrics():
    """A defect in one source is counted, and all others are shown."""
    metrics = Metrics()

    def broken(_samples):
        raise RuntimeError("a defect")

    metrics.add(broken)
    metrics.add_health(Health())
    series = shown(metrics.samples())
    assert value(series, "jibe_metrics_failures_total") == 1
    assert value(series, "jibe_workers") == 1
    assert any(name == "process_resident_memory_bytes" for name, *_ in series)


async def test_the_comparison_shows_its_ratio_and_what_it_repaired(flow):
    """`jibe_index_true_ratio` is of the last whole round; nothing is shown before the first comparison."""
    job, truth = Job(flow), Truth()
    measured = Measured(engine=job.engine, outputs=job.engine._outputs, truth=truth)
    samples = Samples()
    measured._truth(samples)
    assert not samples.values
    truth.counted(Round(1000.0, objects=200, wrong=2, unrepaired=1), objects=200, wrong=2, repaired=1)
    truth.last = Round(1000.0, objects=200, wrong=2, unrepaired=1, ended=2000.0)
    measured._truth(samples)
    found = {name: series[()] for name, series in samples.values.items()}
    assert found == {
        "jibe_index_true_ratio": 0.99,
        "jibe_compare_objects_total": 200,
        "jibe_compare_differences_total": 2,
        "jibe_compare_repaired_total": 1,
        "jibe_compare_unrepaired": 1,
        "jibe_compare_round_timestamp_seconds": 2000.0,
    }


class Worker:
    """A worker that has counted something, as its supervisor receives it."""

    def __init__(self, started, done, memory=100.0, ready=True):
        self.samples = Samples(started)
        self.samples.add("jibe_messages_done_total", done)
        self.samples.add("jibe_messages_held", 3)
        self.samples.add("jibe_ready", ready)
        self.samples.add("process_resident_memory_bytes", memory)
        stage = Durations()
        stage.add(0.5, done)
        self.samples.add_histogram("jibe_stage_seconds", stage, "read")

    def received(self):
        return Samples.received(msgspec.json.decode(msgspec.json.encode(self.samples.sent()), type=Sent))


def test_samples_survive_the_channel_between_processes():
    """JSON loses nothing: the text of what was received is the text of what was sent."""
    worker = Worker(1.0, 5)
    assert exposition(worker.received()) == exposition(worker.samples)


def test_workers_are_merged_by_the_meaning_of_each_metric():
    """Counters, histograms and amounts are summed, one ready worker is enough, and each process keeps its memory."""
    merged = Merger().merged(
        {"0": Worker(1.0, 5, memory=100.0).received(), "1": Worker(1.0, 7, memory=200.0, ready=False).received()}
    )
    series = shown(merged)
    assert value(series, "jibe_messages_done_total") == 12
    assert value(series, "jibe_stage_seconds_count", stage="read") == 12
    assert value(series, "jibe_stage_seconds_sum", stage="read") == 6
    assert value(series, "jibe_messages_held") == 6
    assert value(series, "jibe_ready") == 1
    assert value(series, "process_resident_memory_bytes", worker="0") == 100
    assert value(series, "process_resident_memory_bytes", worker="1") == 200


def test_counters_of_all_workers_never_decrease_when_one_restarts_or_does_not_answer():
    """A sum that decreases would look like a restart of all workers, and a rate would count everything again."""
    merger = Merger()
    rounds = [
        ({"0": Worker(1.0, 5), "1": Worker(1.0, 7)}, 12),
        ({"0": Worker(1.0, 6), "1": None}, 13),
        ({"0": Worker(1.0, 6), "1": Worker(2.0, 1)}, 14),
        ({"0": Worker(3.0, 0), "1": Worker(2.0, 2)}, 15),
    ]
    for workers, expected in rounds:
        merged = merger.merged({name: worker and worker.received() for name, worker in workers.items()})
        assert value(shown(merged), "jibe_messages_done_total") == expected
        assert value(shown(merged), "jibe_stage_seconds_count", stage="read") == expected
        held = 3 * sum(worker is not None for worker in workers.values())
        assert value(shown(merged), "jibe_messages_held") == held


def test_one_page_of_metrics_is_made_in_the_order_of_the_table(flow):
    """People read it, too."""
    text, _ = exposition(Worker(1.0, 5).samples)
    order = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")]
    assert order == [name for name in METRICS if name in order]


async def test_metrics_are_readable_before_anything_else_works():
    """The process itself, and that it is not ready yet."""
    metrics = Metrics()
    metrics.add_health(Health())
    await asyncio.sleep(0)
    series = parsed((await metrics.exposition())[0])
    assert value(series, "jibe_ready") == 0
    assert any(name == "jibe_build_info" for name, *_ in series)
