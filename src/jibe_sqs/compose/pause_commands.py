"""Pauses from a command: by the running service, or directly in the ledger, where every service of it reads them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from jibe_sqs.adapters.control import running_service
from jibe_sqs.adapters.control_messages import PauseAnswer, PauseRequest, ResumeRequest
from jibe_sqs.compose import stores
from jibe_sqs.compose.pauses import states
from jibe_sqs.core.errors import ControlError, LedgerError
from jibe_sqs.core.pauses import Pause, decoded, encoded, provider_named
from jibe_sqs.ports import Ledger
from jibe_sqs.settings import Settings
from jibe_sqs.syncing.pauses import NOTE


class Pauser(Protocol):
    """Begins and ends pauses. Both raise `JibeError`s."""

    async def pause(self, request: PauseRequest) -> PauseAnswer:
        """Pause from now on."""

    async def resume(self, request: ResumeRequest) -> PauseAnswer:
        """End pauses."""


@asynccontextmanager
async def pauser(settings: Settings) -> AsyncIterator[Pauser]:
    """The running service on this host if it answers, or else the ledger. Raises `ControlError` if there is neither."""
    async with running_service(settings.control_socket) as service:
        if service is not None:
            yield service
            return
    if settings.sync.strategy == "dry-run" or settings.ledger.kind == "memory":
        raise ControlError(
            "no service answers at the control socket, and its ledger is in memory: only a running service on this host can "
            "be paused"
        )
    if settings.ledger.kind == "sqlite" and not settings.ledger.path.is_file():
        # A file that the command creates might belong to another user than the service.
        raise LedgerError(
            f"{settings.ledger.path}: no ledger there: use the service's configuration, or set ledger.path"
        )
    async with stores.clients(settings) as aws, stores.opened_ledger(settings, aws) as ledger:
        yield NotedPauses(ledger)


class NotedPauses:
    """The pauses in a ledger. Its services read them within seconds."""

    def __init__(self, ledger: Ledger, wall_clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._wall_clock = wall_clock

    async def pause(self, request: PauseRequest) -> PauseAnswer:
        """Pause from now on. Raises `LedgerError`."""
        now = self._wall_clock()
        pause = Pause(request.provider.strip("/"), now, now + request.seconds, request.reason)
        others = [each for each in await self._noted() if not _is_of(each, pause.provider)]
        await self._ledger.note(NOTE, encoded([*others, pause]))
        return PauseAnswer(
            states([*others, pause]),
            ["no service answers on this host: the services that share the ledger read the pause within ten seconds"],
        )

    async def resume(self, request: ResumeRequest) -> PauseAnswer:
        """End pauses. Raises `LedgerError`."""
        noted = await self._noted()
        ended = [each for each in noted if request.provider is None or _is_of(each, request.provider)]
        left = [each for each in noted if each not in ended]
        if ended:
            await self._ledger.note(NOTE, encoded(left))
        return PauseAnswer(states(left), [], states(ended))

    async def _noted(self) -> list[Pause]:
        text = (await self._ledger.notes([NOTE])).get(NOTE, "")
        try:
            noted = decoded(text)
        except ValueError as error:
            raise LedgerError(f"another release has written the pauses in the ledger: {error}") from error
        return [each for each in noted if each.until > self._wall_clock()]


def _is_of(pause: Pause, provider: str) -> bool:
    return provider_named(pause.provider) == provider_named(provider)
