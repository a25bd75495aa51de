"""`workers: 2`: two processes share a queue and a ledger, and one command starts and stops them."""

import os
import signal

import httpx
from tests.processes import PATIENCE, children, eventually, is_alive


def test_two_workers_share_the_queue_survive_a_kill_and_drain_together(small_service):
    small_service.configure(
        workers=2,
        health={"port": 0, "host": "127.0.0.1"},
        log={"format": "json", "level": "info"},
        sync={"min_refresh_interval": 0},
    )
    with small_service.started() as service:
        for worker in (0, 1):
            service.wait_for("started", worker=worker)
        health = f"http://127.0.0.1:{service.wait_for('health_answered')['port']}"

        def answer(page):
            return httpx.get(f"{health}/{page}", timeout=PATIENCE)

        ready = answer("readyz")
        assert (ready.status_code, ready.json()["reasons"]) == (200, [])
        assert answer("livez").status_code == 200

        expected = 0
        for number in range(20):
            small_service.announce(f"workers/{number}/a.txt")
        victim = service.events("worker_began", worker=1)[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        assert service.wait_for("worker_ended", worker=1)["reason"] == "it was killed by SIGKILL"
        eventually(lambda: len(service.events("started", worker=1)) == 2, "the new worker 1")
        for number in range(20, 40):
            small_service.announce(f"workers/{number}/a.txt")
        eventually(lambda: small_service.messages() == 0, "all messages are done")
        processes = children(service.process.pid)
        assert len(processes) == 2
        assert service.stop() == 0
    assert not any(map(is_alive, processes))
    done = {each["worker"]: each["done"] for each in service.events("stopped")}
    assert done.keys() == {0, 1}
    assert all(done.values())
    print(done)
    assert small_service.dead_letters() == 0
