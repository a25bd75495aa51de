"""What `backfill` shows fits on a terminal of 80 columns, and says what is left to do."""

import io
import json

import pytest
from rich.console import Console

from jibe_sqs.commands import backfill_estimate, backfill_text
from jibe_sqs.commands.backfill_estimate import Estimate, Listed
from jibe_sqs.commands.backfill_progress import Counts, Shown, below
from jibe_sqs.commands.backfill_text import MAX_SHOWN, FailedFile, Result

HALF = Counts(
    files=123_456,
    bytes=9_000_000_000,
    is_total=True,
    settled=61_728,
    read=61_000,
    bytes_read=4_500_000_000,
    events=1_234_567,
    refreshes=12_345,
)
ESTIMATE = Estimate(
    in_s3=Listed(files=2_000_000, bytes=10**12, left=1_000_000, bytes_left=5 * 10**11, folders=100, entries=2_000_000),
    through_aa=Listed(),
    sample=50,
    sample_events=100,
    sample_refreshes=10,
    failed=0,
)


def shown(counts):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    bar = Shown(lambda: counts, logging=lambda: None, console=console)
    bar.update(counts)
    console.print(*bar._bar.get_renderables())
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    "counts",
    [Counts(), HALF, Counts(files=5), Counts(waits_for="Access Anywhere is down: " + "x" * 30)],
    ids=["nothing", "half", "total unknown", "waiting"],
)
def test_the_progress_is_two_lines_of_80_columns(counts):
    lines = shown(counts)
    assert len(lines) == 2
    assert max(map(len, lines)) <= 80


def test_the_progress_shows_files_bytes_events_refreshes_and_failures():
    first, second = shown(HALF)
    assert "61,728 of 123,456 files" in first
    assert second.strip() == "4.5 GB of 9.0 GB read, 1,234,567 events, 12,345 refreshes"
    assert below(Counts(failed=2)).endswith("2 failed")


def test_while_it_waits_the_progress_says_for_what():
    assert below(Counts(waits_for="Access Anywhere is down")) == "waiting: Access Anywhere is down"


def text_of(result):
    output = io.StringIO()
    backfill_text.as_text(result, output)
    return output.getvalue()


def test_failures_are_listed_up_to_a_limit():
    failed = [FailedFile(f"s3://b/{number}", "LogMalformed: no log") for number in range(30)]
    result = Result(Counts(files=100, failed=1500), 1.0, True, failed)
    text = text_of(result)
    assert text.count("LogMalformed") == MAX_SHOWN
    assert f"and {1500 - MAX_SHOWN:,} more failures" in text
    assert "only these files are read" in text
    assert result.exit_code == 1


def test_a_stopped_backfill_says_how_to_continue():
    result = Result(Counts(files=100), 1.0, False, [])
    assert "Run the same command again" in text_of(result)
    assert result.exit_code == 1
    assert Result(Counts(files=100), 1.0, True, []).exit_code == 0


def test_the_json_object_has_the_counts_and_the_failures():
    output = io.StringIO()
    backfill_text.as_json_object(Result(HALF, 61.25, True, [FailedFile("s3://b/k", "why")]), output)
    found = json.loads(output.getvalue())
    assert found == {
        "files": 123_456,
        "read": 61_000,
        "events": 1_234_567,
        "refreshes": 12_345,
        "failed": 0,
        "bytes": 4_500_000_000,
        "seconds": 61.2,
        "complete": True,
        "failures": [{"file": "s3://b/k", "reason": "why"}],
    }


def test_an_estimate_multiplies_the_sample_and_prices_the_requests():
    assert ESTIMATE.events == 2_000_000
    assert ESTIMATE.refreshes == (10, 200_000)
    assert ESTIMATE.calls == (30, 600_000)
    assert (ESTIMATE.gets, ESTIMATE.lists) == (1_000_000, 2 * 2100)
    assert ESTIMATE.dollars == pytest.approx(0.40 + 4200 * 5e-6)


def test_logs_through_access_anywhere_cost_calls_instead_of_requests():
    through = Estimate(
        in_s3=Listed(), through_aa=ESTIMATE.in_s3, sample=50, sample_events=100, sample_refreshes=10, failed=0
    )
    assert (through.gets, through.lists, through.dollars) == (0, 0, 0)
    assert through.calls[0] == 30 + 2 * 1_000_000 + 4 * 100


def test_an_estimate_without_files_is_zero():
    nothing = Estimate(in_s3=Listed(), through_aa=Listed(), sample=0, sample_events=0, sample_refreshes=0, failed=0)
    assert (nothing.events, nothing.refreshes, nothing.dollars) == (0, (0, 0), 0)


def test_an_estimate_is_a_table_of_80_columns():
    output = io.StringIO()
    backfill_estimate.as_text(ESTIMATE, output)
    text = output.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "10 to 200,000" in text
    assert "$0.42" in text
