"""Sessions: a session ends some time after its last use."""

import secrets
from collections.abc import Callable

from jibe_sqs.sandbox.access_anywhere.config import AccessAnywhereServer
from jibe_sqs.sandbox.access_anywhere.refusals import Refused

NO_TOKENS = frozenset({"", "*"})


class Sessions:
    """`logins`: number of successful logins, by password or by permanent token. `refused`: of the others."""

    def __init__(self, config: AccessAnywhereServer, clock: Callable[[], float]) -> None:
        self._login = config.login
        self._password = config.password
        self._permanent_token = config.permanent_token
        self._token_ttl = config.token_ttl
        self._clock = clock
        self._used: dict[str, float] = {}
        self.logins = 0
        self.refused = 0

    def by_password(self, login: str, password: str) -> str:
        known = _same(login, self._login)
        return self._new(good=_same(password, self._password) and known)

    def by_permanent_token(self, permanent: str) -> str:
        return self._new(good=_same(permanent, self._permanent_token))

    def use(self, token: str) -> None:
        """Check the token of a call, and prolong its session.

        Raises `Refused`: `login_token_expired`, or `login_fail` without a token.
        """
        if token in NO_TOKENS:
            raise Refused("login_fail", "Please log in")
        now = self._clock()
        # Unknown tokens and expired tokens get the same answer: a new login solves both.
        if now - self._used.pop(token, float("-inf")) > self._token_ttl:
            raise Refused("login_token_expired", "Your login token has expired, please log in again")
        self._used[token] = now

    def forget(self, token: str) -> None:
        """End a session early."""
        self._used.pop(token, None)

    def replace_credentials(self, password: str, permanent_token: str) -> None:
        """Replace those that are not empty, and end all sessions, as an administrator's reset does."""
        self._password = password or self._password
        self._permanent_token = permanent_token or self._permanent_token
        self._used.clear()

    def _new(self, *, good: bool) -> str:
        if not good:
            self.refused += 1
            raise Refused("login_fail", "Login failed")
        self.logins += 1
        token = secrets.token_hex(16)
        self._used[token] = self._clock()
        return token


def _same(given: str, secret: str) -> bool:
    return bool(secret) and secrets.compare_digest(given.encode(), secret.encode())
