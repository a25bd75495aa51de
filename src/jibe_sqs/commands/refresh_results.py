"""What came of the refreshes that an operator asked for: collected step by step, and shown."""

from collections.abc import AsyncIterable, Callable
from typing import IO, Final, Self

import msgspec
from rich.console import Console

from jibe_sqs.commands.output import plain, write_json_line
from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.model import Folder
from jibe_sqs.core.phrases import counted
from jibe_sqs.syncing.operator_refreshes import Ended, Progress, Step

_THROUGH: Final = {"service": "through the running service", "direct": "directly: no running service answered"}


class RefreshResult(msgspec.Struct):
    """`through`: `service` or `direct`."""

    through: str
    refreshed: list[Folder] = []
    failed: list[Ended] = []

    @classmethod
    def of_nothing(cls, error: JibeError) -> Self:
        """The result if no refresh could begin. The failure names no folder."""
        return cls("direct", failed=[Ended(Folder(""), type(error).__name__, str(error))])

    @property
    def exit_code(self) -> int:
        """1 if anything failed."""
        return 1 if self.failed else 0


async def collected(steps: AsyncIterable[Step], result: RefreshResult, show: Callable[[str], None]) -> None:
    """Add the steps to the result. `show` gets a short text about the progress."""
    async for step in steps:
        match step:
            case Progress():
                show(f"{counted(step.ended, 'folder')} refreshed, {step.pending:,} to go")
            case Ended(error=""):
                result.refreshed.append(step.folder)
            case Ended():
                result.failed.append(step)


def as_json_object(result: RefreshResult, output: IO[str]) -> None:
    """Write one JSON object. A folder that ends in `/**` means everything below it."""
    write_json_line(
        {
            "refreshed": [str(folder) for folder in result.refreshed],
            "failed": [
                {"folder": str(each.folder), "error": each.error, "reason": each.reason} for each in result.failed
            ],
            "through": result.through,
        },
        output,
    )


def as_text(result: RefreshResult, output: IO[str]) -> None:
    """Write a line for each folder, and a summary."""
    console = Console(file=output, soft_wrap=True)
    for folder in result.refreshed:
        console.print(plain(f"refreshed  {folder}"))
    for each in result.failed:
        console.print(plain(f"failed     {each.folder}", "red"))
        console.print(plain(f"           {each.error}: {each.reason}", "red"))
    failed = f", {len(result.failed):,} failed" if result.failed else ""
    console.print(f"{counted(len(result.refreshed), 'folder')} refreshed{failed}, {_THROUGH[result.through]}")
