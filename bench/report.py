"""Writes the figures of a results file into the documentation, between its markers."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from bench import results
from bench.contenders import CONTENDERS
from bench.goals import GOALS
from bench.results import Results

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = (ROOT / "docs" / "explanation" / "performance.md", ROOT / "README.md")


def run(path: Path | None = None) -> None:
    """Write the tables of the latest complete results, or of those in this file, into README and performance.md."""
    path = path or max(results.FOLDER.glob("2*.json"), default=None)
    if path is None:
        raise SystemExit("there are no complete results: run `make bench` without `--workloads` and `--contenders`")
    found = msgspec.json.decode(path.read_bytes(), type=Results)
    makers = {"machine": _machine, "ratios": _ratios, "workloads": _workloads, "goals": _goals, "growth": _growth}
    parts = {name: "\n".join(lines(found)) for name, lines in makers.items()}
    for page in PAGES:
        text = page.read_text()
        for name, new in parts.items():
            text = replaced(text, name, new)
        page.write_text(text)


def replaced(text: str, name: str, new: str) -> str:
    """Put new lines between the markers of this name. A text without the markers stays as it is."""
    begin, end = f"<!-- bench: {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = text.partition(begin)
    if not found:
        return text
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{begin.strip()} has no {end}")
    return f"{before}{begin}{new}\n{end}{after}"


def _machine(found: Results) -> Iterator[str]:
    machine = ", ".join(f"{name}: {value}" for name, value in found.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in found.versions.items() if value)
    yield from textwrap.wrap(f"Measured on {found.date}; {machine}. Versions: {versions}.", 120, break_on_hyphens=False)


def _ratios(found: Results) -> Iterator[str]:
    """The short table: only ratios."""
    shown = [result for result in found.workloads if any(each.ratio for each in result.contenders.values())]
    names = [each.name for each in CONTENDERS if any(each.name in result.contenders for result in shown)]
    yield f"| workload | {' | '.join(names)} |"
    yield f"|---|{'---|' * len(names)}"
    for result in shown:
        ratios = [each.ratio if (each := result.contenders.get(name)) else None for name in names]
        yield f"| {result.name} | {' | '.join(f'{ratio.median:.2f}' if ratio else '' for ratio in ratios)} |"


def _workloads(found: Results) -> Iterator[str]:
    """The full table."""
    yield "| workload | contender | CPU µs a file (low – high) | ratio | peak MB | AWS requests a file | AA calls an event | $ a million events |"
    yield "|---|---|---|---|---|---|---|---|"
    for result in found.workloads:
        for name, each in result.contenders.items():
            ratio = f"{each.ratio.median:.2f} ({each.ratio.low:.2f} – {each.ratio.high:.2f})" if each.ratio else ""
            yield (
                f"| {result.name} | {name} | {each.cpu.median:,.0f} ({each.cpu.low:,.0f} – {each.cpu.high:,.0f}) | {ratio} | "
                f"{each.peak.median:,.0f} | {each.requests:.2f} | {each.calls:.2f} | {each.dollars:.2f} |"
            )
        if result.parser:
            parser = result.parser
            yield f"| {result.name} | bare parser | {parser.median:,.0f} ({parser.low:,.0f} – {parser.high:,.0f}) | | | | | |"
    notes = [f"{result.name}: {note}" for result in found.workloads for note in result.notes]
    if notes:
        yield ""
        yield from (f"- {note}" for note in notes)


def _goals(found: Results) -> Iterator[str]:
    yield "| goal | wanted | measured | |"
    yield "|---|---|---|---|"
    for goal in GOALS:
        value = goal.value(found)
        shown = "not measured" if value is None else f"{value:,.2f} {goal.unit}".rstrip()
        wanted = f"{'at least' if goal.is_floor else 'at most'} {goal.goal:g} {goal.unit}".rstrip()
        yield f"| {goal.what} | {wanted} | {shown} | {'reached' if goal.is_reached(found) else ''} |"


def _growth(found: Results) -> Iterator[str]:
    for curve in found.growth:
        yield f"| {curve.x} | {curve.y} | MB |"
        yield "|---|---|---|"
        yield from (f"| {each.size:,} | {each.microseconds:,.0f} | {each.megabytes:,.0f} |" for each in curve.points)
        yield ""
        yield f"![{curve.y} and MB, by {curve.x}](performance/{curve.name}.svg)"
        yield ""
