"""Dead letters, for people and for programs."""

import textwrap
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import IO, Any, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jibe_sqs.commands.dead_letters import DeadLetter, Redriven
from jibe_sqs.telemetry.printable import printable

SHORT: Final = 8
"""Characters of an id that are shown in a table; any beginning of an id will do for naming a letter."""
WIDTH: Final = 80


async def as_lines(letters: AsyncIterator[DeadLetter], output: IO[str]) -> int:
    """One JSON object a line, without the body; how many there were."""
    count = 0
    async for letter in letters:
        output.write(_json(_row(letter)))
        count += 1
    return count


async def as_table(letters: AsyncIterator[DeadLetter], output: IO[str]) -> int:
    """A line a letter, and what they come to; how many there were."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("id", no_wrap=True)
    table.add_column("time (UTC)", no_wrap=True)
    table.add_column("error", no_wrap=True)
    table.add_column("reason", no_wrap=True, overflow="ellipsis", ratio=1)
    errors: Counter[str] = Counter()
    async for letter in letters:
        reason = letter.reason.removeprefix(f"{letter.error}: ")
        shown = letter.id[:SHORT], _time(letter)[5:16].replace("T", " "), letter.error, reason
        table.add_row(*(Text(printable(each)) for each in shown))
        errors[letter.error] += 1
    console = Console(file=output)
    if errors:
        console.print(table)
    console.print(Text(_sum(errors)))
    return errors.total()


def as_json_object(letter: DeadLetter, output: IO[str]) -> None:
    """The whole letter as one JSON object."""
    output.write(_json({**_row(letter), "body": letter.body}))


def as_text(letter: DeadLetter, output: IO[str]) -> None:
    """The whole letter: what is told of it, and its body as it is."""
    told = {
        "id": letter.id,
        "dead letters": letter.dead_letters,
        "queue": letter.queue,
        "time": _time(letter),
        "error": letter.error,
        "reason": letter.reason.removeprefix(f"{letter.error}: "),
        "source": letter.source,
        "first error": letter.first_error,
        "message": letter.message_id,
        "receives": str(letter.receives or ""),
    }
    indent = max(map(len, told)) + 2
    for name, value in told.items():
        if value:
            lines = textwrap.wrap(
                printable(value), WIDTH, initial_indent=f"{name:<{indent}}", subsequent_indent=" " * indent
            )
            output.write("\n".join(lines) + "\n")
    output.write("\n" + printable(letter.body, kept="\n\t") + "\n")


def redriven_as_lines(done: Redriven, output: IO[str], *, dry_run: bool) -> None:
    """One JSON object a letter that was to be sent back, with `redriven` and, where that failed, `why`."""
    for letter in done.letters:
        output.write(_json({**_row(letter), "redriven": not dry_run, "why": None}))
    for letter, why in done.failed:
        output.write(_json({**_row(letter), "redriven": False, "why": why}))


def redriven_as_text(done: Redriven, output: IO[str], *, dry_run: bool) -> None:
    """How many, by their errors; what failed, one by one; and what is left."""
    console = Console(file=output, soft_wrap=True)
    by_error = Counter(letter.error for letter in done.letters)
    verb = "would be sent back" if dry_run else "sent back"
    console.print(Text(f"{verb}: {_sum(by_error)}"))
    for letter, why in done.failed:
        console.print(Text(f"not sent back: {letter.id}: {printable(why)}", style="red"))
    console.print(Text(f"left: {_sum(done.left)}"))


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
    """When it was given up; or else when it was sent, which of a message that SQS moved is all that is known."""
    return letter.time or datetime.fromtimestamp(letter.sent_at, UTC).isoformat(timespec="seconds").replace(
        "+00:00", "Z"
    )


def _sum(errors: Counter[str]) -> str:
    if not errors:
        return "no dead letters"
    each = ", ".join(f"{count} {error}" for error, count in errors.most_common())
    total = errors.total()
    return f"{total:,} dead letter{'s' if total != 1 else ''}: {each}"


def _json(found: dict[str, Any]) -> str:
    return orjson.dumps(found).decode() + "\n"
