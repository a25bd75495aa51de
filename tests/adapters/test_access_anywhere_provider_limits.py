"""Limits of single providers: refreshes at a time, calls a second, and changes of both while they count. In virtual time."""

import asyncio
from collections import Counter
from itertools import pairwise

import httpx
import pytest
from tests.clocks import VirtualClock, in_virtual_time
from tests.other_refreshes import UncoalescedRefreshes
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import ProviderLimit, RefreshTarget, connect
from jibe_sqs.core.errors import RefreshPaused
from jibe_sqs.core.model import Folder

SLOW, FAST = "Slow Store", "fast"


class Server:
    """Knows each folder under its path, and refreshes it in `takes` seconds. Counts refreshes in flight and calls."""

    def __init__(self, takes: float = 1.0) -> None:
        self.takes = takes
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.paused = False

    async def handle(self, request: httpx.Request) -> httpx.Response:
        wanted = dict(httpx.QueryParams((await request.aread()).decode()))
        if wanted["function"] == "getTokenByAuthToken":
            return _ok(token="t")
        path = wanted.get("path") or wanted.get("fi_pid", "")
        if wanted.get("pid", "0") not in ("", "0"):
            path = f"{wanted['pid']}/{path}"
        provider = path.partition("/")[0]
        self.times.append((provider, asyncio.get_running_loop().time()))
        if wanted["function"] == "checkPathExists":
            return _ok(exists="y", file={"fi_id": path, "fi_name": path.rpartition("/")[2], "fi_type": "1"})
        if "refresh" not in wanted:
            names = (SLOW, FAST) if path == "0" else map(str, range(30))
            below = "" if path == "0" else f"{path}/"
            found = [{"fi_id": below + name, "fi_name": name, "fi_type": "1"} for name in names]
            return _ok(total=str(len(found)), filelist=found)
        if "refreshtoken" in wanted:
            self.running[provider] -= 1
            return _ok(stillsyncing="n", total="1", filelist=[{"fi_id": "1", "fi_name": "a", "fi_type": "0"}])
        self.running[provider] += 1
        self.most[provider] = max(self.most[provider], self.running[provider])
        await asyncio.sleep(self.takes)
        return _ok(stillsyncing="y", refreshresult={"token": "t"}, total="1")

    def times_of(self, provider: str) -> list[float]:
        return [time for name, time in self.times if name == provider]


def _ok(**content):
    return httpx.Response(200, json={"status": "ok", **content})


async def refreshed(server, limits, providers=(SLOW, FAST), folders=12, during=None, paused=lambda _: None):
    """Refresh so many folders of each provider at the same time. Returns the errors."""
    clock = VirtualClock()
    connection = connect(
        endpoint="https://aa.test",
        permanent_token="p",
        clock=clock,
        concurrency=8,
        provider_limits=limits,
        origin_of=over_httpx(httpx.MockTransport(server.handle)),
    )
    async with connection as client:
        roots = [f"/{name}" for name in providers]
        target = RefreshTarget(
            client,
            roots=lambda: roots,
            clock=clock,
            slots=client.concurrency,
            limits=client.provider_limits,
            paused=paused,
        )
        others = UncoalescedRefreshes(target)
        paths = [f"/{name}/{number}" for number in range(folders) for name in providers]
        work = [asyncio.create_task(target.refresh(Folder(path), lambda: None, others)) for path in paths]
        if during:
            await during(client)
        return [each for each in await asyncio.gather(*work, return_exceptions=True) if each is not None]


@in_virtual_time
async def test_no_more_refreshes_of_a_provider_run_than_its_limit_and_others_use_the_rest():
    server = Server()
    assert await refreshed(server, {SLOW.upper(): ProviderLimit(concurrency=2)}) == []
    assert server.most == {SLOW: 2, FAST: 6}


@in_virtual_time
async def test_no_more_calls_a_second_are_made_for_a_provider_than_its_limit():
    server = Server(takes=0.0)
    assert await refreshed(server, {SLOW: ProviderLimit(calls_per_second=4)}) == []
    slow, fast = server.times_of(SLOW), server.times_of(FAST)
    assert min(later - earlier for earlier, later in pairwise(slow)) >= 0.249
    assert max(fast) < 2 < max(slow)


@in_virtual_time
async def test_other_limits_count_at_once():
    server = Server()

    async def change(client):
        await asyncio.sleep(2.5)
        assert server.most[SLOW] == 1
        client.provider_limits.reconfigure({SLOW: ProviderLimit(concurrency=3)})
        await asyncio.sleep(3)
        assert server.most[SLOW] == 3
        client.provider_limits.reconfigure({})

    assert (
        await refreshed(server, {SLOW: ProviderLimit(concurrency=1)}, providers=[SLOW], during=change, folders=30) == []
    )
    assert server.most[SLOW] == 8


@in_virtual_time
async def test_what_waits_for_a_slot_when_a_pause_begins_does_not_begin():
    server = Server(takes=10.0)

    async def pause(_client):
        await asyncio.sleep(5)
        server.paused = True

    def paused(_folder):
        return RefreshPaused("paused", 60.0) if server.paused else None

    errors = await refreshed(server, {}, providers=[FAST], during=pause, folders=20, paused=paused)
    assert [type(error) for error in errors] == [RefreshPaused] * 12
    assert server.most[FAST] == 8


@pytest.mark.parametrize("limits", [{}, {SLOW: ProviderLimit()}])
def test_a_provider_without_limits_has_those_of_the_server_only(limits):
    server = Server()
    in_virtual_time(lambda: refreshed(server, limits, providers=[SLOW]))()
    assert server.most[SLOW] == 8
