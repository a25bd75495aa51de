"""The commands. No logic of their own."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.console import Console

from jibe_sqs import __version__
from jibe_sqs.core.errors import JibeError, SettingsError
from jibe_sqs.sandbox.formats import LOG_FILES, Format
from jibe_sqs.sandbox.scenario import Scenario, Strategy, Via
from jibe_sqs.telemetry import logs

if TYPE_CHECKING:
    from jibe_sqs.commands.dead_letters import DeadLetterQueue
    from jibe_sqs.settings import AwsSettings, Rules

T = TypeVar("T")
S = TypeVar("S", bound="Rules")

app = typer.Typer(
    name="jibe-sqs",
    help="Keeps Access Anywhere's index of S3 buckets true.",
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]

ConfigOption = Annotated[
    str | None,
    typer.Option("--config", "-c", help="Configuration file (JSON or TOML), or its s3:// address; else JIBE_CONFIG's."),
]


@app.callback()
def _default(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    config: ConfigOption = None,
) -> None:
    if version:
        print(__version__)  # noqa: T201
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.invoke(run, config=config)
    elif config is not None:
        raise typer.BadParameter(
            f"--config comes after the command: jibe-sqs {context.invoked_subcommand} --config FILE"
        )


@app.command()
def run(config: ConfigOption = None) -> None:
    """Consume the queues, until SIGTERM. The default command."""
    from jibe_sqs import compose
    from jibe_sqs.settings import Settings

    settings = _load(Settings, config)
    logs.configure(settings.log.level, settings.log.format)

    async def serve() -> None:
        async with compose.service(settings) as service:
            await service.run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(serve())


@app.command()
def explain(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE…", help="Log files; - is standard input.")] = None,
    body: Annotated[
        bool, typer.Option("--body", help="The files (or the words themselves) are message bodies, not log files.")
    ] = False,
    key: Annotated[str | None, typer.Option("--key", help="The object's key, where the file's name is not it.")] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="The log bucket, to choose among the configured `logs`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """Say what each record of log files, or a message's body, would do, and why."""
    from jibe_sqs import compose
    from jibe_sqs.commands import explanations
    from jibe_sqs.settings import Rules

    rules = _load(Rules, config)
    explainer = explanations.Explainer(
        decisions=compose.decisions(rules), limits=compose.limits(rules), sources=compose.sources(rules)
    )
    sources = files or ["-"]
    show = explanations.as_lines if as_json else explanations.as_table
    found = (explainer.of_body(source) if body else explainer.of_file(source, key, bucket) for source in sources)
    raise typer.Exit(0 if show(found, sys.stdout) else 1)


@app.command()
def verify(
    bucket: Annotated[str, typer.Option("--bucket", help="The log bucket.")],
    account: Annotated[str, typer.Option("--account", help="The AWS account whose trail it is.")],
    region: Annotated[str, typer.Option("--region", help="The region whose logs are verified.")],
    start: Annotated[datetime, typer.Option("--from", help="The first moment, UTC.", formats=MOMENTS)],
    end: Annotated[
        datetime | None, typer.Option("--to", help="The last moment, UTC; else now.", formats=MOMENTS)
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="The trail's prefix in the bucket.")] = "",
    organization: Annotated[str, typer.Option("--organization", help="The id of an organization trail's.")] = "",
    trail: Annotated[str, typer.Option("--trail", help="Only this trail's digests.")] = "",
    verbose: Annotated[bool, typer.Option("--verbose", help="Valid files too, one by one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """Check CloudTrail's log files against its digests: hashes, signatures, and that none is missing."""
    from jibe_sqs import compose
    from jibe_sqs.commands import verification
    from jibe_sqs.settings import Rules

    settings = _load(Rules, config)
    logs.configure(settings.log.level, settings.log.format)
    scope = verification.Scope(bucket, account, region, prefix, organization, trail)
    until = end or datetime.now(UTC)

    async def report() -> verification.Summary:
        async with compose.verification(settings, scope) as found:
            findings = found.findings(start.replace(tzinfo=UTC), until.replace(tzinfo=UTC))
            if as_json:
                return await verification.as_lines(findings, sys.stdout)
            return await verification.as_text(findings, sys.stdout, verbose=verbose)

    raise typer.Exit(asyncio.run(report()).exit_code)


@app.command()
def principals(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """Who changed objects, first and last seen, and how often, as the ledger remembers."""
    from jibe_sqs import compose
    from jibe_sqs.commands import principals
    from jibe_sqs.settings import Rules

    settings = _load(Rules, config)

    async def look() -> None:
        async with compose.ledger(settings) as ledger:
            (principals.as_lines if as_json else principals.as_table)(await ledger.principals(), sys.stdout)

    asyncio.run(look())


dead_letters = typer.Typer(name="dead-letters", help="Look at rejected messages, and send them back.")
app.add_typer(dead_letters)


@dead_letters.command("list")
def list_dead_letters(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """The dead letters of all queues, and why each was rejected."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetterQueue, listed

    async def look(queues: list[DeadLetterQueue]) -> None:
        async with aclosing(listed(queues)) as letters:
            await (dead_letter_text.as_lines if as_json else dead_letter_text.as_table)(letters, sys.stdout)

    _with_dead_letters(config, look)


@dead_letters.command()
def show(
    which: Annotated[str, typer.Argument(metavar="ID", help="Its id, or the beginning of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
    config: ConfigOption = None,
) -> None:
    """A dead letter, whole: all that is told of it, and its body."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetterQueue, listed

    async def look(queues: list[DeadLetterQueue]) -> bool:
        found = False
        async with aclosing(listed(queues)) as letters:
            async for letter in letters:
                if letter.is_named(which):
                    (dead_letter_text.as_json_object if as_json else dead_letter_text.as_text)(letter, sys.stdout)
                    found = True
        return found

    if not _with_dead_letters(config, look):
        print(f"jibe-sqs: no dead letter's id begins with {which}", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1)


@dead_letters.command()
def redrive(
    which: Annotated[list[str] | None, typer.Argument(metavar="ID…", help="Ids, or the beginnings of them.")] = None,
    reasons: Annotated[
        list[str] | None, typer.Option("--reason", help="Those with this error, such as LogMissing, or not-told.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which would be sent back.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    config: ConfigOption = None,
) -> None:
    """Send dead letters back to their queues, once the cause is mended: each is a new start."""
    from jibe_sqs.commands import dead_letter_text
    from jibe_sqs.commands.dead_letters import DeadLetter, DeadLetterQueue, Redriven, redriven

    if sum(map(bool, (which, reasons, everything))) != 1:
        raise typer.BadParameter("say which: by their ids, by --reason, or --all")

    def wanted(letter: DeadLetter) -> bool:
        return everything or letter.error in (reasons or ()) or any(map(letter.is_named, which or ()))

    async def send(queues: list[DeadLetterQueue]) -> Redriven:
        return await redriven(queues, wanted, dry_run=dry_run)

    done = _with_dead_letters(config, send)
    if as_json:
        dead_letter_text.redriven_as_lines(done, sys.stdout, dry_run=dry_run)
    else:
        dead_letter_text.redriven_as_text(done, sys.stdout, dry_run=dry_run)
    nobody = done.names_of_nobody(which or ())
    for word in nobody:
        print(f"jibe-sqs: no dead letter's id begins with {word}", file=sys.stderr)  # noqa: T201
    raise typer.Exit(1 if done.failed or nobody else 0)


def _load(kind: "type[S]", config: str | None) -> "S":
    from jibe_sqs.settings import load

    return load(kind, config=config, fetch=_fetch)


def _fetch(bucket: str, key: str, aws: "AwsSettings") -> bytes:
    from jibe_sqs import compose

    return asyncio.run(compose.configuration(bucket, key, aws))


def _with_dead_letters(config: str | None, act: "Callable[[list[DeadLetterQueue]], Awaitable[T]]") -> T:
    from jibe_sqs import compose
    from jibe_sqs.settings import Queues

    settings = _load(Queues, config)
    logs.configure(settings.log.level, settings.log.format)

    async def opened() -> T:
        async with compose.dead_letters(settings) as queues:
            return await act(queues)

    return asyncio.run(opened())


@app.command()
def demo(
    changes: Annotated[int, typer.Option("--changes", min=1, help="How many changes to make.")] = 400,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same changes.")] = 1,
    kill_consumer: Annotated[
        bool, typer.Option("--kill-consumer", help="Kill -9 the consumer half-way, and start another.")
    ] = False,
    patience: Annotated[
        float | None, typer.Option("--patience", min=0, help="Seconds to wait for the index after the last change.")
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="How changes are told; mixed: each bucket in its own way.")
    ] = Format.MIXED,
    strategy: Annotated[
        Strategy, typer.Option("--strategy", help="How Access Anywhere is made to see changes.")
    ] = Strategy.REFRESH,
    aa_failures: Annotated[
        float, typer.Option("--aa-failures", min=0, max=0.9, help="The share of Access Anywhere's calls that fail.")
    ] = 0.0,
    aa_outage: Annotated[
        float, typer.Option("--aa-outage", min=0, help="Seconds that Access Anywhere is down, half-way.")
    ] = 0.0,
    logs_via: Annotated[
        Via, typer.Option("--logs-via", help="How logs are fetched; without credentials for S3 unless it is s3.")
    ] = Via.S3,
    lose_notifications: Annotated[
        bool, typer.Option("--lose-notifications", help="Nobody announces log files: sweeps find them.")
    ] = False,
    aws_endpoint: Annotated[
        str,
        typer.Option("--aws-endpoint", help="A new, empty server that speaks S3, SQS and SNS, not the embedded AWS."),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one JSON object.")] = False,
) -> None:
    """The whole job in the sandbox, judged at the end: exit code 0 only if the index is true."""
    if lose_notifications and format_ not in (Format.MIXED, *LOG_FILES):
        raise typer.BadParameter(f"{format_} is told in messages alone: without them, nobody tells of anything")
    with _sandbox_extra():
        from jibe_sqs.sandbox.demo import demo as run_demo
        from jibe_sqs.sandbox.demo_output import Watching, as_json_object, as_text
    with Watching(quiet=as_json) as watch:
        summary = run_demo(
            changes=changes,
            seed=seed,
            scenario=Scenario(
                format_=format_,
                logs_via=logs_via,
                lose_notifications=lose_notifications,
                strategy=strategy,
                aa_failures=aa_failures,
                aa_outage=aa_outage,
                kill_consumer=kill_consumer,
                aws_endpoint=aws_endpoint,
            ),
            watch=watch,
            patience=patience,
        )
    (as_json_object if as_json else as_text)(summary, sys.stdout)
    raise typer.Exit(0 if summary.in_sync else 1)


@app.command()
def sandbox(
    consume: Annotated[bool, typer.Option("--consume", help="Run a consumer as well.")] = False,
    changes: Annotated[int, typer.Option("--changes", min=0, help="Make so many changes first.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same changes.")] = 1,
    format_: Annotated[Format, typer.Option("--format", help="How changes are told.")] = Format.CLOUDTRAIL,
    as_json: Annotated[bool, typer.Option("--json", help="Say where all is as one JSON line.")] = False,
) -> None:
    """AWS and Access Anywhere on this machine, until stopped. No account needed."""
    with _sandbox_extra():
        from jibe_sqs.sandbox.stay import stay
    stay(consume=consume, changes=changes, seed=seed, as_json=as_json, scenario=Scenario(format_=format_))


@contextmanager
def _sandbox_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        print(f"The sandbox needs {error.name}: pip install 'jibe-sqs[sandbox]'", file=sys.stderr)  # noqa: T201
        raise typer.Exit(1) from error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say_what_is_wrong(error: SettingsError) -> None:
    """At most ten lines, whatever the number of mistakes."""
    advice = [
        "Give these in a JSON file (jibe-sqs run --config FILE) or as variables, such as",
        "JIBE_ACCESS_ANYWHERE__ENDPOINT=https://files.example.com; see docs/configuration.md",
    ]
    after = advice if error.in_settings else []
    room = 9 - len(after)
    shown = error.problems if len(error.problems) <= room else error.problems[: room - 1]
    lines = ["jibe-sqs cannot start: the configuration is incomplete or wrong.", *(f"  {line}" for line in shown)]
    if left := len(error.problems) - len(shown):
        lines.append(f"  (and {left} more)")
    lines += after
    print("\n".join(lines), file=sys.stderr)  # noqa: T201


def main() -> None:
    """Run a command. Mistakes of the operator's end in a few lines and exit code 2, not in a traceback."""
    # What is logged before the configuration is known, or without one, is no part of a command's output.
    logs.configure("info", "auto")
    try:
        app()
    except SettingsError as error:
        _say_what_is_wrong(error)
        sys.exit(2)
    except JibeError as error:
        Console(stderr=True, soft_wrap=True).print(f"jibe-sqs: {type(error).__name__}: {error}", markup=False)
        sys.exit(1)
