"""The guard in CI: ratios against the plain consumer, measured in the same run, must stay above floors. No times are judged."""

from typing import Final, NamedTuple

from bench import table
from bench.contenders import OURS
from bench.stub.process import running
from bench.workloads import REFERENCE, Workload, measured

ROUNDS: Final = 2


class Floor(NamedTuple):
    """The lowest ratios that are accepted in one workload, by contender."""

    workload: Workload
    ratios: dict[str, float]


# Far below what is reached, because the machines of CI are busy, and because the runs are short: what a process does once
# weighs more. A floor finds a mistake that costs half of the speed, not one that costs a tenth.
FLOORS: Final = (
    Floor(Workload("tiny", "tiny", 1000), {OURS.name: 0.9}),
    Floor(Workload("normal 10 %", "normal10", 100), {OURS.name: 0.5}),
)


def run() -> None:
    """Measure the ratios, print them, and exit with 1 if one is below its floor."""
    low = []
    with running() as stub:
        for workload, floors in FLOORS:
            result = measured(workload, stub, rounds=ROUNDS, only=[REFERENCE, *floors])
            table.print_result(result)
            for name, floor in floors.items():
                # The best round counts: the machine may have been busy in another one.
                best = max(result.ratios(name))
                if best < floor:
                    low.append(f"{workload.name}: the ratio of {name} is {best:.2f}, below its floor of {floor}")
    if low:
        raise SystemExit("\n".join(low))
