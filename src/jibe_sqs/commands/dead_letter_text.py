"""Dead letters as JSON lines, as a table and as text."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import IO, Any, Final

from rich.console import Console

from jibe_sqs.commands.dead_letters import DeadLetter, RedriveResult
from jibe_sqs.commands.output import plain, table_of, write_json_line
from jibe_sqs.core.phrases import counted, short_time, utc_iso
from jibe_sqs.telemetry.printable import printable, wrapped

SHORT_ID_LENGTH: Final = 8
"""Characters of an id in a table. The commands accept the beginning of an id."""


async def as_lines(letters: AsyncIterator[DeadLetter], output: IO[str]) -> int:
    """Write one JSON object per letter, without the body. Returns the number of letters."""
    count = 0
    async for letter in letters:
        write_json_line(_row(letter), output)
        count += 1
    return count


async def as_table(letters: AsyncIterator[DeadLetter], output: IO[str]) -> int:
    """Write a table with one row per letter, and the totals per error. Returns the number of letters."""
    table = table_of(expand=True)
    table.add_column("id", no_wrap=True)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("error", no_wrap=True)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    errors: Counter[str] = Counter()
    async for letter in letters:
        minute = short_time(_time(letter))[:11]
        cells = letter.id[:SHORT_ID_LENGTH], minute, letter.error, _reason_alone(letter)
        table.add_row(*map(plain, cells))
        errors[letter.error] += 1
    console = Console(file=output)
    if errors:
        console.print(table)
    console.print(plain(_total(errors)))
    return errors.total()


def as_json_object(letter: DeadLetter, output: IO[str]) -> None:
    """Write the letter with its body as one JSON object."""
    write_json_line({**_row(letter), "body": letter.body}, output)


def as_text(letter: DeadLetter, output: IO[str]) -> None:
    """Write the fields of the letter that have a value, then its body. The line breaks and tabs of the body are kept."""
    fields = {
        "id": letter.id,
        "dead letters": letter.dead_letters,
        "queue": letter.queue,
        "time": _time(letter),
        "error": letter.error,
        "reason": _reason_alone(letter),
        "source": letter.source,
        "first error": letter.first_error,
        "message": letter.message_id,
        "receives": str(letter.receives or ""),
    }
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        if value:
            lines = wrapped(value, first_indent=f"{name:<{width}}", indent=" " * width)
            output.write("\n".join(lines) + "\n")
    output.write("\n" + printable(letter.body, allowed="\n\t") + "\n")


def redriven_as_lines(result: RedriveResult, output: IO[str], *, dry_run: bool) -> None:
    """Write one JSON object per selected letter, with `redriven` and, if it failed, the reason in `why`."""
    for letter in result.letters:
        write_json_line({**_row(letter), "redriven": not dry_run, "why": None}, output)
    for letter, why in result.failed:
        write_json_line({**_row(letter), "redriven": False, "why": why}, output)


def redriven_as_text(result: RedriveResult, output: IO[str], *, dry_run: bool) -> None:
    """Write how many letters were sent back per error, each failure, and how many letters are left."""
    console = Console(file=output, soft_wrap=True)
    by_error = Counter(letter.error for letter in result.letters)
    verb = "would be sent back" if dry_run else "sent back"
    console.print(plain(f"{verb}: {_total(by_error)}"))
    for letter, why in result.failed:
        console.print(plain(f"not sent back: {letter.id}: {why}", style="red"))
    console.print(plain(f"left: {_total(result.left)}"))


def _row(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "dead_letters": letter.dead_letters,
        "queue": letter.queue or None,
        "time": _time(letter),
        "error": letter.error,
        "reason": letter.reason,
        "source": letter.source or None,
        "first_error": letter.first_error or None,
        "message_id": letter.message_id or letter.id,
        "receives": letter.receives or None,
    }


def _time(letter: DeadLetter) -> str:
    """When the message was rejected. If SQS moved it, only the time when it was sent is known."""
    return letter.time or utc_iso(letter.sent_at)


def _reason_alone(letter: DeadLetter) -> str:
    """The reason without the error class, which is shown beside it."""
    return letter.reason.removeprefix(f"{letter.error}: ")


def _total(errors: Counter[str]) -> str:
    if not errors:
        return "no dead letters"
    per_error = ", ".join(f"{count} {error}" for error, count in errors.most_common())
    return f"{counted(errors.total(), 'dead letter')}: {per_error}"
