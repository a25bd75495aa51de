"""moto in a process of its own: AWS's APIs on a free loopback port, until it is stopped.

It is a process, not a thread, so that the program under test does not share an interpreter or a lock with it, and
can be killed alone. Without a tunnel, werkzeug closes each connection after one answer; on loopback that costs
little.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.wrappers import Request

from jibe_sqs.sandbox.aws import digests, moto_patches
from jibe_sqs.sandbox.aws.aws_calls import CALLS, RecordedCalls
from jibe_sqs.sandbox.aws.certificates import Certificates
from jibe_sqs.sandbox.aws.host_names import HOSTS, Contacted
from jibe_sqs.sandbox.aws.object_writes import WRITES
from jibe_sqs.sandbox.aws.regions import refusal
from jibe_sqs.sandbox.aws.tunnels import TunnelHandler
from jibe_sqs.sandbox.writes import RecordedWrites


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    certificates_in: Path | None = None,
    application: "type[Application] | None" = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Prints the endpoint as one JSON line on stdout, once connections are accepted.

    `certificates_in`: a folder for the CA file. If it is given, the server is also the HTTPS proxy through which
    clients reach AWS under its real host names. `application`: answers the requests; `Application` by default.
    """
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    # moto opens a boto3 session of its own. A profile in the user's environment must not influence it.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    moto_patches.apply_patches()
    digests.add_list_public_keys()
    hosts, made, called = Contacted(), RecordedWrites(), RecordedCalls()

    class Handler(TunnelHandler):
        certificates = Certificates(certificates_in) if certificates_in else None
        contacted = hosts
        writes = made
        calls = called

    answering = (application or Application)(hosts, made, called)
    server = make_server(host, port, answering, threaded=True, request_handler=Handler)
    print(json.dumps({"endpoint": f"http://{host}:{server.server_port}"}), flush=True)
    server.serve_forever()


class Application(DomainDispatcherApplication):
    """moto, extended: it also finds the service of an unsigned request by its host name."""

    def __init__(self, contacted: Contacted, writes: RecordedWrites, calls: RecordedCalls) -> None:
        super().__init__(create_backend_app)
        self._answers: dict[str, Callable[[int], Any]] = {
            HOSTS: lambda _: contacted.counts(),
            WRITES: writes.since,
            CALLS: calls.since,
        }

    def infer_service_region_host(self, environ: dict[str, Any], path: str) -> str | None:
        """The host name by which moto chooses its backend. None stands for S3."""
        host = str(environ.get("HTTP_HOST", ""))
        is_known = any(pattern.match(f"https://{host}") for _, pattern in self.backend_url_patterns)
        return super().infer_service_region_host(environ, path) or (host if is_known else None)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """A WSGI application."""
        if found := self._answers.get(environ["PATH_INFO"]):
            start_response("200 OK", [("Content-Type", "application/json")])
            return [msgspec.json.encode(found(Request(environ).args.get("since", 0, type=int)))]
        if environ["wsgi.url_scheme"] == "https" and (refused := refusal(environ)):
            start_response(f"{refused.status.value} {refused.status.phrase}", [*refused.headers.items()])
            return [refused.body]
        answer: Iterable[bytes] = super().__call__(environ, start_response)
        return answer


def _stop(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)
