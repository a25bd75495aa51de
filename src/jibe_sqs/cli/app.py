"""All commands with their options."""

from typing import Annotated

import typer

from jibe_sqs import __version__
from jibe_sqs.cli import config as config_commands
from jibe_sqs.cli import dead_letters
from jibe_sqs.cli.backfill import backfill
from jibe_sqs.cli.check import check
from jibe_sqs.cli.compare import compare
from jibe_sqs.cli.history import history
from jibe_sqs.cli.ledger import principals
from jibe_sqs.cli.log_files import explain, verify
from jibe_sqs.cli.options import ConfigOption, flag
from jibe_sqs.cli.pause import pause, resume
from jibe_sqs.cli.refresh import refresh
from jibe_sqs.cli.sandbox import demo, sandbox
from jibe_sqs.cli.service import run as run_service
from jibe_sqs.cli.status import status
from jibe_sqs.cli.support_bundle import support_bundle
from jibe_sqs.cli.why import why

app = typer.Typer(
    name="jibe-sqs",
    help="Keeps Access Anywhere's index of S3 buckets up to date.",
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


WorkerOption = Annotated[str | None, typer.Option("--worker", hidden=True)]
"""Which worker this process is. Only the supervisor of the workers gives it."""


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


@app.command()
def run(config: ConfigOption = None, worker: WorkerOption = None) -> None:
    """Consume the queues until SIGTERM. This is the default command."""
    raise typer.Exit(run_service(config, worker))


app.command()(status)
app.command()(check)
app.command()(why)
app.command()(compare)
app.command()(refresh)
app.command()(pause)
app.command()(resume)
app.command()(backfill)
app.command()(history)
app.command()(explain)
app.command()(verify)
app.command()(principals)
app.command()(support_bundle)
app.add_typer(dead_letters.app)
app.add_typer(config_commands.app)
app.command()(demo)
app.command()(sandbox)
