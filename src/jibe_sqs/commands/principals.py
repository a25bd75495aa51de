"""The principals that changed or read objects, and which of them may be Access Anywhere: as JSON lines and as a table."""

from collections.abc import Sequence
from typing import IO, Final

from rich.console import Console

from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.identities import Identity, fragment_text
from jibe_sqs.core.phrases import utc_iso
from jibe_sqs.telemetry.printable import wrapped

WIDTH: Final = 80


def as_lines(found: Sequence[Identity], output: IO[str]) -> None:
    """Write one JSON object per principal.

    Its names: `principal`, `first` and `last` (ISO 8601, UTC), `count` (changes), `reads`, `rule` (of `own_writes`; null if
    none matches), `user_agent`, `source_address`, `evidence` (why it is probably Access Anywhere; a list of sentences),
    `hint` (why it is perhaps; or null) and `own_writes` (the setting to add if it is; or null).
    """
    for each in found:
        row = {
            "principal": each.name,
            "first": utc_iso(each.seen.first),
            "last": utc_iso(each.seen.last),
            "count": each.seen.count,
            "reads": each.seen.reads,
            "rule": each.rule or None,
            "user_agent": each.actor.user_agent or None,
            "source_address": each.actor.source_address or None,
            "evidence": list(each.evidence),
            "hint": each.hint or None,
            "own_writes": each.own_writes if each.is_suggested else None,
        }
        write_json_line(row, output)


def as_table(found: Sequence[Identity], output: IO[str], *, has_readers: bool = False) -> None:
    """Write a table with one row per principal, and what is suggested. `has_readers`: reads are recorded."""
    if not found:
        output.write("no changes of objects are recorded yet\n")
        return
    table = table_of()
    table.add_column("changes", justify="right", no_wrap=True)
    table.add_column("reads", justify="right", no_wrap=True)
    table.add_column("first seen", no_wrap=True)
    table.add_column("last seen", no_wrap=True)
    table.add_column("who (and its rule)", overflow="fold")
    for each in found:
        name = plain(each.name)
        if each.rule:
            name.append("\n  ").append_text(plain(each.rule, "dim"))
        first, last = (utc_iso(time)[5:16].replace("T", " ") for time in (each.seen.first, each.seen.last))
        table.add_row(str(each.seen.count), str(each.seen.reads), first, last, name)
    Console(file=output, width=WIDTH).print(table)
    output.write("\n" + _suggestion(found, has_readers=has_readers))


def _suggestion(found: Sequence[Identity], *, has_readers: bool) -> str:
    """What is known about Access Anywhere's identity, in sentences."""
    lines: list[str] = []
    wanted = [each for each in found if each.is_suggested]
    for each in wanted:
        likely, why = ("Probably", "; ".join(each.evidence)) if each.evidence else ("Perhaps", each.hint)
        lines += wrapped(f"{likely} Access Anywhere: {each.name}: {why}.", first_indent="", indent="    ")
        agent = each.actor.user_agent
        lines += wrapped(f"User agent: {agent}", first_indent="    ", indent="    ") if agent else []
    if wanted:
        lines += wrapped(
            "If that is so, and nobody else writes with this identity, add it to the configuration (its own "
            "writes cause needless refreshes; if somebody else uses it, their changes would be skipped):",
            first_indent="",
            indent="",
        )
        lines += [fragment_text(wanted)]
    elif known := [each for each in found if each.rule]:
        count = len(known)
        lines += wrapped(
            f"own_writes matches {count} of {len(found)}: their changes are skipped as Access Anywhere's own.",
            first_indent="",
            indent="",
        )
    else:
        lines += wrapped(
            "own_writes matches none of them, and none looks like Access Anywhere."
            + ("" if has_readers else " Reads are not recorded; principals: readers records them, too."),
            first_indent="",
            indent="",
        )
    return "\n".join(lines) + "\n"
