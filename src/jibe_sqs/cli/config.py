"""`jibe-sqs config`: the effective settings, and the schema of the configuration file."""

import sys
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, JsonOption, flag

app = typer.Typer(name="config", help="Look at the settings.")


@app.command()
def show(
    only_changed: Annotated[bool, flag("--changed", "Show only settings that are not defaults.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show every setting with its value and its source. Secrets are masked."""
    from jibe_sqs.commands import settings_text
    from jibe_sqs.settings import Settings
    from jibe_sqs.settings.effective import DEFAULT, effective

    found = effective(load(Settings, config, with_secrets=False))
    if only_changed:
        found = [each for each in found if each.source != DEFAULT]
    (settings_text.as_lines if as_json else settings_text.as_table)(found, sys.stdout)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    import json

    from jibe_sqs.settings.schema import configuration_schema

    json.dump(configuration_schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
