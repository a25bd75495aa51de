"""`jibe-sqs demo` and `jibe-sqs sandbox`: the embedded world. It is imported only when one of them runs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Literal

import typer

from jibe_sqs.cli.options import flag

# The words of the sandbox's own enums, which are imported only when a command runs. A test compares them.
Feed = Literal[
    "cloudtrail",
    "s3-event",
    "minio-event",
    "ceph-event",
    "eventbridge",
    "access-log",
    "lyve-audit",
    "minio-audit",
    "mixed",
]
Strategy = Literal["refresh", "provider-event"]
LogsVia = Literal["s3", "access-anywhere"]

SeedOption = Annotated[int, typer.Option("--seed", help="The same seed makes the same changes.")]


def demo(
    changes: Annotated[int, typer.Option("--changes", min=1, help="Number of changes to make.")] = 400,
    seed: SeedOption = 1,
    kill_consumer: Annotated[
        bool, flag("--kill-consumer", "Kill the consumer (kill -9) half-way, and start another one.")
    ] = False,
    patience: Annotated[
        float | None, typer.Option("--patience", min=0, help="Seconds to wait for the index after the last change.")
    ] = None,
    format_: Annotated[
        Feed, typer.Option("--format", help="How changes are announced; mixed: each bucket in its own way.")
    ] = "mixed",
    strategy: Annotated[
        Strategy, typer.Option("--strategy", help="How Access Anywhere learns of changes.")
    ] = "refresh",
    aa_failures: Annotated[
        float, typer.Option("--aa-failures", min=0, max=0.9, help="The share of calls to Access Anywhere that fail.")
    ] = 0.0,
    aa_outage: Annotated[
        float, typer.Option("--aa-outage", min=0, help="Seconds that Access Anywhere is down, half-way.")
    ] = 0.0,
    logs_via: Annotated[
        LogsVia,
        typer.Option(
            "--logs-via",
            help="How log files are fetched. With access-anywhere, the consumer has no credentials for S3.",
        ),
    ] = "s3",
    lose_notifications: Annotated[
        bool, flag("--lose-notifications", "No log file is announced: sweeps find them.")
    ] = False,
    aws_endpoint: Annotated[
        str,
        typer.Option(
            "--aws-endpoint", help="Use this new, empty server for S3, SQS and SNS instead of the embedded AWS."
        ),
    ] = "",
    as_json: Annotated[bool, flag("--json", "Print the summary as one JSON object.")] = False,
) -> None:
    """Do the whole job in the sandbox, and check the result. The exit code is 0 only if the index is up to date."""
    from jibe_sqs.sandbox import scenario
    from jibe_sqs.sandbox.change_feeds import LOG_FORMATS, ChangeFeed

    if lose_notifications and format_ not in (ChangeFeed.MIXED, *LOG_FORMATS):
        raise typer.BadParameter(
            f"{format_} events arrive only as messages; it cannot be combined with --lose-notifications"
        )
    chosen = scenario.Scenario(
        format_=ChangeFeed(format_),
        logs_via=scenario.Via(logs_via),
        lose_notifications=lose_notifications,
        strategy=scenario.Strategy(strategy),
        aa_failures=aa_failures,
        aa_outage=aa_outage,
        kill_consumer=kill_consumer,
        aws_endpoint=aws_endpoint,
    )
    with _sandbox_extra(chosen.starting, quiet=as_json):
        from jibe_sqs.sandbox.demo import demo as run_demo
        from jibe_sqs.sandbox.demo_output import Watching, as_json_object, as_text
    with Watching(quiet=as_json, phase=chosen.starting) as watch:
        summary = run_demo(changes=changes, seed=seed, scenario=chosen, watch=watch, patience=patience)
    (as_json_object if as_json else as_text)(summary, sys.stdout)
    raise typer.Exit(0 if summary.in_sync else 1)


def sandbox(
    consume: Annotated[bool, flag("--consume", "Run a consumer, too.")] = False,
    changes: Annotated[int, typer.Option("--changes", min=0, help="Make this number of changes first.")] = 0,
    seed: SeedOption = 1,
    format_: Annotated[Feed, typer.Option("--format", help="How changes are announced.")] = "cloudtrail",
    as_json: Annotated[bool, flag("--json", "Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run AWS and Access Anywhere on this machine until stopped. No account is needed."""
    from jibe_sqs.sandbox.change_feeds import ChangeFeed
    from jibe_sqs.sandbox.scenario import Scenario

    scenario = Scenario(format_=ChangeFeed(format_))
    with _sandbox_extra(scenario.starting, quiet=as_json):
        from jibe_sqs.sandbox.stay import stay
    stay(consume=consume, changes=changes, seed=seed, as_json=as_json, scenario=scenario)


@contextmanager
def _sandbox_extra(starting: str, *, quiet: bool) -> Iterator[None]:
    """For the imports of the sandbox's packages. They take seconds, so the text is printed before them."""
    if not quiet:
        print(f"{starting} …", file=sys.stderr, flush=True)  # noqa: T201 - progress
    try:
        yield
    except ModuleNotFoundError as error:
        install = "pip install '.[sandbox]' in a checkout, or use make demo"
        print(f"The sandbox needs {error.name}: {install}", file=sys.stderr)  # noqa: T201 - an answer
        raise typer.Exit(1) from error
