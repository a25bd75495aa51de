"""AWS under its real host names: moto's server is also the HTTPS proxy through which clients reach it.

    client ──CONNECT sqs.eu-west-1.amazonaws.com:443──> this server        (403 for hosts outside AWS)
           <──200──
           ══TLS, with a certificate for that host══>   POST / HTTP/1.1 …  moto, which sees https and the host
                                                        POST / HTTP/1.1 …  the next request, on the same connection

A tunnel is one connection and one thread, from its CONNECT to its end. Requests are read completely and answered
completely, because moto needs that; therefore the connection can be kept alive by counting bytes. A client may close
its half of the connection after a request: it still gets the answer.

werkzeug handles requests without a tunnel.
"""

import ssl
import sys
import time
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Any, ClassVar, Final

import msgspec
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError
from werkzeug.serving import DechunkedInput

from jibe_sqs.sandbox.aws.aws_calls import RecordedCalls, signed_request
from jibe_sqs.sandbox.aws.certificates import Certificates
from jibe_sqs.sandbox.aws.host_names import Contacted, is_aws
from jibe_sqs.sandbox.aws.needed_permissions import aws_call
from jibe_sqs.sandbox.aws.object_writes import object_write
from jibe_sqs.sandbox.writes import RecordedWrites

Answer = tuple[str, list[tuple[str, str]], bytes]
"""Status, headers, body."""
_HANDSHAKE: Final = 60.0
"""Seconds that a client may take for the TLS handshake."""
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class TunnelHandler(MotoRequestHandler):
    """A connection to the server, with or without a tunnel."""

    certificates: ClassVar[Certificates | None] = None
    """None: tunnels are refused."""
    contacted: ClassVar[Contacted] = Contacted()
    writes: ClassVar[RecordedWrites] = RecordedWrites()
    """The object changes that came through tunnels."""
    calls: ClassVar[RecordedCalls] = RecordedCalls()
    """All calls that came through tunnels."""
    disable_nagle_algorithm = True
    _host = ""
    """The host that the tunnel leads to."""

    def do_CONNECT(self) -> None:  # noqa: N802 - http.server looks for this name
        """Open a tunnel, or refuse it. No connection leaves this machine."""
        host, _, port = self.path.lower().rpartition(":")
        if self._host or self.certificates is None:
            self._refuse(
                HTTPStatus.NOT_IMPLEMENTED, "this server opens no tunnels: it was started without --certificates"
            )
        elif not is_aws(host) or port != "443":
            self._refuse(HTTPStatus.FORBIDDEN, f"this is not an AWS host, so the sandbox does not have it: {self.path}")
        else:
            self.send_response_only(HTTPStatus.OK, "Connection Established")
            self.end_headers()
            self._start_tls(host, self.certificates.context(host))

    def parse_request(self) -> bool:
        """Read the head of a request. http.server drops a slash of `//key`, which is a different object in S3."""
        is_good = super().parse_request()
        if is_good and self._host:
            self.path = self.requestline.split()[1]
        return is_good

    def run_wsgi(self) -> None:
        """Answer one request."""
        if not self._host:
            super().run_wsgi()
            return
        self.contacted.count(self._host)
        try:
            environ = self._tunnelled()
        except HTTPException as error:
            # The start of the next request is unknown.
            self.close_connection = True
            self._send(*_called(error, {"REQUEST_METHOD": self.command}))
            return
        began = time.time()
        signed = signed_request(environ, environ["wsgi.input"].getvalue())
        call = aws_call(signed) if signed else None
        answer = self._answered(environ)
        self._record(environ, began, answer[0])
        if call:
            self.calls.add(msgspec.structs.replace(call, status=int(answer[0].partition(" ")[0])))
        self._send(*answer)

    def handle(self) -> None:
        """Answer requests until either side closes the connection."""
        with suppress(ssl.SSLError):  # the client closed the connection; werkzeug expects this only without TLS
            super().handle()

    def handle_expect_100(self) -> bool:
        """Let the client send its body."""
        may_go_on = super().handle_expect_100()
        self.wfile.flush()
        return may_go_on

    def finish(self) -> None:
        """Close the tunnel. The server would close the original socket, but TLS has taken it over."""
        with suppress(OSError):
            super().finish()
        self.connection.close()

    def log_request(self, *_: Any) -> None:
        """Requests are not logged. Errors are logged to stderr."""

    def _start_tls(self, host: str, context: ssl.SSLContext) -> None:
        self.connection.settimeout(_HANDSHAKE)
        try:
            tunnel = context.wrap_socket(self.connection, server_side=True)
        except (OSError, ValueError):  # the client trusts another authority, or closed the connection
            self.close_connection = True
            return
        tunnel.settimeout(None)
        self.connection = tunnel
        self.rfile, self.wfile = tunnel.makefile("rb"), tunnel.makefile("wb")
        self._host = host
        self.close_connection = False

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self.send_error(status, explain=why)

    def _tunnelled(self) -> dict[str, Any]:
        """The request as moto expects it, with its complete body.

        Raises `BadRequest` if the end of the body cannot be found.
        """
        environ = self.make_environ()
        try:
            if isinstance(environ["wsgi.input"], DechunkedInput):
                body = environ["wsgi.input"].read()
                del environ["HTTP_TRANSFER_ENCODING"]
            else:
                length = int(environ.get("CONTENT_LENGTH") or 0)
                body = self.rfile.read(length) if length >= 0 else None
                if body is None or len(body) < length:
                    raise BadRequest("the body is shorter than its Content-Length")
        except (OSError, ValueError) as error:
            raise BadRequest("the body cannot be read") from error
        host = environ.get("HTTP_HOST") or self._host
        return environ | {
            "wsgi.url_scheme": "https",
            "wsgi.input": BytesIO(body),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_HOST": host.removesuffix(":443"),
            "SERVER_PORT": "443",
        }

    def _answered(self, environ: dict[str, Any]) -> Answer:
        try:
            return _called(self.server.app, environ)
        except Exception:  # noqa: BLE001 - the client needs an answer for any exception in moto
            traceback.print_exc(file=sys.stderr)
            return _called(InternalServerError(), environ)

    def _record(self, environ: dict[str, Any], began: float, status: str) -> None:
        """Record the object change of this request, before the client gets the answer.

        S3 redirects form uploads with 303.
        """
        if not status.startswith(("2", "303")):
            return
        if write := object_write(environ, environ["wsgi.input"].getvalue()):
            size, etag = write.stored(environ["HTTP_HOST"])
            more = {"size": size, "etag": etag, "source": write.source, "upload": write.upload}
            self.writes.add(write.kind, write.bucket, write.keys, began=began, at=time.time(), **more)

    def _send(self, status: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        is_bodiless = self.command == "HEAD" or int(code) in _BODILESS
        for name, value in headers:
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if not is_bodiless:
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if not is_bodiless:
            self.wfile.write(body)
        self.wfile.flush()


def _called(app: Any, environ: Mapping[str, Any]) -> Answer:
    """The complete answer of a WSGI application."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Any:
        started.append((status, headers))

    answer = app(environ, start_response)
    try:
        body = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    status, headers = started[-1]
    return status, headers, body
