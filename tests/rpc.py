"""A minimal client of Access Anywhere's API, for tests of the sandbox's server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self

import httpx
from tests.processes import PATIENCE


class Rpc:
    """A client. `log_in` uses the permanent token `permanent`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.token = "*"

    async def post(self, function: str, **params: Any) -> httpx.Response:
        body = {"function": function, "token": self.token, "apiformat": "json", **params}
        return await self.http.post("/api/rpc.php", data=body)

    async def call(self, function: str, **params: Any) -> dict[str, Any]:
        answer = await self.post(function, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def log_in(self) -> Self:
        self.token = (await self.call("getTokenByAuthToken", token="*", authtoken="permanent"))["token"]
        return self


async def once(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds. Sleeps between the checks, because the condition may depend on a thread."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.001)


async def refreshed(asked: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Poll a refresh until it ends. Returns the last answer."""
    answer: dict[str, Any] = {}

    async def is_over() -> bool:
        nonlocal answer
        answer = await asked()
        return not answer.get("stillsyncing")

    await once(is_over)
    return answer


def callback_of(task: dict[str, Any]) -> str:
    """The callback of a background task: at its top, or inside `bt_data`, which is an object or JSON text."""
    data = task["bt_data"]
    return task.get("callback") or (json.loads(data) if isinstance(data, str) else data)["callback"]
