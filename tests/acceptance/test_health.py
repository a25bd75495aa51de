"""`/readyz` names what does not work, in an operator's words, and the service goes on with what works."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import COMMAND, REGION, SmallService
from tests.aws_clients import aws_client
from tests.processes import PATIENCE, Finished, Started, eventually, finished, started


class Service:
    """A running service, and its health page."""

    def __init__(self, running: Started) -> None:
        self.running = running
        self._health = f"http://127.0.0.1:{running.wait_for('health_answered')['port']}"

    def ready(self) -> dict[str, Any]:
        answer = httpx.get(f"{self._health}/readyz", timeout=PATIENCE)
        content: dict[str, Any] = answer.json()
        assert answer.status_code == (200 if content["ready"] else 503)
        return content

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Wait until the answer of `/readyz` fulfils the condition, and return it."""
        return eventually(lambda: (found := self.ready()) and condition(found) and found, "health changes")


class Queues:
    """Queues in the sandbox, and services that read them."""

    def __init__(self, sandbox: dict[str, Any], small: SmallService, folder: Path, stack: ExitStack) -> None:
        self.small = small
        self.sqs = aws_client(sandbox["environment"], "sqs", REGION)
        self._environment = {**os.environ, **sandbox["environment"]}
        self._folder = folder
        self._stack = stack
        self._settings = json.loads(small.config.read_text())
        self.url = self._settings["queues"][0]["url"]
        self.missing = f"{self.url}-missing"

    def create_missing(self) -> None:
        self.sqs.create_queue(QueueName=self.missing.rpartition("/")[2])

    def _config(self, queues: list[str], **changes: Any) -> Path:
        path = self._folder / "queues.json"
        changes |= {"queues": [{"url": url} for url in queues], "health": {"port": 0, "host": "127.0.0.1"}}
        path.write_text(json.dumps(self._settings | changes))
        return path

    def run(self, *queues: str, **changes: Any) -> Service:
        command = [*COMMAND, "run", "--config", str(self._config(list(queues), **changes))]
        return Service(
            self._stack.enter_context(started(command, self._folder, cwd=self._folder, env=self._environment))
        )

    def run_to_the_end(self, *queues: str) -> Finished:
        command = [*COMMAND, "run", "--config", str(self._config(list(queues)))]
        return finished(command, cwd=self._folder, env=self._environment)


@pytest.fixture
def queues(sandbox: dict[str, Any], small_service: SmallService, tmp_path: Path) -> Iterator[Queues]:
    with ExitStack() as stack:
        yield Queues(sandbox, small_service, tmp_path, stack)


def test_a_missing_queue_does_not_keep_the_others_from_work_and_is_used_when_it_exists(queues):
    service = queues.run(queues.url, queues.missing)
    found = service.until(lambda found: found["ready"] and "NonExistentQueue" in str(found["warnings"]))
    (warning,) = found["warnings"]
    assert warning.startswith(f"Queue {queues.missing.rpartition('/')[2]} cannot be received from since 20")
    assert warning.endswith("are the queue's URL and its region right?")
    queues.small.announce_change()
    eventually(lambda: queues.small.messages() == 0, "the message of the other queue is done")
    queues.create_missing()
    service.until(lambda found: found["ready"] and not found["warnings"])
    assert service.running.events("queue_usable")
    assert service.running.stop() == 0


def test_if_no_queue_works_at_the_start_the_service_ends_with_the_reason_of_each(queues):
    ended = queues.run_to_the_end(queues.missing, f"{queues.missing}-too")
    assert ended.returncode == 1
    _, found, reasons = ended.stderr.partition("none of the queues works:")
    assert found
    assert reasons.count("are the queue's URL and its region right?") == 2
    assert len(reasons.strip().splitlines()) == 2
    assert "Traceback" not in ended.stderr


def test_a_queue_that_is_deleted_while_the_service_runs_makes_it_not_ready(queues):
    """sqs-consumer #236: health must fail when nothing can be received."""
    queues.create_missing()
    service = queues.run(queues.missing)
    service.until(lambda found: found["ready"])
    queues.sqs.delete_queue(QueueUrl=queues.missing)
    found = service.until(lambda found: not found["ready"])
    assert "cannot be received from since 20" in found["reasons"][0]
    queues.create_missing()
    service.until(lambda found: found["ready"])
    assert service.running.stop() == 0


def test_a_log_bucket_that_cannot_be_read_is_named_and_costs_no_receives(queues):
    service = queues.run(queues.url, logs=[])
    service.until(lambda found: found["ready"])
    name = "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/01/x.json.gz"
    queues.small.send(json.dumps({"s3Bucket": "no-such-log-bucket", "s3ObjectKey": [name]}))
    found = service.until(lambda found: not found["ready"])
    assert found["reasons"][0].startswith("Log bucket no-such-log-bucket cannot be read since 20")
    assert "NoSuchBucket" in found["reasons"][0]
    queues.small.announce_change()
    eventually(lambda: queues.small.messages() == 1, "the message of the other bucket is done")
    assert not service.running.events("message_retried")
    assert service.running.stop() == 0
    assert queues.small.dead_letters() == 0
