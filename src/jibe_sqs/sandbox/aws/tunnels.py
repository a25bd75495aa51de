"""AWS under its real host names: moto's server is also the HTTPS proxy that leads to it.

    client ──CONNECT sqs.eu-west-1.amazonaws.com:443──> this server        (or 403: not a host of AWS's)
           <──200──
           ══TLS, with a certificate for that host══>   POST / HTTP/1.1 …  moto, which sees https and the host
                                                        POST / HTTP/1.1 …  the next request, on the same connection

A tunnel is one connection and one thread, from its CONNECT to its end. Its requests are read and answered whole, as
moto needs them, so keeping the connection alive takes no more than counting bytes. A client may close its half of the
connection after a request: the answer is still sent.

Requests without a tunnel are werkzeug's, as before.
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

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError
from werkzeug.serving import DechunkedInput

from jibe_sqs.sandbox.aws.certificates import Certificates
from jibe_sqs.sandbox.aws.host_names import Contacted, is_aws
from jibe_sqs.sandbox.aws.object_writes import object_write
from jibe_sqs.sandbox.writes import RecordedWrites

Answer = tuple[str, list[tuple[str, str]], bytes]
"""Status, headers, body."""
_HANDSHAKE: Final = 60.0
"""Seconds that a client may take for the TLS handshake."""
_BODILESS: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})


class TunnelHandler(MotoRequestHandler):
    """One connection to the server, with a tunnel or without."""

    certificates: ClassVar[Certificates | None] = None
    """None: no tunnels."""
    contacted: ClassVar[Contacted] = Contacted()
    writes: ClassVar[RecordedWrites] = RecordedWrites()
    """The changes of objects that came through tunnels."""
    disable_nagle_algorithm = True
    _host = ""
    """The host that the tunnel leads to."""

    def do_CONNECT(self) -> None:  # noqa: N802 - http.server looks for this name
        """Open a tunnel, or refuse it: nothing leaves this machine."""
        host, _, port = self.path.lower().rpartition(":")
        if self._host or self.certificates is None:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "no tunnels here: this server has no certificates for them")
        elif not is_aws(host) or port != "443":
            self._refuse(HTTPStatus.FORBIDDEN, f"not a host of AWS's, so not in the sandbox: {self.path}")
        else:
            self.send_response_only(HTTPStatus.OK, "Connection Established")
            self.end_headers()
            self._start_tls(host, self.certificates.context(host))

    def parse_request(self) -> bool:
        """Read a request's head. http.server drops a slash of `//key`; in S3 that is another object."""
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
            # Where the next request begins is not known.
            self.close_connection = True
            self._send(*_called(error, {"REQUEST_METHOD": self.command}))
            return
        began = time.time()
        answer = self._answered(environ)
        self._record(environ, began, answer[0])
        self._send(*answer)

    def handle(self) -> None:
        """Answer requests until either side closes the connection."""
        with suppress(ssl.SSLError):  # the client has gone: werkzeug expects this without TLS only
            super().handle()

    def handle_expect_100(self) -> bool:
        """Let the client send its body."""
        may_go_on = super().handle_expect_100()
        self.wfile.flush()
        return may_go_on

    def finish(self) -> None:
        """Close the tunnel: TLS has taken over the socket that the server would close."""
        with suppress(OSError):
            super().finish()
        self.connection.close()

    def log_request(self, *_: Any) -> None:
        """No line for each request; errors are still logged, on stderr."""

    def _start_tls(self, host: str, context: ssl.SSLContext) -> None:
        self.connection.settimeout(_HANDSHAKE)
        try:
            tunnel = context.wrap_socket(self.connection, server_side=True)
        except (OSError, ValueError):  # it trusts another authority, or has gone
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
        """The request as moto sees it, with its whole body. Raises `BadRequest` if its end cannot be found."""
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
        except Exception:  # noqa: BLE001 - whatever a part of moto raises, the client gets an answer
            traceback.print_exc(file=sys.stderr)
            return _called(InternalServerError(), environ)

    def _record(self, environ: dict[str, Any], began: float, status: str) -> None:
        """Record what the request changed in S3, before its client knows of it. 303 is how forms are redirected."""
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
    """A WSGI application's answer, whole."""
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
