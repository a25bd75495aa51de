"""The service's own acts, as events for an audit store: log files that are done, dead letters, reports of providers.

    file_done, dead_lettered, reported ──> a bounded queue ──batches──> send ──> refused for now: sent again, later each time

Nothing waits for it. Events beyond the queue's limit are lost, and so are those that the store refuses for good; both are
counted, and logged at times. An event keeps its id when it is sent again.

Format: AWS CloudTrail User Guide, "CloudTrail Lake integrations event schema".
"""

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec
import orjson
import structlog

from jibe_sqs import __version__
from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.telemetry.report_text import Report

log = structlog.get_logger()

AuditKind = Literal["files", "dead-letters", "reports"]
"""What may be sent."""

MAX_EVENTS: Final = 100
"""Events in one call."""
MAX_BYTES: Final = 1_000_000
"""Bytes of one call. The documentation says 1 MB."""
ENTRY_BYTES: Final = 150
"""Bytes of an event in a call, beside its data."""
MAX_TEXT: Final = 1000
"""Characters of one text in an event. `additionalEventData`, which has two of them, may have 28 KB."""
MAX_ERROR: Final = 256
"""Characters of `errorCode` and `errorMessage`."""
MAX_WAITING: Final = 16 * 1024 * 1024
"""Bytes of the events that wait: about 20,000."""
LINGER: Final = 5.0
"""Seconds for which an event waits for others."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 60.0
"""Seconds before failed events are sent again. The delay doubles each time."""
LAST_DELAY: Final = 0.25
"""The same, when the service has stopped."""
LAST_TIMEOUT: Final = 2.0
"""Seconds for the last events, when the service has stopped."""
REPEAT_INTERVAL: Final = 300.0
"""Seconds between two log lines about the same trouble."""
EVENT_SOURCE: Final = "jibe-sqs"


class AuditEvent(msgspec.Struct, frozen=True):
    """One event. `data`: its JSON. `size`: its bytes in a call."""

    id: str
    data: str
    size: int


class Refused(msgspec.Struct, frozen=True):
    """An event that the store has not taken. `passes`: whether it may take it later."""

    id: str
    code: str
    reason: str
    passes: bool = False


class AuditFailed(Exception):
    """No event of the call was taken. Its text is the reason."""


Send = Callable[[Sequence[AuditEvent]], Awaitable[Sequence[Refused]]]
"""Sends up to `MAX_EVENTS` events. Returns those that were not taken. Raises `AuditFailed`."""


class Audit:
    """Collects events, and sends them in the background."""

    def __init__(
        self,
        send: Send,
        *,
        kinds: Collection[AuditKind],
        account: str,
        instance: str,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`account`: the AWS account that owns the store. `instance`: the name of this process."""
        self._send = send
        self._account = account
        self._instance = instance
        self._wall_clock = wall_clock
        self._waiting: deque[AuditEvent] = deque()
        self._bytes = 0
        self._new = asyncio.Event()
        self._failures = 0
        self._lost: Counter[str] = Counter()
        self._logged: dict[str, float] = {}
        self.takes_files = "files" in kinds
        self.takes_dead_letters = "dead-letters" in kinds
        self.takes_reports = "reports" in kinds
        self.sent = 0

    @property
    def lost(self) -> Mapping[str, int]:
        """How many events were lost since the last log line, by reason."""
        return self._lost

    def file_done(self, file: LogFile, etag: str, events: int, folders: int) -> None:
        """A log file was read to its end, and everything in it is done. `folders`: those that had to be refreshed."""
        if self.takes_files:
            self._add(
                "FileDone",
                {"bucketName": file.bucket, "key": file.key, "versionId": file.version, "eTag": etag},
                {"events": events, "folders": folders},
            )

    def dead_lettered(self, queue: str, message: Message, why: Reject) -> None:
        """A message was sent to the dead-letter queue."""
        if self.takes_dead_letters:
            self._add(
                "MessageDeadLettered",
                {"queue": queue, "messageId": message.id, "receiveCount": message.receive_count},
                {"source": _cut(why.source), "reason": _cut(why.reason)},
                errorCode=_cut(why.error, MAX_ERROR),
                errorMessage=_cut(why.reason, MAX_ERROR),
            )

    def reported(self, report: Report) -> None:
        """A report was made: one event for each provider and bucket with work."""
        if self.takes_reports:
            times = {"since": _time(report.since.timestamp()), "until": _time(report.until.timestamp())}
            for row in report.rows:
                counts = row.counts
                self._add(
                    "ProviderReport",
                    {"provider": row.provider, "bucketName": row.bucket, **times},
                    {
                        "records": counts.records,
                        "events": counts.events,
                        "skipped": dict(counts.skipped),
                        "refreshes": counts.refreshes,
                        "failed": dict(counts.failed),
                        "stale": row.stale.count,
                    },
                )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send while the body runs, and the rest at the end, for some seconds."""
        task = asyncio.create_task(self._run(), name="audit")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._send_last()

    def _add(self, name: str, parameters: Mapping[str, Any], more: Mapping[str, Any], **fields: str) -> None:
        """Put an event into the queue. Raises nothing: the work goes on without it."""
        try:
            event = self._event(name, parameters, more, fields)
        except (TypeError, ValueError):
            # A defect of ours, which must cost no message.
            log.exception("audit_crashed")
            return
        if self._bytes + event.size > MAX_WAITING:
            self._lose("queue-full", 1)
            return
        self._waiting.append(event)
        self._bytes += event.size
        self._new.set()

    def _event(
        self, name: str, parameters: Mapping[str, Any], more: Mapping[str, Any], fields: Mapping[str, str]
    ) -> AuditEvent:
        id_ = str(uuid.uuid4())
        data = {
            "version": "1.0",
            "userIdentity": {"type": "Service", "principalId": _cut(self._instance)},
            "userAgent": f"jibe-sqs/{__version__}",
            "eventSource": EVENT_SOURCE,
            "eventName": name,
            "eventTime": _time(self._wall_clock()),
            "UID": id_,
            "requestParameters": {
                key: _cut(value) if isinstance(value, str) else value for key, value in parameters.items() if value
            },
            **fields,
            "additionalEventData": more,
            "recipientAccountId": self._account,
        }
        text = orjson.dumps(data).decode()
        # It is a text in the JSON of the call, so quotes take two bytes.
        return AuditEvent(id_, text, len(orjson.dumps(text)) + ENTRY_BYTES)

    async def _run(self) -> None:
        while True:
            await self._new.wait()
            if len(self._waiting) < MAX_EVENTS:
                await asyncio.sleep(LINGER)
            if not await self._send_batch():
                await asyncio.sleep(min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(self._failures - 1, 10)))

    async def _send_last(self) -> None:
        try:
            async with asyncio.timeout(LAST_TIMEOUT):
                while self._waiting:
                    if not await self._send_batch():
                        await asyncio.sleep(LAST_DELAY)
        except TimeoutError:
            self._lose("stopped", len(self._waiting))
        if self._lost:
            self._log_lost()

    async def _send_batch(self) -> bool:
        """Send the first events. Returns False if some of them, or all, are to be sent again later."""
        batch = self._batch()
        if not batch:
            return True
        try:
            refused = await self._send(batch)
        except AuditFailed as error:
            self._failures += 1
            self._log("audit_not_sent", reason=str(error), waiting=len(self._waiting))
            return False
        except Exception:
            # A defect of ours. It must end neither the sending nor the service.
            self._failures += 1
            if self._may_log("audit_crashed"):
                log.exception("audit_crashed")
            return False
        again = {each.id for each in refused if each.passes}
        self._forget_sent(len(batch), keep=again)
        for each in refused:
            if not each.passes:
                self._lose(each.code, 1)
                self._log("audit_refused", code=each.code, reason=each.reason)
        self.sent += len(batch) - len(refused)
        self._failures = self._failures + 1 if again else 0
        return not again

    def _batch(self) -> list[AuditEvent]:
        batch: list[AuditEvent] = []
        size = 0
        for event in self._waiting:
            size += event.size
            if len(batch) == MAX_EVENTS or (batch and size > MAX_BYTES):
                break
            batch.append(event)
        return batch

    def _forget_sent(self, count: int, *, keep: Collection[str]) -> None:
        """Remove the first events from the queue, except for those to keep. They come last, so that others go on."""
        for event in [self._waiting.popleft() for _ in range(count)]:
            if event.id in keep:
                self._waiting.append(event)
            else:
                self._bytes -= event.size
        if not self._waiting:
            self._new.clear()

    def _lose(self, why: str, count: int) -> None:
        self._lost[why] += count
        if self._may_log("audit_events_lost"):
            self._log_lost()

    def _log_lost(self) -> None:
        lost, self._lost = self._lost, Counter()
        log.warning("audit_events_lost", count=lost.total(), reasons=dict(lost))

    def _log(self, event: str, **fields: object) -> None:
        if self._may_log(event):
            log.warning(event, **fields)

    def _may_log(self, event: str) -> bool:
        """Whether the event was not logged for a while. Then it counts as logged now."""
        now = self._wall_clock()
        if now - self._logged.get(event, float("-inf")) < REPEAT_INTERVAL:
            return False
        self._logged[event] = now
        return True


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """A text that can be sent. Half of a surrogate pair, which a key may have, cannot be encoded."""
    cut = text[:most]
    return cut if cut.isascii() else cut.encode(errors="replace").decode()


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
