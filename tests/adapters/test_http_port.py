"""Health: what makes liveness and readiness fail, and the HTTP port at which the probes are answered."""

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from contextlib import asynccontextmanager

import httpx
import pytest

from jibe_sqs.adapters.web import Sources, http_server
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.settings.groups.http import HealthSettings, HttpSettings
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.status import SettingStatus, SkippedBucket, Status

DOWN = "Access Anywhere is down since 10:12 UTC: 503"


class Gate:
    def __init__(self, reason: str = "") -> None:
        self.reason = reason


async def run_for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def worker(name: str = "consumer of queue"):
    task = asyncio.create_task(run_for_ever(), name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def served(health: Health, host: str = "127.0.0.1"):
    async with (
        http_server(host, 0, Sources(health=health)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        yield http


# Liveness and readiness


async def test_the_service_is_ready_between_start_and_stop_while_all_gates_are_open():
    health, gates = Health(), [Gate(), Gate()]
    assert health.readiness_failures == ["starting"]
    async with worker() as task:
        health.require(lambda: [gate.reason for gate in gates])
        health.started([task])
        assert health.readiness_failures == []
        gates[1].reason = DOWN
        assert health.readiness_failures == [DOWN]
        gates[0].reason = "the ledger's disk is full"
        assert health.readiness_failures == ["the ledger's disk is full", DOWN]
        gates[0].reason = gates[1].reason = ""
        assert health.readiness_failures == []
        health.stopping()
        assert health.readiness_failures == ["stopping"]
    assert health.liveness_failures == []


async def test_a_service_has_started_also_while_what_it_requires_fails():
    """A replica whose Access Anywhere is down may replace its predecessor, which can do no more."""
    health = Health()
    health.require(lambda: [DOWN])
    async with served(health) as http, worker() as task:
        found = await http.get("/startupz")
        assert (found.status_code, found.json()) == (503, {"started": False, "reasons": ["starting"]})
        health.started([task])
        found = await http.get("/startupz")
        assert (found.status_code, found.json()) == (200, {"started": True, "reasons": []})
        assert (await http.get("/readyz")).status_code == 503
        health.stopping()
        found = await http.get("/startupz")
        assert (found.status_code, found.json()) == (503, {"started": False, "reasons": ["stopping"]})


async def test_warnings_are_shown_and_do_not_make_the_service_unready():
    health, warnings = Health(), ["", "3 log lines lost"]
    health.note(lambda: warnings)
    async with served(health) as http, worker() as task:
        health.started([task])
        found = await http.get("/readyz")
    assert found.status_code == 200
    assert found.json() == {"ready": True, "reasons": [], "warnings": ["3 log lines lost"]}


async def test_a_failed_worker_fails_liveness_without_showing_the_error_text():
    async def fail() -> None:
        raise ValueError("SECRET")

    health = Health()
    async with worker() as healthy:
        task = asyncio.create_task(fail(), name="consumer of queue")
        health.started([healthy, task])
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert health.liveness_failures == ["consumer of queue has ended: ValueError"]
        assert health.readiness_failures == health.liveness_failures
        health.stopping()
    assert health.liveness_failures == ["consumer of queue has ended: ValueError"]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_worker_that_ends_before_the_stop_fails_liveness_also_without_an_error(cancelled):
    health = Health()
    task = asyncio.create_task(asyncio.sleep(3600 if cancelled else 0), name="consumer of queue")
    health.started([task])
    await asyncio.sleep(0)
    if cancelled:
        task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert health.liveness_failures == ["consumer of queue has ended"]


# Over HTTP


async def test_both_probes_return_their_reasons():
    gate = Gate()
    health = Health()
    async with served(health) as http, worker() as task:
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (503, {"ready": False, "reasons": ["starting"], "warnings": []})
        found = await http.get("/livez")
        assert (found.status_code, found.json()) == (200, {"alive": True, "reasons": []})
        health.require(lambda: [gate.reason])
        health.started([task])
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (200, {"ready": True, "reasons": [], "warnings": []})
        gate.reason = DOWN
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (503, {"ready": False, "reasons": [DOWN], "warnings": []})
        assert (await http.get("/livez")).status_code == 200
        task.cancel()
        await asyncio.wait([task])
        found = await http.get("/livez")
        assert found.status_code == 503
        assert found.json() == {"alive": False, "reasons": ["consumer of queue has ended"]}


async def test_other_paths_and_methods_are_refused():
    async with served(Health()) as http:
        statuses = [(await http.get(path)).status_code for path in ("/", "/metrics", "/livez/x")]
        assert statuses == [404] * 3
        assert (await http.post("/livez")).status_code == 405
        assert (await http.head("/livez")).status_code == 200


async def test_half_of_a_surrogate_pair_in_a_key_or_a_setting_costs_neither_the_page_nor_its_json():
    """UTF-8 cannot represent it. The records of a log file and a configuration file may have it."""
    key = "a/\ud800.txt"
    status = Status(
        at=1.0,
        version="1",
        stage="running",
        unmapped=[SkippedBucket(bucket="media", count=1, key=key)],
        settings=[SettingStatus(name="ignore_keys", value=(key,))],
        skipped={key: 1},
    )

    async def snapshot() -> Status:
        return status

    async with (
        http_server("127.0.0.1", 0, Sources(health=Health(), status=snapshot)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        shown = (await http.get("/status.json")).json()
        assert shown["unmapped"][0]["key"] == "a/?.txt"
        assert shown["skipped"] == {"a/?.txt": 1}
        assert (await http.get("/")).status_code == 200


async def test_a_port_in_use_is_a_settings_error():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=f"http.port: cannot listen on 127.0.0.1 port {port}: .*choose another"):
            async with http_server("127.0.0.1", port, Sources(health=Health())):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "", "a..b", "a" * 70])
async def test_an_address_of_another_machine_is_a_settings_error(host):
    with pytest.raises(SettingsError, match=rf"cannot listen on {host} port 0"):
        async with http_server(host, 0, Sources(health=Health())):
            pass


# Addresses


async def answers(port: int, address: str) -> bool:
    """Whether the server answers there."""
    async with httpx.AsyncClient() as http:
        try:
            return (await http.get(f"http://{address}:{port}/livez")).status_code == 200
        except httpx.ConnectError:
            return False


async def reached(host: str) -> set[str]:
    """The loopback addresses at which the server answers."""
    async with http_server(host, 0, Sources(health=Health())) as port:
        return {address for address in ("127.0.0.1", "[::1]") if await answers(port, address)}


both = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


@both
async def test_the_older_default_host_is_reached_over_ipv6_and_ipv4():
    assert await reached(HealthSettings().host) == {"[::1]", "127.0.0.1"}


async def test_the_default_host_is_reached_from_this_machine_only():
    assert HttpSettings().host == "127.0.0.1"
    assert await reached(HttpSettings().host) == {"127.0.0.1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_an_ipv4_host_is_reached_over_ipv4_only(host):
    assert await reached(host) == {"127.0.0.1"}


@both
@pytest.mark.parametrize("host", ["::1", "::"])
async def test_an_ipv6_host_is_reached_over_ipv6_only(host):
    assert await reached(host) == {"[::1]"}


async def test_without_ipv6_the_default_host_is_reached_over_ipv4(monkeypatch):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert await reached("*") == {"127.0.0.1"}


@pytest.mark.parametrize("code", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
async def test_if_ipv6_is_disabled_the_default_host_is_reached_over_ipv4(monkeypatch, code):
    create = socket.create_server

    def without_ipv6(address, **named):
        if named.get("family") == socket.AF_INET6:
            raise OSError(code, os.strerror(code))
        return create(address, **named)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    assert await reached("*") == {"127.0.0.1"}


def resolve_to(monkeypatch, *addresses: str) -> None:
    found = [socket.getaddrinfo(each, 0, type=socket.SOCK_STREAM)[0] for each in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@both
async def test_a_host_name_is_reached_at_all_of_its_addresses(monkeypatch):
    """Found by this test: only the first address of `localhost` was listened at."""
    resolve_to(monkeypatch, "::1", "127.0.0.1")
    assert await reached("localhost") == {"[::1]", "127.0.0.1"}


async def test_an_address_of_a_host_name_that_this_machine_lacks_is_left_out(monkeypatch):
    resolve_to(monkeypatch, "192.0.2.1", "127.0.0.1")
    assert await reached("this-host") == {"127.0.0.1"}


@both
async def test_a_port_in_use_at_one_address_is_a_settings_error_that_keeps_no_port(monkeypatch):
    resolve_to(monkeypatch, "::1", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match="cannot listen on localhost"):
            async with http_server("localhost", port, Sources(health=Health())):
                pass
        assert not await answers(port, "[::1]")


async def test_a_port_in_use_is_a_settings_error_for_the_default_host():
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on \* port {port}"):
            async with http_server("*", port, Sources(health=Health())):
                pass


async def test_the_port_is_released_at_the_end_despite_open_connections():
    async with httpx.AsyncClient() as kept:
        async with http_server("127.0.0.1", 0, Sources(health=Health())) as port:
            assert (await kept.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
            silent, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(httpx.TransportError):
            await kept.get(f"http://127.0.0.1:{port}/livez")
        assert await silent.read() == b""
        writer.close()
        await writer.wait_closed()
    async with http_server("127.0.0.1", port, Sources(health=Health())) as again:
        assert again == port


async def test_the_server_changes_no_signal_handler_no_thread_and_no_logger(capfd):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    received = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, received.set)
    ours = signal.getsignal(signal.SIGTERM)
    root = logging.getLogger().handlers[:]
    try:
        async with served(Health()) as http:
            threads = threading.active_count()
            await http.get("/readyz")
            assert signal.getsignal(signal.SIGTERM) is ours
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(received.wait(), 60)
            assert (await http.get("/livez")).status_code == 200
            assert threading.active_count() == threads
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert logging.getLogger().handlers == root
    assert capfd.readouterr() == ("", "")


async def test_a_request_that_is_not_http_is_not_logged(caplog):
    async with http_server("127.0.0.1", 0, Sources(health=Health())) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 not http\r\n\r\n")
        assert b"400" in await reader.read()
        writer.close()
        await writer.wait_closed()
    assert caplog.records == []
