"""The circuit breaker: calls wait while Access Anywhere is down, probes are sent, and calls resume afterwards."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
import pytest
import structlog
from tests.clocks import VirtualClock, in_virtual_time
from tests.over_httpx import over_httpx

from jibe_sqs.adapters.access_anywhere import AccessAnywhere, connect
from jibe_sqs.adapters.access_anywhere.flow.circuit import Circuit
from jibe_sqs.core.errors import AccessAnywhereUnavailable, AnswerMalformed, CallFailed, LoginFailed


def time() -> float:
    return asyncio.get_running_loop().time()


DOWN = httpx.Response(503)
FOUND = {"status": "ok", "exists": "y", "file": {"fi_id": "7", "fi_name": "photos", "fi_type": "1"}}
LOGIN = "getTokenByAuthToken"
REFUSED = {"status": "login_fail", "statusmessage": "Wrong token"}


class Server:
    """Answers in 10 ms. `says` may give another answer. Records each call with its time."""

    def __init__(self) -> None:
        self.says: Callable[[str], dict | httpx.Response | Exception | None] = lambda function: None
        self.asked: list[tuple[float, str]] = []
        self.tokens = 0
        self.takes = 0.01

    async def handle(self, request: httpx.Request) -> httpx.Response:
        form = dict(parse_qsl((await request.aread()).decode(), keep_blank_values=True))
        function = form["function"]
        self.asked.append((time(), function))
        await asyncio.sleep(self.takes)
        reply = self.says(function) or self._usual(function, form["token"])
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)

    def _usual(self, function: str, token: str) -> dict:
        if function == LOGIN:
            self.tokens += 1
            return {"status": "ok", "token": f"token-{self.tokens}"}
        if token == "*":
            return {"status": "ok"}
        return FOUND if token == f"token-{self.tokens}" else {"status": "login_token_expired"}

    def times(self, *functions: str) -> list[float]:
        return [at for at, function in self.asked if function in functions or not functions]

    @asynccontextmanager
    async def client(self, **options) -> AsyncIterator[AccessAnywhere]:
        async with connect(
            endpoint="https://aa.test",
            permanent_token="permanent",
            clock=VirtualClock(),
            origin_of=over_httpx(httpx.MockTransport(self.handle)),
            **options,
        ) as client:
            yield client


def down_until(moment: float) -> Callable[[str], httpx.Response | None]:
    return lambda function: DOWN if time() < moment else None


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


# Opening


async def fine() -> None:
    pass


@in_virtual_time
async def test_the_circuit_opens_after_eight_failures_in_a_row_over_two_seconds():
    circuit = Circuit(VirtualClock())
    for n in range(20):
        circuit.failed("HTTP 503", fine, n)
    assert not circuit.is_open
    await asyncio.sleep(2)
    circuit.failed("HTTP 503", fine, 20)
    assert circuit.is_open
    assert re.fullmatch(r"Access Anywhere is down since [\d-]* ?\d\d:\d\d \(UTC\): HTTP 503", circuit.reason)
    await circuit.close()


@in_virtual_time
async def test_seven_failures_do_not_open_the_circuit_after_any_time():
    circuit = Circuit(VirtualClock())
    for n in range(7):
        circuit.failed("HTTP 503", fine, n)
        await asyncio.sleep(10)
    assert not circuit.is_open


@in_virtual_time
async def test_an_answer_between_failures_restarts_the_count():
    circuit = Circuit(VirtualClock())
    for _ in range(20):
        for n in range(7):
            circuit.failed("HTTP 503", fine, n)
            await asyncio.sleep(1)
        circuit.answered()
    assert not circuit.is_open


@in_virtual_time
async def test_one_folder_that_always_fails_does_not_block_other_calls():
    """On a quiet service there are no other calls, so all failures follow each other."""
    server = Server()
    server.says = lambda function: DOWN if function == "checkPathExists" else None
    async with server.client() as client:
        for _ in range(8):
            with pytest.raises(AccessAnywhereUnavailable, match="tried 10 times"):
                await client.check_path("/poison")
            assert not client.circuit.is_open
        server.says = lambda function: DOWN
        with pytest.raises(AccessAnywhereUnavailable, match="has not been usable"):
            await client.check_path("/poison")
        assert client.circuit.is_open
    assert len(server.times(LOGIN)) == 1


@in_virtual_time
async def test_a_probe_that_is_never_answered_does_not_keep_the_circuit_closed():
    circuit = Circuit(VirtualClock())
    asked = []

    async def hangs() -> None:
        asked.append(time())
        await asyncio.sleep(10_000)

    for _ in range(30):
        circuit.failed("HTTP 503", hangs, "the same")
        await asyncio.sleep(1)
    assert len(asked) == 1
    assert not circuit.is_open
    circuit.failed("HTTP 503", hangs, "another")
    circuit.failed("HTTP 503", hangs, "a third")
    assert circuit.is_open
    await circuit.close()


@in_virtual_time
async def test_a_server_that_asks_for_fewer_calls_is_not_down():
    server = Server()
    server.says = lambda function: httpx.Response(429) if function == "checkPathExists" else None
    async with server.client() as client:
        results = await asyncio.gather(*(client.check_path("/a") for _ in range(20)), return_exceptions=True)
        assert {type(result) for result in results} == {AccessAnywhereUnavailable}
        assert not client.circuit.is_open
    assert not server.times("getApplianceInfo")


@in_virtual_time
async def test_refusals_and_unreadable_answers_count_as_answers():
    server = Server()
    odd = [{"status": "no", "statusmessage": ""}, httpx.Response(200, html="<p>?</p>"), httpx.Response(404)]
    server.says = lambda function: None if function == LOGIN else odd[len(server.asked) % 3] if time() % 1 else DOWN
    server.takes = 0.5
    async with server.client() as client:
        for _ in range(30):
            with pytest.raises((CallFailed, AnswerMalformed)):
                await client.check_path("/a")
            assert not client.circuit.is_open


@in_virtual_time
async def test_the_circuit_logs_its_opening_with_the_reason_and_its_closing_with_the_duration():
    server = Server()
    server.says = down_until(60)
    with structlog.testing.capture_logs() as logged:
        async with server.client() as client:
            await client.check_path("/a")
            assert (client.circuit.is_open, client.circuit.reason, client.circuit.opened_at) == (False, "", None)
    opened = next(entry for entry in logged if entry["event"] == "circuit_opened")
    closed = next(entry for entry in logged if entry["event"] == "circuit_closed")
    assert opened["log_level"] == "warning"
    assert "HTTP 503" in opened["reason"]
    assert closed["log_level"] == "info"
    assert 50 < closed["seconds"] < 100


# Open


@in_virtual_time
async def test_an_outage_of_a_minute_fails_no_call_and_only_probes_are_sent():
    server = Server()
    async with server.client() as client:
        await client.check_path("/a")
        began = time()
        server.says = down_until(began + 60)
        found = await asyncio.gather(*(client.check_path(f"/{n}") for n in range(200)))
        assert all(item.id == "7" for item in found)
        opened = server.times("getApplianceInfo")[0] - 2
        while_down = [function for at, function in server.asked if opened + 1 < at < began + 60]
        assert set(while_down) == {"getApplianceInfo"}
        assert len(while_down) < 10


@in_virtual_time
async def test_a_call_that_waits_beyond_its_budget_fails_with_the_time_and_reason_of_the_outage():
    server = Server()
    server.says = down_until(10_000)
    async with server.client() as client:
        began = time()
        with pytest.raises(AccessAnywhereUnavailable) as caught:
            await client.check_path("/a")
        assert 115 < time() - began < 125
        assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC \(1\d\d s\).*HTTP 503", str(caught.value))
        assert client.circuit.is_open
        assert client.circuit.opened_at is not None


@in_virtual_time
async def test_calls_that_wait_for_a_slot_fail_together_with_its_holder_in_a_long_outage():
    """A test of outages found this: with one slot, each holder waited two minutes before the next could."""
    server = Server()
    server.says = down_until(10_000)
    async with server.client(concurrency=1) as client:
        slot = client.concurrency.slot
        asked = [client.refresh_folder(str(n), slot=slot) for n in range(20)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(result) for result in results} == {AccessAnywhereUnavailable}
        assert time() < 140


@in_virtual_time
async def test_an_outage_uses_no_tries_and_restarts_their_count():
    """A server that answers the probe but still fails for a while does not use up the tries of waiting calls."""
    server = Server()
    server.says = lambda function: DOWN if function == "checkPathExists" and time() < 60 else None
    async with server.client() as client:
        assert all(await asyncio.gather(*(client.check_path(path) for path in "abc")))
    assert len(server.times("checkPathExists")) > 3 * 10


@in_virtual_time
async def test_a_login_also_waits_while_the_server_is_down():
    server = Server()
    server.says = down_until(60)
    async with server.client() as client:
        found = await asyncio.gather(*(client.check_path(f"/{n}") for n in range(50)))
        assert all(found)
    assert server.tokens == 1


@in_virtual_time
async def test_a_server_that_hangs_gets_one_probe_at_a_time():
    server = Server()
    server.says = down_until(10_000)
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable):
            await client.check_path("/a")
        server.takes = 250.0
        server.asked.clear()
        await asyncio.sleep(2000)
        assert server.asked
        assert min(gaps(server.times())) >= 250


@in_virtual_time
async def test_the_pauses_between_probes_grow_to_half_a_minute():
    server = Server()
    server.says = down_until(10_000)
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable):
            await client.check_path("/a")
        await asyncio.sleep(600)
    found = gaps(server.times("getApplianceInfo"))
    for pause, expected in zip(found, [1, 2, 4, 8, 16, 30, 30, 30], strict=False):
        assert expected <= pause <= 1.25 * expected + 0.1


@in_virtual_time
async def test_the_pauses_also_grow_if_the_server_answers_only_the_probe():
    server = Server()
    server.says = lambda function: DOWN if function == "checkPathExists" else None
    async with server.client() as client:
        asking = [asyncio.create_task(client.check_path(f"/{n}")) for n in range(50)]
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert {type(result) for result in results} == {AccessAnywhereUnavailable}
    probes = server.times("getApplianceInfo")
    assert gaps(probes)[-1] > gaps(probes)[0]
    assert len(probes) < 20


@in_virtual_time
async def test_a_minute_after_the_circuit_closed_the_pauses_start_with_a_second_again():
    circuit = Circuit(VirtualClock())
    results = [AccessAnywhereUnavailable("down")] * 5

    async def probe() -> None:
        if results:
            raise results.pop()

    circuit.open("down", probe)
    await circuit.passable()
    for wait, shortest, longest in [(1, 30, 38), (61, 1, 1.3)]:
        await asyncio.sleep(wait)
        began = time()
        circuit.open("down", probe)
        await circuit.passable()
        assert shortest <= time() - began <= longest


@in_virtual_time
async def test_a_probe_that_crashes_does_not_end_the_probing():
    circuit = Circuit(VirtualClock())
    errors = [ZeroDivisionError()]

    async def probe() -> None:
        if errors:
            raise errors.pop()

    with structlog.testing.capture_logs() as logged:
        circuit.open("down", probe)
        await circuit.passable()
    assert "circuit_probe_failed" in [entry["event"] for entry in logged]


# Retry-After


def busy_with_retry_after(header: str) -> Callable[[str], httpx.Response | None]:
    began = time()
    return lambda _: httpx.Response(503, headers={"Retry-After": header}) if time() < began + int(header) else None


@in_virtual_time
async def test_a_retry_after_of_a_minute_is_honoured():
    server = Server()
    server.says = busy_with_retry_after("60")
    async with server.client() as client:
        assert await client.check_path("/a")
    assert server.times()[1] >= 60
    assert len(server.times(LOGIN)) == 2


@in_virtual_time
async def test_a_retry_after_beyond_the_budget_of_calls_fails_them_at_once():
    server = Server()
    server.says = busy_with_retry_after("600")
    async with server.client() as client:
        for _ in range(3):
            with pytest.raises(AccessAnywhereUnavailable) as caught:
                await client.check_path("/a")
        assert 590 < caught.value.retry_after <= 600
        assert time() < 1
        await client.circuit.passable()
        assert time() >= 600
        assert await client.check_path("/a")
    assert len([at for at in server.times() if at < 600]) == 1


@in_virtual_time
async def test_a_longer_retry_after_counts_as_a_quarter_of_an_hour():
    server = Server()
    server.says = busy_with_retry_after("86400")
    async with server.client() as client:
        with pytest.raises(AccessAnywhereUnavailable):
            await client.check_path("/a")
        await asyncio.sleep(1000)
        assert 900 <= server.times("getApplianceInfo")[0] <= 901


@pytest.mark.parametrize("status", [429, 503])
@in_virtual_time
async def test_the_next_probe_honours_the_retry_after_of_the_last_probe(status):
    """By the backoff alone, the probes would be one and two seconds apart."""
    server = Server()
    began = time()
    busy = httpx.Response(status, headers={"Retry-After": "30"})
    server.says = lambda function: (busy if function == "getApplianceInfo" else DOWN) if time() < began + 50 else None
    async with server.client() as client:
        assert await client.check_path("/a")
    probes = server.times("getApplianceInfo")
    assert len(probes) == 3
    assert min(gaps(probes)) >= 30


# Refused credentials


@in_virtual_time
async def test_a_refused_first_login_fails_the_calls_that_wait_for_it_and_later_calls_wait():
    server = Server()
    server.says = lambda function: REFUSED if function == LOGIN and time() < 30 else None
    async with server.client() as client:
        results = await asyncio.gather(*(client.check_path("/a") for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {LoginFailed}
        assert len(server.asked) == 1
        assert client.circuit.is_open
        assert "Wrong token" in client.circuit.reason
        assert client.circuit.reason.startswith("Access Anywhere refuses the credentials or the account since ")
        found = await asyncio.gather(*(client.check_path("/a") for _ in range(50)))
        assert all(found)
        assert time() >= 30
    assert server.tokens == 1


@in_virtual_time
async def test_calls_wait_while_credentials_that_were_accepted_before_are_refused():
    server = Server()
    async with server.client() as client:
        await client.check_path("/a")
        server.tokens += 1
        server.says = lambda function: REFUSED if function == LOGIN and time() < 60 else None
        found = await asyncio.gather(*(client.check_path("/a") for _ in range(50)))
        assert all(found)
        assert time() >= 60


@in_virtual_time
async def test_refused_logins_are_repeated_after_ten_seconds_and_later_after_a_minute():
    server = Server()
    server.says = lambda function: REFUSED if function == LOGIN else None
    async with server.client() as client:
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        waiting = asyncio.gather(*(client.check_path("/a") for _ in range(50)), return_exceptions=True)
        await asyncio.sleep(1000)
        assert {type(result) for result in await waiting} == {AccessAnywhereUnavailable}
    found = gaps(server.times())
    assert {function for _, function in server.asked} == {LOGIN}
    for pause, expected in zip(found, [10, 20, 40, 60, 60, 60, 60], strict=False):
        assert expected <= pause <= 1.25 * expected + 0.1


@in_virtual_time
async def test_logins_that_give_no_token_are_not_repeated_for_each_call():
    """The account may require a second factor. No call can then succeed, as with a wrong password."""
    server = Server()
    async with server.client() as client:
        server.says = lambda function: {"status": "ok"} if function == LOGIN else None
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        assert client.circuit.is_open
        waiting = [asyncio.create_task(client.check_path(f"/{n}")) for n in range(20)]
        await asyncio.sleep(60)
        assert len(server.times(LOGIN)) <= 4
        server.says = lambda function: None
        assert all(await asyncio.gather(*waiting))


@in_virtual_time
async def test_while_every_token_is_refused_calls_wait_and_few_logins_are_tried():
    """For example, the account lost its role: it may log in, but all calls are refused."""
    server = Server()
    async with server.client() as client:
        await client.check_path("/a")
        await asyncio.sleep(120)
        began, logins = time(), server.tokens
        useless = {"status": "login_token_expired"}
        server.says = lambda function: None if function == LOGIN or time() > began + 60 else useless
        with pytest.raises(LoginFailed, match="Administrator"):
            await client.check_path("/a")
        assert client.circuit.is_open
        assert all(await asyncio.gather(*(client.check_path(f"/{n}") for n in range(50))))
        assert time() > began + 60
        assert server.tokens - logins < 10


@in_virtual_time
async def test_a_call_that_is_refused_for_each_token_does_not_block_other_calls_for_long():
    server = Server()
    useless = {"status": "login_token_expired"}
    server.says = lambda function: useless if function == "checkPathExists" else None
    async with server.client() as client:
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        assert client.circuit.is_open
        began = time()
        await client.circuit.passable()
        assert time() - began < 15


@in_virtual_time
async def test_the_error_of_a_refused_login_contains_no_secret():
    server = Server()
    server.says = lambda function: REFUSED | {"statusmessage": "no: permanent"} if function == LOGIN else None
    async with server.client() as client:
        with pytest.raises(LoginFailed):
            await client.check_path("/a")
        with pytest.raises(AccessAnywhereUnavailable) as caught:
            await client.check_path("/a")
        assert "permanent token" in str(caught.value).replace("no: permanent", "LEAK")
        assert "no: permanent" not in str(caught.value)
        assert "no: permanent" not in client.circuit.reason


# Cancellation


@in_virtual_time
async def test_a_consumer_waits_until_the_circuit_is_closed_and_may_stop_waiting():
    server = Server()
    server.says = down_until(60)
    async with server.client() as client:
        await client.circuit.passable()
        call = asyncio.create_task(client.check_path("/a"))
        await asyncio.sleep(10)
        assert client.circuit.is_open
        impatient = asyncio.create_task(client.circuit.passable())
        patient = asyncio.create_task(client.circuit.passable())
        await asyncio.sleep(1)
        impatient.cancel()
        await patient
        assert impatient.cancelled()
        assert time() >= 60
        assert await call


@in_virtual_time
async def test_a_call_that_is_cancelled_while_it_waits_does_not_block_the_others():
    server = Server()
    server.says = down_until(60)
    async with server.client(concurrency=1) as client:
        calls = [asyncio.create_task(client.version()) for _ in range(20)]
        await asyncio.sleep(20)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results[::2]] == [asyncio.CancelledError] * 10
        assert results[1::2] == [""] * 10


@in_virtual_time
async def test_closing_the_client_ends_the_probing():
    server = Server()
    server.says = down_until(10_000)
    async with server.client() as client:
        call = asyncio.create_task(client.check_path("/a"))
        await asyncio.sleep(20)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    asked = len(server.asked)
    await asyncio.sleep(1000)
    assert len(server.asked) == asked
    assert len(asyncio.all_tasks()) <= 2, "the test, and who waits for it"


@in_virtual_time
async def test_a_server_that_answers_with_a_maintenance_page_is_down():
    """Such pages have the status 200."""
    server = Server()
    server.says = lambda function: httpx.Response(200, html="<p>Be back soon</p>") if time() < 60 else None
    async with server.client() as client:
        while not client.circuit.is_open:
            with pytest.raises(AnswerMalformed):
                await client.check_path("/a")
            await asyncio.sleep(0.5)
        assert await client.check_path("/a")
        assert time() > 60


# Rate limit


@in_virtual_time
async def test_no_more_calls_per_second_are_sent_than_the_settings_allow():
    server = Server()
    async with server.client(calls_per_second=4, concurrency=8) as client:
        await asyncio.gather(*(client.check_path("/a") for _ in range(40)))
    assert min(gaps(server.times())) >= 0.249
    assert server.times()[-1] < 11


@in_virtual_time
async def test_retries_count_as_calls_and_the_rate_may_be_half_a_call_per_second():
    server = Server()
    failures = [DOWN] * 3
    server.says = lambda function: failures.pop() if failures and function == "checkPathExists" else None
    async with server.client(calls_per_second=0.5) as client:
        await client.check_path("/a")
    assert len(server.asked) == 5
    assert min(gaps(server.times())) >= 1.999


@in_virtual_time
async def test_another_rate_counts_for_calls_from_then_on():
    server = Server()
    async with server.client(calls_per_second=1, concurrency=8) as client:
        await asyncio.gather(*(client.check_path("/a") for _ in range(5)))
        # An eighth of a second is exact. In virtual time, a wait that rounding leaves over may never end.
        client.change_limits(concurrency=2, calls_per_second=8)
        before = len(server.asked)
        await asyncio.gather(*(client.check_path("/a") for _ in range(20)))
        assert client.concurrency.most == 2
    times = server.times()[before:]
    assert 2.3 < times[-1] - times[0] < 2.5


# Concurrency


@in_virtual_time
async def test_a_busy_server_halves_the_refreshes_in_flight_and_good_calls_restore_them():
    server = Server()
    busy = [httpx.Response(429)]
    server.says = lambda function: busy.pop() if busy else None
    async with server.client(concurrency=8) as client:
        await client.version()
        assert client.concurrency.limit == 4
        for _ in range(5 + 6 + 7):
            await client.version()
        assert client.concurrency.limit == 7
        for _ in range(20):
            await client.version()
        assert client.concurrency.limit == client.concurrency.most == 8


@in_virtual_time
async def test_calls_that_fail_together_halve_the_limit_once():
    server = Server()
    server.says = lambda function: DOWN if time() < 0.011 else None
    with structlog.testing.capture_logs() as logged:
        async with server.client(concurrency=8) as client:
            await asyncio.gather(*(client.version() for _ in range(8)))
    assert len(server.asked) == 16
    assert [entry["event"] for entry in logged].count("concurrency_reduced") == 1


@in_virtual_time
async def test_a_slow_server_gets_fewer_refreshes_but_long_listings_do_not_count():
    server = Server()
    server.takes = 0.1
    empty = {"status": "ok", "total": "0", "filelist": []}
    server.says = lambda function: empty if function == "getFolderContents" else None
    async with server.client(concurrency=8) as client:
        for _ in range(50):
            await client.check_path("/a")
            await client.subfolders("1")
        server.takes = 10.0
        for _ in range(50):
            await client.subfolders("1")
        assert client.concurrency.limit == 8
        for _ in range(9):
            await client.check_path("/a")
        assert client.concurrency.limit == 4
