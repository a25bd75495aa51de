"""Spans by OpenTelemetry's SDK, exported over OTLP/HTTP. Needs the extra `tracing`.

OpenTelemetry's own variables configure it: `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, and so
on. Its thread sends the spans. If the collector is down, spans are dropped beyond a limit (`OTEL_BSP_MAX_QUEUE_SIZE`), and
nothing else is disturbed.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes as OtelAttributes

from jibe_sqs import __version__
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.tracing import Attributes, RemoteSpan, SpanKind
from jibe_sqs.telemetry.tracing import Span as AnySpan

log = structlog.get_logger()

FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the last spans, when the service has stopped."""
REPEAT_INTERVAL: Final = 300.0
"""Seconds between two log lines about a collector that keeps failing."""
_LIBRARY: Final = "opentelemetry"
"""The logger of the SDK. Its lines are replaced by ours: it logs each failed batch, and may quote the headers."""
_EXPORTER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"


class OtelSpan:
    """A span of the SDK. Raises nothing."""

    __slots__ = ("span",)

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        self.span.set_attributes(_sendable(attributes))

    def event(self, name: str) -> None:
        """Add a moment: now."""
        self.span.add_event(name)

    def link(self, others: Sequence[object]) -> None:
        """Add links to spans."""
        for each in _links(others):
            self.span.add_link(each.context)

    def fail(self, kind: str, reason: str) -> None:
        """The work of the span has failed."""
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR, _text(reason)))

    def end(self, at: int | None = None) -> None:
        """End it."""
        self.span.end(at)


class OtelSpans:
    """The `Spans` of a tracer, made by the SDK. Raises nothing."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer

    def begin(
        self, name: str, kind: SpanKind, attributes: Attributes, *, links: Sequence[object] = (), at: int | None = None
    ) -> OtelSpan:
        """A span below the current one."""
        return self._begun(None, name, kind, attributes, _links(links), at)

    def begin_root(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        parent: RemoteSpan | None = None,
        links: Sequence[object] = (),
    ) -> OtelSpan:
        """A span that begins a trace, or goes on with one of another program."""
        above, all_links = Context(), _links(links)
        if parent is not None and parent.sampled is not None:
            above = trace.set_span_in_context(trace.NonRecordingSpan(_context_of(parent)), above)
        elif parent is not None:
            # The sender left the decision to us. A parent that is not sampled would be one against it.
            all_links.append(Link(_context_of(parent)))
        return self._begun(above, name, kind, attributes, all_links, None)

    def current(self, span: AnySpan) -> AbstractContextManager[object]:
        """Let the span be the current one of this task during the block."""
        return _current(span.span if isinstance(span, OtelSpan) else trace.INVALID_SPAN)

    def here(self) -> object | None:
        """The context of the current span, if it is recorded and has not ended."""
        span = trace.get_current_span()
        return span.get_span_context() if span.is_recording() else None

    def note(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""
        trace.get_current_span().set_attributes(_sendable(attributes))

    def fail(self, kind: str, reason: str) -> None:
        """The work of the current span has failed."""
        OtelSpan(trace.get_current_span()).fail(kind, reason)

    def _begun(
        self,
        above: Context | None,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        at: int | None,
    ) -> OtelSpan:
        try:
            span = self._tracer.start_span(
                _text(name),
                above,
                kind=trace.SpanKind[kind.value],
                attributes=_sendable(attributes),
                links=links,
                start_time=at,
            )
        except Exception:  # noqa: BLE001 - a sampler may be of the operator's choice, and must not stop the work
            span = trace.INVALID_SPAN
        return OtelSpan(span)


@asynccontextmanager
async def exported_spans(instance: str) -> AsyncIterator[OtelSpans | None]:
    """Spans that are exported until the end of the block, and a few seconds longer. None if `OTEL_SDK_DISABLED` is set.

    `instance`: the name of this process. While they are exported, log lines have the ids of the current span.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        log.info("tracing_disabled", reason="OTEL_SDK_DISABLED is set")
        yield None
        return
    with _library_log() as reasons:
        exporter = _Exporter(reasons)
        processor = BatchSpanProcessor(exporter)
        provider = TracerProvider(sampler=None, resource=_resource(instance), shutdown_on_exit=False)
        provider.sampler = LinkedSampler(provider.sampler)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("jibe_sqs", __version__)
        log.info("tracing", endpoint=exporter.address)
        try:
            with logs.listening(_add_ids):
                yield OtelSpans(tracer)
        finally:
            await _shut_down(provider)


async def _shut_down(provider: TracerProvider) -> None:
    """Export the last spans, in a thread that may be left behind: a request to a collector can take ten seconds."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def shut_down() -> None:
        provider.shutdown()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=shut_down, name="last spans", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_TIMEOUT):
            await ended.wait()
    except TimeoutError:
        log.warning("traces_abandoned", after=FLUSH_TIMEOUT)


class LinkedSampler(Sampler):
    """A span that links to a sampled one is sampled: a refresh that serves a message whose trace is exported.

    All other spans: as the configured sampler decides.
    """

    def __init__(self, configured: Sampler) -> None:
        self._configured = configured

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: trace.SpanKind | None = None,
        attributes: OtelAttributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide about one span."""
        if any(each.context.trace_flags.sampled for each in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._configured.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """A name."""
        return f"LinkedOr{{{self._configured.get_description()}}}"


class _Exporter(SpanExporter):
    """The SDK's exporter. It logs when the collector begins to fail, at times while it fails, and when it works again."""

    def __init__(self, reasons: "_Reasons") -> None:
        self._reasons = reasons
        session = requests.Session()
        self._exporter = OTLPSpanExporter(session=session)
        url = self._exporter._endpoint  # noqa: SLF001 - the only way to what the variables resulted in
        session.trust_env = not _is_loopback(url)
        self.address = _shown(url)
        self._lost = 0
        self._logged_at = float("-inf")
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans. Called by the SDK's thread."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - logged; the next batch is tried
            self._reasons.last = type(error).__name__
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            if self._is_failing:
                log.info("traces_exported_again", lost=self._lost)
            self._is_failing, self._lost, self._logged_at = False, 0, float("-inf")
            return result
        self._is_failing = True
        self._lost += len(spans)
        if time.monotonic() - self._logged_at >= REPEAT_INTERVAL:
            self._logged_at = time.monotonic()
            log.warning("traces_not_exported", endpoint=self.address, lost=self._lost, reason=self._reasons.last)
        return result

    def shutdown(self) -> None:
        """Close the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)


class _Reasons(logging.Handler):
    """Keeps the last reason that the SDK's exporter logs."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "unknown"

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record of the exporter. Records of other parts may quote the headers, which hold secrets."""
        if record.name == _EXPORTER:
            try:
                self.last = record.getMessage()[:300]
            except Exception:  # noqa: BLE001 - a log record must not disturb
                self.last = "unknown"


@contextmanager
def _library_log() -> Iterator[_Reasons]:
    logger, reasons = logging.getLogger(_LIBRARY), _Reasons()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(reasons)
    try:
        yield reasons
    finally:
        logger.removeHandler(reasons)
        logger.propagate = propagates


@contextmanager
def _current(span: trace.Span) -> Iterator[None]:
    token = contexts.attach(trace.set_span_in_context(span))
    try:
        yield
    finally:
        contexts.detach(token)


def _is_loopback(url: str) -> bool:
    """Whether the collector runs on this machine. Then no proxy of the environment is asked."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(url: str) -> str:
    """The address without a login or a query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _resource(instance: str) -> Resource:
    """What describes this process. OpenTelemetry's variables come first."""
    ours = {"service.name": "jibe-sqs", "service.version": __version__, "service.instance.id": instance}
    configured = OTELResourceDetector().detect().attributes
    return Resource.create({**ours, **configured})


def _add_ids(event: logs.Event) -> None:
    """Add the ids of the current span to a log line."""
    span = trace.get_current_span()
    if span.is_recording():
        context = span.get_span_context()
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)


def _context_of(remote: RemoteSpan) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if remote.sampled else TraceFlags.DEFAULT)
    return SpanContext(remote.trace_id, remote.span_id, is_remote=True, trace_flags=flags)


def _links(others: Sequence[object]) -> list[Link]:
    return [Link(each) for each in others if isinstance(each, SpanContext)]


def _sendable(attributes: Attributes) -> dict[str, Any]:
    return {name: _text(value) if isinstance(value, str) else value for name, value in attributes.items()}


def _text(value: str) -> str:
    """A text that can be encoded. With half of a surrogate pair, which a key may have, the whole batch could not be sent."""
    return value if value.isascii() else value.encode(errors="replace").decode()
