"""One call of Access Anywhere's API, over a network that fails.

A call posts a form. A failure that may be short (a broken connection, a busy server) is retried here, for seconds.
While the server is down, calls wait. For retries after minutes, the message returns to its queue.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar
from urllib.parse import quote_plus

import structlog
from aiolimiter import AsyncLimiter

from jibe_sqs.adapters.access_anywhere.flow.circuit import PAUSES, Circuit
from jibe_sqs.adapters.access_anywhere.flow.concurrency import AdaptiveConcurrency
from jibe_sqs.adapters.access_anywhere.flow.provider_limits import turn_of_provider
from jibe_sqs.adapters.access_anywhere.wire.answers import FILES, FILES_NOT_KEPT
from jibe_sqs.adapters.access_anywhere.wire.http import Origin, Portions, Reply, is_success
from jibe_sqs.adapters.access_anywhere.wire.reader import PORTION, Answer, AnswerReader, ListShape
from jibe_sqs.adapters.access_anywhere.wire.tasks import TASKS
from jibe_sqs.adapters.access_anywhere.wire.translation import (
    MAX_CALL_SECONDS,
    BrokenOff,
    Throttled,
    check_status,
    refusal,
    translated,
    unreadable,
)
from jibe_sqs.adapters.access_anywhere.wire.tries import Outcome, Tries
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.concurrency.loop_lag import LoopLag
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed
from jibe_sqs.ports import Clock
from jibe_sqs.telemetry.tracing import Tracer

MAX_TRIES = 10
BACKOFF = Backoff(first=0.02, longest=10.0)
BUDGET = 120.0
"""Seconds after which no other try starts."""

LARGE_ANSWER_BYTES = 1024 * 1024
"""Of the answers that are larger, one at a time is read. A page of 1,000 files has 0.6 MB."""

HEAD_BYTES = 4096
"""Bytes of an answer that may be quoted in an error."""

CHANGING_PARAMETERS = ("token", "refreshtoken", "uploadcode")
"""Parameters that differ between repetitions of the same call."""

FORM: Final = "application/x-www-form-urlencoded"

NO_TOKEN = "*"  # noqa: S105 (the API's value for calls without a login)

T = TypeVar("T")

log = structlog.get_logger()


class Transport:
    """Posts calls, up to `at_once` at a time. `calls` counts the calls that were sent, by function, with retries; `tries`
    their outcomes.

    Reports the outcome of each try to the circuit and the concurrency.
    """

    def __init__(
        self,
        origin: Origin,
        path: str,
        clock: Clock,
        *,
        at_once: int,
        circuit: Circuit,
        concurrency: AdaptiveConcurrency,
        user_agent: str,
        read_timeout: float,
        calls_per_second: float | None = None,
    ) -> None:
        """`path`: of the API, encoded. `read_timeout`: seconds without a byte from the server."""
        self.calls: Counter[str] = Counter()
        self.tries = Tries()
        self.path = path
        self._origin = origin
        self._headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"}
        self._form_headers = {**self._headers, "Content-Type": FORM}
        self._read_timeout = read_timeout
        self._clock = clock
        self._places = asyncio.Semaphore(at_once)
        self._circuit = circuit
        self._concurrency = concurrency
        self._large_answers = asyncio.Semaphore(1)
        self._lag = LoopLag()
        self._limiter = _limiter(calls_per_second)

    def change_limits(self, *, at_once: int, calls_per_second: float | None) -> None:
        """Change the limits of calls. Calls that wait already keep the old ones."""
        self._places = asyncio.Semaphore(at_once)
        self._limiter = _limiter(calls_per_second)

    async def call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """Call a function. Returns the answer, whose status is `ok`.

        Raises `AccessAnywhereUnavailable` after the last try, `CallFailed`, `AnswerMalformed`. Their texts contain no
        secret of the call.
        """
        return await self.with_retries(
            function,
            lambda: self._post(function, parameters),
            comparable=comparable(function, parameters),
            about=lambda: subject(function, parameters),
        )

    async def call_once(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """As `call`, but only one try, even while the circuit is open. For the circuit's probes."""
        if self._limiter is not None:
            await self._limiter.acquire()
        self.calls[function] += 1
        began = self._clock.monotonic()
        try:
            return await self._counted(function, began, self._post(function, parameters))
        except AccessAnywhereUnavailable:
            self.tries.ended(function, "failed", self._clock.monotonic() - began)
            raise

    async def with_retries(
        self,
        function: str,
        attempt: Callable[[], Awaitable[T]],
        *,
        tries: int = MAX_TRIES,
        comparable: str = "",
        about: Callable[[], Hashable] | None = None,
    ) -> T:
        """The result of `attempt`, which is repeated while it raises `AccessAnywhereUnavailable`.

        `comparable` names the kind of calls whose latencies can be compared with this one. It is empty if the latency does
        not depend on the load of the server alone. `about` returns what identifies the call, if the function alone does not.
        """
        deadline = self._clock.monotonic() + BUDGET
        number, openings = 1, self._circuit.openings
        while True:
            await turn_of_provider()
            # A call holds its place while it waits for the circuit. So later calls wait here and not at the circuit.
            async with self._places:
                await self._wait_for_turn(deadline)
                if openings != self._circuit.openings:
                    # The circuit opened meanwhile. The tries start anew, so that a slow recovery does not use them up.
                    number, openings = 1, self._circuit.openings
                self.calls[function] += 1
                began = self._clock.monotonic()
                try:
                    return await self._counted(
                        function, began, self._reported(attempt, comparable, about or (lambda: function))
                    )
                except AccessAnywhereUnavailable as error:
                    failure, seconds = error, self._clock.monotonic() - began
            delay = max(BACKOFF.delay(number), failure.retry_after or 0.0)
            # While the circuit is open, it decides how long to wait, and no delay is added.
            is_too_long = delay > BACKOFF.longest or self._clock.monotonic() + delay > deadline
            is_last = number == tries or (is_too_long and not self._circuit.is_open)
            self.tries.ended(function, "failed" if is_last else "retried", seconds)
            if is_last:
                raise AccessAnywhereUnavailable(
                    f"{failure}; tried {number} times", retry_after=failure.retry_after
                ) from failure
            log.warning(
                "access_anywhere_retry",
                function=function,
                attempt=number,
                retry_in=round(delay, 2),
                reason=str(failure),
            )
            number += 1
            if not self._circuit.is_open:
                await self._clock.sleep(delay)

    async def _counted(self, function: str, began: float, answer: Awaitable[T]) -> T:
        """The answer to one try, whose outcome is counted. The caller counts `AccessAnywhereUnavailable`: it may try again."""
        try:
            result = await answer
        except (CallFailed, AnswerMalformed) as error:
            outcome: Outcome = "refused" if isinstance(error, CallFailed) else "failed"
            self.tries.ended(function, outcome, self._clock.monotonic() - began)
            raise
        self.tries.ended(function, "ok", self._clock.monotonic() - began)
        return result

    async def _wait_for_turn(self, deadline: float) -> None:
        await self._circuit.passed(deadline)
        while (limiter := self._limiter) is not None:
            await limiter.acquire()
            if not self._circuit.is_open:
                return
            await self._circuit.passed(deadline)

    async def post(self, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Post. The caller closes the reply. Raises `HttpError`."""
        return await self._origin.request(
            "POST", target, {**self._headers, **headers}, body, read_timeout=self._read_timeout
        )

    async def _read(self, function: str, reply: Reply, parameters: Mapping[str, str]) -> Answer:
        """The answer, with any `status`. Empty if the HTTP status is a failure. Raises `AnswerMalformed`."""
        if not is_success(reply):
            return {}
        reader = AnswerReader(shape_of(function, parameters))
        head = bytearray()
        is_large = False
        try:
            portions = Portions(reply)
            while portion := await portions.next():
                if reader.fed <= LARGE_ANSWER_BYTES < reader.fed + len(portion):
                    await self._large_answers.acquire()
                    is_large = True
                head += portion[: HEAD_BYTES - len(head)]
                reader.feed(portion)
                if reader.fed > PORTION:
                    # All of the answer may have arrived already. Other tasks, and a cancellation, get their turn.
                    await asyncio.sleep(0)
                    await parsed(reader)
            reader.end()
            await parsed(reader)
            return reader.answer()
        except AnswerMalformed as error:
            raise unreadable(function, error, reply, bytes(head), parameters) from None
        finally:
            if is_large:
                self._large_answers.release()

    async def _reported(self, attempt: Callable[[], Awaitable[T]], comparable: str, about: Callable[[], Hashable]) -> T:
        began = self._clock.monotonic()
        self._lag.watch()
        lag = 0.0
        try:
            try:
                result = await attempt()
            finally:
                lag = self._lag.unwatch()
        except AnswerMalformed as error:
            # This may be a maintenance page with status 200. One such answer concerns the call, many concern the server.
            self._circuit.failed(str(error), self._probe, about())
            raise
        except (CallFailed, BrokenOff):
            self._circuit.answered()
            raise
        except AccessAnywhereUnavailable as error:
            self._concurrency.overloaded(str(error), began=began)
            self._report_failure(error, about())
            raise
        self._circuit.answered()
        # Only the server's own time shows its load.
        self._concurrency.succeeded(comparable, began, max(0.0, self._clock.monotonic() - began - lag))
        return result

    def _report_failure(self, error: AccessAnywhereUnavailable, about: Hashable) -> None:
        wish = error.retry_after or 0.0
        if wish > BACKOFF.longest:
            self._circuit.open(str(error), self._probe, wish=wish, state=PAUSES)
        elif not isinstance(error, Throttled):
            self._circuit.failed(str(error), self._probe, about)

    async def _probe(self) -> None:
        # A refusal is an answer, too.
        with suppress(CallFailed):
            await self.call_once("getApplianceInfo", {"token": NO_TOKEN})

    async def _post(self, function: str, parameters: Mapping[str, str]) -> Answer:
        with translated(function, parameters):
            async with asyncio.timeout(MAX_CALL_SECONDS):
                reply = await self._origin.request(
                    "POST", self.path, self._form_headers, form(function, parameters), read_timeout=self._read_timeout
                )
                try:
                    answer = await self._read(function, reply, parameters)
                finally:
                    reply.close()
        check_status(function, reply, self._clock.now())
        code = str(answer["status"])
        if code.lower() != "ok":
            raise refusal(function, code, str(answer.get("statusmessage") or ""), parameters)
        return answer


def _limiter(calls_per_second: float | None) -> AsyncLimiter | None:
    # Evenly spaced: a burst of a whole second's calls would defeat the purpose of the limit.
    return AsyncLimiter(1, 1 / calls_per_second) if calls_per_second else None


class TracedTransport(Transport):
    """A transport with a span for each try of a call."""

    def __init__(self, tracer: Tracer, server: str, *arguments: Any, **named: Any) -> None:
        """`server`: its host name. The rest: as for `Transport`."""
        super().__init__(*arguments, **named)
        self._tracer = tracer
        self._server = server

    async def _post(self, function: str, parameters: Mapping[str, str]) -> Answer:
        with self._tracer.call(function, self._server):
            return await super()._post(function, parameters)


def form(function: str, parameters: Mapping[str, str]) -> bytes:
    """The body of a call."""
    fields = {"apiformat": "json", **parameters, "function": function}
    return "&".join([f"{quoted_name(name)}={quoted(value)}" for name, value in fields.items()]).encode()


def quoted(text: str) -> str:
    """A name or value of a form, encoded."""
    # Most are words and numbers.
    if text.isascii() and (text.isalnum() or text.isidentifier()):
        return text
    # `surrogatepass`: a key that is not valid Unicode must not crash. Its folder is then not found.
    return quote_plus(text, errors="surrogatepass")


quoted_name = lru_cache(quoted)
"""There are few names. Values may be secrets, and are not kept."""


async def parsed(reader: AnswerReader) -> None:
    """Parse what has arrived, in turns."""
    for _ in iter(reader.parse, False):
        await asyncio.sleep(0)


def shape_of(function: str, parameters: Mapping[str, str]) -> ListShape | None:
    """The list in the answer of a function. All other functions have small answers."""
    if function == "getUserBackgroundTasks":
        return TASKS
    if function == "getFolderContents":
        return FILES_NOT_KEPT if "refresh" in parameters else FILES
    return None


def comparable(function: str, parameters: Mapping[str, str]) -> str:
    """The kind of calls to compare latencies with. Empty if the latency depends on the size of a folder or file."""
    if function == "getFolderContents":
        return "refresh's progress" if "refreshtoken" in parameters else ""
    return "" if function == "doCompleteUpload" else function


def subject(function: str, parameters: Mapping[str, str]) -> Hashable:
    """Identifies a call. It is equal for repetitions of the call, also with another token."""
    # Only a hash, so that no secret is kept.
    return function, hash(frozenset(each for each in parameters.items() if each[0] not in CHANGING_PARAMETERS))
