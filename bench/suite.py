"""The whole comparison: workloads with the peers, behaviour, growth. Prints tables; writes the results and the plots."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench import growth, plots, results, table
from bench.behaviour import BEHAVIOUR, Lengths
from bench.results import Results
from bench.stub.process import StubProcess, running
from bench.workloads import WORKLOADS, measured

GROWTH: Final = "growth"
NAMES: Final = (*(workload.short_name for workload in WORKLOADS), *BEHAVIOUR, GROWTH)


class Choice(msgspec.Struct, frozen=True):
    """What is run. `workloads`: of `NAMES`; none means all. `contenders`: names; none means all.

    `scale`: more or fewer files. `huge`: bytes of text of the huge files. `most`: files of the growth; `rows`: of its ledger.
    """

    workloads: Sequence[str] = ()
    contenders: Sequence[str] = ()
    rounds: int = 5
    scale: float = 1.0
    huge: int = 500_000_000
    most: int = 100_000
    rows: int = 1_000_000
    lengths: Lengths = Lengths()

    def has(self, name: str) -> bool:
        """Whether this workload is run."""
        return not self.workloads or name in self.workloads


def run(choice: Choice) -> None:
    """Run what is chosen, and write the results. What was measured before a failure is kept as a part."""
    unknown = set(choice.workloads) - set(NAMES)
    if unknown:
        raise SystemExit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    print("\n".join(f"{name}: {value}" for name, value in results.machine().items()))
    found = results.Results()
    with running() as stub:
        stub.set(huge=choice.huge)
        for step in (_compare, _observe, _grow):
            step(choice, stub, found)
    table.print_goals(found)
    is_whole = not choice.workloads and not choice.contenders
    print(f"results: {results.write(found, is_whole=is_whole)}")


def _compare(choice: Choice, stub: StubProcess, found: Results) -> None:
    for workload in WORKLOADS:
        if choice.has(workload.short_name):
            result = measured(workload, stub, rounds=choice.rounds, scale=choice.scale, only=choice.contenders)
            table.print_result(result)
            found.workloads.append(result)
            results.write(found, is_whole=False)


def _observe(choice: Choice, stub: StubProcess, found: Results) -> None:
    for name, measure in BEHAVIOUR.items():
        if choice.has(name):
            print(f"\n{name}: {(measure.__doc__ or '').splitlines()[0]}")
            for fact in measure(stub, choice.rounds, choice.lengths):
                table.print_fact(fact)
                found.behaviour.append(fact)
            results.write(found, is_whole=False)


def _grow(choice: Choice, stub: StubProcess, found: Results) -> None:
    if choice.has(GROWTH):
        found.growth.extend(growth.run(stub, choice.most, choice.rows))
        print("\nplots:", ", ".join(path.name for path in plots.write(found.growth)))
