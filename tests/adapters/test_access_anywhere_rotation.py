"""Credentials that are replaced while calls are made: they are read again after a refusal, and never sent more often."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
import pytest
from tests.clocks import VirtualClock, in_virtual_time
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, Credentials, connect
from jibe_sqs.adapters.access_anywhere.wire.session import RENEWAL_INTERVAL, PermanentToken
from jibe_sqs.core.errors import AccessAnywhereUnavailable, LoginFailed

FOUND = {"status": "ok", "exists": "y", "file": {"fi_id": "7", "fi_name": "photos", "fi_type": "1"}}


class World:
    """A server that accepts one permanent token, and the place where the token is kept."""

    def __init__(self) -> None:
        self.accepted = self.kept = "old"
        self.logins: list[tuple[float, str]] = []
        self.looks: list[float] = []

    async def handle(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode()))
        if form["function"] == "getTokenByAuthToken":
            self.logins.append((asyncio.get_running_loop().time(), form["authtoken"]))
            is_right = form["authtoken"] == self.accepted
            answer = {"status": "ok", "token": f"of-{self.accepted}"} if is_right else {"status": "login_fail"}
        else:
            answer = FOUND if form["token"] == f"of-{self.accepted}" else {"status": "login_token_expired"}
        return httpx.Response(200, json=answer)

    async def renew(self) -> Credentials:
        self.looks.append(asyncio.get_running_loop().time())
        return PermanentToken(self.kept)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AccessAnywhere]:
        async with connect(
            endpoint="https://aa.test",
            permanent_token=self.kept,
            clock=VirtualClock(),
            origin_of=over_httpx(httpx.MockTransport(self.handle)),
            renew=self.renew,
        ) as client:
            yield client


@in_virtual_time
async def test_credentials_that_were_replaced_before_the_refusal_cost_one_login_and_no_outage():
    """Without a look after the refusal, the circuit would open."""
    world = World()
    async with world.client() as client:
        await client.check_path("/a")
        world.accepted = world.kept = "new"
        found = await asyncio.gather(*(client.check_path(f"/{n}") for n in range(20)))
        assert len(found) == 20
        assert client.circuit.openings == 0
    assert [token for _, token in world.logins] == ["old", "old", "new"]


@in_virtual_time
async def test_credentials_that_are_replaced_later_are_used_within_seconds_of_the_replacement():
    """The next probe may be a minute away."""
    world = World()
    async with world.client() as client:
        await client.check_path("/a")
        world.accepted = "new"
        calls = [asyncio.create_task(client.check_path(f"/{n}")) for n in range(20)]
        await asyncio.sleep(150)
        assert client.circuit.is_open
        waiting = [asyncio.create_task(client.check_path(f"/{n}")) for n in range(20)]
        world.kept = "new"
        replaced = asyncio.get_running_loop().time()
        await asyncio.sleep(RENEWAL_INTERVAL + 0.1)
        assert not client.circuit.is_open
        assert world.logins[-1][1] == "new"
        assert world.logins[-1][0] - replaced <= RENEWAL_INTERVAL
        assert {call.id for call in await asyncio.gather(*waiting)} == {"7"}
        await asyncio.gather(*calls, return_exceptions=True)


@in_virtual_time
async def test_refused_credentials_that_do_not_change_are_not_sent_more_often_than_without_renewal():
    """A server may lock an account after many failed logins."""
    world = World()
    world.accepted = "another"
    async with world.client() as client:
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        with pytest.raises(AccessAnywhereUnavailable):
            await client.check_path("/a")
        await asyncio.sleep(700)
    moments = [moment for moment, _ in world.logins]
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert len(pauses) >= 8
    for pause, expected in zip(pauses, [10, 20, 40, 60, 60, 60, 60, 60], strict=False):
        assert expected <= pause <= 1.25 * expected + 0.1


@in_virtual_time
async def test_new_credentials_that_are_refused_too_are_sent_once():
    """Each change costs one login, however often they are looked for."""
    world = World()
    world.accepted = "another"
    async with world.client() as client:
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        world.kept = "wrong"
        await asyncio.sleep(9)
    assert [token for _, token in world.logins] == ["old", "wrong"]


@in_virtual_time
async def test_nothing_is_looked_for_while_the_credentials_are_good():
    """Each look may be a paid call."""
    world = World()
    async with world.client() as client:
        await client.check_path("/a")
        await asyncio.sleep(10_000)
        await client.check_path("/a")
    assert not world.looks


@in_virtual_time
async def test_credentials_that_are_set_while_the_old_ones_are_refused_end_the_outage():
    """As after a change of the configuration. Until then a probe a minute sends the old ones."""
    world = World()
    async with world.client() as client:
        await client.check_path("/a")
        world.accepted = "new"
        waiting = asyncio.create_task(client.check_path("/b"))
        await asyncio.sleep(100)
        assert client.circuit.is_open
        before = asyncio.get_running_loop().time()
        client.use(PermanentToken("new"))
        await waiting
        assert asyncio.get_running_loop().time() - before < 1
