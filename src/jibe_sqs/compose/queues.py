"""The configured queues. The service starts with those that work, and asks the others until they do."""

import asyncio

import structlog

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.dry_run import UnacknowledgedQueue
from jibe_sqs.adapters.sqs import SqsQueue
from jibe_sqs.compose import stores
from jibe_sqs.consuming.holds import MIN_VISIBILITY
from jibe_sqs.core.errors import NoQueueUsable, QueueError
from jibe_sqs.ports import Queue, QueueFacts
from jibe_sqs.settings import QueueSettings, Settings

log = structlog.get_logger()


class ReportedQueue(SqsQueue):
    """A queue that logs its settings, and what is wrong with them, when it is asked for them."""

    async def facts(self) -> QueueFacts:
        """Ask the queue for its settings."""
        facts = await super().facts()
        await log_facts(self, facts)
        return facts


class PilotQueue(SqsQueue):
    """The same for a dry run that keeps its messages. It needs no dead-letter queue."""

    async def facts(self) -> QueueFacts:
        """Ask the queue for its settings."""
        facts = await super().facts()
        await log_facts(self, facts, rejects=False)
        return facts


async def log_facts(queue: SqsQueue, facts: QueueFacts, *, rejects: bool = True) -> None:
    """Log the settings of a queue, and warn of what is wrong with them. `rejects`: whether it needs a dead-letter queue."""
    log.info("queue", queue=queue.name, visibility_timeout=facts.visibility_timeout, max_receives=facts.max_receives)
    if facts.visibility_timeout < MIN_VISIBILITY:
        log.warning(
            "visibility_timeout_short",
            queue=queue.name,
            visibility_timeout=facts.visibility_timeout,
            consequence=f"each receive asks for {MIN_VISIBILITY:g} s instead",
            remedy=f"set the queue's visibility timeout to {MIN_VISIBILITY:g} s or more",
        )
    if rejects and not await queue.may_reject():
        log.warning(
            "no_dead_letters",
            queue=queue.name,
            consequence="rejected messages stay in the queue until its own redrive policy moves them",
            remedy=stores.DEAD_LETTERS_REMEDY,
        )


def _queue(each: QueueSettings, settings: Settings, aws: Aws) -> Queue:
    wait = float(settings.poll.wait)
    if settings.sync.acknowledge:
        return stores.queue(each, settings, aws, wait=wait, kind=ReportedQueue)
    pilot = stores.queue(each, settings, aws, wait=wait, kind=PilotQueue)
    return UnacknowledgedQueue(pilot, delay=settings.retry.longest)


async def usable_queues(settings: Settings, aws: Aws, *, is_needed: bool) -> list[tuple[Queue, QueueFacts | None]]:
    """Each queue with its settings, or with None if it does not work yet.

    If none works and one `is_needed`: raises the error of the only queue, or `NoQueueUsable` with the reason of each.
    """
    queues = [_queue(each, settings, aws) for each in settings.queues]
    answers = await asyncio.gather(*(queue.facts() for queue in queues), return_exceptions=True)
    found: list[tuple[Queue, QueueFacts | None]] = []
    failures: list[QueueError] = []
    for queue, answer in zip(queues, answers, strict=True):
        if isinstance(answer, QueueError):
            failures.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
        found.append((queue, answer if isinstance(answer, QueueFacts) else None))
    is_over = bool(failures) and len(failures) == len(queues) and is_needed
    for queue, answer in zip(queues, answers, strict=True):
        if isinstance(answer, QueueError):
            log.warning(
                "queue_unusable",
                queue=queue.name,
                reason=str(answer),
                consequence="the service ends, because none of the queues works"
                if is_over
                else "the other queues are received from, and this one is asked again until it works",
            )
    if is_over and len(failures) == 1:
        raise failures[0]
    if is_over:
        raise NoQueueUsable([str(failure) for failure in failures])
    return found
