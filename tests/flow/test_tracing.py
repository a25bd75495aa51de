"""The spans of messages, log files and refreshes: their order, their links, and their failures."""

import asyncio
import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from jibe_sqs.adapters.otlp import LinkedSampler, OtelSpans
from jibe_sqs.core.errors import AccessAnywhereUnavailable, LogMissing
from jibe_sqs.core.model import Folder
from jibe_sqs.telemetry.tracing import MAX_LINKS, RemoteSpan, Tracer, sender_of

ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
TRACE = 0x5759E988BD862E3FE1BE46A994272793


class Traced:
    """A tracer, and the spans that have ended."""

    def __init__(self, sampler=ALWAYS_ON):
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=LinkedSampler(ParentBased(sampler)), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = Tracer(OtelSpans(provider.get_tracer("test")))

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [each for each in self.spans if each.name == name]

    def one(self, name):
        (found,) = self.named(name)
        return found


@pytest.fixture
def traced():
    return Traced()


def _children(span, spans):
    return sorted(each.name for each in spans if each.parent and each.parent.span_id == span.context.span_id)


def _linked(span):
    return [each.context.span_id for each in span.links]


async def test_a_message_has_one_trace_and_its_refresh_links_to_it(flow, traced):
    """A refresh is no child of the message: others may wait for it, too."""
    world = flow.World(tracer=traced.tracer)
    message_id = world.send_log("a")
    async with world.running():
        await flow.until(lambda: traced.named(f"process {world.queue.name}"))
    message, refresh = traced.one(f"process {world.queue.name}"), traced.one("refresh")
    assert message.kind is SpanKind.CONSUMER
    assert message.attributes["messaging.message.id"] == message_id
    assert message.attributes["messaging.destination.name"] == world.queue.name
    assert message.attributes["messaging.operation.type"] == "process"
    assert message.attributes["jibe.verdict"] == "done"
    assert message.status.status_code is StatusCode.UNSET
    assert _children(message, traced.spans) == ["fetch", "parse"]
    assert refresh.parent is None
    assert refresh.context.trace_id != message.context.trace_id
    assert _linked(refresh) == [message.context.span_id]
    assert refresh.attributes["jibe.folder"] == "/data/a"
    assert refresh.attributes["jibe.requests"] == 1
    assert [each.name for each in refresh.events] == ["began"]
    parse, fetch = traced.one("parse"), traced.one("fetch")
    assert parse.attributes["jibe.records"] == parse.attributes["jibe.events"] == 1
    assert parse.attributes["jibe.format"] == "cloudtrail"
    assert fetch.attributes["jibe.bytes"] == len(world.logs.objects[flow.LOG_BUCKET, flow.log_key("a")])
    assert fetch.attributes["aws.s3.key"] == flow.log_key("a")
    # The file has several chunks, and is read while they arrive.
    assert fetch.start_time <= parse.start_time <= fetch.end_time <= parse.end_time


async def test_messages_that_share_a_refresh_are_all_linked(flow, traced):
    """Also those that ask between its turn and its beginning."""
    world = flow.World(tracer=traced.tracer)
    world.target.held_before_start.add("/data/a")
    world.queue.send(flow.s3_event("a/first"))
    async with world.running():
        await flow.until(lambda: world.target.runs)
        world.queue.send(flow.s3_event("a/second"))
        await flow.until(lambda: world.counters.messages == 2)
        await flow.settled()
        world.target.release()
        await flow.until(lambda: len(traced.named(f"process {world.queue.name}")) == 2)
    refresh = traced.one("refresh")
    assert sorted(_linked(refresh)) == sorted(
        each.context.span_id for each in traced.named(f"process {world.queue.name}")
    )
    assert refresh.attributes["jibe.requests"] == 2


async def test_the_links_of_a_refresh_are_bounded(flow, traced):
    count = MAX_LINKS + 20
    world = flow.World(tracer=traced.tracer, held=2 * count, reading=2 * count)
    world.target.held_before_start.add("/data/a")
    for number in range(count):
        world.queue.send(flow.s3_event(f"a/{number}"))
    async with world.running():
        await flow.until(lambda: world.counters.messages == count)
        await flow.settled()
        world.target.release()
        await flow.until(lambda: world.counters.done == count)
    assert sum(len(each.links) for each in traced.named("refresh")) == MAX_LINKS
    assert sum(each.attributes["jibe.requests"] for each in traced.named("refresh")) == count


async def test_a_refresh_that_another_refresh_needs_links_to_it(flow, traced):
    world = flow.World(tracer=traced.tracer)
    inner = world.target.refresh

    async def refresh(folder, began, others):
        if folder.path == "/data/a/b":
            await others.refresh(Folder("/data/a"))
        await inner(folder, began, others)

    world.target.refresh = refresh
    world.queue.send(flow.s3_event("a/b/c"))
    async with world.running():
        await flow.until(lambda: world.counters.done == 1)
    by_folder = {each.attributes["jibe.folder"]: each for each in traced.named("refresh")}
    assert _linked(by_folder["/data/a"]) == [by_folder["/data/a/b"].context.span_id]
    assert by_folder["/data/a"].attributes["jibe.reason"] == "descendant"
    assert by_folder["/data/a"].parent is None


async def test_errors_become_the_status_of_their_spans(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.target.errors["/data/a"].append(AccessAnywhereUnavailable("503 from getFolderContents"))
    world.queue.send(flow.s3_event("a/b"))
    async with world.running():
        await flow.until(lambda: traced.named(f"process {world.queue.name}"))
    for name in (f"process {world.queue.name}", "refresh"):
        span = traced.named(name)[0]
        assert span.status.status_code is StatusCode.ERROR, name
        assert "503" in span.status.description
        assert span.attributes["error.type"] == "AccessAnywhereUnavailable"
    assert traced.named(f"process {world.queue.name}")[0].attributes["jibe.verdict"] == "retry"


async def test_a_log_file_that_cannot_be_opened_fails_its_fetch(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.queue.send(flow.announcing(flow.log_key("missing")))
    async with world.running():
        await flow.until(lambda: traced.named("fetch"))
    fetch = traced.named("fetch")[0]
    assert fetch.attributes["error.type"] == LogMissing.__name__
    assert not traced.named("parse")


async def test_a_damaged_log_file_fails_its_parse(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.send_log("bad", b"\x1f\x8bnot gzip")
    async with world.running():
        await flow.until(lambda: traced.named("parse"))
    assert traced.named("parse")[0].status.status_code is StatusCode.ERROR
    assert traced.named("fetch")[0].status.status_code is StatusCode.UNSET


async def test_the_senders_trace_goes_on(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.queue.send(flow.s3_event("a/b"), trace=f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1")
    async with world.running():
        await flow.until(lambda: traced.named(f"process {world.queue.name}"))
    message = traced.one(f"process {world.queue.name}")
    assert message.context.trace_id == TRACE
    assert message.parent.span_id == 0x53995C3F42CD8AD8


async def test_a_sender_that_does_not_sample_makes_no_spans(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.queue.send(flow.s3_event("a/b"), trace=f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=0")
    async with world.running():
        await flow.until(lambda: world.counters.done == 1)
    assert {each.name for each in traced.spans} == {"refresh"}
    assert not traced.one("refresh").links


async def test_a_sender_that_leaves_the_decision_to_us_is_linked(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.queue.send(flow.s3_event("a/b"), trace=f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=?")
    async with world.running():
        await flow.until(lambda: traced.named(f"process {world.queue.name}"))
    message = traced.one(f"process {world.queue.name}")
    assert message.parent is None
    assert [each.context.trace_id for each in message.links] == [TRACE]


async def test_a_refresh_that_serves_a_sampled_message_is_sampled(flow):
    """Otherwise the link of a sampled message would lead nowhere."""
    traced = Traced(ALWAYS_OFF)
    world = flow.World(tracer=traced.tracer)
    world.queue.send(flow.s3_event("a/b"), trace=f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1")
    world.queue.send(flow.s3_event("other/c"))
    async with world.running():
        await flow.until(lambda: world.counters.done == 2)
    assert [each.attributes["jibe.folder"] for each in traced.named("refresh")] == ["/data/a"]


async def test_a_message_that_is_given_back_at_the_deadline_ends_its_span(flow, traced):
    world = flow.World(tracer=traced.tracer)
    world.target.held.add("/data/a")
    world.queue.send(flow.s3_event("a/b"))
    task = asyncio.create_task(world.consumer.run())
    await flow.until(lambda: world.target.runs)
    world.consumer.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await world.refreshes.stop()
    message = traced.one(f"process {world.queue.name}")
    assert message.attributes["jibe.abandoned"] is True
    assert message.status.status_code is StatusCode.UNSET
    assert traced.one("refresh").attributes["jibe.abandoned"] is True


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1", RemoteSpan(TRACE, 0x53995C3F42CD8AD8, sampled=True)),
        (
            f"Sampled=0; Parent=53995C3F42CD8AD8 ;{ROOT};Self=x;a=b",
            RemoteSpan(TRACE, 0x53995C3F42CD8AD8, sampled=False),
        ),
        (f"{ROOT};Parent=53995c3f42cd8ad8", RemoteSpan(TRACE, 0x53995C3F42CD8AD8)),
        (f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=?", RemoteSpan(TRACE, 0x53995C3F42CD8AD8)),
        (f"{ROOT};Sampled=1", None),
        (f"{ROOT};Parent=0000000000000000", None),
        ("Root=1-00000000-000000000000000000000000;Parent=53995c3f42cd8ad8", None),
        ("Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8", None),
        (f"{ROOT};Parent=53995c3f42cd8ad8ff", None),
        ("", None),
        (json.dumps({"Root": 1}), None),
    ],
)
def test_the_senders_span_is_read_from_its_header(header, found):
    assert sender_of(header) == found
