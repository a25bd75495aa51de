"""Replicas of the service: processes, each with its own links to the systems, ledger, disk and clock."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from jibe_sqs.sandbox.processes import start_consumer
from jibe_sqs.sandbox.world import World
from proof.chaos.disk import Disk, small_disk
from proof.chaos.proxy import HttpsProxy, Link, listening
from proof.chaos.schedule import System

DRAIN_TIMEOUT: Final = 10.0
"""Seconds that a replica may take to finish the messages that it holds."""
POLL_WAIT: Final = 2
KILL_MARGIN: Final = 20.0
"""Seconds between the drain timeout and SIGKILL, as in the templates for ECS and Kubernetes."""
TABLE: Final = "jibe-ledger"
_SERVICES: Final = {"s3": System.S3, "sqs": System.SQS, "dynamodb": System.DYNAMODB}
"""The names of the services in host names."""
_CLOCK: Final = Path(__file__).with_name("clock")
"""The folder whose `sitecustomize` steps the clock."""


class Exit(msgspec.Struct, frozen=True):
    """`seconds`: from the signal to the exit. `code` None: the replica did not exit in time and was killed."""

    code: int | None
    seconds: float


class Replica:
    """A replica of the service. When it is started again, it uses the same ledger."""

    def __init__(self, folder: Path, disk: Disk, links: Mapping[System, Link], environment: Mapping[str, str]) -> None:
        self.disk = disk
        self.links = links
        self.logs: list[Path] = []
        self.is_hung = False
        self.is_stopping = False
        """A disturbance has ended this replica and will start it again."""
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._is_up = False
        folder.mkdir(exist_ok=True)
        self._clock = folder / "clock"
        self.step_clock(0.0)

    @property
    def config(self) -> Path:
        return self._folder / "config.json"

    def start(self) -> None:
        log = self._folder / f"{len(self.logs) + 1:04}.log"
        self.logs.append(log)
        self._is_up = self.is_hung = False
        path = os.pathsep.join(filter(None, (str(_CLOCK), os.environ.get("PYTHONPATH"))))
        with log.open("wb") as output:
            more = {"PYTHONPATH": path, "CHAOS_CLOCK": str(self._clock)}
            self._process = start_consumer(self.config, {**self._environment, **more}, output)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def is_up(self) -> bool:
        """Whether the replica runs and has logged its first progress."""
        self._is_up = self._is_up or self.has_logged("progress")
        return self._is_up and self.is_running

    @property
    def has_crashed(self) -> bool:
        """For a replica that ended by itself: whether it was ready before, or logged an exception.

        Otherwise it refused to start.
        """
        return self._is_up or self.has_logged("progress") or b"\nTraceback" in b"\n" + self.logs[-1].read_bytes()

    def has_logged(self, event: str) -> bool:
        """Whether the last log contains this event."""
        return bool(self.logs) and _event_text(event) in self.logs[-1].read_bytes()

    def sum_logged(self, event: str, field: str) -> int:
        """The sum of a field over all events with this name in the last log."""
        lines = self.logs[-1].read_bytes().splitlines() if self.logs else []
        return sum(json.loads(line)[field] for line in lines if _event_text(event) in line)

    @property
    def log_tail(self) -> str:
        """The end of the last log, without progress events."""
        lines = [line for line in self.logs[-1].read_bytes().splitlines() if _event_text("progress") not in line]
        return b"\n".join(lines[-20:]).decode(errors="replace")

    async def kill(self) -> None:
        """Kill the process with SIGKILL, even if it hangs."""
        if self._process is not None:
            self._process.kill()
            await self._exit_code(within=10)

    def hang(self) -> None:
        """Suspend the process with SIGSTOP."""
        if self._process is not None:
            self.is_hung = True
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process with SIGCONT."""
        if self.is_hung and self._process is not None:
            self.is_hung = False
            self._process.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def terminate(self) -> Exit:
        """Stop the process as an orchestrator does: with SIGTERM, and with SIGKILL after the time limit."""
        began = time.monotonic()
        if self._process is not None:
            self._process.terminate()
        code = await self._exit_code(within=DRAIN_TIMEOUT + KILL_MARGIN)
        seconds = time.monotonic() - began
        if code is None:
            await self.kill()
        return Exit(code, seconds)

    def step_clock(self, ahead: float) -> None:
        """Set the clock. `ahead`: seconds ahead of true time."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as clock:
            clock.write(struct.pack("<d", ahead))

    async def _exit_code(self, *, within: float) -> int | None:
        """The exit code. None if the process still runs after `within` seconds."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                return await asyncio.to_thread(self._process.wait, within)
        return None


@asynccontextmanager
async def replica(world: World, folder: Path, ledger: str, **settings: Any) -> AsyncIterator[Replica]:
    """A replica that is not started yet. It is killed when the block ends.

    `settings` replace settings in its configuration.
    """
    async with AsyncExitStack() as stack:
        links = {system: Link(_url(world, system)) for system in systems(ledger)}
        https_proxy = HttpsProxy({name: links[system] for name, system in _SERVICES.items() if system in links})
        proxy = await stack.enter_async_context(listening(https_proxy.accept))
        access_anywhere = await stack.enter_async_context(listening(links[System.ACCESS_ANYWHERE].accept))
        disk = Disk(folder, can_be_full=False)
        if ledger == "sqlite":
            disk = stack.enter_context(small_disk(folder / "disk"))
        through_proxy = {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        found = Replica(folder, disk, links, {**world.consumer_environment, **through_proxy})
        config = json.loads(world.config.read_text(encoding="utf-8"))
        config["access_anywhere"] |= {"endpoint": access_anywhere, "timeout": 10}
        config["ledger"] = {"path": str(disk.folder / "ledger.sqlite")}
        if ledger == "dynamodb":
            config["ledger"] = {"kind": "dynamodb", "table": TABLE}
        config |= {
            "retry": {"first": 1, "longest": 8},
            # moto checks for messages a hundred times a second for each waiting client.
            "poll": {"wait": POLL_WAIT, "receivers": 1},
            "drain_timeout": DRAIN_TIMEOUT,
            # The first report shows that the replica is up, and a killed replica's counts come from its last one.
            "progress_interval": 0.2,
        }
        found.config.touch(mode=0o600)
        found.config.write_text(json.dumps(config | settings), encoding="utf-8")
        try:
            yield found
        finally:
            await found.kill()


def make_table(world: World) -> None:
    """Create the table of the ledger that all replicas share."""
    world.deployment.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def systems(ledger: str) -> list[System]:
    """The systems to which a replica with this kind of ledger connects."""
    return [system for system in System if system is not System.DYNAMODB or ledger == "dynamodb"]


def _url(world: World, system: System) -> str:
    """The target of the link to this system."""
    return world.access_anywhere if system is System.ACCESS_ANYWHERE else world.deployment.endpoint


def _event_text(event: str) -> bytes:
    return f'"event": "{event}"'.encode()
