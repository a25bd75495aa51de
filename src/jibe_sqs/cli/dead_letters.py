"""`jibe-sqs dead-letters`: list, show and redrive rejected messages."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, JsonOption, flag

if TYPE_CHECKING:
    from jibe_sqs.commands.dead_letters import DeadLetterQueue

T = TypeVar("T")

app = typer.Typer(name="dead-letters", help="Look at rejected messages, and redrive them.")


@app.command("list")
def list_dead_letters(as_json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the dead letters of all queues, and the reason of each."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetterQueue, all_letters

    async def show_all(queues: list[DeadLetterQueue]) -> None:
        async with aclosing(all_letters(queues)) as letters:
            await (dead_letter_text.as_lines if as_json else dead_letter_text.as_table)(letters, sys.stdout)

    _with_queues(config, show_all)


@app.command()
def show(
    which: Annotated[str, typer.Argument(metavar="ID", help="The id of a dead letter, or the beginning of it.")],
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show everything that is known about a dead letter, and its body."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetterQueue, all_letters

    async def show_one(queues: list[DeadLetterQueue]) -> bool:
        found = False
        async with aclosing(all_letters(queues)) as letters:
            async for letter in letters:
                if letter.has_id(which):
                    (dead_letter_text.as_json_object if as_json else dead_letter_text.as_text)(letter, sys.stdout)
                    found = True
        return found

    if not _with_queues(config, show_one):
        _report_unknown(which)
        raise typer.Exit(1)


@app.command()
def redrive(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids of dead letters, or the beginnings of them.")
    ] = None,
    reasons: Annotated[
        list[str] | None,
        typer.Option("--reason", help="Redrive those with this error, for example LogMissing, or unknown."),
    ] = None,
    everything: Annotated[bool, flag("--all", "Redrive all of them.")] = False,
    dry_run: Annotated[bool, flag("--dry-run", "Only list what would be sent back.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Send dead letters back to their queues after you have fixed the cause. Their receive counts start anew."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetter, DeadLetterQueue, RedriveResult
    from jibe_sqs.commands.dead_letters import redrive as send_back

    if sum(map(bool, (which, reasons, everything))) != 1:
        raise typer.BadParameter("say which dead letters: give their ids, or --reason, or --all")

    def is_selected(letter: DeadLetter) -> bool:
        return everything or any(map(letter.has_error, reasons or ())) or any(map(letter.has_id, which or ()))

    async def send(queues: list[DeadLetterQueue]) -> RedriveResult:
        return await send_back(queues, is_selected, dry_run=dry_run)

    result = _with_queues(config, send)
    if as_json:
        dead_letter_text.redriven_as_lines(result, sys.stdout, dry_run=dry_run)
    else:
        dead_letter_text.redriven_as_text(result, sys.stdout, dry_run=dry_run)
    unknown = result.unknown_ids(which or ())
    for each in unknown:
        _report_unknown(each)
    raise typer.Exit(1 if result.failed or unknown else 0)


def _report_unknown(which: str) -> None:
    print(f"jibe-sqs: no dead letter has an id that begins with {which}", file=sys.stderr)  # noqa: T201 - an answer


def _with_queues(config: str | None, use: "Callable[[list[DeadLetterQueue]], Awaitable[T]]") -> T:
    from jibe_sqs.compose.dead_letters import dead_letters
    from jibe_sqs.settings import Queues
    from jibe_sqs.telemetry import logs

    settings = load(Queues, config)
    logs.configure(settings.log.level, settings.log.format)

    async def opened() -> T:
        async with dead_letters(settings) as queues:
            return await use(queues)

    return asyncio.run(opened())
