"""`python -m proof.chaos` as a process: a short run of each test, and results that can be negative."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.processes import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chaos():
    """Run it to its end. Returns the exit code, and the JSON result or the text."""

    def run(*arguments, within=240, **variables):
        command = [sys.executable, "-m", "proof.chaos", *arguments]
        result = finished(command, within=within, cwd=ROOT, env={**os.environ, **variables})
        assert "Traceback" not in result.stderr, result.stderr
        return result.returncode, json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def test_after_all_kinds_of_disturbances_the_index_equals_s3(chaos):
    """With this seed, twenty seconds contain every kind of disturbance that the assertions need."""
    code, found = chaos("--seconds", "20", "--seed", "28", "--json")
    assert (found["in_sync"], found["lost"], found["extra"], found["examples"]) == (True, 0, 0, [])
    assert (found["dead_letters"], found["waiting"], found["crashes"], found["defects"]) == (0, 0, [], {})
    assert (set(found["exit_codes"]), found["late_exits"]) == ({"0"}, 0)
    assert found["kills"] >= 4
    assert found["starts"] >= found["replicas"] + found["kills"]
    assert min(found["hangs"], found["clock_steps"], found["redelivered"]) > 0
    assert set(found["partitions"]) == {"Access Anywhere", "S3", "SQS"}
    assert found["objects"] > 10
    assert code == 0


def test_without_a_consumer_the_result_is_not_in_sync(chaos):
    """A check that cannot fail is useless."""
    code, text = chaos("--seconds", "3", "--replicas", "0", "--patience", "0", COLUMNS="80")
    assert code == 1
    assert "NOT in sync" in text
    assert "missing: /" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_stop_under_load_is_in_time_and_leaves_no_hidden_message(chaos):
    code, found = chaos("drain", "--times", "3", "--json")
    assert found["exit_codes"] == {"0": 3}
    assert (found["hidden_left"], found["dead_letters"], found["lost"], found["in_sync"]) == (0, 0, 0, True)
    assert min(found["held"]) > 0
    assert code == 0
