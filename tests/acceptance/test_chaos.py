"""`python -m proof.chaos`, as a process: a short run of each proof, and judges that can say no."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.processes import finished

ROOT = Path(__file__).parents[2]


@pytest.fixture
def chaos():
    """Runs it to its end; gives its exit code, and what it found or the text."""

    def run(*arguments, within=240, **variables):
        command = [sys.executable, "-m", "proof.chaos", *arguments]
        result = finished(command, within=within, cwd=ROOT, env={**os.environ, **variables})
        assert "Traceback" not in result.stderr, result.stderr
        return result.returncode, json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def test_whatever_befalls_replicas_the_index_is_true_in_the_end(chaos):
    """The seed's twenty seconds hold a bit of everything."""
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


def test_where_nobody_consumes_the_judge_says_no(chaos):
    """A check that cannot fail is none."""
    code, text = chaos("--seconds", "3", "--replicas", "0", "--patience", "0", COLUMNS="80")
    assert code == 1
    assert "NOT in sync" in text
    assert "missing: /" in text
    assert max(map(len, text.splitlines())) <= 80


def test_stopped_under_load_it_ends_in_time_and_leaves_nothing_hidden(chaos):
    code, found = chaos("drain", "--times", "3", "--json")
    assert found["exit_codes"] == {"0": 3}
    assert (found["hidden_left"], found["dead_letters"], found["lost"], found["in_sync"]) == (0, 0, 0, True)
    assert min(found["held"]) > 0
    assert code == 0
