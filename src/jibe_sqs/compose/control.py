"""The control socket of a running service."""

import time
from contextlib import AsyncExitStack
from typing import Final

import structlog

from jibe_sqs import __version__
from jibe_sqs.adapters.control_messages import BucketPlaces, QueueState, ServiceStatus, ShownAt
from jibe_sqs.adapters.control_socket import Controls, control_socket
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.compose.pauses import OperatorPauses
from jibe_sqs.compose.status import StatusView
from jibe_sqs.core.decisions import Place
from jibe_sqs.settings import Settings

MAX_UNMAPPED: Final = 20
"""Buckets that are named in the status."""

log = structlog.get_logger()


async def open_control_socket(
    settings: Settings, engine: Engine, outputs: Outputs, view: StatusView, stack: AsyncExitStack
) -> None:
    """Listen until the stack closes. The service does its work without the socket, so a failure is only logged."""
    path = settings.control_socket
    if path is None:
        return
    try:
        await stack.enter_async_context(control_socket(path, _controls(settings, engine, outputs, view)))
    except OSError as error:
        # Without a ledger in a file, the default path may well be in a directory that is read-only.
        is_expected = settings.control.socket is None and settings.ledger.kind != "sqlite"
        report = log.info if is_expected else log.warning
        report(
            "control_socket_failed",
            path=str(path),
            reason=error.strerror or str(error),
            consequence="commands on this host cannot ask this service",
            remedy="set control.socket to a short path in a directory that the service may write, or to off",
        )
    else:
        log.debug("control_socket_opened", path=str(path))


def _controls(settings: Settings, engine: Engine, outputs: Outputs, view: StatusView) -> Controls:
    began = time.monotonic()
    is_kept = settings.ledger.kind != "memory" and settings.sync.strategy != "dry-run"
    pauses = OperatorPauses(engine, outputs, is_kept=is_kept)

    def places(bucket: str) -> BucketPlaces:
        known = outputs.decisions.places
        found = [Place(f"/{bucket}")] if known is None else known.get(bucket, ())
        return BucketPlaces(
            [ShownAt(each.folder, each.prefix) for each in found], outputs.buckets.reason if outputs.buckets else ""
        )

    def status() -> ServiceStatus:
        return ServiceStatus(
            version=__version__,
            running=time.monotonic() - began,
            messages=engine.counters.messages,
            ready=not outputs.health.readiness_failures,
            gates=[gate.reason for gate in outputs.gates if gate.reason],
            outages=[*engine.outages.reasons, *engine.outages.refusals],
            queues=[QueueState(each.name, each.trouble, each.activity.last_message) for each in engine.consumers],
            unmapped=engine.activity.unmapped(MAX_UNMAPPED),
            silences=engine.silences.sentences,
        )

    return Controls(
        refreshes=engine.refreshes,
        outcomes=engine.outcomes,
        ledger=engine.ledger,
        clock=outputs.clock,
        places=places,
        status=status,
        snapshot=view.snapshot,
        pause=pauses.pause,
        resume=pauses.resume,
    )
