"""The login to Access Anywhere: one token for all calls, renewed by one login for all calls that wait."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from jibe_sqs.adapters.access_anywhere.flow.circuit import REFUSES, Circuit
from jibe_sqs.adapters.access_anywhere.wire.answers import text
from jibe_sqs.adapters.access_anywhere.wire.paths import TOP
from jibe_sqs.adapters.access_anywhere.wire.reader import Answer
from jibe_sqs.adapters.access_anywhere.wire.transport import BUDGET, NO_TOKEN, Transport
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import CallFailed, LoginFailed
from jibe_sqs.ports import Clock

TOKEN_LIFE = 55 * 60.0
"""Seconds after its issue at which a token is renewed. The server's own limit is one hour after the last use."""

MIN_LOGIN_INTERVAL = 10.0
"""Seconds between logins with refused credentials: a server may lock an account after many failed logins."""

LOGIN_BACKOFF = Backoff(first=1.25 * MIN_LOGIN_INTERVAL, longest=75.0, jitter=0.2)
"""The pauses between the logins of probes: from `MIN_LOGIN_INTERVAL` up to 60 s, and up to a quarter more."""

RENEWAL_INTERVAL = 1.0
"""Seconds between two calls of `renew` while the credentials are refused. It looks less often by itself."""

MAX_REFUSED_TOKENS = 3
"""After this many tokens were refused to one call, the account counts as refused."""

MAX_REFUSED_TOKENS_IF_SERVED = 20
SERVED_RECENTLY = 60.0
"""If any call succeeded within so many seconds, the account is good, and the larger limit of refused tokens counts."""

EXPIRED = frozenset({"login_token_expired", "login_fail"})

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class Password:
    """A login with a name and a password."""

    login: str
    password: str = field(repr=False)
    function = "gettoken"

    def parameters(self) -> dict[str, str]:
        """The parameters of the login function."""
        return {"us_login": self.login, "us_pwd": self.password}


@dataclass(frozen=True)
class PermanentToken:
    """A login with a permanent authentication token, created in Dashboard > Options > Security."""

    authtoken: str = field(repr=False)
    function = "getTokenByAuthToken"

    def parameters(self) -> dict[str, str]:
        """The parameters of the login function."""
        return {"authtoken": self.authtoken}


Credentials = Password | PermanentToken

Renew = Callable[[], Awaitable[Credentials]]
"""Returns the credentials as they are now where they are kept. It limits by itself how often it looks there. Raises nothing."""


class Session:
    """Calls that need a login. Raises what `Transport` raises, and `LoginFailed`.

    Refused credentials open the circuit, and so do refused tokens if all tokens are refused: every call would fail.
    Callers that wait for the first login get `LoginFailed`. If a login succeeded before, calls wait as they do while the
    server is down.

    The password may be replaced while the service runs. After a refusal, `renew` is asked for the present credentials. If
    they have changed, they are used at once. Refused credentials are not sent again sooner than without it.
    """

    def __init__(
        self,
        transport: Transport,
        circuit: Circuit,
        credentials: Credentials,
        clock: Clock,
        renew: Renew | None = None,
    ) -> None:
        self._transport = transport
        self._circuit = circuit
        self._credentials = credentials
        self._clock = clock
        self._renew = renew
        self._renewing: asyncio.Task[None] | None = None
        self._token = ""
        self._served_at = float("-inf")
        self._renew_at = 0.0
        self._login: asyncio.Task[str] | None = None
        self._refusal = ""
        self._next_login_at = float("-inf")
        self._has_logged_in = False
        self.logins: Counter[str] = Counter()
        """Logins since the start: `ok` and `refused`."""

    def use(self, credentials: Credentials, renew: Renew | None = None) -> None:
        """Log in with these credentials from the next login on. A token that is in use stays in use.

        If the credentials from before are refused, the next login is at once.
        """
        self._renew = renew
        self._replace(credentials)

    async def call(self, function: str, parameters: Mapping[str, str]) -> Answer:
        """Call a function. If the token has expired, the call is repeated with a new one."""
        return await self.with_token(lambda token: self._transport.call(function, {**parameters, "token": token}))

    async def with_token(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """The result of `attempt`, which is repeated with a new token if its token has expired.

        It may be repeated several times: a server that has problems, or is a cluster, may forget new tokens, too.
        """
        refused = 0
        while True:
            token = await self._valid_token()
            try:
                result = await attempt(token)
            except CallFailed as refusal:
                if refusal.code not in EXPIRED:
                    raise
                # If another call has already replaced this token, its refusal says nothing about the new token.
                refused += self._forget(token)
                # Each call that loses the token for all can make this call fail again. So many refusals may be normal.
                is_good = self._clock.monotonic() - self._served_at <= SERVED_RECENTLY
                if refused >= (MAX_REFUSED_TOKENS_IF_SERVED if is_good else MAX_REFUSED_TOKENS):
                    remedy = "new tokens are refused, too: does the account have the Administrator role?"
                    failure = LoginFailed(f"{refusal}; {remedy}")
                    if not is_good:
                        self._circuit.open(str(failure), self._probe, backoff=LOGIN_BACKOFF, state=REFUSES)
                        self._look_for_new_credentials()
                    raise failure from refusal
            else:
                self._served_at = self._clock.monotonic()
                return result

    @property
    def token_age(self) -> float | None:
        """Seconds since the token in use was issued. None without a token."""
        return self._clock.monotonic() - (self._renew_at - TOKEN_LIFE) if self._token else None

    async def close(self) -> None:
        """Stop a login that is running."""
        for task in (self._login, self._renewing):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])

    async def _valid_token(self) -> str:
        while True:
            if self._is_good():
                return self._token
            # A login that has ended cannot be shared: awaiting its failure again would loop without a turn of the event loop.
            if self._login is None or self._login.done():
                self._login = asyncio.create_task(self._log_in())
                self._login.add_done_callback(self._login_ended)
            try:
                # The login is shared: a call that is cancelled must not cancel it.
                return await asyncio.shield(self._login)
            except LoginFailed:
                if not self._has_logged_in or not self._circuit.is_open:
                    raise

    def _is_good(self) -> bool:
        return bool(self._token) and self._clock.monotonic() < self._renew_at

    def _forget(self, token: str) -> bool:
        """Forget the token. Returns False if it is not in use any more: a late refusal of an old token changes nothing."""
        if self._token != token:
            return False
        self._token = ""
        return True

    def _login_ended(self, login: asyncio.Task[str]) -> None:
        if self._login is login:
            self._login = None
        if not login.cancelled():
            # Waiting calls get the exception. This marks it as retrieved, so the event loop does not log it.
            login.exception()  # noqa: LOG004 (a task's, not a logger's)

    async def _log_in(self) -> str:
        await self._circuit.passed(self._clock.monotonic() + BUDGET)
        if self._is_good():
            # The circuit's probe has logged in meanwhile.
            return self._token
        try:
            if self._clock.monotonic() < self._next_login_at:
                raise LoginFailed(self._refusal)
            return await self._request_token(self._transport.call)
        except LoginFailed as refused:
            self._circuit.open(
                str(refused),
                lambda: self._request_token(self._transport.call_once),
                backoff=LOGIN_BACKOFF,
                state=REFUSES,
            )
            self._look_for_new_credentials()
            raise

    async def _probe(self) -> None:
        """The circuit's probe: log in, and make one call with the new token. Raises `LoginFailed`."""
        token = await self._request_token(self._transport.call_once)
        try:
            await self._transport.call_once(
                "getFolderContents", {"fi_pid": TOP, "from": "0", "count": "1", "token": token}
            )
        except CallFailed as refusal:
            if refusal.code in EXPIRED:
                raise LoginFailed(f"{refusal}, with a new token, too") from refusal
        self._served_at = self._clock.monotonic()

    async def _request_token(self, send: Callable[[str, Mapping[str, str]], Awaitable[Answer]]) -> str:
        """Log in. If the credentials are refused and were replaced meanwhile, log in with the new ones."""
        sent = self._credentials
        try:
            return await self._send_credentials(send)
        except LoginFailed:
            await self._renew_credentials()
            if self._credentials == sent:
                raise
        return await self._send_credentials(send)

    async def _send_credentials(self, send: Callable[[str, Mapping[str, str]], Awaitable[Answer]]) -> str:
        credentials = self._credentials
        asked = self._clock.monotonic()
        try:
            answer = await send(credentials.function, {**credentials.parameters(), "token": NO_TOKEN})
        except CallFailed as refusal:
            raise self._refused(str(refusal), asked) from refusal
        token = text(answer.get("token"))
        if not token:
            raise self._refused(f"{credentials.function}: Access Anywhere's answer is ok, but has no token", asked)
        self._token = token
        self._renew_at = asked + TOKEN_LIFE
        self._has_logged_in = True
        self.logins["ok"] += 1
        log.debug("access_anywhere_login", function=credentials.function)
        return token

    async def _renew_credentials(self) -> None:
        if self._renew is None:
            return
        self._replace(await self._renew())

    def _replace(self, credentials: Credentials) -> None:
        if credentials != self._credentials:
            self._credentials = credentials
            self._next_login_at = float("-inf")
            # The circuit may be open because of the old ones.
            self._circuit.hasten()

    def _look_for_new_credentials(self) -> None:
        """Look for new credentials while the present ones are refused: the next probe may be a minute away."""
        if self._renew is not None and (self._renewing is None or self._renewing.done()):
            self._renewing = asyncio.create_task(self._renew_while_open())

    async def _renew_while_open(self) -> None:
        while self._circuit.is_open:
            await self._clock.sleep(RENEWAL_INTERVAL)
            if self._circuit.is_open:
                await self._renew_credentials()

    def _refused(self, why: str, asked: float) -> LoginFailed:
        self.logins["refused"] += 1
        self._refusal = f"{why}: check the login and password, or the permanent token"
        self._next_login_at = asked + MIN_LOGIN_INTERVAL
        return LoginFailed(self._refusal)
