"""The command line: one module per group of commands, without logic of its own.

A command imports its code only when it runs. So the program starts fast, and needs the sandbox's packages only for the
sandbox.
"""

import sys
from typing import Annotated

import typer
from rich.console import Console

from jibe_sqs import __version__
from jibe_sqs.cli import dead_letters
from jibe_sqs.cli.backfill import backfill
from jibe_sqs.cli.check import check
from jibe_sqs.cli.compare import compare
from jibe_sqs.cli.history import history
from jibe_sqs.cli.ledger import principals
from jibe_sqs.cli.log_files import explain, verify
from jibe_sqs.cli.options import ConfigOption, flag
from jibe_sqs.cli.refresh import refresh
from jibe_sqs.cli.sandbox import demo, sandbox
from jibe_sqs.cli.service import run
from jibe_sqs.cli.why import why
from jibe_sqs.core.errors import JibeError, SettingsError
from jibe_sqs.telemetry import logs

app = typer.Typer(
    name="jibe-sqs",
    help="Keeps Access Anywhere's index of S3 buckets up to date.",
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def _default(
    context: typer.Context,
    version: Annotated[bool, flag("--version", "Print the version.")] = False,
    config: ConfigOption = None,
) -> None:
    if version:
        print(__version__)  # noqa: T201 - an answer
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.invoke(run, config=config)
    elif config is not None:
        raise typer.BadParameter(
            f"--config comes after the command: jibe-sqs {context.invoked_subcommand} --config FILE"
        )


app.command()(run)
app.command()(check)
app.command()(why)
app.command()(compare)
app.command()(refresh)
app.command()(backfill)
app.command()(history)
app.command()(explain)
app.command()(verify)
app.command()(principals)
app.add_typer(dead_letters.app)
app.command()(demo)
app.command()(sandbox)


def main() -> None:
    """Run a command. An operator's mistake ends in a few lines and exit code 2, not in a traceback."""
    logs.take_standard_error()
    # Log lines from before the settings are loaded are not part of a command's output.
    logs.configure("info", "auto")
    if wrong := [each for each in sys.argv[1:] if not _is_unicode(each)]:
        print(f"jibe-sqs: an argument is not UTF-8: {wrong[0]!a}", file=sys.stderr)  # noqa: T201 - an answer
        sys.exit(2)
    try:
        app()
    except SettingsError as error:
        _show_mistakes(error)
        sys.exit(2)
    except JibeError as error:
        Console(stderr=True, soft_wrap=True).print(f"jibe-sqs: {type(error).__name__}: {error}", markup=False)
        sys.exit(1)


def _is_unicode(text: str) -> bool:
    """Whether it can be part of a key or a path. Python passes other bytes of an argument on as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show_mistakes(error: SettingsError) -> None:
    """Print at most ten lines, for any number of mistakes."""
    advice = [
        "Give these in a JSON file (--config FILE) or as variables, such as",
        "JIBE_ACCESS_ANYWHERE__ENDPOINT=https://files.example.com; see docs/reference/configuration.md",
    ]
    after = advice if error.is_incomplete else []
    room = 9 - len(after)
    shown = error.problems if len(error.problems) <= room else error.problems[: room - 1]
    lines = ["jibe-sqs: the configuration is incomplete or wrong.", *(f"  {line}" for line in shown)]
    if left := len(error.problems) - len(shown):
        lines.append(f"  (and {left} more)")
    lines += after
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - an answer
