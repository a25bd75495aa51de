"""Why an HTTP request got no answer, or only a part of one."""


class HttpError(Exception):
    """A request got no answer, or only a part of one. Every error of `http1` is one of these."""


class Unreachable(HttpError):
    """No connection: the name is not known, the server refuses, or it does not answer in time."""


class ProxyFailed(Unreachable):
    """No connection, because of the proxy."""


class TlsFailed(Unreachable):
    """No connection, because of TLS: a certificate is not trusted, or the server speaks something else."""


class Disconnected(HttpError):
    """The connection ended before the answer did. `unanswered`: before its first byte."""

    def __init__(self, reason: str, *, unanswered: bool = False) -> None:
        super().__init__(reason)
        self.unanswered = unanswered


class ReadTimedOut(HttpError):
    """The server sent nothing for so long."""


class Malformed(HttpError):
    """The server sent something else than an answer of HTTP/1.1, or one beyond the limits of `http1`."""
