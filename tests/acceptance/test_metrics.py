"""`/metrics` of the real program: one process, and two workers."""

import httpx
import pytest
from tests.expositions import parsed, value
from tests.processes import PATIENCE, eventually


@pytest.mark.parametrize("workers", [1, 2])
def test_metrics_show_what_the_service_did(small_service, workers):
    """A file and a dead letter are seen in the metrics, with their lag, stages, calls and log lines."""
    small_service.configure(http={"port": 0}, workers=workers)
    with small_service.started() as service:
        url = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}/metrics"
        for worker in range(workers):
            service.wait_for("started", **({"worker": worker} if workers > 1 else {}))
        small_service.announce_change()
        small_service.send("no announcement")
        eventually(lambda: not small_service.messages(), "the end of both messages")

        def scraped():
            answer = httpx.get(url, timeout=PATIENCE)
            answer.raise_for_status()
            assert answer.headers["content-type"].startswith("text/plain; version=")
            series = parsed(answer.content)
            return series if value(series, "jibe_workers") == workers else None

        series = eventually(scraped, "the answer of all workers")
        assert value(series, "jibe_ready") == 1
        assert value(series, "jibe_metrics_failures_total") == 0
        assert value(series, "jibe_messages_done_total") == 1
        assert value(series, "jibe_files_read_total") == 1
        (queue,) = {
            dict(labels)["queue"]
            for name, *labels in series
            if name == "jibe_queue_up" and ("queue", "sweeps") not in labels
        }
        assert value(series, "jibe_dead_letters_total", queue=queue, error="AnnouncementMalformed") == 1
        assert sum(each for (name, *_), each in series.items() if name == "jibe_index_lag_seconds_count") == 1
        assert value(series, "jibe_stage_seconds_count", stage="refresh") >= 1
        assert value(series, "jibe_access_anywhere_calls_total", function="gettoken", outcome="ok") == workers
        assert value(series, "jibe_log_lines_total", level="error") == 1
        processes = {dict(labels).get("worker") for name, *labels in series if name == "process_resident_memory_bytes"}
        assert processes == ({None} if workers == 1 else {"0", "1", "supervisor"})
        assert service.stop() == 0
