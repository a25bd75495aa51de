"""Prints results in at most 80 columns."""

from bench.workloads import Result

WIDTH = 80


def print_result(result: Result) -> None:
    """Print one workload as a table."""
    print(f"\n{result.name}: {result.files:,} files, {result.events:,} object events")
    print(f"{'':18}{'CPU us/file':>12}{'from - to':>15}{'ratio':>7}{'MB':>6}{'AWS/f':>7}{'AA/ev':>7}{'$/M ev':>8}")
    for name, found in result.contenders.items():
        ratio = f"{found.ratio.median:.2f}" if found.ratio else ""
        bounds = f"{found.cpu.low:,.0f} - {found.cpu.high:,.0f}"
        print(
            f"{name:18}{found.cpu.median:>12,.0f}{bounds:>15}{ratio:>7}{found.peak.median:>6,.0f}"
            f"{found.requests:>7.2f}{found.calls:>7.2f}{found.dollars:>8.2f}",
            flush=True,
        )
    for name, reason in result.missing.items():
        print(f"{name:18}not measured: {reason}")
