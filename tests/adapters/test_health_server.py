"""Health: what makes the service unready or ill, and that it is told over a socket for as long as it runs."""

import asyncio
import logging
import os
import signal
import socket
import threading
from contextlib import asynccontextmanager

import httpx
import pytest

from jibe_sqs.adapters.health_server import health_server
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.telemetry.health import Health

DOWN = "Access Anywhere is down since 10:12 UTC: 503"


class Gate:
    def __init__(self, reason: str = "") -> None:
        self.reason = reason


async def works_for_ever() -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def worker(name: str = "consumer of queue"):
    task = asyncio.create_task(works_for_ever(), name=name)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def served(health: Health, host: str = "127.0.0.1"):
    async with health_server(host, 0, health) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        yield http


# What makes it so


async def test_it_is_ready_from_its_start_to_its_stop_while_every_gate_is_open():
    health, gates = Health(), [Gate(), Gate()]
    assert health.readiness_failures == ["starting"]
    async with worker() as task:
        health.started([task], gates)
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


async def test_a_worker_that_breaks_makes_it_unwell_and_its_text_is_not_shown():
    async def breaks() -> None:
        raise ValueError("SECRET")

    health = Health()
    async with worker() as fine:
        task = asyncio.create_task(breaks(), name="consumer of queue")
        health.started([fine, task])
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert health.liveness_failures == ["consumer of queue has ended: ValueError"]
        assert health.readiness_failures == health.liveness_failures
        health.stopping()
    assert health.liveness_failures == ["consumer of queue has ended: ValueError"]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_worker_that_ends_before_the_stop_makes_it_unwell_also_without_an_error(cancelled):
    health = Health()
    task = asyncio.create_task(asyncio.sleep(3600 if cancelled else 0), name="consumer of queue")
    health.started([task])
    await asyncio.sleep(0)
    if cancelled:
        task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert health.liveness_failures == ["consumer of queue has ended"]


# Over a socket


async def test_both_are_answered_with_their_reasons():
    gate = Gate()
    health = Health()
    async with served(health) as http, worker() as task:
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (503, {"ready": False, "reasons": ["starting"]})
        found = await http.get("/livez")
        assert (found.status_code, found.json()) == (200, {"alive": True, "reasons": []})
        health.started([task], [gate])
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (200, {"ready": True, "reasons": []})
        gate.reason = DOWN
        found = await http.get("/readyz")
        assert (found.status_code, found.json()) == (503, {"ready": False, "reasons": [DOWN]})
        assert (await http.get("/livez")).status_code == 200
        task.cancel()
        await asyncio.wait([task])
        found = await http.get("/livez")
        assert found.status_code == 503
        assert found.json() == {"alive": False, "reasons": ["consumer of queue has ended"]}


async def test_nothing_else_is_there():
    async with served(Health()) as http:
        statuses = [(await http.get(path)).status_code for path in ("/", "/metrics", "/livez/x")]
        assert statuses == [404] * 3
        assert (await http.post("/livez")).status_code == 405
        assert (await http.head("/livez")).status_code == 200


async def test_a_port_that_is_taken_is_the_operators_mistake():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            SettingsError, match=f"health.port: cannot listen on 127.0.0.1 port {port}: .*choose another"
        ):
            async with health_server("127.0.0.1", port, Health()):
                pass


@pytest.mark.parametrize("host", ["192.0.2.1", "", "a..b", "a" * 70])
async def test_an_address_that_is_not_ours_is_the_operators_mistake(host):
    with pytest.raises(SettingsError, match=rf"cannot listen on {host} port 0"):
        async with health_server(host, 0, Health()):
            pass


async def test_the_port_is_free_again_afterwards_also_for_who_keeps_a_connection():
    async with httpx.AsyncClient() as kept:
        async with health_server("127.0.0.1", 0, Health()) as port:
            assert (await kept.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
            silent, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(httpx.TransportError):
            await kept.get(f"http://127.0.0.1:{port}/livez")
        assert await silent.read() == b""
        writer.close()
        await writer.wait_closed()
    async with health_server("127.0.0.1", port, Health()) as again:
        assert again == port


async def test_it_takes_no_signal_no_thread_and_no_logger_away(capfd):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heard = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, heard.set)
    ours = signal.getsignal(signal.SIGTERM)
    root = logging.getLogger().handlers[:]
    try:
        async with served(Health()) as http:
            threads = threading.active_count()
            await http.get("/readyz")
            assert signal.getsignal(signal.SIGTERM) is ours
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(heard.wait(), 60)
            assert (await http.get("/livez")).status_code == 200
            assert threading.active_count() == threads
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert logging.getLogger().handlers == root
    assert capfd.readouterr() == ("", "")


async def test_what_is_no_http_is_no_news(caplog):
    async with health_server("127.0.0.1", 0, Health()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 not http\r\n\r\n")
        assert b"400" in await reader.read()
        writer.close()
        await writer.wait_closed()
    assert caplog.records == []
