"""`jibe-sqs status`: how the running service is."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jibe_sqs.cli.loading import load
from jibe_sqs.cli.options import ConfigOption, errors_as_json, flag

if TYPE_CHECKING:
    from pathlib import Path

    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.telemetry.status import Status


def status(
    as_json: Annotated[bool, flag("--json", "Print one JSON object.")] = False, config: ConfigOption = None
) -> None:
    """Ask the service that runs on this host whether the index is true, and how far behind it is.

    Exit codes: 0 if it is in sync or catches up, 1 otherwise, also if no service answers.
    """
    import msgspec

    from jibe_sqs.commands.status_text import as_text
    from jibe_sqs.core.errors import SettingsError
    from jibe_sqs.settings import Settings
    from jibe_sqs.settings.raw import RawConfiguration
    from jibe_sqs.telemetry import logs

    mistakes = None
    try:
        settings = load(Settings, config, with_secrets=False)
        logs.configure(settings.log.level, settings.log.format)
        socket = settings.control_socket
    except SettingsError as error:
        # The service may have refused a changed configuration, and be at work with the one from before.
        mistakes, socket = error, RawConfiguration(config).control_socket()
    with errors_as_json(as_json):
        found = asyncio.run(_asked(socket, mistakes))
    print(msgspec.json.encode(found).decode() if as_json else as_text(found), file=sys.stdout)  # noqa: T201 - an answer
    raise typer.Exit(0 if found.state in ("in-sync", "catching-up") else 1)


async def _asked(socket: "Path | None", mistakes: "SettingsError | None") -> "Status":
    from jibe_sqs.adapters.control import running_service
    from jibe_sqs.core.errors import ControlError

    async with running_service(socket) as service:
        if service is None:
            if mistakes is not None:
                raise mistakes
            where = f"no service answers at {socket}" if socket else "control.socket is off"
            raise ControlError(f"{where}: is it running on this host, as this user, with this configuration?")
        return await service.snapshot()
