"""Whatever fails, in whatever order: nothing is lost. And the judge of that is not blind."""

import os
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from proof.simulation.mutations import MUTATIONS
from proof.simulation.run import run
from tests.processes import finished

ROOT = Path(__file__).parents[2]
BLOCK = 20

ran = cache(run)


@pytest.mark.parametrize("first", range(0, 200, BLOCK))
def test_every_promise_is_kept(first):
    broken = {seed: outcome.broken for seed in range(first, first + BLOCK) if (outcome := ran(seed)).broken}
    assert not broken, "\n".join(f"make simulate SEED={seed}   # {promise}" for seed, promise in broken.items())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_defect_is_found(mutation):
    for seed in range(1000):
        outcome = run(seed, MUTATIONS[mutation])
        if outcome.broken:
            print(f"{mutation}: seed {seed}: {outcome.broken}")
            return
    pytest.fail("within 1,000 seeds it is not seen")


def test_a_seed_is_the_same_in_every_process():
    """Whatever the process did before, wherever its objects lie, and however it hashes strings."""
    print_them = (
        "from proof.simulation.run import run\n"
        "for seed in (4, 10, 15, 4): print(seed, run(seed, keep_trace=True).digest, run(seed, keep_trace=True).digest)"
    )
    told = [
        finished([sys.executable, "-c", print_them], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed})
        for hash_seed in ("1", "2")
    ]
    assert [each.returncode for each in told] == [0, 0], told[0].stderr + told[1].stderr
    assert told[0].stdout == told[1].stdout
    first, *others, again = told[0].stdout.splitlines()
    assert first == again
    assert len({line.split()[1] for line in (first, *others)}) == 3
    assert all(len(set(line.split()[1:])) == 1 for line in (first, *others))


def test_a_broken_promise_names_the_command_that_shows_it_again():
    command = [sys.executable, "-m", "proof.simulation", "--seeds", "20", "--mutation", "delete-before-refresh"]
    ran = finished(command, cwd=ROOT)
    assert ran.returncode == 1
    command = "python -m proof.simulation --mutation delete-before-refresh --seed 0"
    assert command in ran.stdout
    again = finished([sys.executable, *command.split()[1:]], cwd=ROOT)
    assert again.returncode == 1
    assert "BROKEN" in again.stdout


def test_much_happens():
    """In some worlds everything that can befall a service does."""
    totals = sum((ran(seed).totals for seed in range(60)), Counter())
    for what in (
        *(
            "crashed",
            "stopped",
            "hung",
            "disconnected",
            "received again",
            "visible again",
            "lost answers",
            "failed calls",
            "log missing",
        ),
        *("refreshed recently", "dead-lettered", "redriven", "DeleteObjects", "deleted"),
        *("announcement lost", "swept", "reported", "synced"),
    ):
        assert totals[what] >= 5, what
