"""Where a bucket is shown, for a command: configured, or known to the running service, or asked from Access Anywhere."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

from jibe_sqs.adapters.access_anywhere import Providers
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.control import RunningService
from jibe_sqs.compose import rules
from jibe_sqs.compose.world import access_anywhere_client
from jibe_sqs.core.decisions import Place
from jibe_sqs.core.errors import AccessAnywhereUnavailable
from jibe_sqs.settings import Settings

PlacesOfBucket = Callable[[str], Awaitable[Sequence[Place]]]
"""Bucket -> where it is shown. Raises `AccessAnywhereError`, `ControlError`."""


def shown_places(settings: Settings, service: RunningService | None, stack: AsyncExitStack) -> PlacesOfBucket:
    """How to find the places of a bucket. The stack closes what it opens."""
    configured = rules.decisions(settings).places

    async def places(bucket: str) -> Sequence[Place]:
        if configured is not None:
            return configured.get(bucket, ())
        if service is not None:
            return await places_of_service(service, bucket)
        client = await stack.enter_async_context(access_anywhere_client(settings, S3Clock()))
        return (await Providers(client).places()).get(bucket, ())

    return places


async def places_of_service(service: RunningService, bucket: str) -> Sequence[Place]:
    """Where the running service sees the bucket."""
    found = await service.places(bucket)
    if found.reason and not found.places:
        raise AccessAnywhereUnavailable(found.reason)
    return [Place(each.folder, each.prefix) for each in found.places]
