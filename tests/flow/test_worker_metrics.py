"""The metrics of a supervisor: all workers together, with its own process."""

from tests.expositions import shown, value

from jibe_sqs.compose.worker_metrics import WorkerMetrics
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.scrapes import Metrics


def worker(done):
    """What a worker answers that is starting, and has counted something."""
    metrics = Metrics()
    metrics.add_health(Health())
    metrics.add(lambda samples: samples.add("jibe_messages_done_total", done))
    return metrics.samples().sent()


async def test_workers_that_answer_and_those_that_do_not_are_told_apart():
    """The page also answers while no worker does: an alert needs `jibe_ready` at 0, not its absence."""
    answers = {"0": worker(3), "1": None}

    async def ask():
        return answers

    metrics = WorkerMetrics(ask)
    metrics.add(lambda samples: samples.add("jibe_settings_problem", 1))
    series = shown(await metrics.samples())
    assert value(series, "jibe_workers") == 1
    assert value(series, "jibe_workers_configured") == 2
    assert value(series, "jibe_messages_done_total") == 3
    assert value(series, "jibe_settings_problem") == 1
    memory = {dict(labels)["worker"] for name, *labels in series if name == "process_resident_memory_bytes"}
    assert memory == {"0", "supervisor"}

    answers = {"0": None, "1": None}
    series = shown(await metrics.samples())
    assert value(series, "jibe_ready") == value(series, "jibe_workers") == 0
    assert value(series, "jibe_messages_done_total") == 3
    text, _ = await metrics.exposition()
    assert b"jibe_workers_configured 2.0" in text
