"""Connections: as many as are in use, the last used one first, and failed ones are closed."""

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
    """Records the clients that were made. `time`: the clock of the connections."""

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


async def test_there_are_as_many_connections_as_are_in_use_at_the_same_time(clients, connections):
    assert len(set(await used_at_once(connections, 3))) == 3
    assert len(await used_at_once(connections, 3)) == 3
    for _ in range(10):
        await used_at_once(connections, 1)
    assert len(clients.made) == 3
    assert clients.closed == []


async def test_idle_connections_are_closed_after_some_time(clients, connections):
    await used_at_once(connections, 3)
    for _ in range(4):
        clients.time += KEEP_ALIVE / 2
        (last,) = await used_at_once(connections, 1)
    assert len(clients.closed) == 2
    assert not last.is_closed
    # The last one is not closed however long it is idle: httpx itself connects again.
    clients.time += 100 * KEEP_ALIVE
    assert await used_at_once(connections, 1) == [last]
    assert not last.is_closed


@pytest.mark.parametrize("failure", [httpx.ConnectError("no"), asyncio.CancelledError()])
async def test_a_connection_whose_request_failed_is_replaced(clients, connections, failure):
    with pytest.raises(type(failure)):
        async with connections.one():
            raise failure
    assert clients.closed == [0]
    (other,) = await used_at_once(connections, 1)
    assert other is clients.made[1]
    assert not other.is_closed


async def test_all_connections_are_closed_at_the_end(clients):
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
async def test_an_unusable_proxy_is_a_settings_error_that_does_not_quote_it(monkeypatch, opened, variable, value):
    """With a webhook or signature checks, a part of the password was in the traceback."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=r"HTTPS_PROXY.*NO_PROXY") as caught:
        async with opened():
            pass
    assert "zq" not in str(caught.value)
    assert "xv" not in str(caught.value)
