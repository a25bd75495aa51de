"""Compare jibe-sqs with its peers (no name, or `workloads`), or run single benchmarks by their names."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench import (
    backfill,
    compare,
    connections,
    consuming,
    hostile,
    large_answer,
    large_log,
    ledger,
    log_parsing,
    lyve_log,
    many_folders,
    queues,
    quick,
    refreshes,
    replicas,
    report,
    s3_get,
    scale_constants,
    sqs_calls,
    stub_speed,
    suite,
)
from bench.behaviour import Lengths
from bench.contenders import CONTENDERS, WORKERS

Options = argparse.Namespace

BENCHMARKS: dict[str, Callable[[Options], object]] = {
    "workloads": lambda o: suite.run(_choice(o)),
    "growth": lambda o: suite.run(msgspec.structs.replace(_choice(o), workloads=[suite.GROWTH])),
    "quick": lambda _: quick.run(),
    "report": lambda o: report.run(o.results),
    "stub": lambda _: stub_speed.run(),
    "compare": lambda o: compare.run(o.objects),
    "backfill": lambda o: backfill.run(o.files),
    "connections": lambda _: connections.run(),
    "consuming": lambda _: consuming.run(),
    "hostile": lambda _: hostile.run(),
    "large_answer": lambda _: large_answer.run(),
    "large_log": lambda _: large_log.run(),
    "ledger": lambda o: ledger.run(o.rows, o.pruned),
    "lyve_log": lambda _: lyve_log.run(),
    "log_parsing": lambda _: log_parsing.run(),
    "many_folders": lambda _: many_folders.run(),
    "queues": lambda _: queues.run(),
    "refreshes": lambda o: refreshes.run(o.folders),
    "replicas": lambda o: replicas.run(o.scale),
    "scale_constants": lambda o: scale_constants.run(o.scale),
    "s3_get": lambda _: s3_get.run(),
    "sqs_calls": lambda _: sqs_calls.run(),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", default=["workloads"], help=", ".join(BENCHMARKS))
    parser.add_argument("--workloads", type=_names, default=[], help=f"only these, by commas: {', '.join(suite.NAMES)}")
    parser.add_argument("--contenders", type=_contenders, default=[], help="only these: `ours,aiobotocore,boto3`")
    parser.add_argument("--rounds", type=_positive, default=5, help="how often each contender runs each workload")
    parser.add_argument("--scale", type=_factor, default=1.0, help="more or fewer files; 0.1 is a first impression")
    parser.add_argument("--huge", type=float, default=500.0, help="MB of text of the huge files")
    parser.add_argument("--idle", type=float, default=Lengths().idle, help="seconds of idleness")
    parser.add_argument("--messages", type=int, default=Lengths().messages, help="messages of the latency")
    parser.add_argument("--most", type=int, default=suite.Choice().most, help="files of the growth; a tenth of folders")
    parser.add_argument("--results", type=Path, help="for `report`: a file of results; the latest is the default")
    parser.add_argument("--folders", type=int, default=refreshes.FOLDERS, help="for `refreshes`; fewer take less time")
    parser.add_argument("--objects", type=int, default=compare.OBJECTS, help="for `compare`; fewer take less time")
    parser.add_argument(
        "--rows",
        type=int,
        default=suite.Choice().rows,
        help="for `ledger` and the growth; ten million need 1 GB of disk",
    )
    parser.add_argument("--pruned", type=float, default=ledger.PRUNED, help="for `ledger`; the part that is pruned")
    parser.add_argument("--files", type=int, default=backfill.FILES, help="for `backfill`; fewer take less time")
    options = parser.parse_args()
    for name in options.name:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        BENCHMARKS[name](options)


def _choice(options: Options) -> suite.Choice:
    return suite.Choice(
        workloads=options.workloads,
        contenders=options.contenders,
        rounds=options.rounds,
        scale=options.scale,
        huge=int(options.huge * 1e6),
        most=options.most,
        rows=options.rows,
        lengths=Lengths(idle=options.idle, messages=options.messages),
    )


def _contenders(text: str) -> list[str]:
    """The whole names. The part before a comma, which separates them here, is enough: `boto3` for `boto3, 16 threads`."""
    known = [*(each.name for each in CONTENDERS), WORKERS.name]
    found = [next((each for each in known if name in (each, each.partition(",")[0])), name) for name in _names(text)]
    if unknown := [name for name in found if name not in known]:
        raise argparse.ArgumentTypeError(f"no contender {', '.join(unknown)}; there are {'; '.join(known)}")
    return found


def _factor(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError("above 0")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    main()
