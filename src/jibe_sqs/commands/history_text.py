"""The history of a part of a bucket, as one JSON object and as a table in the order of time."""

from collections.abc import Sequence
from typing import IO, Any

from rich.console import Console, Group
from rich.text import Text

from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.history import FileRead, FolderRefreshed, Remembered
from jibe_sqs.core.model import Folder
from jibe_sqs.core.phrases import counted, short_time, utc_iso

SHOWN_FOLDERS = 3
"""Folders of a log file in the table."""


def as_json_object(url: str, folders: Sequence[Folder], entries: Sequence[Remembered], output: IO[str]) -> None:
    """Write one JSON object. Times are ISO 8601, UTC; a time that is unknown is null."""
    content = {
        "url": url,
        "folders": [folder.path for folder in folders],
        "entries": [as_row(each) for each in entries],
    }
    write_json_line(content, output)


def as_row(remembered: Remembered) -> dict[str, Any]:
    """An entry as JSON. `what` is `read` or `refresh`."""
    entry, at = remembered.entry, utc_iso(remembered.at)
    if isinstance(entry, FolderRefreshed):
        return {
            "at": at,
            "what": "refresh",
            "folder": str(entry.folder),
            "seconds": entry.seconds,
            "reason": entry.reason,
            "error": entry.error,
            "text": entry.text,
        }
    return {
        "at": at,
        "what": "read",
        "file": entry.file,
        "events": entry.events,
        "first": utc_iso(entry.first) if entry.first else None,
        "last": utc_iso(entry.last) if entry.last else None,
        "folders": [str(folder) for folder in entry.folders],
        "more": entry.more,
        "skipped": entry.skipped,
        "own_writes": entry.own_writes,
    }


def as_table(url: str, folders: Sequence[Folder], entries: Sequence[Remembered], output: IO[str]) -> None:
    """Write the folders, and a row for each entry, the newest last."""
    console = Console(file=output)
    shown = ", ".join(folder.path for folder in folders) or "not shown by Access Anywhere, as far as jibe-sqs knows"
    console.print(plain(f"{url}: {shown}"), soft_wrap=True)
    if not entries:
        console.print(
            "Nothing is remembered.\nThe ledger keeps the history for `ledger.history_days`, and only since the service has "
            "run with it."
        )
        return
    table = table_of()
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("about", overflow="fold")
    for each in entries:
        table.add_row(short_time(utc_iso(each.at)), *_cells(each.entry))
    console.print(table)


def _cells(entry: FileRead | FolderRefreshed) -> tuple[Text, Group]:
    if isinstance(entry, FolderRefreshed):
        style = "red" if entry.error else ""
        about = [plain(f"{entry.folder}"), plain(f"  for {entry.reason}, {entry.seconds:.1f} s")]
        if entry.error:
            about.append(plain(f"  {entry.error}: {entry.text}", style))
        return plain("failed" if entry.error else "refresh", style), Group(*about)
    about = [plain(entry.file or "a message with records")]
    times = f", of {_span(entry)}" if entry.first else ""
    about.append(plain(f"  {counted(entry.events, 'change') if entry.events else 'no change'} for a refresh{times}"))
    about += [plain(f"  {folder}") for folder in entry.folders[:SHOWN_FOLDERS]]
    if (hidden := len(entry.folders) - SHOWN_FOLDERS + entry.more) > 0:
        about.append(plain(f"  and {counted(hidden, 'more folder')}"))
    for bucket, reasons in entry.skipped.items():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        about.append(plain(f"  skipped in {bucket}: {counts}"))
    about += [
        plain(f"  by {rule}, such as {principal or 'a caller without a name'}")
        for rule, principal in entry.own_writes.items()
    ]
    return plain("read"), Group(*about)


def _span(entry: FileRead) -> str:
    first, last = short_time(utc_iso(entry.first)), short_time(utc_iso(entry.last))
    return first if first == last else f"{first} to {last}"
