"""Run the named benchmarks, or all of them."""

import argparse

from bench import (
    backfill,
    compare,
    connections,
    hostile,
    large_answer,
    large_log,
    ledger,
    log_parsing,
    lyve_log,
    many_folders,
    queues,
    refreshes,
    s3_get,
)

BENCHMARKS = {
    "compare": compare.run,
    "backfill": backfill.run,
    "connections": connections.run,
    "hostile": hostile.run,
    "large_answer": large_answer.run,
    "large_log": large_log.run,
    "ledger": ledger.run,
    "lyve_log": lyve_log.run,
    "log_parsing": log_parsing.run,
    "many_folders": many_folders.run,
    "queues": queues.run,
    "refreshes": refreshes.run,
    "s3_get": s3_get.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--folders", type=int, default=refreshes.FOLDERS, help="for `refreshes`; fewer take less time")
    parser.add_argument("--objects", type=int, default=compare.OBJECTS, help="for `compare`; fewer take less time")
    parser.add_argument("--rows", type=int, default=ledger.ROWS, help="for `ledger`; ten million need 5 GB of disk")
    parser.add_argument("--pruned", type=float, default=ledger.PRUNED, help="for `ledger`; the part that is pruned")
    parser.add_argument("--files", type=int, default=backfill.FILES, help="for `backfill`; fewer take less time")
    options = parser.parse_args()
    for name in options.name or BENCHMARKS:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}")
        if name == "refreshes":
            refreshes.run(options.folders)
        elif name == "compare":
            compare.run(options.objects)
        elif name == "backfill":
            backfill.run(options.files)
        elif name == "ledger":
            ledger.run(options.rows, options.pruned)
        else:
            BENCHMARKS[name]()


main()
