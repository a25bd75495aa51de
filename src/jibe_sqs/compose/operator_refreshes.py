"""The refreshes that an operator asks for: by the running service, or directly if none answers."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import structlog

from jibe_sqs.adapters.access_anywhere import Providers
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.control import RunningService, running_service
from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.compose import rules, stores
from jibe_sqs.compose.engine import Engine
from jibe_sqs.compose.shown_places import places_of_service
from jibe_sqs.compose.world import access_anywhere_client, outputs_of, policies
from jibe_sqs.core.decisions import Place
from jibe_sqs.core.errors import LedgerError, SettingsError
from jibe_sqs.core.model import Folder
from jibe_sqs.ports import Ledger
from jibe_sqs.settings import Settings
from jibe_sqs.syncing.operator_refreshes import Step, operator_refreshes
from jibe_sqs.telemetry.health import Health

log = structlog.get_logger()


class Refresher(msgspec.Struct, frozen=True):
    """Refreshes folders. `through`: `service` or `direct`. Both calls raise `JibeError`s."""

    through: str
    places: Callable[[str], Awaitable[Sequence[Place]]]
    """Bucket -> where it is shown."""
    refresh: Callable[[Sequence[Folder]], AsyncGenerator[Step, None]]


@asynccontextmanager
async def refresher(settings: Settings) -> AsyncIterator[Refresher]:
    """The running service if it answers. Otherwise everything is connected as the service connects it."""
    if settings.sync.strategy == "dry-run":
        raise SettingsError(["sync.strategy: a dry run refreshes nothing: use the configuration of the service"])
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(running_service(settings.control_socket))
        yield _through(service) if service is not None else await _direct(settings, stack)


def _through(service: RunningService) -> Refresher:
    return Refresher("service", lambda bucket: places_of_service(service, bucket), service.refresh)


async def _direct(settings: Settings, stack: AsyncExitStack) -> Refresher:
    clock = S3Clock()
    ledger = await _ledger(settings, stack)
    client = await stack.enter_async_context(access_anywhere_client(settings, clock))
    outputs = outputs_of(settings, clock, client, ledger, Health())
    engine = Engine(outputs, policies(settings, client))
    stack.push_async_callback(engine.refreshes.stop)
    await engine.pauses.read(engine.ledger)

    async def places(bucket: str) -> Sequence[Place]:
        if rules.decisions(settings).places is None:
            outputs.decisions.places = await Providers(client).places()
        return (outputs.decisions.places or {}).get(bucket, ())

    def refresh(folders: Sequence[Folder]) -> AsyncGenerator[Step, None]:
        return operator_refreshes(engine.refreshes, engine.outcomes, folders)

    return Refresher("direct", places, refresh)


async def _ledger(settings: Settings, stack: AsyncExitStack) -> Ledger:
    """The service's ledger, so that it need not repeat these refreshes. A refresh is possible without it."""
    if settings.ledger.kind == "memory" or (settings.ledger.kind == "sqlite" and not settings.ledger.path.is_file()):
        # A file that the command creates might belong to another user than the service.
        return MemoryLedger()
    aws = await stack.enter_async_context(stores.clients(settings))
    try:
        return await stack.enter_async_context(stores.opened_ledger(settings, aws))
    except LedgerError as error:
        log.warning("ledger_not_used", reason=str(error), consequence="the service may repeat these refreshes")
        return MemoryLedger()
