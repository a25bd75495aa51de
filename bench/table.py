"""Prints results in at most 80 columns."""

from bench.behaviour import Fact
from bench.goals import GOALS
from bench.results import Results
from bench.workloads import Result

WIDTH = 80


def print_result(result: Result) -> None:
    """Print one workload as a table."""
    print(f"\n{result.name}: {result.files:,} files, {result.events:,} object events")
    print(f"{'':17}{'CPU us/file':>11}{'low-high':>20}{'ratio':>6}{'MB':>6}{'AWS/f':>6}{'AA/ev':>6}{'$/M ev':>7}")
    for name, found in result.contenders.items():
        ratio = f"{found.ratio.median:.2f}" if found.ratio else ""
        bounds = f"{found.cpu.low:,.0f}-{found.cpu.high:,.0f}"
        print(
            f"{name:17}{found.cpu.median:>11,.0f}{bounds:>20}{ratio:>6}{found.peak.median:>6,.0f}"
            f"{found.requests:>6.2f}{found.calls:>6.2f}{found.dollars:>7.2f}",
            flush=True,
        )
    if result.parser:
        bounds = f"{result.parser.low:,.0f}-{result.parser.high:,.0f}"
        print(f"{'bare parser':17}{result.parser.median:>11,.0f}{bounds:>20}")
    busiest = max((found.stub_share, name) for name, found in result.contenders.items())
    print(f"the stub used at most {busiest[0]:.0%} of a core, for {busiest[1]}")
    for note in result.notes:
        print(f"note: {note}")


def print_fact(fact: Fact) -> None:
    """Print one value with its spread."""
    bounds = f"{fact.value.low:,.2f}-{fact.value.high:,.2f}"
    print(f"{fact.what:36}{fact.contender:18}{fact.value.median:>8,.2f} {fact.unit:3}{bounds:>14}", flush=True)


def print_goals(found: Results) -> None:
    """Print each goal that was measured."""
    known = [(goal, value) for goal in GOALS if (value := goal.value(found)) is not None]
    if known:
        print(f"\n{'goals':40}{'goal':>10}{'measured':>12}")
    for goal, value in known:
        bound = f"{'>=' if goal.is_floor else '<='} {goal.goal:g}"
        print(f"{goal.what:40}{bound:>10}{value:>12,.2f} {goal.unit:6}{'' if goal.is_reached(found) else ' missed'}")
