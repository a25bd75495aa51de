"""`jibe-sqs demo` as a process: its result compares Access Anywhere's index with S3, and can be negative."""

import json
import os
import re
import signal
import sys
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from tests.processes import children, eventually, finished, is_alive

from jibe_sqs.sandbox.demo import _exit_on_sigterm
from jibe_sqs.sandbox.demo_output import as_text
from jibe_sqs.sandbox.demo_summary import Summary
from jibe_sqs.sandbox.processes import server


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Runs a demo to its end, in an empty folder. `instead`: a statement that `jibe-sqs run` executes first."""

    def run(*arguments, instead="pass"):
        site, empty = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("empty")
        (site / "sitecustomize.py").write_text(f"import sys\nif 'run' in sys.orig_argv:\n    {instead}\n")
        command = [sys.executable, "-m", "jibe_sqs", "demo", *arguments]
        return finished(command, cwd=empty, env={**os.environ, "PYTHONPATH": str(site)})

    return run


@pytest.fixture(scope="module")
def ordinary(demo):
    """A demo with changes of all formats."""
    return demo("--changes", "120", "--seed", "3", "--json")


@pytest.fixture(scope="module")
def unread(demo):
    """A demo whose consumer reads no message."""
    asleep = "import signal; signal.pause()"
    return demo("--changes", "40", "--patience", "1", "--json", instead=asleep)


def summary(result):
    (line,) = result.stdout.splitlines()
    return json.loads(line)


def test_the_index_equals_s3_at_the_end(ordinary):
    assert ordinary.returncode == 0, ordinary.stderr
    assert ordinary.stderr == ""
    came = summary(ordinary)
    assert came["in_sync"] is True
    assert (came["missing"], came["stale"], came["extra"], came["examples"]) == (0, 0, 0, [])
    assert came["objects"] > 10
    assert came["changes"] == sum(came["changes_by_kind"].values()) == 120
    assert 0 < came["refreshes"] < came["events"] <= came["records"]
    assert came["files_read"] == came["log_files"]
    assert (came["kills"], came["consumer_exit_code"], came["dead_letters"], came["errors"]) == (0, 0, 0, {})
    assert 0 < came["lag"]["p50"] <= came["lag"]["p99"] < came["seconds"]
    # AWS under its real names: each queue in its own region, and the log bucket by virtual-hosted addresses.
    queues = {f"sqs.{region}.amazonaws.com" for region in ("us-east-1", "eu-west-1")}
    assert queues < set(came["hosts"])
    others = set(came["hosts"]) - queues
    # In us-east-1 botocore's host name has no region.
    assert others == {"jibe-sandbox-logs.s3.amazonaws.com"}
    assert came["hosts"]["jibe-sandbox-logs.s3.amazonaws.com"] >= came["files_read"]


def test_the_index_equals_s3_with_another_aws_server(jibe, tmp_path):
    """The server is reached by its endpoint, as S3-compatible stores are."""
    with server("jibe_sqs.sandbox.aws", "--certificates", str(tmp_path)) as endpoint:
        result = jibe("demo", "--changes", "60", "--format", "cloudtrail", "--json", "--aws-endpoint", endpoint)
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["dead_letters"], came["errors"], came["hosts"]) == (True, 0, {}, {})
    assert came["files_read"] == came["log_files"] > 0


def test_the_index_equals_s3_after_the_consumer_was_killed(jibe):
    result = jibe("demo", "--changes", "120", "--kill-consumer", "--json")
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["kills"], came["consumer_exit_code"], came["dead_letters"]) == (True, 1, 0, 0)
    assert came["changes"] == 120


def test_by_default_each_bucket_has_its_own_format_and_all_are_read(ordinary):
    came = summary(ordinary)
    assert (came["in_sync"], came["dead_letters"], came["errors"]) == (True, 0, {})
    assert set(came["formats"]) == {"cloudtrail", "s3-event", "eventbridge", "access-log", "lyve-audit"}
    assert all(came["formats"].values())
    assert came["files_read"] == came["log_files"] < sum(came["formats"].values())
    assert came["skipped"]["own-write"] >= came["changes_by_kind"]["own-write"]


def test_failures_and_an_outage_of_access_anywhere_use_up_no_receives(jibe):
    result = jibe("demo", "--changes", "100", "--aa-failures", "0.2", "--aa-outage", "6", "--json", within=240)
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["dead_letters"], came["consumer_exit_code"]) == (True, 0, 0)
    assert came["faults"]["down"] > 0
    assert came["faults"]["resets"] > 0
    # One or two messages may be received again for another reason. If the outage used up receives, most would be, and
    # repeatedly.
    assert set(came["receives"]) <= {"1", "2"}
    assert came["receives"].get("2", 0) <= came["messages"] / 10


def test_without_credentials_for_s3_logs_are_read_through_access_anywhere(jibe):
    result = jibe("demo", "--changes", "100", "--logs-via", "access-anywhere", "--json")
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["dead_letters"], came["errors"]) == (True, 0, {})
    assert came["files_read"] == came["log_files"] > 0
    assert not any("s3" in host.split(".") for host in came["hosts"])


def test_sweeps_find_logs_whose_notifications_are_lost(jibe):
    result = jibe("demo", "--changes", "100", "--lose-notifications", "--json")
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["errors"]) == (True, {})
    assert came["swept"] == came["log_files"] == came["files_read"] > 0
    assert set(came["formats"]) == {"cloudtrail", "access-log", "lyve-audit", "minio-audit"}


def test_sweeps_through_access_anywhere_find_logs_whose_notifications_are_lost(jibe):
    result = jibe("demo", "--changes", "60", "--lose-notifications", "--logs-via", "access-anywhere", "--json")
    assert result.returncode == 0, result.stderr
    assert summary(result)["in_sync"] is True


def test_formats_without_log_files_cannot_be_swept(jibe):
    result = jibe("demo", "--lose-notifications", "--format", "s3-event")
    assert result.returncode == 2
    assert "s3-event" in result.stderr


def test_with_provider_events_the_index_equals_s3(jibe):
    result = jibe("demo", "--changes", "100", "--strategy", "provider-event", "--json")
    assert result.returncode == 0, result.stderr
    came = summary(result)
    assert (came["in_sync"], came["dead_letters"], came["errors"]) == (True, 0, {})
    assert came["refreshes_for_events"] < came["events"] / 5


def test_the_text_output_shows_the_formats_in_80_columns(jibe):
    result = jibe("demo", "--changes", "20", "--format", "eventbridge", COLUMNS="80")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^events +(\d+) \(\1 eventbridge\) *$", result.stdout, re.MULTILINE)
    assert "log files" not in result.stdout
    assert re.search(r"^requests to AWS +\d+ \S+\.amazonaws\.com", result.stdout, re.MULTILINE)
    assert not re.search(r"\d *$", result.stdout.partition("\nskipped")[2].partition("\nrefreshes")[0], re.MULTILINE)
    assert result.stderr.splitlines()[0] == "starting AWS in three regions and Access Anywhere …"
    assert result.stderr.count("starting") == 1
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_without_a_consumer_the_result_is_not_in_sync(unread):
    """A check that cannot fail is useless."""
    assert unread.returncode == 1
    came = summary(unread)
    assert came["in_sync"] is False
    assert came["missing"] > 0
    assert any(example.startswith("missing: /") for example in came["examples"])
    assert (came["messages"], came["refreshes"]) == (0, 0)


def test_the_text_output_shows_a_failure(unread):
    shown = StringIO()
    as_text(msgspec.json.decode(unread.stdout, type=Summary), shown)
    assert "NOT in sync" in shown.getvalue()


def test_a_consumer_that_ends_by_itself_is_a_failure(demo):
    result = demo("--changes", "20", "--json", instead="raise SystemExit(3)")
    assert result.returncode != 0
    assert "the consumer ended by itself" in result.stderr


def test_a_stop_leaves_nothing_behind(start):
    """This test found a demo that left its consumer running after SIGTERM."""
    running = start("demo", "--changes", "2000")
    processes = eventually(
        lambda: found if len(found := children(running.process.pid)) == 3 else None, "two servers and a consumer"
    )
    folders = [Path(argument).parent for argument in _arguments(processes) if argument.endswith("jibe-config.json")]
    assert len(folders) == 1
    assert running.stop() == 128 + 15
    eventually(lambda: not any(map(is_alive, processes)), "the end of its processes")
    assert not folders[0].exists()
    assert "Traceback" not in running.output


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_during_a_destructor_stops_the_demo_at_its_next_step():
    """Python ignores exceptions in destructors and similar callbacks, also the one that the signal's handler raises."""

    class Stopping:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    with _exit_on_sigterm() as check:
        check()
        stopping = Stopping()
        del stopping
        with pytest.raises(SystemExit) as ended:
            check()
    assert ended.value.code == 128 + signal.SIGTERM


def _arguments(processes):
    for pid in processes:
        yield from Path(f"/proc/{pid}/cmdline").read_text().split("\0")
