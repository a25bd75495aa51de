"""The whole comparison: workloads with the peers, behaviour, growth. Prints tables; writes the results and the plots."""

from collections.abc import Sequence
from typing import Final

import msgspec

from bench import growth, plots, results, table
from bench.behaviour import BEHAVIOUR, Fact, Lengths
from bench.growth import Curve
from bench.stub.process import running
from bench.workloads import WORKLOADS, Result, measured

GROWTH: Final = "growth"
NAMES: Final = (*(workload.kind for workload in WORKLOADS), *BEHAVIOUR, GROWTH)


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
    """Run what is chosen. The results are written only if everything is run."""
    unknown = set(choice.workloads) - set(NAMES)
    if unknown:
        raise SystemExit(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    print("\n".join(f"{name}: {value}" for name, value in results.machine().items()))
    found, facts = _compared(choice), _behaviour(choice)
    curves: list[Curve] = growth.run(choice.most, choice.rows) if choice.has(GROWTH) else []
    if curves:
        print("\nplots:", ", ".join(str(path) for path in plots.write(curves)))
    all_found = results.results(found, facts, curves)
    table.print_goals(all_found)
    path = results.write(all_found, is_whole=not choice.workloads and not choice.contenders)
    print(f"results: {path}")


def _compared(choice: Choice) -> list[Result]:
    found = []
    with running() as stub:
        stub.set(huge=choice.huge)
        for workload in WORKLOADS:
            if choice.has(workload.kind):
                result = measured(workload, stub, rounds=choice.rounds, scale=choice.scale, only=choice.contenders)
                table.print_result(result)
                found.append(result)
    return found


def _behaviour(choice: Choice) -> list[Fact]:
    found = []
    with running() as stub:
        for name, measure in BEHAVIOUR.items():
            if choice.has(name):
                print(f"\n{name}: {(measure.__doc__ or '').splitlines()[0]}")
                for fact in measure(stub, choice.rounds, choice.lengths):
                    table.print_fact(fact)
                    found.append(fact)
    return found
