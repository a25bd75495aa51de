"""Spans of the work: one trace for each message, and one for each refresh, which links to the messages that it serves.

    process QUEUE                        refresh ──links──> each message that waits for it
      ├─ fetch                             ├─ getFolderContents
      └─ parse                             └─ getFolderContents

Names and attributes follow OpenTelemetry's semantic conventions for messaging; our own attributes begin with `jibe.`.
Without tracing there is no `Tracer`, and the work is not wrapped. What is here does not know who exports the spans.
"""

import re
import time
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Final, Protocol

import msgspec

from jibe_sqs.core.model import Done, Folder, LogFile, Message, RefreshReason, Reject, Retry, Verdict

MAX_LINKS: Final = 100
"""Messages that one refresh links to. OpenTelemetry's own limit is 128."""
MAX_TEXT: Final = 1000
"""Characters of an attribute, and of the reason of a failure. A key in S3 has up to 1024 bytes."""

Attributes = Mapping[str, str | int | float | bool]

_HEADER_PARTS: Final = re.compile(r"\s*(Root|Parent|Sampled)=([^;\s]*)\s*")
_TRACE: Final = re.compile(r"1-([0-9a-fA-F]{8})-([0-9a-fA-F]{24})")
_SPAN: Final = re.compile(r"[0-9a-fA-F]{16}")


class SpanKind(Enum):
    """The kinds of spans that are used, by their names in OpenTelemetry."""

    INTERNAL = "INTERNAL"
    CLIENT = "CLIENT"
    CONSUMER = "CONSUMER"


class RemoteSpan(msgspec.Struct, frozen=True):
    """A span of another program. `sampled`: None if it left the decision to us."""

    trace_id: int
    span_id: int
    sampled: bool | None = None


class Span(Protocol):
    """A span that has begun. It ends by `end`."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""

    def event(self, name: str) -> None:
        """Add a moment: now."""

    def link(self, others: Sequence[object]) -> None:
        """Add links to spans, given by their `Spans.here`."""

    def fail(self, kind: str, reason: str) -> None:
        """The work of the span has failed. `kind`: the class of the error."""

    def end(self, at: int | None = None) -> None:
        """End it, at a time in nanoseconds since the epoch; by default now."""


class Spans(Protocol):
    """Makes spans, and knows which one is current in this task. Raises nothing."""

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, *, links: Sequence[object] = (), at: int | None = None
    ) -> Span:
        """A span below the current one."""

    def begin_root(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: RemoteSpan | None = None,
        links: Sequence[object] = (),
    ) -> Span:
        """A span that begins a trace, or goes on with one of another program."""

    def current(self, span: Span) -> AbstractContextManager[object]:
        """Let the span be the current one of this task during the block."""

    def here(self) -> object | None:
        """What links to the current span. None if there is no span, if it has ended, or if it is not recorded."""

    def note(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""

    def fail(self, kind: str, reason: str) -> None:
        """The work of the current span has failed."""


class Tracer:
    """The spans of this service, with their names and attributes."""

    def __init__(self, spans: Spans, wall_clock: Callable[[], float] = time.time) -> None:
        self.spans = spans
        self._wall_clock = wall_clock

    @contextmanager
    def message(self, queue: str, message: Message) -> Iterator[None]:
        """The span of a message in hand. `judged` adds the verdict."""
        parent = sender_of(message.trace) if message.trace else None
        attributes: dict[str, str | int | float | bool] = {
            "messaging.system": "jibe_sqs_sweep" if message.ours else "aws_sqs",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": message.id[:MAX_TEXT],
            "messaging.message.body.size": len(message.body),
            "jibe.receive_count": message.receive_count,
        }
        if message.sent_at:
            attributes["jibe.message.age"] = round(max(0.0, self._wall_clock() - message.sent_at), 3)
        span = self.spans.begin_root(f"process {queue}", SpanKind.CONSUMER, attributes, parent=parent)
        with self._during(span):
            yield

    def judged(self, verdict: Verdict) -> None:
        """Add the verdict to the span of the message."""
        match verdict:
            case Done():
                self.spans.note({"jibe.verdict": "done"})
            case Retry(delay, reason):
                self._failed_here("retry", reason.partition(":")[0], reason, {"jibe.retry_in": delay})
            case Reject():
                self._failed_here("reject", verdict.error, verdict.reason, {"jibe.source": verdict.source[:MAX_TEXT]})

    def fetch(self, file: LogFile) -> Span:
        """The span of a log file's way from its store."""
        return self.spans.begin("fetch", SpanKind.CLIENT, _of_file(file))

    def parse(self, file: LogFile, at: int) -> Span:
        """The span of reading a log file's records. `at`: when its first bytes were there, in nanoseconds since the epoch."""
        return self.spans.begin("parse", SpanKind.INTERNAL, _of_file(file), at=at)

    def parsed(self, log_format: str, records: int, events: int) -> None:
        """Add the outcome to the span that `parse` has begun."""
        self.spans.note({"jibe.format": log_format, "jibe.records": records, "jibe.events": events})

    @contextmanager
    def refresh(self, folder: Folder, reason: RefreshReason, askers: "Askers") -> Iterator["RefreshSpan"]:
        """The span of a refresh. It is no child of a message: many messages wait for the same refresh.

        `askers`: those so far. More may come until it begins.
        """
        attributes: Attributes = {
            "jibe.folder": folder.path[:MAX_TEXT],
            "jibe.tree": folder.tree,
            "jibe.reason": reason.value,
        }
        span = self.spans.begin_root("refresh", SpanKind.INTERNAL, attributes, links=askers.spans)
        with self._during(span):
            yield RefreshSpan(span, linked=len(askers.spans))

    @contextmanager
    def call(self, function: str, server: str) -> Iterator[None]:
        """The span of one call of Access Anywhere, if it belongs to a message or a refresh that is recorded."""
        if self.spans.here() is None:
            yield
            return
        attributes = {"rpc.system.name": "access_anywhere", "rpc.method": function, "server.address": server}
        with self._during(self.spans.begin(function, SpanKind.CLIENT, attributes)):
            yield

    @contextmanager
    def _during(self, span: Span) -> Iterator[None]:
        """Let the span be current during the block, and end it."""
        try:
            with self.spans.current(span):
                yield
        except CancelledError:
            span.note({"jibe.abandoned": True})
            raise
        except Exception as error:
            fail(span, error)
            raise
        finally:
            span.end()

    def _failed_here(self, verdict: str, error: str, reason: str, attributes: Attributes) -> None:
        self.spans.note({"jibe.verdict": verdict, **attributes})
        self.spans.fail(error, reason[:MAX_TEXT])


class RefreshSpan:
    """The span of a refresh."""

    __slots__ = ("_linked", "_span")

    def __init__(self, span: Span, *, linked: int) -> None:
        """`linked`: the number of askers that it links to already."""
        self._span = span
        self._linked = linked

    def began(self) -> None:
        """Access Anywhere is about to read the folder. Before that, the refresh has waited for its turn."""
        self._span.event("began")

    def served(self, askers: "Askers", error: Exception | None) -> None:
        """The refresh has ended, and serves these."""
        self._span.link(askers.spans[self._linked :])
        self._span.note({"jibe.requests": askers.count})
        if error is not None:
            fail(self._span, error)


class Askers:
    """The recorded spans that ask for a refresh, at most `MAX_LINKS` of them, and the number of all requests."""

    __slots__ = ("count", "spans")

    def __init__(self) -> None:
        self.count = 0
        self.spans: list[object] = []

    def add(self, span: object | None) -> None:
        """Add one request. `span`: None if it has no span."""
        self.count += 1
        if span is not None and len(self.spans) < MAX_LINKS and (not self.spans or self.spans[-1] is not span):
            self.spans.append(span)

    def merged(self, more: "Askers") -> "Askers":
        """Both together, in this order."""
        both = Askers()
        both.count = self.count + more.count
        both.spans = [*self.spans, *more.spans][:MAX_LINKS]
        return both


def fail(span: Span, error: BaseException) -> None:
    """Note an error. Its text may be logged, so it has no secret."""
    span.fail(type(error).__name__, str(error)[:MAX_TEXT])


def sender_of(header: str) -> RemoteSpan | None:
    """The span in SQS's message attribute `AWSTraceHeader`. None if it names none.

    Format: AWS X-Ray Developer Guide, "Tracing header": `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    """
    parts = {match[1]: match[2] for each in header.split(";") if (match := _HEADER_PARTS.fullmatch(each))}
    trace, span = _TRACE.fullmatch(parts.get("Root", "")), parts.get("Parent", "")
    if trace is None or not _SPAN.fullmatch(span):
        return None
    found = RemoteSpan(
        int(trace[1] + trace[2], 16), int(span, 16), {"0": False, "1": True}.get(parts.get("Sampled", ""))
    )
    return found if found.trace_id and found.span_id else None


def _of_file(file: LogFile) -> Attributes:
    return {"aws.s3.bucket": file.bucket, "aws.s3.key": file.key[:MAX_TEXT]}
