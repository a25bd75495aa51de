"""Builds the continuous comparison of a service."""

import time
from collections.abc import Callable, Collection, Sequence

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, IndexListing
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.commands.comparison import Scope
from jibe_sqs.commands.comparison_levels import Levels
from jibe_sqs.commands.continuous_comparison import SETTLED, ContinuousComparison
from jibe_sqs.compose import stores
from jibe_sqs.compose.comparison_scopes import scopes_of
from jibe_sqs.compose.engine import Engine, Outputs
from jibe_sqs.compose.pauses import IndexUnlessPaused
from jibe_sqs.core.comparison import View
from jibe_sqs.core.model import Folder, RefreshReason
from jibe_sqs.settings import Settings
from jibe_sqs.telemetry.truth import Truth


def continuous_comparison(
    settings: Settings,
    aws: Aws,
    clock: S3Clock,
    client: AccessAnywhere,
    outputs: Outputs,
    engine: Engine,
    truth: Truth,
    *,
    roots: Callable[[], Collection[str]],
) -> ContinuousComparison | None:
    """The comparison, or None if the settings do not ask for one. `roots`: as for `IndexListing`."""
    if settings.compare.every is None:
        return None
    pauses = engine.pauses

    def scopes() -> Sequence[Scope]:
        places = outputs.decisions.places
        found = scopes_of(places, outputs.decisions.ignore) if places else ()
        return [scope for scope in found if pauses.held(Folder(scope.folder)) is None]

    levels = Levels(
        stores.data_listing(settings, Regions(aws, clock), aws),
        IndexUnlessPaused(IndexListing(client, clock, roots=roots), pauses),
        view=lambda: View(before=time.time() - SETTLED),
    )
    return ContinuousComparison(
        levels=levels,
        scopes=scopes,
        every=settings.compare.every,
        ledger=engine.ledger,
        clock=clock,
        truth=truth,
        gates=outputs.gates,
        repair=(lambda folder: engine.refreshes.done([folder], reason=RefreshReason.COMPARE))
        if settings.compare.repair
        else None,
    )
