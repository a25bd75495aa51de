"""The dead-letter queues of the configured queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from jibe_sqs.adapters.dead_letters import Origin
from jibe_sqs.commands.dead_letters import DeadLetterQueue
from jibe_sqs.compose import stores
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.core.errors import QueueRefused
from jibe_sqs.settings import Queues, QueueSettings

log = structlog.get_logger()


@asynccontextmanager
async def dead_letters(settings: Queues) -> AsyncIterator[list[DeadLetterQueue]]:
    """Each once, also where several queues share it. Raises `QueueError`, also if there is none at all."""
    async with stores.clients(settings) as aws:
        origins: dict[str, dict[str, Origin]] = {}
        told: dict[str, QueueSettings] = {}
        for each in settings.queues:
            queue = stores.queue(each, settings, aws)
            facts = await queue.facts()
            if facts.dead_letters is None:
                log.warning("no_dead_letters", queue=queue.name, remedy=stores.DEAD_LETTERS_REMEDY)
                continue
            origins.setdefault(facts.dead_letters, {})[queue.name] = Origin(queue, facts.max_receives)
            told.setdefault(facts.dead_letters, each)
        if not origins:
            raise QueueRefused(f"there are no dead letters to look at: {stores.DEAD_LETTERS_REMEDY}")
        names = queue_names([(url, told[url].region) for url in origins])
        yield [
            stores.dead_letters(url, told[url], settings, aws, origins=feeding, name=name)
            for (url, feeding), name in zip(origins.items(), names, strict=True)
        ]
