"""What the calls need of an HTTP client. `adapters.http1` has it: its `Origin` and its `Answer`."""

from collections.abc import Mapping
from typing import Protocol

from jibe_sqs.adapters.http_answers import Decompression


class Reply(Protocol):
    """An HTTP answer. `body`: all of it if it is small, else None. `length`: its Content-Length, if it has one."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def length(self) -> int | None:
        """The bytes of the body that the server announced."""

    @property
    def body(self) -> bytes | None:
        """The body as it was sent, if all of it is here."""

    def header(self, name: str, default: str = "") -> str:
        """The value of a header. `name` is in lower case."""

    async def chunk(self) -> bytes:
        """The next bytes of a body that is not small; empty at its end. Raises `HttpError`."""

    def close(self) -> None:
        """Drop what was not read."""


class Origin(Protocol):
    """A server, and the connections to it."""

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, read_timeout: float
    ) -> Reply:
        """Send a request. `target`: path and query, encoded. `read_timeout`: seconds without a byte. Raises `HttpError`."""


def is_success(reply: Reply) -> bool:
    """Whether the status is one of success."""
    return 200 <= reply.status < 300


class Portions:
    """The body of a reply in small portions, without its Content-Encoding."""

    def __init__(self, reply: Reply) -> None:
        """Raises `BodyMalformed` for an encoding that was not asked for."""
        self._reply = reply
        self._decompression = Decompression(reply.header("content-encoding"))
        self._portions = self._decompression.portions(reply.body or b"")

    async def next(self) -> bytes:
        """The next portion; empty at the end of the body. Raises `HttpError`, `BodyMalformed`."""
        while not (portion := next(self._portions, b"")):
            if self._reply.body is not None or not (chunk := await self._reply.chunk()):
                return b""
            self._portions = self._decompression.portions(chunk)
        return portion


async def read_body(reply: Reply, limit: int) -> bytes:
    """Read a body to its end, but stop once it exceeds `limit` bytes. Raises as `Portions.next` does."""
    portions, body = Portions(reply), bytearray()
    while len(body) <= limit and (portion := await portions.next()):
        body += portion
    return bytes(body)
