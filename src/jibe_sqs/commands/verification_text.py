"""The report of a verification, as JSON lines and as text."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import IO, Any

import msgspec

from jibe_sqs.commands.findings import Finding, Status, Subject, Summary
from jibe_sqs.commands.output import write_json_line
from jibe_sqs.core.phrases import counted
from jibe_sqs.telemetry.printable import wrapped


async def as_lines(findings: AsyncIterator[Finding], output: IO[str]) -> Summary:
    """Write one JSON object per finding. The last line is the summary."""
    summary = Summary()
    async for finding in findings:
        summary.add(finding)
        write_json_line(msgspec.to_builtins(finding, builtin_types=(datetime,)), output)
    write_json_line(_summary_row(summary), output)
    return summary


async def as_text(findings: AsyncIterator[Finding], output: IO[str], *, verbose: bool = False) -> Summary:
    """Write the problems, or with `verbose` all findings, and the totals. At most 80 columns."""
    summary = Summary()
    any_shown = False
    async for finding in findings:
        summary.add(finding)
        if verbose or finding.status is not Status.VALID:
            output.write(_finding_text(finding))
            any_shown = True
    output.write("\n" * any_shown + _summary_text(summary) + "\n")
    return summary


def _finding_text(finding: Finding) -> str:
    address = f"s3://{finding.bucket}/{finding.key}"
    if finding.what is Subject.GAP and finding.start and finding.end:
        trail = f" of trail {finding.trail}" if finding.trail else ""
        title = f"GAP: {_second(finding.start)} to {_second(finding.end)}{trail}"
        details = [finding.message]
    else:
        title = f"{finding.what}: {_status_word(finding.status)}"
        # Some messages begin with the address, which is on the line above them.
        details = [address, finding.message.removeprefix(address).lstrip(": ")]
    lines = wrapped(title, indent="    ")
    for detail in details:
        lines += wrapped(detail, first_indent="    ", indent="    ")
    return "".join(f"{line}\n" for line in lines)


def _summary_row(summary: Summary) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    for (what, status), count in sorted(summary.counts.items()):
        counts.setdefault(what.value, {})[status.value] = count
    return {"summary": counts, "start": summary.start, "end": summary.end, "exit_code": summary.exit_code}


def _summary_text(summary: Summary) -> str:
    if summary.start and summary.end:
        lines = [f"Valid digests cover {_second(summary.start)} to {_second(summary.end)}."]
    else:
        lines = ["No valid digest was found."]
    for what in (Subject.DIGEST, Subject.BACKFILL, Subject.LOG):
        counts = {status: summary.counts[what, status] for status in Status if summary.counts[what, status]}
        if total := sum(counts.values()):
            per_status = ", ".join(f"{count:,} {_status_word(status)}" for status, count in counts.items())
            lines.append(f"{counted(total, what)}: {per_status}")
    if gaps := summary.counts[Subject.GAP, Status.UNCOVERED]:
        lines.append(counted(gaps, "gap"))
    return "\n".join(lines)


def _status_word(status: Status) -> str:
    return status.value if status is Status.VALID else status.value.upper()


def _second(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}Z"
