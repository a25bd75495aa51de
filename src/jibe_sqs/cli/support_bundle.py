"""`jibe-sqs support-bundle`: what support needs, in one archive without secrets."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, flag


def support_bundle(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The archive. Default: a new file in this folder."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="The service's log, if it does not run any more.")
    ] = None,
    hide_names: Annotated[
        bool, flag("--hide-names", "Replace the names of buckets, objects and folders by hashes.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Write an archive for support: check, status, settings, log, versions and ledger, without secrets.

    It works also if the service is dead, if nothing answers, and if the configuration is invalid.
    """
    from jibe_sqs.compose.support_bundle import SupportBundle
    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.settings.raw import RawConfiguration
    from jibe_sqs.telemetry import logs

    # What fails is in the archive.
    logs.configure("error", "auto")
    settings = mistakes = None
    try:
        settings = load(Settings, config, with_secrets=False)
    except SettingsError as error:
        mistakes = error
    path = output or Path(time.strftime("jibe-sqs-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    bundle = SupportBundle(settings, mistakes, RawConfiguration(config), log_file=log, hides_names=hide_names)
    try:
        found = asyncio.run(bundle.write(path))
    except OSError as error:
        print(f"jibe-sqs: {path}: cannot be written: {error.strerror or error}", file=sys.stderr)  # noqa: T201 - an answer
        raise typer.Exit(1) from None
    print(f"{path}: {path.stat().st_size:,} bytes, readable by you alone")  # noqa: T201 - an answer
    for each in found:
        if each.reason:
            print(f"  without {each.name}: {each.reason}")  # noqa: T201 - an answer
    print("Secrets were removed. Look into it before you send it.")  # noqa: T201 - an answer
