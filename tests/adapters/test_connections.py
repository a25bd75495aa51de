"""Connections: as many as are in use, the last used first, and none kept that failed."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from jibe_sqs.adapters import connections as module
from jibe_sqs.adapters.connections import KEEP_ALIVE, Connections
from jibe_sqs.adapters.sns_signatures import sns_signatures
from jibe_sqs.adapters.webhook import webhook
from jibe_sqs.core.errors import SettingsError


class Clients:
    """Those that were made, for the tests to look at; `time` is the connections' clock."""

    def __init__(self):
        self.made = []
        self.time = 1000.0

    @property
    def closed(self):
        return [number for number, client in enumerate(self.made) if client.is_closed]


@pytest.fixture
def clients(monkeypatch):
    clients = Clients()

    class Client(httpx.AsyncClient):
        def __init__(self, **options):
            super().__init__(**options)
            clients.made.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Client)
    monkeypatch.setattr(module, "_now", lambda: clients.time)
    return clients


@pytest.fixture
async def connections(clients):
    async with Connections() as connections:
        yield connections


async def used_at_once(connections, count):
    async with AsyncExitStack() as stack:
        return [await stack.enter_async_context(connections.one()) for _ in range(count)]


async def test_there_are_as_many_as_are_in_use_at_a_time(clients, connections):
    assert len(set(await used_at_once(connections, 3))) == 3
    assert len(await used_at_once(connections, 3)) == 3
    for _ in range(10):
        await used_at_once(connections, 1)
    assert len(clients.made) == 3
    assert clients.closed == []


async def test_those_that_nobody_uses_are_closed_after_a_while(clients, connections):
    await used_at_once(connections, 3)
    for _ in range(4):
        clients.time += KEEP_ALIVE / 2
        (last,) = await used_at_once(connections, 1)
    assert len(clients.closed) == 2
    assert not last.is_closed
    # Alone, it is not closed however long nobody needs it: httpx connects anew by itself.
    clients.time += 100 * KEEP_ALIVE
    assert await used_at_once(connections, 1) == [last]
    assert not last.is_closed


@pytest.mark.parametrize("failure", [httpx.ConnectError("no"), asyncio.CancelledError()])
async def test_one_whose_call_failed_is_closed_and_another_made(clients, connections, failure):
    with pytest.raises(type(failure)):
        async with connections.one():
            raise failure
    assert clients.closed == [0]
    (other,) = await used_at_once(connections, 1)
    assert other is clients.made[1]
    assert not other.is_closed


async def test_in_the_end_all_are_closed(clients):
    async with Connections() as connections:
        await used_at_once(connections, 3)
    assert clients.closed == [0, 1, 2]


@pytest.mark.parametrize("opened", [Connections, lambda: webhook("https://alerts.example.com/x"), sns_signatures])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "socks5://jo:zq%2Fxv@127.0.0.1:1080"),
        ("HTTPS_PROXY", "ftp://jo:zq%2Fxv@127.0.0.1"),
        ("HTTPS_PROXY", "http://jo:zq/xv@127.0.0.1"),
        ("NO_PROXY", "127.0.0.1:zq"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_mistake_in_the_settings_and_not_quoted(
    monkeypatch, opened, variable, value
):
    """With a webhook, or with signatures to be checked, a part of its password stood in the traceback."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY.*NO_PROXY") as caught:
        async with opened():
            pass
    assert "zq" not in str(caught.value)
    assert "xv" not in str(caught.value)
