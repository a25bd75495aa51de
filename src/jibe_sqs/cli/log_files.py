"""`jibe-sqs explain` and `jibe-sqs verify`: commands about log files."""

import asyncio
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import TIME_FORMATS, ConfigOption, JsonOption, flag

ACCOUNT: Final = re.compile(r"\d{12}", re.ASCII)


def explain(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="FILE", help="Log files; - or nothing is standard input.")
    ] = None,
    body: Annotated[bool, flag("--body", "The arguments are message bodies, or files with message bodies.")] = False,
    key: Annotated[
        str | None, typer.Option("--key", help="The key of the object, if it is not the name of the file.")
    ] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="The log bucket, to choose among the configured `logs`.")
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show what each record of log files or of a message would do, and why."""
    from jibe_sqs.commands import explanation_text
    from jibe_sqs.commands.explanations import Explainer
    from jibe_sqs.compose import rules
    from jibe_sqs.settings import Rules

    settings = load(Rules, config)
    explainer = Explainer(
        decisions=rules.decisions(settings), limits=rules.limits(settings), sources=rules.sources(settings)
    )
    if settings.buckets is None and not as_json:
        missing = "`buckets` is not configured" if settings.model_fields_set else "no configuration"
        _note(f"{missing}: each bucket is shown as the folder /BUCKET")
    if not files and sys.stdin.isatty():
        _note("reading standard input; end with Ctrl-D")
    sources = files or ["-"]
    show = explanation_text.as_lines if as_json else explanation_text.as_table
    found = (explainer.of_body(source) if body else explainer.of_file(source, key, bucket) for source in sources)
    raise typer.Exit(0 if show(found, sys.stdout) else 1)


def _note(text: str) -> None:
    print(f"jibe-sqs: {text}", file=sys.stderr, flush=True)  # noqa: T201 - an answer


def verify(
    bucket: Annotated[str, typer.Option("--bucket", help="The log bucket.")],
    account: Annotated[str, typer.Option("--account", help="The AWS account of the trail.")],
    region: Annotated[str, typer.Option("--region", help="The region whose log files are verified.")],
    start: Annotated[
        datetime,
        typer.Option(
            "--from",
            metavar="TIME",
            help="The start of the time range, UTC, such as 2026-01-31T12:00Z.",
            formats=TIME_FORMATS,
        ),
    ],
    end: Annotated[
        datetime | None,
        typer.Option(
            "--to", metavar="TIME", help="The end of the time range, UTC. Default: now.", formats=TIME_FORMATS
        ),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="The prefix of the trail in the bucket.")] = "",
    organization: Annotated[
        str, typer.Option("--organization", help="The organization id, for the trail of an organization.")
    ] = "",
    trail: Annotated[str, typer.Option("--trail", help="Use only the digests of this trail.")] = "",
    verbose: Annotated[bool, flag("--verbose", "List valid files, too.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Check CloudTrail log files against their digests: hashes, signatures, and missing files."""
    from jibe_sqs.commands import verification_text
    from jibe_sqs.commands.findings import Summary
    from jibe_sqs.commands.verification import Scope
    from jibe_sqs.compose.verification import verification
    from jibe_sqs.settings import Rules
    from jibe_sqs.telemetry import logs

    settings = load(Rules, config)
    logs.configure(settings.log.level, settings.log.format)
    scope = Scope(bucket, account, region, prefix, organization, trail)
    since, until = start.replace(tzinfo=UTC), (end or datetime.now(UTC)).replace(tzinfo=UTC)
    if since >= until:
        raise typer.BadParameter(f"--from must be before --to: {since:%Y-%m-%d %H:%M:%S}Z, {until:%Y-%m-%d %H:%M:%S}Z")
    if not ACCOUNT.fullmatch(account):
        raise typer.BadParameter(f"--account must be an account id of 12 digits: {account!r}")

    async def report() -> Summary:
        async with verification(settings, scope) as found:
            findings = found.findings(since, until)
            if as_json:
                return await verification_text.as_lines(findings, sys.stdout)
            return await verification_text.as_text(findings, sys.stdout, verbose=verbose)

    raise typer.Exit(asyncio.run(report()).exit_code)
