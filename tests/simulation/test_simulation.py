"""No fault in any order loses a change, and the simulation finds every defect that would lose one."""

import os
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from proof.simulation.kinds import kind_of
from proof.simulation.mutations import FIRST, KINDS, MUTATIONS
from proof.simulation.run import run
from tests.processes import finished

ROOT = Path(__file__).parents[2]
BLOCK = 20

ran = cache(run)


@pytest.mark.parametrize("first", range(0, 100, BLOCK))
def test_every_promise_is_kept(first):
    broken = {seed: outcome.broken for seed in range(first, first + BLOCK) if (outcome := ran(seed)).broken}
    assert not broken, "\n".join(f"make simulate SEED={seed}   # {promise}" for seed, promise in broken.items())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_defect_is_found(mutation):
    for seed in range(FIRST.get(mutation, 0), 1000):
        if mutation in KINDS and kind_of(seed) is not KINDS[mutation]:
            continue
        outcome = run(seed, MUTATIONS[mutation])
        if outcome.broken:
            print(f"{mutation}: seed {seed}: {outcome.broken}")
            return
    pytest.fail("no seed of 1,000 finds this defect")


def test_a_seed_is_the_same_in_every_process():
    """It does not depend on earlier runs in the process, on memory addresses or on the hashes of strings."""
    print_them = (
        "from proof.simulation.run import run\n"
        "for seed in (4, 10, 15, 4): print(seed, run(seed, keep_trace=True).digest, run(seed, keep_trace=True).digest)"
    )
    results = [
        finished([sys.executable, "-c", print_them], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed})
        for hash_seed in ("1", "2")
    ]
    assert [each.returncode for each in results] == [0, 0], results[0].stderr + results[1].stderr
    assert results[0].stdout == results[1].stdout
    first, *others, again = results[0].stdout.splitlines()
    assert first == again
    assert len({line.split()[1] for line in (first, *others)}) == 3
    assert all(len(set(line.split()[1:])) == 1 for line in (first, *others))


def test_a_broken_promise_is_printed_with_the_command_that_replays_it():
    command = [sys.executable, "-m", "proof.simulation", "--seeds", "20", "--mutation", "delete-before-refresh"]
    ran = finished(command, cwd=ROOT)
    assert ran.returncode == 1
    command = "python -m proof.simulation --mutation delete-before-refresh --seed 0"
    assert command in ran.stdout
    again = finished([sys.executable, *command.split()[1:]], cwd=ROOT)
    assert again.returncode == 1
    assert "BROKEN" in again.stdout


def test_every_kind_of_fault_and_event_happens():
    """In sixty worlds each kind happens at least five times."""
    totals = sum((ran(seed).totals for seed in range(60)), Counter())
    for kind in (
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
        *("paused", "refreshed recently", "dead-lettered", "redriven", "DeleteObjects", "deleted"),
        *("announcement lost", "swept", "reported", "synced"),
        *("skipped by mistake", "settings corrected", "backfill began", "expired"),
    ):
        assert totals[kind] >= 5, kind
