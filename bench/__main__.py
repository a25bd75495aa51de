"""Run the benchmarks that are named, or all of them."""

import sys

from bench import large_log, log_parsing, lyve_log, s3_get

BENCHMARKS = {
    "large_log": large_log.run,
    "lyve_log": lyve_log.run,
    "log_parsing": log_parsing.run,
    "s3_get": s3_get.run,
}


def main() -> None:
    names = sys.argv[1:] or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        print(f"\n{name}: {(BENCHMARKS[name].__doc__ or '').splitlines()[0]}")
        BENCHMARKS[name]()


main()
