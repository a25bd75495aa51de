"""The workloads: a backlog of log files that each contender drains in turn, round by round."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from bench import prices
from bench.contenders import AIOBOTOCORE, CONTENDERS, DRY_RUN, OURS, WORKERS, Contender
from bench.drains import Usage, drained
from bench.spreads import Spread, ratios, spread
from bench.stub.process import StubProcess

PARSED: Final = frozenset({"tiny", "normal1", "normal10", "normal90"})
"""The kinds of files that the bare parser reads, too."""
REFERENCE: Final = AIOBOTOCORE.name
"""The contender whose CPU time is 1 in the ratios."""


class Workload(msgspec.Struct, frozen=True):
    """A backlog. `files`: of this `kind`. `option`: its name on the command line, if that is not the kind. `stub`: settings of the stub. `rounds`: at most so many, where one takes long."""

    name: str
    kind: str
    files: int
    contenders: Sequence[Contender] = CONTENDERS
    stub: dict[str, Any] = {}
    option: str = ""
    rounds: int = 1000

    @property
    def short_name(self) -> str:
        """The name on the command line."""
        return self.option or self.kind


class Measured(msgspec.Struct, frozen=True):
    """One contender in one workload. Times are microseconds a file.

    `refresh`: microseconds of CPU time for each refresh asked, with everything else that was done; 0 without refreshes.
    `ratio`: the reference's CPU time as a multiple of this contender's, round by round: above 1, this one is faster.
    `dollars`: for AWS's requests of a million object events. `stub_share`: of a core, which the stub used meanwhile.
    """

    cpu: Spread
    wall: Spread
    peak: Spread
    ratio: Spread | None
    requests: float
    calls: float
    refresh: float
    dollars: float
    stub_share: float


class Result(msgspec.Struct, frozen=True):
    """One workload. `notes`: what a reader of the figures must know, such as contenders that could not run."""

    name: str
    files: int
    events: int
    contenders: dict[str, Measured]
    notes: list[str]
    parser: Spread | None = None
    """CPU time a file of the bare parser, which does no I/O."""

    def ratios(self, contender: str) -> list[float]:
        """The ratios of a contender, round by round."""
        ratio = self.contenders[contender].ratio
        return ratio.values if ratio else []


_FOLDERS: Final = (OURS,)

WORKLOADS: Final = (
    Workload("tiny", "tiny", 10_000),
    Workload("normal 1 %", "normal1", 1000),
    Workload("normal 10 %", "normal10", 1000),
    Workload("normal 90 %", "normal90", 1000),
    Workload("huge", "huge", 1, rounds=3),
    # Each of its events is in a folder of its own: with refreshes, these would be all that is measured.
    Workload("huge, Lyve", "lyve", 1, contenders=(DRY_RUN,), rounds=3),
    Workload("mixed", "mixed", 1000),
    Workload("one folder", "onefolder", 2000, contenders=_FOLDERS),
    Workload("two workers", "tiny", 10_000, contenders=(OURS, WORKERS), option="workers"),
    Workload("many folders", "manyfolders", 1000, contenders=_FOLDERS, stub={"new_folders": True}),
)


def measured(
    workload: Workload, stub: StubProcess, *, rounds: int, scale: float = 1.0, only: Iterable[str] = ()
) -> Result:
    """Let all contenders drain the workload, in turn, so many times. `only`: the names of the contenders."""
    files = max(1, round(workload.files * scale))
    asked = [each for each in workload.contenders if not only or each.name in only]
    missing = {each.name: reason for each in asked if (reason := each.missing())}
    contenders = [each for each in asked if each.name not in missing]
    events = stub.events(workload.kind, files)
    usages: dict[str, list[Usage]] = {each.name: [] for each in contenders}
    parsed: list[float] = []
    notes: list[str] = []
    for number in range(min(rounds, workload.rounds)):
        # Every other round goes backwards, so that nobody always follows the same neighbour.
        for each in contenders if number % 2 == 0 else reversed(contenders):
            usage = drained(each, stub, workload.kind, files, **workload.stub)
            if usage.events not in (None, events):
                notes.append(f"{each.name} found {usage.events:,} events of {events:,}")
            usages[each.name].append(usage)
        if workload.kind in PARSED and REFERENCE in usages and not only:
            parsed.append(parser_cpu(workload.kind, files) / files * 1e6)
    reference = usages.get(REFERENCE)
    found = {name: _summed(each, reference, files, events) for name, each in usages.items()}
    notes += [f"{name} is not measured: {reason}" for name, reason in missing.items()]
    return Result(workload.name, files, events, found, notes, spread(parsed) if parsed else None)


def parser_cpu(kind: str, files: int) -> float:
    """CPU seconds of the bare parser for so many files of this kind."""
    command = [sys.executable, "-m", "bench.peers.parser", kind, str(files)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[0])


def _summed(usages: Sequence[Usage], reference: Sequence[Usage] | None, files: int, events: int) -> Measured:
    cpu = [usage.cpu / files * 1e6 for usage in usages]
    last = usages[-1].counts
    return Measured(
        cpu=spread(cpu),
        wall=spread([usage.wall / files * 1e6 for usage in usages]),
        peak=spread([usage.peak / 1e6 for usage in usages]),
        ratio=ratios(cpu, [usage.cpu / files * 1e6 for usage in reference]) if reference else None,
        requests=prices.aws_requests(last) / files,
        calls=prices.access_anywhere_calls(last) / max(1, events),
        refresh=cpu[-1] * files / refreshes if (refreshes := last.get("aa refreshes asked", 0)) else 0.0,
        dollars=prices.dollars(last) / max(1, events) * 1e6,
        stub_share=max(usage.stub_cpu / usage.wall for usage in usages),
    )
