"""`jibe-sqs backfill` as an operator runs it: a process, a log bucket in S3, Access Anywhere, and a kill in the middle."""

import json
import re
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from bench.log_bucket import BUCKET, START, TOKEN, key_of, log_body, served, settings
from tests.processes import eventually

from jibe_sqs.compose.backfill import HELD
from jibe_sqs.compose.backfill_estimate import SAMPLE
from jibe_sqs.sandbox.access_anywhere import (
    AccessAnywhereServer,
    MemoryStorage,
    Provider,
    Synced,
    create_app,
    serving,
)

FILES = 300
FOLDERS = 40
SINCE_START = ("--from", f"{START:%Y-%m-%d}")


class LogBucket:
    """A log bucket, Access Anywhere, and a configuration file for commands that use both."""

    def __init__(self, endpoints, folder):
        self.endpoints = endpoints
        self.config = folder / "backfill.json"
        self.ledger = folder / "backfill.sqlite"
        self.configure()

    def configure(self, **changes):
        self.config.write_text(json.dumps(settings(self.endpoints, str(self.ledger)) | changes))

    @property
    def arguments(self):
        return ("backfill", "--config", str(self.config))

    def finished(self):
        """The number of finished files in the ledger."""
        with closing(sqlite3.connect(self.ledger)) as ledger:
            return ledger.execute("SELECT count(*) FROM finished").fetchone()[0]


@pytest.fixture
def log_bucket(tmp_path):
    with served(FILES, FOLDERS) as endpoints:
        yield LogBucket(endpoints, tmp_path)


def result(text):
    """The only line of standard output."""
    (line,) = text.splitlines()
    return json.loads(line)


def test_a_backfill_that_is_killed_and_resumed_reads_no_finished_file_again(log_bucket, start, jibe):
    first = start(*log_bucket.arguments, "--json", *SINCE_START)
    eventually(lambda: log_bucket.endpoints.counts()["gets"] >= FILES // 2 or first.process.poll() is not None, "GETs")
    first.stop(signal.SIGKILL)
    before, finished = log_bucket.endpoints.counts(), log_bucket.finished()
    assert 0 < finished < FILES
    second = jibe(*log_bucket.arguments, "--json", *SINCE_START)
    assert second.returncode == 0, second.stderr
    after = log_bucket.endpoints.counts()
    assert "continues the run of" in second.stderr
    assert after["keys"] == FILES
    assert after["gets"] - before["gets"] == FILES - finished, "only unfinished files are read"
    assert after["twice"] == before["gets"] - finished <= HELD
    found = result(second.stdout)
    assert (found["files"], found["read"], found["failed"]) == (FILES, FILES - finished, 0)
    assert log_bucket.finished() == FILES
    third = jibe(*log_bucket.arguments, "--json", *SINCE_START)
    assert "continues" not in third.stderr
    assert (third.returncode, result(third.stdout)["read"]) == (0, 0)


def test_after_ctrl_c_the_files_in_hand_are_finished_and_it_says_how_to_continue(log_bucket, start):
    running = start(*log_bucket.arguments, *SINCE_START)
    eventually(lambda: log_bucket.endpoints.counts()["gets"] > 10 or running.process.poll() is not None, "GETs")
    assert running.stop(signal.SIGINT) == 1
    assert "Run the same command again to continue" in running.said
    counts = log_bucket.endpoints.counts()
    assert log_bucket.finished() == counts["gets"] < FILES


def test_a_service_and_a_backfill_use_one_ledger_at_the_same_time(tmp_path, start, jibe):
    """Both read the same files and write to the same file of SQLite."""
    begin = datetime.now(UTC) - timedelta(days=6)
    with served(FILES, FOLDERS, start=begin) as endpoints:
        log_bucket = LogBucket(endpoints, tmp_path)
        swept = {"bucket": BUCKET, "sweep": "1s", "sweep_days": 10}
        log_bucket.configure(queues=[], logs=[swept], log={"format": "json", "level": "info"})
        service = start("run", "--config", str(log_bucket.config))
        service.wait_for("started")
        done = jibe(*log_bucket.arguments, "--json", "--since", "10d", "--again")
        assert done.returncode == 0, done.stderr
        eventually(lambda: log_bucket.finished() == FILES, "all files finished")
        assert service.stop() == 0
    for name in ("ledger_unwritable", "ledger_unreadable", "ledger_set_aside"):
        assert not service.events(name)
        assert name not in done.stderr
    found = result(done.stdout)
    assert (found["files"], found["failed"]) == (FILES, 0)


def test_a_dry_run_reads_some_files_and_refreshes_nothing(log_bucket, jibe):
    done = jibe(*log_bucket.arguments, "--dry-run", "--json", *SINCE_START)
    assert done.returncode == 0, done.stderr
    found = result(done.stdout)
    assert (found["files"], found["read"], found["s3_gets"], found["sample"]) == (FILES, FILES, FILES, SAMPLE)
    assert found["events"] == 3 * FILES
    fewest, most = found["refreshes"]
    assert fewest <= FOLDERS <= most
    assert log_bucket.endpoints.counts()["gets"] == SAMPLE
    assert log_bucket.finished() == 0
    text = jibe(*log_bucket.arguments, "--dry-run", *SINCE_START)
    assert re.search(rf"to read +{FILES} \(", text.stdout)
    assert "$0.00" in text.stdout
    assert max(map(len, text.stdout.splitlines())) <= 80


def test_the_time_range_and_the_prefix_select_the_files(log_bucket, jibe):
    second_day = f"{START + timedelta(days=1):%Y/%m/%d}/"
    prefix = f"AWSLogs/111122223333/CloudTrail/eu-west-1/{second_day}"
    half_day = ("--from", f"{START:%Y-%m-%d}T12:00Z", "--to", f"{START + timedelta(days=2):%Y-%m-%d}")
    done = jibe(*log_bucket.arguments, "--json", "--bucket", BUCKET, "--prefix", prefix, *half_day)
    assert done.returncode == 0, done.stderr
    assert result(done.stdout)["read"] == FILES // 4
    done = jibe(*log_bucket.arguments, "--json", *half_day)
    # The file of the exact end is of the range, too.
    assert result(done.stdout)["files"] == FILES // 8 + FILES // 4 + 1


def test_a_bucket_that_is_not_in_logs_needs_its_prefix(log_bucket, jibe):
    log_bucket.configure(logs=[{"bucket": "other"}])
    refused = jibe(*log_bucket.arguments, "--bucket", BUCKET, *SINCE_START)
    assert refused.returncode == 2
    assert "--bucket and --prefix" in refused.stderr
    done = jibe(*log_bucket.arguments, "--json", "--bucket", BUCKET, "--prefix", "AWSLogs/", *SINCE_START)
    assert (done.returncode, result(done.stdout)["read"]) == (0, FILES), done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--since 2h"),
        (("--since", "2h", "--from", "2026-01-31"), "exclude each other"),
        (("--since", "soon"), "30m, 2h or 3d"),
        (("--since", "0h"), "30m, 2h or 3d"),
        (("--from", "2026-01-31", "--to", "2026-01-30"), "empty"),
        (("--since", "1h", "--concurrency", "0"), "--concurrency"),
    ],
)
def test_a_wrong_time_range_is_a_mistake_of_the_command_line(jibe, options, words):
    done = jibe("backfill", *options)
    assert done.returncode == 2
    assert words in re.sub(r"[\s│]+", " ", done.stderr)


def test_logs_are_read_through_access_anywhere_where_they_are_configured_so(tmp_path, jibe):
    """Nothing is asked of S3: no store is configured."""
    keys = [key_of(number, 40, START) for number in range(40)]
    objects = {
        "trail": {key: log_body(number, 5) for number, key in enumerate(keys)},
        "data": {f"{n:05}/object": b"" for n in range(5)},
    }
    never = Synced(0.0, 0.0)
    server = AccessAnywhereServer(
        login="",
        password="",
        permanent_token=TOKEN,
        providers=(Provider("S3", buckets=("trail", "data"), synced=never),),
        recent_window=0.0,
    )
    with serving(create_app(server, MemoryStorage(objects))) as endpoint:
        config = tmp_path / "config.json"
        config.write_text(
            json.dumps(
                {
                    "access_anywhere": {"endpoint": endpoint, "permanent_token": TOKEN},
                    "logs": [{"bucket": "trail", "via": "access-anywhere", "sweep": "3m"}],
                    "ledger": {"path": str(tmp_path / "ledger.sqlite")},
                }
            )
        )
        estimate = jibe("backfill", "--config", str(config), "--json", "--dry-run", *SINCE_START)
        done = jibe("backfill", "--config", str(config), "--json", *SINCE_START)
        shown = httpx.get(f"{endpoint}/sandbox/index", timeout=60).json()
    assert done.returncode == 0, done.stderr
    found = result(done.stdout)
    assert (found["files"], found["read"], found["events"], found["failed"]) == (40, 40, 120, 0)
    assert sum("/data/" in path for path in map(str, shown)) == 5
    assert estimate.returncode == 0, estimate.stderr
    assert result(estimate.stdout)["s3_gets"] == 0
