"""Sessions: a session ends some time after its last use."""

import secrets
from collections.abc import Callable

from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.refusals import Refused

NO_TOKENS = frozenset({"", "*"})


class Sessions:
    """`logins`: number of successful logins, by password or by permanent token."""

    def __init__(self, config: AccessAnywhereServer, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._used: dict[str, float] = {}
        self.logins = 0

    def by_password(self, login: str, password: str) -> str:
        known = _same(login, self._config.login)
        return self._new(good=_same(password, self._config.password) and known)

    def by_permanent_token(self, permanent: str) -> str:
        return self._new(good=_same(permanent, self._config.permanent_token))

    def use(self, token: str) -> None:
        """Check the token of a call, and prolong its session.

        Raises `Refused`: `login_token_expired`, or `login_fail` without a token.
        """
        if token in NO_TOKENS:
            raise Refused("login_fail", "Please log in")
        now = self._clock()
        # Unknown tokens and expired tokens get the same answer: a new login solves both.
        if now - self._used.pop(token, float("-inf")) > self._config.token_ttl:
            raise Refused("login_token_expired", "Your login token has expired, please log in again")
        self._used[token] = now

    def forget(self, token: str) -> None:
        """End a session early."""
        self._used.pop(token, None)

    def _new(self, *, good: bool) -> str:
        if not good:
            raise Refused("login_fail", "Login failed")
        self.logins += 1
        token = secrets.token_hex(16)
        self._used[token] = self._clock()
        return token


def _same(given: str, secret: str) -> bool:
    return bool(secret) and secrets.compare_digest(given.encode(), secret.encode())
