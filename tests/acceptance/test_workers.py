"""`workers: 2`: two processes share a queue and a ledger, and one command starts, supervises and stops them."""

import asyncio
import os
import signal
from functools import partial

import httpx
from tests.acceptance.conftest import MEDIA
from tests.processes import PATIENCE, children, eventually, is_alive

from jibe_sqs.adapters.ledgers.sqlite import SqliteLedger
from jibe_sqs.core.model import Folder

COUNT = 20


def test_two_workers_share_a_queue_lose_nothing_in_a_kill_and_drain_together(sandbox, small_service, tmp_path):
    ledger = tmp_path / "workers.sqlite"
    small_service.configure(
        workers=2,
        health={"port": 0, "host": "127.0.0.1"},
        ledger={"path": str(ledger)},
        log={"format": "json", "level": "info"},
        progress_interval=1,
        sync={"min_refresh_interval": 0},
        # Neither worker can hold all messages.
        limits={"messages_held": COUNT // 2},
    )
    folders = {Folder(f"{sandbox['buckets'][MEDIA]}/workers/{number}") for number in range(COUNT)}
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    with small_service.started() as service:
        for worker in (0, 1):
            service.wait_for("started", worker=worker)
        health = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}"
        for page in ("livez", "readyz"):
            answer = httpx.get(f"{health}/{page}", timeout=PATIENCE)
            assert (answer.status_code, answer.json()["reasons"]) == (200, [])

        # Access Anywhere is slow, so both workers hold messages when one of them is killed. They come back after 30 seconds.
        httpx.put(faults, json={"slow": {"seconds": 3}}, timeout=PATIENCE).raise_for_status()
        for number in range(COUNT):
            small_service.announce(f"workers/{number}/a.txt")
        for worker in (0, 1):
            eventually(partial(holds, service, worker), "held messages")
        (began,) = service.events("worker_began", worker=1)
        os.kill(began["pid"], signal.SIGKILL)
        httpx.delete(faults, timeout=PATIENCE).raise_for_status()
        assert service.wait_for("worker_ended", worker=1)["reason"] == "it was killed by SIGKILL"
        eventually(lambda: len(service.events("started", worker=1)) == 2, "worker 1 again")

        eventually(lambda: refreshed(ledger, folders) == folders, lambda: f"all folders: {refreshed(ledger, folders)}")
        eventually(lambda: not small_service.messages(), "the end of all messages")
        processes = children(service.process.pid)
        assert len(processes) == 2
        assert service.stop() == 0
    assert not any(map(is_alive, processes))
    assert small_service.dead_letters() == 0
    assert {each["worker"] for each in service.events("stopped")} == {0, 1}
    assert "Traceback" not in service.output


def holds(service, worker):
    """Whether the worker has logged that it holds messages."""
    return any(each["messages"] > each["done"] for each in service.events("progress", worker=worker))


def refreshed(ledger, folders):
    """The folders of which the ledger, which both workers write, knows a refresh."""

    async def read():
        async with SqliteLedger(ledger, read_only=True) as opened:
            return set(await opened.watermarks(folders))

    return asyncio.run(read())
