"""Translates failures of calls to Access Anywhere into our errors, without our secrets.

Only this module translates the exceptions of httpx and the HTTP statuses of answers.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote_plus

import httpx

from jibe_sqs.adapters.http_answers import http_date, retry_after
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed

MAX_CALL_SECONDS = 300.0
"""Seconds for a whole call. httpx limits only each read, so a slow stream of bytes could go on for ever."""

SECRET_FIELDS = frozenset({"token", "us_pwd", "authtoken", "uploadcode"})
TOO_MANY_REQUESTS = 429
MAX_TEXT = 200

READ_ERRORS = (httpx.HTTPError, httpx.StreamError, ssl.SSLError)
"""What is raised while an answer is read. httpx does not translate the `ssl` error of a malformed record."""


class Throttled(AccessAnywhereUnavailable):
    """HTTP 429: the server works, and asks for fewer calls."""


class BrokenOff(AccessAnywhereUnavailable):
    """A download ended before its first bytes: the server works, and perhaps only this file cannot be read."""


@contextmanager
def translated(function: str, parameters: Mapping[str, str]) -> Iterator[None]:
    """Translate the exceptions of httpx. Secrets are removed from their texts: these may quote the call."""
    try:
        yield
    except httpx.DecodingError as error:
        raise AnswerMalformed(f"{function}: cannot decompress Access Anywhere's answer") from error
    except TimeoutError as error:
        raise AccessAnywhereUnavailable(
            f"{function}: the answer has not ended within {MAX_CALL_SECONDS:g} s"
        ) from error
    except AttributeError as error:
        # On uvloop, anyio finds no socket where a connection is reset as soon as it is made.
        if error.name != "getpeername":
            raise
        raise AccessAnywhereUnavailable(f"{function}: the connection was reset as soon as it was made") from error
    except (*READ_ERRORS, httpx.InvalidURL, httpx.CookieConflict) as error:
        reason = without_secrets(f"{type(error).__name__}: {error}".rstrip(": "), parameters)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += "; if a private CA signed the server's certificate, set `ca_file` to the CA's certificate"
        raise AccessAnywhereUnavailable(f"{function}: {reason}") from error


def check_status(function: str, reply: httpx.Response, now: float) -> None:
    """Raise `AccessAnywhereUnavailable` or `CallFailed` for a status of failure.

    `now`: seconds since the epoch, or 0 if the time is unknown.
    """
    status = reply.status_code
    if reply.is_success:
        return
    if status == TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        # The date in Retry-After is by the server's clock, so the answer's own date counts as now.
        wish = retry_after(reply.headers.get("Retry-After"), http_date(reply.headers.get("Date")) or now)
        kind = Throttled if status == TOO_MANY_REQUESTS else AccessAnywhereUnavailable
        raise kind(f"{function}: HTTP {status} from Access Anywhere", retry_after=wish)
    remedy = "is the endpoint right, and may we reach it?"
    if reply.next_request is not None:
        # Only the host is shown: the rest of a location may contain a secret.
        host = reply.next_request.url.host
        remedy = f"it redirects to {host}; the endpoint must be an address that answers without a redirect"
    raise CallFailed(f"{function}: HTTP {status} from Access Anywhere: {remedy}", code=f"http-{status}")


def unreadable(
    function: str, why: object, reply: httpx.Response, head: bytes, parameters: Mapping[str, str]
) -> AnswerMalformed:
    """The error for an answer that cannot be read. `head`: its first bytes."""
    kind = reply.headers.get("Content-Type", "no content type")[:MAX_TEXT]
    # Text like JSON may contain a token anywhere, and so may the answer to a login. It is not quoted.
    is_login = parameters.get("token") == "*"
    shown = ""
    if not is_login and head.lstrip()[:1] not in (b"{", b"["):
        start = head.decode("utf-8", "replace")
        shown = f", beginning {without_secrets(start, parameters)[:80]!r}"
    return AnswerMalformed(f"{function}: Access Anywhere's answer {why} ({kind}{shown})")


def refusal(function: str, code: str, message: str, parameters: Mapping[str, str]) -> CallFailed:
    """The error for a call that was answered with a code other than `ok`."""
    shown, message = (without_secrets(text, parameters)[:MAX_TEXT] for text in (code, message))
    return CallFailed(f"{function}: Access Anywhere answers {shown!r}: {message}", code=code)


def without_secrets(text: str, parameters: Mapping[str, str]) -> str:
    """A text of the server with the secrets of the call replaced by `***`."""
    for field in SECRET_FIELDS & parameters.keys():
        secret = parameters[field]
        if len(secret) > 1:
            text = text.replace(secret, "***").replace(quote_plus(secret), "***")
    return text
