"""The report of `check`, as a table and as one JSON object."""

from collections.abc import Sequence
from itertools import groupby
from typing import IO, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jibe_sqs.commands.check.problems import Finding, Fine, Problem, Severity
from jibe_sqs.commands.check.running import Report
from jibe_sqs.commands.output import plain, write_json_line
from jibe_sqs.core.phrases import counted

WIDTH: Final = 80
STYLES: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def as_json_object(report: Report, output: IO[str]) -> None:
    """Write one JSON object. `ok`: there are no problems; notes do not count."""
    write_json_line(as_object(report), output)


def as_object(report: Report) -> dict[str, Any]:
    """The report as JSON can represent it."""
    rows = {name: [_row(each) for each in found] for name, found in _lists(report).items()}
    return {"ok": not report.problems, **rows}


def as_table(report: Report, output: IO[str]) -> None:
    """Write a table for each topic, at most 80 columns wide, and the totals."""
    console = Console(file=output)
    console.width = min(console.width, WIDTH)
    for topic, group in groupby(report.findings, key=lambda each: each[0]):
        console.print(Text(topic.value, style="bold"))
        console.print(_table([finding for _, finding in group]))
        console.print()
    console.print(_totals(report))


def _lists(report: Report) -> dict[str, list[Problem]]:
    return {"problems": report.problems, "notes": report.notes}


def _row(problem: Problem) -> dict[str, str]:
    return {
        "code": problem.code.value,
        "subject": problem.subject,
        "what": problem.what,
        "remedy": problem.remedy,
    }


def _table(findings: Sequence[Finding]) -> Table:
    """One row for each finding. A command in a remedy needs the width, so the subject has no column of its own."""
    table = Table(box=None, pad_edge=False, show_header=False, expand=True, padding=(0, 1))
    table.add_column(no_wrap=True, width=len(max(Severity, key=len)))
    table.add_column(ratio=1, overflow="fold")
    for finding in findings:
        if isinstance(finding, Fine):
            table.add_row(Text("ok", style="green"), plain(f"{finding.subject}: {finding.what}"))
        else:
            style = STYLES[finding.severity]
            table.add_row(Text(finding.severity.value, style=style), _described(finding))
    return table


def _described(problem: Problem) -> Text:
    text = plain(problem.subject, style="bold")
    text.append_text(Text(f" [{problem.code.value}]", style="dim"))
    return Text("\n").join([text, plain(problem.what), Text("-> ").append_text(plain(problem.remedy, style="italic"))])


def _totals(report: Report) -> Text:
    severities = [problem.severity for problem in [*report.problems, *report.notes]]
    counts = [
        counted(severities.count(severity), severity.value) for severity in Severity if severities.count(severity)
    ]
    if report.problems:
        return Text(", ".join(counts), style=STYLES[report.problems[0].severity])
    return Text(", ".join(["No problem was found", *counts]), style="green")
