"""Basic authentication."""

import base64
import binascii
import hmac
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="jibe-sqs", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class Login:
    """A name and its password."""

    name: str
    password: str = field(repr=False)

    def matches(self, authorization: str) -> bool:
        """Whether the header contains both. The time that it takes says nothing about how much of them is right."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        is_same = hmac.compare_digest(given, f"{self.name}:{self.password}".encode())
        return scheme.lower() == "basic" and is_same


class LoginRequired:
    """Answers 401 to requests without the login, unless their path is open to everyone."""

    def __init__(self, app: ASGIApp, login: Login, open_paths: Collection[str]) -> None:
        self._app = app
        self._login = login
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["path"] in self._open_paths or self._login.matches(Headers(scope=scope).get("authorization", "")):
            await self._app(scope, receive, send)
        else:
            refusal = PlainTextResponse("Login required.\n", status_code=401, headers=_CHALLENGE)
            await refusal(scope, receive, send)
