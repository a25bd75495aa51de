"""Starts the stub in a process of its own, and speaks to its control path."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

ACCOUNT: Final = "111122223333"


class StubProcess:
    """The control path of a running stub."""

    def __init__(self, port: int, process_id: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process_id = process_id
        self._port = port

    def queue_url(self, queue: str) -> str:
        return f"{self.endpoint}/{ACCOUNT}/{queue}"

    def reset(self) -> None:
        self._ask("reset")

    def events(self, kind: str, files: int) -> int:
        """Make the bodies of the first files of this kind. Returns their number of object events."""
        events: int = self._ask("events", {"kind": kind, "files": files})["events"]
        return events

    def load(self, queue: str, kind: str, files: int, *, first: int = 0) -> None:
        """Announce files in a queue."""
        self._ask("load", {"queue": queue, "kind": kind, "files": files, "first": first})

    def set(self, **settings: Any) -> None:
        """See `bench.stub.server`."""
        self._ask("settings", settings)

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._ask("counts")
        return counts

    def state(self) -> dict[str, Any]:
        return self._ask("state")

    def wait(self, *, timeout: float, **wanted: Any) -> dict[str, Any]:
        """Wait until so many messages are `deleted`, `in_flight`, or so many `polls` wait. Raises `TimeoutError`."""
        return self._ask("wait", wanted, timeout)

    def _ask(self, path: str, body: dict[str, Any] | None = None, timeout: float = 600) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout)
        try:
            connection.request("POST", f"/-/{path}", json.dumps(body or {}).encode())
            found: dict[str, Any] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()


@contextmanager
def running() -> Iterator[StubProcess]:
    """Run a stub until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.stub"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        try:
            yield StubProcess(int(process.stdout.readline()), process.pid)
        finally:
            process.communicate()
