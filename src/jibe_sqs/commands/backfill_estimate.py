"""What a backfill would cost, from a listing of the files and from some of them that were read."""

from typing import IO, Final

import msgspec
from rich.console import Console
from rich.filesize import decimal

from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.phrases import counted
from jibe_sqs.core.prices import S3_GET, S3_LIST

LIST_ENTRIES: Final = 1000
"""Entries in one answer to LIST."""
CALLS_PER_REFRESH: Final = 3
"""Calls to Access Anywhere for one refresh: find the folder, start the refresh, and ask for its end."""
CALLS_PER_FILE: Final = 2
CALLS_PER_LISTING: Final = CALLS_PER_REFRESH + 1
"""Calls for one log file and for one of its folders, if logs are read through Access Anywhere."""


class Listed(msgspec.Struct, frozen=True):
    """What was listed at one kind of store. `left`: files that are not finished."""

    files: int = 0
    bytes: int = 0
    left: int = 0
    bytes_left: int = 0
    folders: int = 0
    entries: int = 0


class Estimate(msgspec.Struct, frozen=True):
    """`in_s3`, `through_aa`: by how files are listed and read. `sample`: the files that were read, and what they asked for."""

    in_s3: Listed
    through_aa: Listed
    sample: int
    sample_events: int
    sample_refreshes: int
    failed: int
    first_failure: str = ""

    @property
    def left(self) -> int:
        """Files that would be read."""
        return self.in_s3.left + self.through_aa.left

    @property
    def events(self) -> int:
        """Events in these files that ask for a refresh."""
        return self._of_all(self.sample_events)

    @property
    def refreshes(self) -> tuple[int, int]:
        """The fewest refreshes, if no other file names another folder, and the most, if each file names its own."""
        return self.sample_refreshes, self._of_all(self.sample_refreshes)

    @property
    def calls(self) -> tuple[int, int]:
        """The fewest and the most calls to Access Anywhere."""
        listed = self.through_aa
        reading = listed.left * CALLS_PER_FILE + listed.folders * CALLS_PER_LISTING
        fewest, most = self.refreshes
        return reading + fewest * CALLS_PER_REFRESH, reading + most * CALLS_PER_REFRESH

    @property
    def gets(self) -> int:
        """GET requests to S3."""
        return self.in_s3.left

    @property
    def lists(self) -> int:
        """LIST requests to S3. All files are listed twice."""
        return 2 * (self.in_s3.folders + self.in_s3.entries // LIST_ENTRIES)

    @property
    def dollars(self) -> float:
        """The price of the requests to S3."""
        return self.gets * S3_GET + self.lists * S3_LIST

    def _of_all(self, in_sample: int) -> int:
        return round(in_sample * self.left / self.sample) if self.sample else 0


def as_json_object(estimate: Estimate, output: IO[str]) -> None:
    """One JSON object on one line. A pair is the fewest and the most."""
    row = {
        "dry_run": True,
        "files": estimate.in_s3.files + estimate.through_aa.files,
        "bytes": estimate.in_s3.bytes + estimate.through_aa.bytes,
        "read": estimate.left,
        "sample": estimate.sample,
        "events": estimate.events,
        "refreshes": estimate.refreshes,
        "access_anywhere_calls": estimate.calls,
        "s3_gets": estimate.gets,
        "s3_lists": estimate.lists,
        "dollars": round(estimate.dollars, 4),
        "failed": estimate.failed,
        "first_failure": estimate.first_failure,
    }
    write_json_line(row, output)


def as_text(estimate: Estimate, output: IO[str]) -> None:
    """A table for people."""
    console = Console(file=output, highlight=False)
    files = estimate.in_s3.files + estimate.through_aa.files
    size = estimate.in_s3.bytes + estimate.through_aa.bytes
    left = estimate.in_s3.bytes_left + estimate.through_aa.bytes_left
    rows = [
        ("log files", f"{files:,} ({decimal(size)})"),
        (
            "to read",
            f"{estimate.left:,} ({decimal(left)}){'; the others are finished' if estimate.left < files else ''}",
        ),
        ("events", f"about {estimate.events:,}"),
        ("refreshes", _range(estimate.refreshes)),
        ("calls to Access Anywhere", f"{_range(estimate.calls)}, about {CALLS_PER_REFRESH} for a refresh"),
        ("requests to S3", f"{estimate.gets:,} GET, {estimate.lists:,} LIST: about ${estimate.dollars:,.2f}"),
    ]
    table = table_of()
    table.show_header = False
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    console.print(plain(f"Estimated from {counted(estimate.sample, 'file')}. Nothing was refreshed or remembered."))
    if estimate.failed:
        console.print(
            plain(f"{counted(estimate.failed, 'failure')}, the first: {estimate.first_failure}", style="red"),
            soft_wrap=True,
        )


def _range(pair: tuple[int, int]) -> str:
    fewest, most = pair
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
