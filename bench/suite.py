"""Runs the workloads, prints their tables, and writes the results."""

from collections.abc import Sequence

from bench import table
from bench.stub.process import running
from bench.workloads import WORKLOADS, Result, measured


def run(
    names: Sequence[str] = (),
    *,
    rounds: int = 5,
    scale: float = 1.0,
    contenders: Sequence[str] = (),
    huge: int | None = None,
) -> list[Result]:
    """Run the workloads with these names, or all. `scale`: more or fewer files. `huge`: bytes of text of huge files."""
    results = []
    with running() as stub:
        if huge is not None:
            stub.set(huge=huge)
        for workload in WORKLOADS:
            if names and workload.kind not in names:
                continue
            result = measured(workload, stub, rounds=rounds, scale=scale, only=contenders)
            table.print_result(result)
            results.append(result)
    return results
