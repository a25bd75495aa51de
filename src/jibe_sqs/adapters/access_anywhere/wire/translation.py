"""Whatever goes wrong on the way to Access Anywhere and back, in our words, and without our secrets.

Foreign errors are translated here and nowhere else: exceptions of httpx, and answers that are none by their status.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote_plus

import httpx

from jibe_sqs.adapters.access_anywhere.wire.answers import Answer, decoded
from jibe_sqs.adapters.http_answers import http_date, retry_after
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed

MAX_CALL_SECONDS = 300.0
"""Seconds. httpx limits each read, which a server that trickles never exceeds."""

SECRET_FIELDS = frozenset({"token", "us_pwd", "authtoken", "uploadcode"})
TOO_MANY_REQUESTS = 429
MAX_TEXT = 200

READ_ERRORS = (httpx.HTTPError, httpx.StreamError, ssl.SSLError)
"""What is raised while an answer is read: httpx lets through what `ssl` says of a record that is none."""


class Throttled(AccessAnywhereUnavailable):
    """429: the server is there, and wants less of us."""


class BrokenOff(AccessAnywhereUnavailable):
    """A file ends before its first bytes have come: the server is there, and the trouble may be this one file's."""


@contextmanager
def translated(function: str, parameters: Mapping[str, str]) -> Iterator[None]:
    """Whatever httpx raises, in our words, and without our secrets: what it quotes of an answer may repeat the call."""
    try:
        yield
    except httpx.DecodingError as error:
        raise AnswerMalformed(f"{function}: Access Anywhere's answer is not in the encoding that it claims") from error
    except TimeoutError as error:
        raise AccessAnywhereUnavailable(f"{function}: no end of the answer within {MAX_CALL_SECONDS:g} s") from error
    except AttributeError as error:
        # On uvloop, anyio finds no socket where a connection is reset as soon as it is made.
        if error.name != "getpeername":
            raise
        raise AccessAnywhereUnavailable(f"{function}: the connection was reset as soon as it was made") from error
    except (*READ_ERRORS, httpx.InvalidURL, httpx.CookieConflict) as error:
        said = without_secrets(f"{type(error).__name__}: {error}".rstrip(": "), parameters)
        if "CERTIFICATE_VERIFY_FAILED" in said:
            said += "; if a CA of your own vouches for the server, name its certificate as the `ca_file`"
        raise AccessAnywhereUnavailable(f"{function}: {said}") from error


def check_status(function: str, reply: httpx.Response, now: float) -> None:
    """Raises `AccessAnywhereUnavailable`, `CallFailed`. `now`: seconds since the epoch, 0 if that is not known."""
    status = reply.status_code
    if reply.is_success:
        return
    if status == TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        # A date is by the server's own clock, where it tells.
        wish = retry_after(reply.headers.get("Retry-After"), http_date(reply.headers.get("Date")) or now)
        kind = Throttled if status == TOO_MANY_REQUESTS else AccessAnywhereUnavailable
        raise kind(f"{function}: HTTP {status} from Access Anywhere", retry_after=wish)
    remedy = "is the endpoint right, and may we reach it?"
    if reply.next_request is not None:
        # The host alone: the rest of a location may be anything.
        host = reply.next_request.url.host
        remedy = f"it points to {host}; the endpoint must be the address that answers itself"
    raise CallFailed(f"{function}: HTTP {status} from Access Anywhere: {remedy}", code=f"http-{status}")


def envelope(function: str, reply: httpx.Response, body: bytes, parameters: Mapping[str, str]) -> Answer:
    """The answer, whatever its `status`. Raises `AnswerMalformed`."""
    try:
        return decoded(body)
    except AnswerMalformed as error:
        kind = reply.headers.get("Content-Type", "no content type")
        # What looks like JSON may hold a token in any place; so may whatever answers a login.
        is_login = parameters.get("token") == "*"
        shown = ""
        if not is_login and body.lstrip()[:1] not in (b"{", b"["):
            start = body[:4096].decode("utf-8", "replace")
            shown = f", beginning {without_secrets(start, parameters)[:80]!r}"
        raise AnswerMalformed(f"{function}: Access Anywhere's answer is {error} ({kind}{shown})") from None


def refusal(function: str, code: str, said: str, parameters: Mapping[str, str]) -> CallFailed:
    """The error of a call that is answered with a code other than `ok`."""
    shown, said = (without_secrets(text, parameters)[:MAX_TEXT] for text in (code, said))
    return CallFailed(f"{function}: Access Anywhere answers {shown!r}: {said}", code=code)


def without_secrets(said: str, parameters: Mapping[str, str]) -> str:
    """What the server said, should it repeat what it must not."""
    for field in SECRET_FIELDS & parameters.keys():
        secret = parameters[field]
        if len(secret) > 1:
            said = said.replace(secret, "***").replace(quote_plus(secret), "***")
    return said
