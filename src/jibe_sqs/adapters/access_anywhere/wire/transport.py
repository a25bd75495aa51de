"""One call of Access Anywhere's API, over a network that fails.

A call is a form, posted. What passes by itself (a broken connection, a server that is busy or down) is tried again
here, for seconds; while the server is down, calls wait. Minutes are the queue's business.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import structlog
from aiolimiter import AsyncLimiter

from jibe_sqs.adapters.access_anywhere.flow.circuit import Circuit
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.wire.answers import Answer
from jibe_sqs.adapters.access_anywhere.wire.translation import (
    MAX_CALL_SECONDS,
    BrokenOff,
    Throttled,
    check_status,
    envelope,
    refusal,
    translated,
)
from jibe_sqs.adapters.connections import Connections
from jibe_sqs.adapters.http_answers import read_body
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed
from jibe_sqs.ports import Clock

MAX_TRIES = 10
BACKOFF = Backoff(first=0.02, longest=10.0)
BUDGET = 120.0
"""Seconds after which no further try is begun."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Bytes, unpacked: so much of one answer is taken into memory, and no more."""

CHANGING_PARAMETERS = ("token", "refreshtoken", "uploadcode")
"""What differs each time the same is asked."""

NO_TOKEN = "*"  # noqa: S105 (the API's word for "none needed")

T = TypeVar("T")

log = structlog.get_logger()


class Transport:
    """Posts calls; `at_once` at a time. `calls` counts what was sent, by function, repetitions included.

    Tells the circuit and the concurrency how each try went.
    """

    def __init__(
        self,
        http: Connections,
        url: str,
        clock: Clock,
        *,
        at_once: int,
        circuit: Circuit,
        concurrency: AdaptiveConcurrency,
        calls_per_second: float | None = None,
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.http = http
        self.url = url
        self._clock = clock
        self._places = asyncio.Semaphore(at_once)
        self._circuit = circuit
        self._concurrency = concurrency
        # One at a time, evenly: a second's worth at once is what a limit is to prevent.
        self._limiter = AsyncLimiter(1, 1 / calls_per_second) if calls_per_second else None

    async def call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """The answer, whose status is `ok`.

        Raises `AccessAnywhereUnavailable` after the last try, `CallFailed`, `AnswerMalformed`. No text of theirs holds a
        secret of the call.
        """
        return await self.with_retries(
            function,
            lambda: self._post(function, parameters),
            comparable=comparable(function, parameters),
            about=subject(function, parameters),
        )

    async def call_once(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """As `call`, but one try, past the gate: for the circuit's probes."""
        if self._limiter is not None:
            await self._limiter.acquire()
        self.calls[function] += 1
        return await self._post(function, parameters)

    async def with_retries(
        self,
        function: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        tries: int = MAX_TRIES,
        comparable: str = "",
        about: Hashable = None,
    ) -> T:
        """What the attempt gives, which is made again while it raises `AccessAnywhereUnavailable`.

        `comparable`: what else takes as long as this; empty if that says nothing of how the server does.
        `about`: what it is about, where the function alone does not say.
        """
        deadline = self._clock.monotonic() + BUDGET
        number, openings = 1, self._circuit.openings
        while True:
            # Who waits at the gate holds a place: so nobody else even gets there.
            async with self._places:
                await self._let_through(deadline)
                if openings != self._circuit.openings:
                    # Who waits for the server to come back is not to be given up because it comes back slowly.
                    number, openings = 1, self._circuit.openings
                self.calls[function] += 1
                try:
                    return await self._observed(attempt, comparable, about or function)
                except AccessAnywhereUnavailable as error:
                    failure = error
            delay = max(BACKOFF.delay(number), failure.retry_after or 0.0)
            # While the circuit is open, it knows how long to wait; no use in waiting twice.
            hopeless = delay > BACKOFF.longest or self._clock.monotonic() + delay > deadline
            if number == tries or (hopeless and not self._circuit.is_open):
                raise AccessAnywhereUnavailable(
                    f"{failure}; tried {number} times", retry_after=failure.retry_after
                ) from failure
            log.warning("access_anywhere_retry", function=function, attempt=number, retry_in=delay, reason=str(failure))
            number += 1
            if not self._circuit.is_open:
                await self._clock.sleep(delay)

    async def _let_through(self, deadline: float) -> None:
        await self._circuit.passed(deadline)
        while self._limiter is not None:
            await self._limiter.acquire()
            if not self._circuit.is_open:
                return
            await self._circuit.passed(deadline)

    async def answered(self, function: str, url: str, **posted: Any) -> tuple[httpx.Response, bytes]:
        """What is answered to a post, with all its bytes. Raises `AnswerMalformed` if these are beyond all measure."""
        async with self.http.one() as client, client.stream("POST", url, **posted) as reply:
            body = await read_body(reply.aiter_bytes(), MAX_ANSWER_BYTES)
        if len(body) > MAX_ANSWER_BYTES:
            raise AnswerMalformed(
                f"{function}: Access Anywhere's answer has more than {MAX_ANSWER_BYTES:,} bytes: not read to its end"
            )
        return reply, body

    async def _observed(self, attempt: Callable[[], Awaitable[T]], comparable: str, about: Hashable) -> T:
        began = self._clock.monotonic()
        try:
            result = await attempt()
        except AnswerMalformed as error:
            # A page of maintenance perhaps, which comes with 200: one such is about this call, many are about the server.
            self._circuit.failed(str(error), self._probe, about)
            raise
        except (CallFailed, BrokenOff):
            self._circuit.answered()
            raise
        except AccessAnywhereUnavailable as error:
            self._concurrency.overloaded(str(error), began=began)
            self._tell_circuit(error, about)
            raise
        self._circuit.answered()
        self._concurrency.succeeded(comparable, self._clock.monotonic() - began)
        return result

    def _tell_circuit(self, error: AccessAnywhereUnavailable, about: Hashable) -> None:
        wish = error.retry_after or 0.0
        if wish > BACKOFF.longest:
            self._circuit.open(str(error), self._probe, wish=wish)
        elif not isinstance(error, Throttled):
            self._circuit.failed(str(error), self._probe, about)

    async def _probe(self) -> None:
        # Whatever it means by a refusal: it answers.
        with suppress(CallFailed):
            await self.call_once("getApplianceInfo", {"token": NO_TOKEN})

    async def _post(self, function: str, parameters: Mapping[str, str]) -> Answer:
        form = {"apiformat": "json", **parameters, "function": function}
        with translated(function, parameters):
            async with asyncio.timeout(MAX_CALL_SECONDS):
                # `surrogatepass`: a key that is no Unicode is a folder that does not exist, and no crash.
                reply, body = await self.answered(
                    function,
                    self.url,
                    content=urlencode(form, errors="surrogatepass"),
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                )
        check_status(function, reply, self._clock.now())
        answer = envelope(function, reply, body, parameters)
        code = str(answer["status"])
        if code.lower() != "ok":
            raise refusal(function, code, str(answer.get("statusmessage") or ""), parameters)
        return answer


def comparable(function: str, parameters: Mapping[str, str]) -> str:
    """What the time of a call can be compared with: not what depends on how large a folder or file is."""
    if function == "getFolderContents":
        return "refresh's progress" if "refreshtoken" in parameters else ""
    return "" if function == "doCompleteUpload" else function


def subject(function: str, parameters: Mapping[str, str]) -> Hashable:
    """The same for the same call, also if it is made again later, with another token."""
    # Its hash: of what is secret among them, nothing is kept.
    return function, hash(frozenset(each for each in parameters.items() if each[0] not in CHANGING_PARAMETERS))
