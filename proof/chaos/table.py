"""The result as text for people, at most 80 columns wide."""

from collections.abc import Iterable, Mapping
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from proof.chaos.drain import DrainOutcome
from proof.chaos.run import EXIT_DEADLINE, Outcome


def print_outcome(outcome: Outcome, output: IO[str]) -> None:
    _show(_rows(outcome), output)
    console = Console(file=output, highlight=False)
    style = "bold green" if outcome.is_good else "bold red"
    if outcome.in_sync:
        console.print(Text(f"in sync: Access Anywhere shows all {outcome.objects} objects as they are in S3", style))
    else:
        console.print(
            Text(f"NOT in sync, of {outcome.objects} objects: {outcome.lost} lost, {outcome.extra} extra", style)
        )
    for example in outcome.examples:
        console.print(Text(f"  {example}"))
    for log_tail in outcome.crashes:
        console.print(Text(f"a replica ended by itself:\n{log_tail}", "red"))


def print_drain(drained: DrainOutcome, output: IO[str]) -> None:
    seconds = sorted(drained.seconds)
    _show(
        [
            ("SIGTERM", f"{drained.times} times, under load ({drained.changes} changes, seed {drained.seed})"),
            ("exit codes", _listed(drained.exit_codes)),
            (
                "seconds to exit",
                f"p50 {seconds[len(seconds) // 2]:.1f}, max {seconds[-1]:.1f}; deadline {drained.deadline:.1f}",
            ),
            ("messages held", f"{sum(drained.held)}, at most {max(drained.held)} at a time"),
            ("returned unstarted", f"{drained.handed_back} that a receive brought after the signal"),
            ("returned unfinished", f"{drained.given_back} that were not finished in time"),
            ("still hidden", str(drained.hidden_left)),
            ("dead letters", str(drained.dead_letters)),
            ("lost", str(drained.lost)),
        ],
        output,
    )
    console = Console(file=output, highlight=False)
    if drained.is_good:
        console.print(Text("every exit in time and with code 0; no message stayed hidden", "bold green"))
    else:
        console.print(Text("FAILED: see the table", "bold red"))


def _show(rows: Iterable[tuple[str, str]], output: IO[str]) -> None:
    console = Console(file=output, highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    console.print()


def _rows(outcome: Outcome) -> list[tuple[str, str]]:
    exits = f"slowest {outcome.slowest_exit:.1f} s of {EXIT_DEADLINE:.0f}; {outcome.late_exits} too late"
    took = f"{outcome.seconds:.0f} s (seed {outcome.seed}, {outcome.ledger} ledger)"
    sqlite = outcome.ledger == "sqlite"
    disks = str(outcome.full_disks)
    if not outcome.can_fill_disks:
        disks = "not tested: only root may mount a tmpfs" if sqlite else "not tested: the ledger uses no disk"
    return [
        ("changes", f"{outcome.changes}, logged in {outcome.messages} messages"),
        ("received", f"{outcome.receives} times, {outcome.redelivered} of them redeliveries"),
        ("kills", f"{outcome.kills} (SIGKILL), {outcome.kills_hung} of them of a hung replica"),
        ("hangs", f"{outcome.hangs} (SIGSTOP, SIGCONT after the visibility timeout)"),
        ("terms", f"{outcome.terms} (SIGTERM), and {outcome.replicas} at the end"),
        ("  exit codes", f"{_listed(outcome.exit_codes)}; {exits}"),
        ("starts", f"{outcome.starts}; {outcome.failed_starts} failed (a system unreachable, or the disk full)"),
        *((f"cut off: {system}", _listed(faults)) for system, faults in outcome.partitions.items()),
        ("clock steps", str(outcome.clock_steps)),
        ("full disks", disks),
        ("Access Anywhere", f"{outcome.aa_outages} outages; faults: {_listed(outcome.aa_faults)}"),
        ("errors", _listed(outcome.errors)),
        (
            "duplicates skipped",
            f"{outcome.files_known} files not fetched again, {outcome.already_refreshed} events already refreshed",
        ),
        ("files read", f"{outcome.files_read}; {outcome.refreshes} refreshes"),
        *(("defects", f"{count} {defect}") for defect, count in outcome.defects.items()),
        ("dead letters", str(outcome.dead_letters)),
        ("lost", str(outcome.lost)),
        ("took", f"{took}, the last {outcome.settled_in:.0f} s without faults"),
    ]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"
