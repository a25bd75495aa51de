"""The dead-letter queues of the configured queues."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from jibe_sqs.adapters.dead_letters import Origin
from jibe_sqs.commands.dead_letters import DeadLetterQueue
from jibe_sqs.compose import stores
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.core.errors import QueueRefused
from jibe_sqs.settings import Queues, QueueSettings, Settings

log = structlog.get_logger()


@asynccontextmanager
async def dead_letters(settings: Queues | Settings) -> AsyncIterator[list[DeadLetterQueue]]:
    """Each dead-letter queue once, also if several queues share it. Raises `QueueError`, also if no queue has one."""
    async with stores.clients(settings) as aws:
        origins: dict[str, dict[str, Origin]] = {}
        first_queues: dict[str, QueueSettings] = {}
        for each in settings.queues:
            queue = stores.queue(each, settings, aws)
            facts = await queue.facts()
            if facts.dead_letters is None:
                log.warning("no_dead_letters", queue=queue.name, remedy=stores.DEAD_LETTERS_REMEDY)
                continue
            origins.setdefault(facts.dead_letters, {})[queue.name] = Origin(queue, facts.max_receives)
            first_queues.setdefault(facts.dead_letters, each)
        if not origins:
            raise QueueRefused(f"no queue has a dead-letter queue: {stores.DEAD_LETTERS_REMEDY}")
        names = queue_names([(url, first_queues[url].region) for url in origins])
        yield [
            stores.dead_letters(url, first_queues[url], settings, aws, origins=senders, name=name)
            for (url, senders), name in zip(origins.items(), names, strict=True)
        ]
