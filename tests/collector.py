"""A stand-in for a collector of traces: a server on loopback that decodes OTLP's protobuf as a collector does."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

FAILED = Status.STATUS_CODE_ERROR


class Received:
    """One span, with plain values."""

    def __init__(self, span: Span, resource: dict[str, Any]) -> None:
        self.name = span.name
        self.kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.began, self.ended = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes = _plain(span.attributes)
        self.links = [(each.trace_id.hex(), each.span_id.hex()) for each in span.links]
        self.events = [each.name for each in span.events]
        self.has_failed, self.reason = span.status.code == FAILED, span.status.message
        self.resource = resource

    def __repr__(self) -> str:
        return f"<{self.name} {self.attributes}>"


class Collector:
    """What has arrived. `status` and `hanging` make it fail from now on."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        """The path and the headers of each request."""
        self.status = 200
        self.hanging = threading.Event()
        self.released = threading.Event()
        self.address = ""

    def named(self, name: str) -> list[Received]:
        """The spans of this name."""
        return [each for each in self.spans if each.name == name]

    def take(self, body: bytes) -> None:
        """Take the spans of one request."""
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            resource = _plain(of_resource.resource.attributes)
            self.spans += [Received(each, resource) for scope in of_resource.scope_spans for each in scope.spans]


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector, until the end of the block."""
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append((self.path, dict(self.headers)))
            if state.hanging.is_set():
                state.released.wait()
            status = state.status
            if status == 200:
                state.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that went away."""

    server = Server(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
