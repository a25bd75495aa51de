"""`jibe-sqs pause` and `jibe-sqs resume`: for the maintenance of Access Anywhere."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, JsonOption, errors_as_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jibe_sqs.adapters.control_messages import PauseAnswer
    from jibe_sqs.compose.pause_commands import Pauser
    from jibe_sqs.core.errors import SettingsError

ProviderArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROVIDER]", help="The name of a provider's folder, such as 'Amazon S3'. Default: everything."
    ),
]


def pause(
    duration: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, such as 30m, 2h or 1d.")],
    provider: ProviderArgument = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for those who see the pause.")] = "",
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Call Access Anywhere no more for a while. Messages wait, and use up no receives."""
    from jibe_sqs.adapters.control_messages import PauseRequest

    _check_provider(provider)
    request = PauseRequest(_seconds(duration, provider), provider or "", reason)
    _check_length("--reason", reason)
    answer = _asked(lambda pauser: pauser.pause(request), as_json=as_json, config=config)
    _print(answer, as_json=as_json)


def resume(
    provider: ProviderArgument = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """End the pause of a provider, or all pauses, before its time."""
    from jibe_sqs.adapters.control_messages import ResumeRequest

    _check_provider(provider)
    answer = _asked(lambda pauser: pauser.resume(ResumeRequest(provider)), as_json=as_json, config=config)
    _print(answer, as_json=as_json, is_resumed=True)


def _seconds(text: str, provider: str | None) -> float:
    from jibe_sqs.core.pauses import MAX_PROVIDER_SECONDS, MAX_SECONDS
    from jibe_sqs.settings.types import duration

    most = MAX_PROVIDER_SECONDS if provider else MAX_SECONDS
    try:
        seconds = duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--for: {error}") from None
    if not 0 < seconds <= most:
        what = "one provider" if provider else "everything"
        raise typer.BadParameter(f"--for: {what} can be paused for at most {most / 86_400:g} days")
    return seconds


def _check_provider(provider: str | None) -> None:
    """An empty name is more often a variable of a script that is not set than the wish to pause everything."""
    if provider is None:
        return
    name = provider.strip("/")
    if not name.strip():
        raise typer.BadParameter("PROVIDER: it is empty: leave it out if everything is meant")
    if "/" in name:
        raise typer.BadParameter(
            "PROVIDER: only whole providers can be paused: write the name of its top-level folder alone"
        )
    _check_length("PROVIDER", provider)


def _check_length(name: str, text: str) -> None:
    from jibe_sqs.core.pauses import MAX_PROVIDER_LENGTH, MAX_REASON_LENGTH

    most = MAX_REASON_LENGTH if name == "--reason" else MAX_PROVIDER_LENGTH
    if len(text) > most:
        raise typer.BadParameter(f"{name}: at most {most} characters")


def _asked(ask: "Callable[[Pauser], Awaitable[PauseAnswer]]", *, as_json: bool, config: str | None) -> "PauseAnswer":
    from jibe_sqs.compose.pause_commands import pauser
    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.telemetry import logs

    try:
        settings = load(Settings, config, with_secrets=False)
        if settings.ledger.kind == "dynamodb":
            # Only the keys of a table may be secrets that this command needs.
            settings = load(Settings, config)
    except SettingsError as mistakes:
        # The service may have refused a changed configuration, and be at work with the one from before.
        return _asked_of_service(ask, mistakes, as_json=as_json, config=config)
    logs.configure(settings.log.level, settings.log.format)

    async def asked() -> "PauseAnswer":
        async with pauser(settings) as ready:
            return await ask(ready)

    with errors_as_json(as_json):
        return asyncio.run(asked())


def _asked_of_service(
    ask: "Callable[[Pauser], Awaitable[PauseAnswer]]", mistakes: "SettingsError", *, as_json: bool, config: str | None
) -> "PauseAnswer":
    """The answer of the service that runs on this host. Raises the mistakes if none does."""
    from jibe_sqs.adapters.control import running_service
    from jibe_sqs.settings.raw import RawConfiguration

    async def asked() -> "PauseAnswer":
        async with running_service(RawConfiguration(config).control_socket()) as service:
            if service is None:
                raise mistakes
            return await ask(service)

    with errors_as_json(as_json):
        return asyncio.run(asked())


def _print(answer: "PauseAnswer", *, as_json: bool, is_resumed: bool = False) -> None:
    import msgspec

    from jibe_sqs.commands.output import write_json_line
    from jibe_sqs.telemetry.printable import printable

    if as_json:
        write_json_line(msgspec.to_builtins(answer), sys.stdout)
        return
    lines = [f"ended: {each.provider or 'the pause of everything'}" for each in answer.ended]
    if is_resumed and not lines:
        lines.append("nothing was paused")
    lines += [each.sentence for each in answer.pauses]
    lines += [f"warning: {each}" for each in answer.warnings]
    for line in lines:
        print(printable(line))  # noqa: T201 - an answer
