"""Who we are to Access Anywhere: one token, shared by every call, renewed by one login however many calls wait."""

import asyncio
from dataclasses import dataclass, field

import structlog

from jibe_sqs.adapters.access_anywhere.answers import Answer, text
from jibe_sqs.adapters.access_anywhere.transport import Transport
from jibe_sqs.core.errors import AnswerMalformed, CallFailed, LoginFailed
from jibe_sqs.ports import Clock

TOKEN_LIFE = 55 * 60.0
"""Seconds from its issue after which a token is renewed; the server's own limit is an hour."""

REST_AFTER_REFUSAL = 10.0
"""Seconds in which refused credentials are not tried again: a server may lock an account that keeps knocking."""

EXPIRED = frozenset({"login_token_expired", "login_fail"})
NO_TOKEN = "*"  # noqa: S105 (the API's word for "none needed")

log = structlog.get_logger()


@dataclass(frozen=True)
class Password:
    """A login by name and password."""

    login: str
    password: str = field(repr=False)
    function = "gettoken"

    def parameters(self) -> dict[str, str]:
        """What the function wants."""
        return {"us_login": self.login, "us_pwd": self.password}


@dataclass(frozen=True)
class PermanentToken:
    """A login by a permanent authentication token, made in Dashboard > Options > Security."""

    authtoken: str = field(repr=False)
    function = "getTokenByAuthToken"

    def parameters(self) -> dict[str, str]:
        """What the function wants."""
        return {"authtoken": self.authtoken}


Credentials = Password | PermanentToken


class Session:
    """Calls that need a login. Raises what `Transport` does, and `LoginFailed`."""

    def __init__(self, transport: Transport, credentials: Credentials, clock: Clock) -> None:
        self._transport = transport
        self._credentials = credentials
        self._clock = clock
        self._token = ""
        self._renew_at = 0.0
        self._login: asyncio.Task[str] | None = None
        self._refusal = ""
        self._knock_again_at = 0.0

    async def call(self, function: str, **parameters: str) -> Answer:
        """The answer. A call whose token has expired is repeated once, with a new one."""
        token = await self._valid_token()
        try:
            return await self._transport.call(function, {"token": token, **parameters})
        except CallFailed as refusal:
            if refusal.code not in EXPIRED:
                raise
        self._forget(token)
        token = await self._valid_token()
        try:
            return await self._transport.call(function, {"token": token, **parameters})
        except CallFailed as refusal:
            if refusal.code not in EXPIRED:
                raise
            self._forget(token)
            raise LoginFailed(f"{refusal}, to a new token too: has the account the Administrator role?") from refusal

    async def close(self) -> None:
        """Stop a login that nobody waits for any more."""
        if self._login is not None:
            self._login.cancel()
            await asyncio.wait([self._login])

    async def _valid_token(self) -> str:
        if self._token and self._clock.monotonic() < self._renew_at:
            return self._token
        if self._login is None:
            self._login = asyncio.create_task(self._log_in())
            self._login.add_done_callback(self._login_ended)
        # The login belongs to all who wait: one who stops waiting must not stop it.
        return await asyncio.shield(self._login)

    def _forget(self, token: str) -> None:
        # A late refusal of an old token says nothing of the new one.
        if self._token == token:
            self._token = ""

    def _login_ended(self, login: asyncio.Task[str]) -> None:
        self._login = None
        if not login.cancelled():
            # Whoever still waits gets it; it is no news to the event loop.
            login.exception()  # noqa: LOG004 (a task's, not a logger's)

    async def _log_in(self) -> str:
        credentials = self._credentials
        asked = self._clock.monotonic()
        if asked < self._knock_again_at:
            raise LoginFailed(self._refusal)
        try:
            answer = await self._transport.call(credentials.function, {"token": NO_TOKEN, **credentials.parameters()})
        except CallFailed as refusal:
            self._refusal = f"{refusal}: check the login and password, or the permanent token"
            self._knock_again_at = asked + REST_AFTER_REFUSAL
            raise LoginFailed(self._refusal) from refusal
        token = text(answer.get("token"))
        if not token:
            raise AnswerMalformed(f"{credentials.function}: Access Anywhere's answer is ok, but has no token")
        self._token = token
        self._renew_at = asked + TOKEN_LIFE
        log.debug("access_anywhere_login", function=credentials.function)
        return token
