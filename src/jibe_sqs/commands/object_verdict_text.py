"""The verdict on an object, as one JSON object and as text: the verdict, the facts, the reasons with what to do."""

from typing import IO, Final

from rich.console import Console
from rich.padding import Padding

from jibe_sqs.commands.history_text import as_row
from jibe_sqs.commands.object_facts import FolderFacts, ObjectFacts, Shown, Stored, Unknown
from jibe_sqs.commands.object_verdict import Answer, Verdict
from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.phrases import counted, utc_iso

_STYLES: Final = {Verdict.IN_SYNC: "green", Verdict.STALE: "red", Verdict.UNKNOWN: "yellow"}
_SENTENCES: Final = {
    Verdict.IN_SYNC: "Access Anywhere shows it as it is in S3",
    Verdict.STALE: "Access Anywhere does not show it as it is in S3",
    Verdict.UNKNOWN: "it cannot be said whether Access Anywhere shows it as it is in S3",
}
MAX_HISTORY: Final = 5
"""Entries of the history in the JSON object: the newest. `jibe-sqs history` has all."""


def as_json_object(facts: ObjectFacts, found: Answer, output: IO[str]) -> None:
    """Write one JSON object. What could not be found out is null."""
    history = [] if isinstance(facts.history, Unknown) else facts.history[-MAX_HISTORY:]
    write_json_line(
        {
            "verdict": found.verdict.value,
            "reasons": [{"code": each.code.value, "what": each.what, "remedy": each.remedy} for each in found.reasons],
            "bucket": facts.bucket,
            "key": facts.key,
            "folders": [] if isinstance(facts.shown, Unknown) else [str(each.folder) for each in facts.shown],
            "history": [as_row(each) for each in history],
        },
        output,
    )


def as_text(facts: ObjectFacts, found: Answer, output: IO[str]) -> None:
    """Write it for people."""
    console = Console(file=output)
    console.print(plain(f"{found.verdict.value}: {_SENTENCES[found.verdict]}", f"bold {_STYLES[found.verdict]}"))
    console.print(plain(facts.url))
    table = table_of()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _facts(facts):
        table.add_row(name, plain(text))
    console.print(Padding(table, (1, 0)))
    for each in found.reasons:
        console.print(plain(each.code.value, "bold"))
        console.print(Padding(plain(each.what), (0, 0, 0, 2)))
        console.print(Padding(plain(f"-> {each.remedy}"), (0, 0, 0, 2)))


def _facts(facts: ObjectFacts) -> list[tuple[str, str]]:
    rows = [("S3", _stored(facts.stored))]
    if isinstance(facts.shown, Unknown):
        rows.append(("Access Anywhere", f"not known: {facts.shown.reason}"))
    else:
        rows += [("Access Anywhere", _shown(each)) for each in facts.shown] or [
            ("Access Anywhere", "no place shows it")
        ]
    rows += [("refreshed", _folder(each)) for each in facts.folders]
    if facts.service is None:
        rows.append(("service", "no running service answers here"))
    else:
        rows.append(
            (
                "service",
                f"runs for {facts.service.running:,.0f} s, {counted(facts.service.messages, 'message')} received",
            )
        )
    if isinstance(facts.history, Unknown):
        rows.append(("history", f"not known: {facts.history.reason}"))
    else:
        newest = f"the newest log file was read at {utc_iso(facts.newest_read)}" if facts.newest_read else "no log file"
        rows.append(("history", f"{newest}; about this folder or bucket: {len(facts.history):,}"))
    if isinstance(facts.letters, Unknown):
        rows.append(("dead letters", f"not known: {facts.letters.reason}"))
    elif facts.letters:
        named = sum(each.names_it for each in facts.letters)
        rows.append(("dead letters", f"{len(facts.letters):,}, of which {named:,} name it"))
    return rows


def _stored(stored: Stored | Unknown | None) -> str:
    if isinstance(stored, Unknown):
        return f"not known: {stored.reason}"
    if stored is None:
        return "no such object: deleted, or never there"
    return f"{counted(stored.size, 'byte')}, written {utc_iso(stored.modified)}"


def _shown(shown: Shown) -> str:
    return f"{shown.path}: {_entry(shown.entry)}"


def _entry(entry: Entry | Unknown | None) -> str:
    if isinstance(entry, Unknown):
        return f"not known: {entry.reason}"
    if entry is None:
        return "not shown"
    if entry.is_folder:
        return "a folder"
    return f"{counted(entry.size, 'byte')}{f', of {utc_iso(entry.modified)}' if entry.modified else ''}"


def _folder(folder: FolderFacts) -> str:
    parts = [f"last at {utc_iso(folder.watermark)}" if folder.watermark else "not as far as is remembered"]
    if folder.waited is not None:
        parts.append(f"pending for {folder.waited:,.0f} s")
    if folder.error:
        parts.append("the last refresh failed")
    return f"{folder.folder}: {', '.join(parts)}"
