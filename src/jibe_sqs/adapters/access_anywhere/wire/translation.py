"""Translates failures of calls to Access Anywhere into our errors, without our secrets.

Only this module translates the errors of the HTTP client and the HTTP statuses of answers.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote_plus, urlsplit

from jibe_sqs.adapters.access_anywhere.wire.http import Reply, is_success
from jibe_sqs.adapters.http1_errors import HttpError
from jibe_sqs.adapters.http_answers import BodyMalformed, http_date, retry_after
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed

MAX_CALL_SECONDS = 300.0
"""Seconds for a whole call. The HTTP client limits only each read, so a slow stream of bytes could go on for ever."""

SECRET_FIELDS = frozenset({"token", "us_pwd", "authtoken", "uploadcode"})
TOO_MANY_REQUESTS = 429
SERVER_ERROR = 500
MAX_TEXT = 200


class Throttled(AccessAnywhereUnavailable):
    """HTTP 429: the server works, and asks for fewer calls."""


class BrokenOff(AccessAnywhereUnavailable):
    """A download ended before its first bytes: the server works, and perhaps only this file cannot be read."""


@contextmanager
def translated(function: str, parameters: Mapping[str, str]) -> Iterator[None]:
    """Translate the errors of the HTTP client. Secrets are removed from their texts: these may quote the call."""
    try:
        yield
    except BodyMalformed as error:
        raise AnswerMalformed(f"{function}: cannot decompress Access Anywhere's answer") from error
    except TimeoutError as error:
        raise AccessAnywhereUnavailable(
            f"{function}: the answer has not ended within {MAX_CALL_SECONDS:g} s"
        ) from error
    except HttpError as error:
        reason = without_secrets(f"{type(error).__name__}: {error}".rstrip(": "), parameters)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            reason += "; if a private CA signed the server's certificate, set `ca_file` to the CA's certificate"
        raise AccessAnywhereUnavailable(f"{function}: {reason}") from error


def check_status(function: str, reply: Reply, now: float) -> None:
    """Raise `AccessAnywhereUnavailable` or `CallFailed` for a status of failure.

    `now`: seconds since the epoch, or 0 if the time is unknown.
    """
    status = reply.status
    if is_success(reply):
        return
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        # The date in Retry-After is by the server's clock, so the answer's own date counts as now.
        wish = retry_after(reply.header("retry-after"), http_date(reply.header("date")) or now)
        kind = Throttled if status == TOO_MANY_REQUESTS else AccessAnywhereUnavailable
        raise kind(f"{function}: HTTP {status} from Access Anywhere", retry_after=wish)
    remedy = "is the endpoint right, and may we reach it?"
    if 300 <= status < 400 and (location := reply.header("location")):
        remedy = (
            f"it redirects to {_host_of(location)}; the endpoint must be an address that answers without a redirect"
        )
    raise CallFailed(f"{function}: HTTP {status} from Access Anywhere: {remedy}", code=f"http-{status}")


def _host_of(location: str) -> str:
    """The host of a redirect. The rest of a location may contain a secret."""
    try:
        return urlsplit(location).hostname or "another path of the same host"
    except ValueError:
        return "an address that cannot be read"


def unreadable(function: str, why: object, reply: Reply, head: bytes, parameters: Mapping[str, str]) -> AnswerMalformed:
    """The error for an answer that cannot be read. `head`: its first bytes."""
    kind = reply.header("content-type", "no content type")[:MAX_TEXT]
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
