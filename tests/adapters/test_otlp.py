"""Spans over a socket to a collector: what arrives, and that a collector that fails disturbs nothing."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading

import pytest
import structlog
from structlog.testing import capture_logs
from tests.collector import collector
from tests.processes import PATIENCE

from jibe_sqs import __version__
from jibe_sqs.adapters import otlp
from jibe_sqs.adapters.otlp import exported_spans
from jibe_sqs.core.model import Folder, Message, RefreshReason
from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.tracing import Askers, SpanKind, Tracer

SECRET = "SECRET-CANARY"


@pytest.fixture
def traces():
    with collector() as found:
        yield found


@pytest.fixture
def configured(monkeypatch, traces):
    """The standard variables: the collector, and batches that are sent at once."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces.address)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    return monkeypatch


@pytest.fixture(autouse=True)
def restored():
    """Restore the logging configuration for the tests after this one."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


async def eventually(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.02)


async def _trace(name="q", **message):
    async with exported_spans("host") as spans:
        with Tracer(spans).message(name, Message(**{"id": "m", "receipt": "r", "body": b"{}", **message})):
            pass


async def test_spans_arrive_with_the_name_of_the_service(traces, configured):
    await _trace()
    (span,) = traces.spans
    assert span.name == "process q"
    assert span.kind == "CONSUMER"
    assert span.attributes["messaging.system"] == "aws_sqs"
    assert span.resource["service.name"] == "jibe-sqs"
    assert span.resource["service.version"] == __version__
    assert span.resource["service.instance.id"] == "host"
    assert [path for path, _ in traces.requests] == ["/v1/traces"]


async def test_opentelemetrys_variables_configure_the_export(traces, configured):
    configured.setenv("OTEL_SERVICE_NAME", "index")
    configured.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=mine")
    configured.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={SECRET}")
    configured.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    await _trace()
    assert traces.spans[0].resource["service.name"] == "index"
    assert traces.spans[0].resource["deployment.environment.name"] == "test"
    assert traces.spans[0].resource["service.instance.id"] == "mine"
    assert traces.requests[0][1]["api-key"] == SECRET


async def test_the_sampler_of_the_variables_decides(traces, configured):
    configured.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with exported_spans("host") as spans:
        tracer = Tracer(spans)
        with tracer.message("q", Message("m", "r", b"")):
            assert tracer.spans.here() is None
        header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        with tracer.message("q", Message("sampled", "r", b"", trace=header)):
            assert tracer.spans.here() is not None
    assert [each.attributes["messaging.message.id"] for each in traces.spans] == ["sampled"]
    assert traces.spans[0].trace == "5759e988bd862e3fe1be46a994272793"
    assert traces.spans[0].parent == "53995c3f42cd8ad8"


async def test_a_disabled_sdk_makes_no_tracer(traces, configured):
    configured.setenv("OTEL_SDK_DISABLED", "true")
    with capture_logs() as events:
        async with exported_spans("host") as spans:
            assert spans is None
    assert [each["event"] for each in events] == ["tracing_disabled"]


async def test_a_collector_on_this_machine_is_reached_without_a_proxy(traces, configured):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        configured.setenv(name, "http://127.0.0.1:9")
    await _trace()
    assert len(traces.spans) == 1


async def test_another_collector_is_reached_through_the_proxy(traces, configured):
    configured.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318")
    configured.setenv("HTTP_PROXY", traces.address)
    await _trace()
    assert len(traces.spans) == 1
    assert traces.requests[0][0] == "http://collector.example:4318/v1/traces"


async def test_a_key_that_is_no_unicode_costs_no_other_span(traces, configured):
    async with exported_spans("host") as spans:
        tracer = Tracer(spans)
        with tracer.refresh(Folder("/data/\udcff"), RefreshReason.EVENTS, Askers()):
            pass
        with tracer.refresh(Folder("/data/ü"), RefreshReason.EVENTS, Askers()):
            pass
    assert [each.attributes["jibe.folder"] for each in traces.spans] == ["/data/?", "/data/ü"]


async def test_a_call_outside_of_recorded_work_has_no_span(traces, configured):
    """Otherwise a task that a message has started would add spans to its trace for ever."""
    async with exported_spans("host") as spans:
        tracer = Tracer(spans)
        go = asyncio.Event()

        async def later():
            await go.wait()
            with tracer.call("late", "aa"):
                pass

        with tracer.call("alone", "aa"):
            pass
        with tracer.message("q", Message("m", "r", b"")):
            task = asyncio.create_task(later())
            with tracer.call("inside", "aa"):
                pass
        go.set()
        await task
    assert sorted(each.name for each in traces.spans) == ["inside", "process q"]
    (call,), (message,) = traces.named("inside"), traces.named("process q")
    assert call.parent == message.id
    assert call.kind == "CLIENT"
    assert call.attributes == {"rpc.system.name": "access_anywhere", "rpc.method": "inside", "server.address": "aa"}


async def test_log_lines_within_a_span_have_its_ids(traces, configured, capsys):
    logs.configure("info", "json")
    log = structlog.get_logger()
    async with exported_spans("host") as spans:
        with Tracer(spans).message("q", Message("m", "r", b"")):
            log.info("inside")
            logging.getLogger("library").warning("inside, too")
        log.info("outside")
    lines = [line for line in capsys.readouterr().err.splitlines() if "side" in line]
    (span,) = traces.spans
    assert [f'"trace_id": "{span.trace}", "span_id": "{span.id}"' in line for line in lines] == [True, True, False]
    assert "trace_id" not in lines[2]


async def test_a_collector_that_is_down_is_logged_once_and_again_when_it_works(traces, configured):
    traces.status = 400
    with capture_logs() as events:
        async with exported_spans("host") as spans:
            for _ in range(3):
                spans.begin("refused", SpanKind.INTERNAL, {}).end()
                sent = len(traces.requests)
                await eventually(lambda sent=sent: len(traces.requests) > sent)
            traces.status = 200
            await eventually(lambda: spans.begin("taken", SpanKind.INTERNAL, {}).end() or traces.spans)
    failures = [each for each in events if each["event"] == "traces_not_exported"]
    assert len(failures) == 1
    assert failures[0]["endpoint"] == f"{traces.address}/v1/traces"
    assert "400" in failures[0]["reason"]
    (again,) = [each for each in events if each["event"] == "traces_exported_again"]
    assert again["lost"] == 3


async def test_nothing_listens_at_the_collectors_address(configured):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        configured.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    with capture_logs() as events:
        await _trace()
    # Which of the two depends on how long the exporter tries.
    assert {each["event"] for each in events} - {"tracing"} <= {"traces_not_exported", "traces_abandoned"}
    assert len(events) > 1


async def test_a_collector_that_hangs_delays_the_end_by_the_limit_only(traces, configured):
    configured.setattr(otlp, "FLUSH_TIMEOUT", 0.05)
    traces.hanging.set()
    with capture_logs() as events:
        await _trace()
    assert [each["event"] for each in events] == ["tracing", "traces_abandoned"]
    traces.released.set()
    await eventually(lambda: not any(each.name == "last spans" for each in threading.enumerate()))


async def test_spans_beyond_the_queue_are_dropped_without_waiting(traces, configured):
    configured.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
    configured.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    traces.hanging.set()
    async with exported_spans("host") as spans:
        for _ in range(100):
            spans.begin("span", SpanKind.INTERNAL, {}).end()
        await eventually(lambda: traces.requests)
        traces.hanging.clear()
        traces.released.set()
    assert 0 < len(traces.spans) < 20


async def test_no_log_line_quotes_the_headers_of_the_exporter(traces, configured, capsys):
    """OpenTelemetry warns of malformed headers, and quotes them."""
    logs.configure("info", "json")
    configured.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"authorization={SECRET}=, {SECRET}")
    traces.status = 400
    await _trace()
    assert SECRET not in capsys.readouterr().err


def test_only_the_adapter_imports_opentelemetry():
    """Without tracing, the service starts and works without it."""
    code = (
        "import sys, jibe_sqs.cli.service, jibe_sqs.compose.service, jibe_sqs.compose.tracing, jibe_sqs.telemetry.traced_logs\n"
        "found = [name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'requests')]\n"
        "assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
