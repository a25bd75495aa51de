"""`jibe-sqs config`: the effective settings, the schema of the configuration file, and the policy that it needs."""

import sys
from typing import Annotated

import typer

from jibe_sqs.cli.loading import load, load_without_account, read
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


@app.command()
def policy(
    check: Annotated[bool, flag("--check", "Also allow what `jibe-sqs check` reads.")] = False,
    compare: Annotated[bool, flag("--compare", "Also allow to list the data buckets, to compare them.")] = False,
    role: Annotated[
        str, typer.Option("--role", metavar="ARN", help="The policy of a role that the configuration assumes.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Print the IAM policy that this configuration needs. Notes about it go to standard error."""
    import json

    from jibe_sqs.compose.needed_permissions import Asked, needed_permissions
    from jibe_sqs.core.iam_policies import MAX_INLINE, is_too_long, policy_document
    from jibe_sqs.settings import store_of_configuration
    from jibe_sqs.settings.sources import address_of
    from jibe_sqs.telemetry.printable import printable

    texts = read(config)
    settings, has_account = load_without_account(texts)
    store = store_of_configuration(texts.secrets)
    asked = Asked(address_of(texts.source) if texts.source else None, store, check=check, compare=compare)
    needed = needed_permissions(settings, asked)
    if role not in needed.grants:
        raise typer.BadParameter(f"the configuration assumes no role {role}")
    document = json.dumps(policy_document(needed.grants[role]), indent=2)
    sys.stdout.write(f"{document}\n")
    notes = [*needed.notes]
    if not has_account:
        notes.append(
            "the account of Access Anywhere is not in the configuration: if variables refer to it, set them here, too"
        )
    if not needed.grants[role]:
        notes.append("no permission in AWS is needed: IAM accepts no policy without statements, so attach none")
    if is_too_long(document, MAX_INLINE):
        notes.append(
            "the policy is too long for IAM: name buckets by a pattern, such as arn:aws:s3:::example-*, or split it into managed policies"
        )
    elif is_too_long(document):
        notes.append(
            "the policy is too long for a managed policy: attach it to the role as an inline policy, or split it"
        )
    for note in notes:
        print(f"jibe-sqs: {printable(note)}", file=sys.stderr)  # noqa: T201 - an answer
