"""Run seeds on all cores. Print the seeds that broke a promise and how to replay them; the exit code is then 1."""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Final

import msgspec

from proof.simulation.mutations import MUTATIONS
from proof.simulation.run import run

BLOCK: Final = 20
"""Seeds that a worker process runs in one task."""
MAX_SHOWN: Final = 20
"""Failing seeds that are printed."""


class Results(msgspec.Struct):
    """The results of a block of seeds: the counted events, and the broken promise of each failing seed."""

    totals: Counter[str] = msgspec.field(default_factory=Counter)
    broken: dict[int, str] = msgspec.field(default_factory=dict)


def main() -> None:
    """Run many seeds, or replay one."""
    arguments = argparse.ArgumentParser(prog="python -m proof.simulation", description=__doc__)
    arguments.add_argument("--seeds", type=int, default=1000, help="number of seeds")
    arguments.add_argument("--start", type=int, default=0, help="the first seed")
    arguments.add_argument("--seed", type=int, help="run only this seed, and print every event")
    arguments.add_argument("--mutation", choices=MUTATIONS, help="run a service with this defect, which must be found")
    given = arguments.parse_args()
    broken = _replay(given.seed, given.mutation) if given.seed is not None else _run_all(given)
    sys.exit(1 if broken else 0)


def _replay(seed: int, mutation: str | None) -> bool:
    outcome = run(seed, MUTATIONS[mutation] if mutation else None, keep_trace=True)
    print("\n".join(outcome.trace))
    print(f"seed {seed}, trace {outcome.digest}: {outcome.broken or 'clean'}")
    return outcome.broken is not None


def _run_all(given: argparse.Namespace) -> bool:
    seeds = range(given.start, given.start + given.seeds)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    started = time.monotonic()
    total, done = Results(), 0
    for results in _blocks(seeds, given.mutation, cores):
        total.totals += results.totals
        total.broken |= results.broken
        done += BLOCK
        if done % 1000 == 0 and done < len(seeds):
            print(f"{done:,} seeds, {len(total.broken)} broken", flush=True)
    seconds = time.monotonic() - started
    print(
        f"{len(seeds):,} seeds from {seeds.start} on in {seconds:.0f} s: {len(seeds) / seconds:.0f} a second on {cores} cores"
    )
    for what, times in sorted(total.totals.items()):
        print(f"{times:12,}  {what}")
    again = (
        "make simulate SEED={}"
        if not given.mutation
        else f"python -m proof.simulation --mutation {given.mutation} --seed {{}}"
    )
    for seed, promise in sorted(total.broken.items())[:MAX_SHOWN]:
        print(f"BROKEN  {promise[:300]}\n        {again.format(seed)}")
    print(f"{len(total.broken)} seeds broke a promise" if total.broken else "every promise was kept")
    return bool(total.broken)


def _blocks(seeds: range, mutation: str | None, cores: int) -> Iterator[Results]:
    blocks = [seeds[first : first + BLOCK] for first in range(0, len(seeds), BLOCK)]
    with ProcessPoolExecutor(cores) as pool:
        yield from pool.map(partial(_run_block, mutation), blocks)


def _run_block(mutation: str | None, seeds: range) -> Results:
    results = Results()
    # Collect garbage once a block, and never look again at the objects that exist already.
    gc.disable()
    gc.freeze()
    for seed in seeds:
        outcome = run(seed, MUTATIONS[mutation] if mutation else None)
        results.totals += outcome.totals
        if outcome.broken:
            results.broken[seed] = outcome.broken
    gc.collect()
    return results


if __name__ == "__main__":
    main()
