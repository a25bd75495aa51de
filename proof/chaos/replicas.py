"""Replicas of the service: each a process, with its own link to each system, and its own ledger, disk and clock."""

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
from proof.chaos.proxy import Hop, Link, listening
from proof.chaos.schedule import System

DRAIN_TIMEOUT: Final = 10.0
"""Seconds that a replica may take to finish what it holds."""
POLL_WAIT: Final = 2
KILL_MARGIN: Final = 20.0
"""Seconds between that and its killing, as in the templates for ECS and Kubernetes."""
TABLE: Final = "jibe-ledger"
_SERVICES: Final = {"s3": System.S3, "sqs": System.SQS, "dynamodb": System.DYNAMODB}
"""As host names call them."""
_CLOCK: Final = Path(__file__).with_name("clock")
"""Its `sitecustomize` steps the clock."""


class Ended(msgspec.Struct, frozen=True):
    """`seconds`: after the signal. `code` None: it did not end in time, and was killed."""

    code: int | None
    seconds: float


class Replica:
    """One of them; started again, it has the same ledger."""

    def __init__(self, folder: Path, disk: Disk, links: Mapping[System, Link], environment: Mapping[str, str]) -> None:
        self.disk = disk
        self.links = links
        self.logs: list[Path] = []
        self.is_hung = False
        self.is_stopping = False
        """Somebody is ending it, and will start it again."""
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
        """Whether it runs, and has said so since it was started."""
        self._is_up = self._is_up or self.has_logged("progress")
        return self._is_up and self.is_running

    @property
    def has_crashed(self) -> bool:
        """Of one that ended by itself: whether it had started, or met a defect. Else it told an operator what is wrong."""
        return self._is_up or self.has_logged("progress") or b"\nTraceback" in b"\n" + self.logs[-1].read_bytes()

    def has_logged(self, event: str) -> bool:
        """Whether such a line is in its log."""
        return bool(self.logs) and _event_text(event) in self.logs[-1].read_bytes()

    def sum_logged(self, event: str, field: str) -> int:
        """Of a field of all such lines in its last log."""
        lines = self.logs[-1].read_bytes().splitlines() if self.logs else []
        return sum(json.loads(line)[field] for line in lines if _event_text(event) in line)

    @property
    def log_tail(self) -> str:
        """The end of its log, but for what it counted."""
        lines = [line for line in self.logs[-1].read_bytes().splitlines() if _event_text("progress") not in line]
        return b"\n".join(lines[-20:]).decode(errors="replace")

    async def kill(self) -> None:
        """With SIGKILL, hung or not."""
        if self._process is not None:
            self._process.kill()
            await self._ended(within=10)

    def hang(self) -> None:
        """With SIGSTOP."""
        if self._process is not None:
            self.is_hung = True
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """With SIGCONT."""
        if self.is_hung and self._process is not None:
            self.is_hung = False
            self._process.send_signal(signal.SIGCONT)

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None else 0

    async def terminate(self) -> Ended:
        """As an orchestrator does: SIGTERM, and SIGKILL when it takes too long."""
        began = time.monotonic()
        if self._process is not None:
            self._process.terminate()
        code = await self._ended(within=DRAIN_TIMEOUT + KILL_MARGIN)
        seconds = time.monotonic() - began
        if code is None:
            await self.kill()
        return Ended(code, seconds)

    def step_clock(self, ahead: float) -> None:
        """Seconds ahead of true time."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as clock:
            clock.write(struct.pack("<d", ahead))

    async def _ended(self, *, within: float) -> int | None:
        """Its exit code; None if it still runs."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                return await asyncio.to_thread(self._process.wait, within)
        return None


@asynccontextmanager
async def replica(world: World, folder: Path, ledger: str, **settings: Any) -> AsyncIterator[Replica]:
    """One, not started yet; killed at the end, if it still runs. `settings` replace those of the world's configuration."""
    async with AsyncExitStack() as stack:
        links = {system: Link(_url(world, system)) for system in systems(ledger)}
        hop = Hop({name: links[system] for name, system in _SERVICES.items() if system in links})
        proxy = await stack.enter_async_context(listening(hop.accept))
        access_anywhere = await stack.enter_async_context(listening(links[System.ACCESS_ANYWHERE].accept))
        disk = Disk(folder, can_be_full=False)
        if ledger == "sqlite":
            disk = stack.enter_context(small_disk(folder / "disk"))
        through_hop = {"HTTPS_PROXY": proxy, "https_proxy": proxy}
        found = Replica(folder, disk, links, {**world.consumer_environment, **through_hop})
        config = json.loads(world.config.read_text(encoding="utf-8"))
        config["access_anywhere"] |= {"endpoint": access_anywhere, "timeout": 10}
        config["ledger"] = {"path": str(disk.folder / "ledger.sqlite")}
        if ledger == "dynamodb":
            config["ledger"] = {"kind": "dynamodb", "table": TABLE}
        config |= {
            "retry": {"first": 1, "longest": 8},
            # moto looks a hundred times a second for messages, for each client that waits.
            "poll": {"wait": POLL_WAIT, "receivers": 1},
            "drain_timeout": DRAIN_TIMEOUT,
        }
        found.config.touch(mode=0o600)
        found.config.write_text(json.dumps(config | settings), encoding="utf-8")
        try:
            yield found
        finally:
            await found.kill()


def make_table(world: World) -> None:
    """Of the ledger that all replicas share."""
    world.deployment.client("dynamodb").create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def systems(ledger: str) -> list[System]:
    """Those that a replica with such a ledger talks to."""
    return [system for system in System if system is not System.DYNAMODB or ledger == "dynamodb"]


def _url(world: World, system: System) -> str:
    """Where the link to that system leads."""
    return world.access_anywhere if system is System.ACCESS_ANYWHERE else world.deployment.endpoint


def _event_text(event: str) -> bytes:
    return f'"event": "{event}"'.encode()
