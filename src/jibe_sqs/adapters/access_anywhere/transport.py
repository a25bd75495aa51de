"""One call of Access Anywhere's API, over a network that fails.

A call is a form, posted. Whatever httpx raises is translated here, once; whatever passes by itself (a broken
connection, a server that is busy or down) is tried again here, for seconds. Minutes are the queue's business.
"""

import asyncio
import email.utils
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote_plus, urlencode

import httpx
import structlog

from jibe_sqs.adapters.access_anywhere.answers import Answer, decoded
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed
from jibe_sqs.ports import Clock

TRIES = 10
FIRST_DELAY = 0.02
LONGEST_DELAY = 10.0
BUDGET = 120.0
"""Seconds after which no further try is begun."""

LONGEST_CALL = 300.0
"""Seconds. httpx limits each read, which a server that trickles never exceeds."""

SECRET_FIELDS = frozenset({"token", "us_pwd", "authtoken"})
TOO_MANY_REQUESTS = 429

log = structlog.get_logger()


class Transport:
    """Posts calls; at most `connections` at a time. `calls` counts what was sent, by function, repetitions included."""

    def __init__(self, http: httpx.AsyncClient, url: str, clock: Clock, *, connections: int) -> None:
        self.calls: Counter[str] = Counter()
        self._http = http
        self._url = url
        self._clock = clock
        # Waiting here costs nothing; httpx's own pool looks through everyone who waits, at every turn.
        self._connections = asyncio.Semaphore(connections)

    async def call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """The answer, whose status is `ok`.

        Raises `AccessAnywhereUnavailable` after the last try, `CallFailed`, `AnswerMalformed`. No text of theirs holds a
        secret of the call.
        """
        deadline = self._clock.monotonic() + BUDGET
        attempt = 1
        while True:
            try:
                return await self._try(function, parameters)
            except AccessAnywhereUnavailable as error:
                delay = max(backoff(attempt), error.retry_after or 0.0)
                # A server that asks for more is heard by the queue: the message comes back later.
                hopeless = delay > LONGEST_DELAY or self._clock.monotonic() + delay > deadline
                if attempt == TRIES or hopeless:
                    raise AccessAnywhereUnavailable(
                        f"{error}; tried {attempt} times", retry_after=error.retry_after
                    ) from error
                log.warning(
                    "access_anywhere_retry", function=function, attempt=attempt, retry_in=delay, reason=str(error)
                )
            attempt += 1
            await self._clock.sleep(delay)

    async def _try(self, function: str, parameters: Mapping[str, str]) -> Answer:
        form = {"function": function, "apiformat": "json", **parameters}
        async with self._connections:
            self.calls[function] += 1
            with translated(function, parameters):
                async with asyncio.timeout(LONGEST_CALL):
                    # `surrogatepass`: a key that is no Unicode is a folder that does not exist, and no crash.
                    reply = await self._http.post(
                        self._url,
                        content=urlencode(form, errors="surrogatepass"),
                        headers={"Content-Type": "application/x-www-form-urlencoded"},
                    )
        self._check_status(function, reply)
        answer = self._envelope(function, reply, parameters)
        code = str(answer["status"])
        if code.lower() != "ok":
            said = without_secrets(str(answer.get("statusmessage") or ""), parameters)[:200]
            raise CallFailed(
                f"{function}: Access Anywhere answers {without_secrets(code, parameters)!r}: {said}", code=code
            )
        return answer

    def _check_status(self, function: str, reply: httpx.Response) -> None:
        status = reply.status_code
        if reply.is_success:
            return
        if status == TOO_MANY_REQUESTS or status >= httpx.codes.INTERNAL_SERVER_ERROR:
            wish = retry_after(reply.headers.get("Retry-After"), self._clock.now())
            raise AccessAnywhereUnavailable(f"{function}: HTTP {status} from Access Anywhere", retry_after=wish)
        remedy = "is the endpoint right, and may we reach it?"
        if reply.next_request is not None:
            # The host alone: the rest of a location may be anything.
            host = reply.next_request.url.host
            remedy = f"it points to {host}; the endpoint must be the address that answers itself"
        raise CallFailed(f"{function}: HTTP {status} from Access Anywhere: {remedy}", code=f"http-{status}")

    def _envelope(self, function: str, reply: httpx.Response, parameters: Mapping[str, str]) -> Answer:
        try:
            return decoded(reply.content)
        except AnswerMalformed as error:
            kind = reply.headers.get("Content-Type", "no content type")
            # What looks like JSON may hold a token in any place; so may whatever answers a login.
            is_login = parameters.get("token") == "*"
            shown = ""
            if not is_login and reply.content.lstrip()[:1] not in (b"{", b"["):
                start = reply.content[:4096].decode("utf-8", "replace")
                shown = f", beginning {without_secrets(start, parameters)[:80]!r}"
            raise AnswerMalformed(f"{function}: Access Anywhere's answer is {error} ({kind}{shown})") from None


@contextmanager
def translated(function: str, parameters: Mapping[str, str]) -> Iterator[None]:
    """Whatever httpx raises, in our words, and without our secrets: what it quotes of an answer may repeat the call."""
    try:
        yield
    except httpx.DecodingError as error:
        raise AnswerMalformed(f"{function}: Access Anywhere's answer is not in the encoding that it claims") from error
    except TimeoutError as error:
        raise AccessAnywhereUnavailable(f"{function}: no end of the answer within {LONGEST_CALL:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, httpx.CookieConflict) as error:
        said = without_secrets(f"{type(error).__name__}: {error}".rstrip(": "), parameters)
        raise AccessAnywhereUnavailable(f"{function}: {said}") from error


def backoff(attempt: int) -> float:
    """Seconds to wait after that many tries: doubling, and jittered so that many callers do not come back as one."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
    return random.uniform(longest / 2, longest)  # noqa: S311 (spreads load, guards nothing)


def retry_after(header: str | None, now: float) -> float | None:
    """The server's wish in seconds: it writes seconds, or a date. None for neither."""
    if not header:
        return None
    if header.strip().isdecimal():
        return min(float(header), 86_400.0)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def without_secrets(said: str, parameters: Mapping[str, str]) -> str:
    """What the server said, should it repeat what it must not."""
    for field in SECRET_FIELDS & parameters.keys():
        secret = parameters[field]
        if len(secret) > 1:
            said = said.replace(secret, "***").replace(quote_plus(secret), "***")
    return said
