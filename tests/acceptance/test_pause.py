"""A pause of the real program under load: nothing is lost, nothing is restarted, and no receive is used up."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import COMMAND, SmallService
from tests.processes import PATIENCE, Finished, Started, eventually, finished
from typer.testing import CliRunner

from jibe_sqs.cli.app import app


class Paused:
    """A service with a health page, messages that keep coming, and the commands `pause` and `resume`."""

    def __init__(self, sandbox: dict[str, Any], small: SmallService) -> None:
        self.small = small
        self._environment = {**os.environ, **sandbox["environment"]}
        self.sent = 0
        small.configure(health={"port": 0, "host": "127.0.0.1"}, drain_timeout=3)

    def command(self, *arguments: str) -> Finished:
        return finished(
            [*COMMAND, *arguments, "--config", str(self.small.config)],
            cwd=self.small.config.parent,
            env=self._environment,
        )

    def answer(self, *arguments: str) -> dict[str, Any]:
        """The answer of a command that succeeds."""
        ran = self.command(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        answer: dict[str, Any] = json.loads(ran.stdout)
        return answer

    @contextmanager
    def load(self) -> Iterator[None]:
        """Messages come during the block, each about a folder of its own."""
        ended = threading.Event()

        def send() -> None:
            while not ended.is_set():
                self.small.announce(f"load {self.sent}/a.txt")
                self.sent += 1

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def all_done(self) -> None:
        eventually(lambda: self.small.messages() == 0, "all messages are done")
        assert self.small.dead_letters() == 0


def ready(service: Started) -> dict[str, Any]:
    port = service.wait_for("health_answered")["port"]
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=PATIENCE).json()
    return found


def refreshes(service: Started) -> int:
    return len(service.events("refreshed"))


@pytest.fixture
def paused(sandbox: dict[str, Any], small_service: SmallService) -> Paused:
    return Paused(sandbox, small_service)


def test_everything_is_paused_under_load_and_nothing_is_lost(paused):
    with paused.small.started() as service:
        service.wait_for("started")
        with paused.load():
            eventually(lambda: refreshes(service) > 5, "folders are refreshed")
            answer = paused.answer("pause", "--for", "1h", "--reason", "update to 2026.4")
            assert answer["pauses"][0]["sentence"].endswith("(UTC): update to 2026.4")
            assert answer["warnings"] == []
            found = eventually(lambda: (each := ready(service)) and not each["ready"] and each, "it is not ready")
            assert found["reasons"] == [answer["pauses"][0]["sentence"]]
            before = refreshes(service)
            sent = paused.sent
            eventually(lambda: paused.sent > sent + 20, "more messages came during the pause")
            assert refreshes(service) <= before + 8  # those that had begun
            ran = paused.command("refresh", "s3://jibe-sandbox-us-east-1-media/load")
            assert ran.stdout.splitlines()[1].startswith("           RefreshPaused: paused by an operator until")
            assert ran.returncode == 1
            assert paused.answer("resume")["ended"][0]["reason"] == "update to 2026.4"
            eventually(lambda: refreshes(service) > before + 8, "folders are refreshed again")
        paused.all_done()
        assert service.stop() == 0
        (stopped,) = service.events("stopped")
        assert stopped["receives"] == {"1": paused.sent}
        assert len(service.events("paused")) == len(service.events("resumed")) == 1


def test_a_pause_survives_a_restart_and_ends_by_itself(paused):
    with paused.small.started() as service:
        service.wait_for("started")
        paused.answer("pause", "--for", "1h")
        assert service.stop() == 0
    sent = [paused.small.announce(f"restart {number}/a.txt") for number in range(5)]
    with paused.small.started() as service:
        service.wait_for("paused")
        service.wait_for("started")
        eventually(lambda: not ready(service)["ready"], "it is not ready")
        # A shorter pause replaces the longer one.
        (warning,) = paused.answer("pause", "--for", "6d")["warnings"]  # of the queue alone, not of the sweeps' own
        assert "deletes messages after" in warning
        assert len(paused.answer("pause", "--for", "3s")["pauses"]) == 1
        assert not service.events("message_done")
        service.wait_for("resumed")
        paused.all_done()
        eventually(lambda: ready(service)["ready"], "it is ready")
        assert service.stop() == 0
        (stopped,) = service.events("stopped")
        assert stopped["receives"] == {"1": len(sent)}


def test_a_pause_of_one_provider_is_a_warning_and_its_messages_wait(paused):
    with paused.small.started() as service:
        service.wait_for("started")
        paused.small.announce("provider/a.txt")
        paused.all_done()
        before = refreshes(service)
        answer = paused.answer("pause", "Amazon S3 us-east-1", "--for", "2h")
        assert answer["warnings"] == []
        found = ready(service)
        assert found["ready"]
        assert answer["pauses"][0]["sentence"] in found["warnings"]
        paused.small.announce("provider/b.txt")
        eventually(lambda: service.events("file_read") and paused.small.in_hand() == 1, "the message is in hand")
        assert refreshes(service) == before
        assert paused.answer("pause", "No Such", "--for", "1h")["warnings"] != []
        assert len(paused.answer("resume")["ended"]) == 2
        paused.all_done()
        assert service.stop() == 0
        assert service.events("stopped")[0]["receives"] == {"1": 2}


def test_without_a_service_the_pause_is_in_the_ledger_and_a_service_reads_it(paused):
    ran = paused.command("pause", "--for", "1h")
    assert ran.returncode == 1
    assert "no ledger there" in ran.stderr
    with paused.small.started() as service:
        service.wait_for("started")
        assert service.stop() == 0
    assert "read the pause within ten seconds" in paused.answer("pause", "--for", "1h")["warnings"][0]
    with paused.small.started() as service:
        service.wait_for("paused")
        assert service.stop() == 0
    assert "ended: the pause of everything" in paused.command("resume").stdout
    assert paused.command("resume").stdout == "nothing was paused\n"


@pytest.mark.parametrize("duration", ["0", "8d", "soon", "-1h"])
def test_a_duration_that_is_not_possible_is_a_usage_error(paused, duration):
    ran = paused.command("pause", f"--for={duration}")
    assert ran.returncode == 2
    assert "--for" in ran.stderr


@pytest.mark.parametrize("provider", ["", "/", " ", "Amazon S3/media"])
@pytest.mark.parametrize("command", [["pause", "--for", "1h"], ["resume"]])
def test_what_is_not_the_name_of_a_provider_is_a_usage_error(command, provider):
    """A variable of a script that is not set must not pause everything, nor end all pauses."""
    ran = CliRunner().invoke(app, [*command, provider])
    assert ran.exit_code == 2
    assert "PROVIDER: " in ran.stderr
