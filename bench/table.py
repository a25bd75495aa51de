"""Prints results in at most 80 columns."""

from bench.behaviour import Fact
from bench.workloads import Result

WIDTH = 80


def print_result(result: Result) -> None:
    """Print one workload as a table."""
    print(f"\n{result.name}: {result.files:,} files, {result.events:,} object events")
    print(f"{'':17}{'CPU us/file':>12}{'low-high':>19}{'ratio':>6}{'MB':>6}{'AWS/f':>6}{'AA/ev':>6}{'$/M ev':>7}")
    for name, found in result.contenders.items():
        ratio = f"{found.ratio.median:.2f}" if found.ratio else ""
        bounds = f"{found.cpu.low:,.0f}-{found.cpu.high:,.0f}"
        print(
            f"{name:17}{found.cpu.median:>12,.0f}{bounds:>19}{ratio:>6}{found.peak.median:>6,.0f}"
            f"{found.requests:>6.2f}{found.calls:>6.2f}{found.dollars:>7.2f}",
            flush=True,
        )
    busiest = max((found.stub_share, name) for name, found in result.contenders.items())
    print(f"the stub used at most {busiest[0]:.0%} of a core, for {busiest[1]}")
    for name, reason in result.missing.items():
        print(f"{name:17} not measured: {reason}")


def print_fact(fact: Fact) -> None:
    """Print one value with its spread."""
    bounds = f"{fact.value.low:,.2f}-{fact.value.high:,.2f}"
    print(f"{fact.what:38}{fact.contender:18}{fact.value.median:>9,.2f} {fact.unit:3}{bounds:>11}", flush=True)
