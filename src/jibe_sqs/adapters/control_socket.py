"""The control socket: a Unix-domain socket at which the running service answers commands of its own user.

It listens from the start of the service. Its server, which is slow to import, answers after the first receives.
"""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jibe_sqs.adapters.control_messages import BucketPlaces, PauseAnswer, PauseRequest, ResumeRequest, ServiceStatus
from jibe_sqs.ports import Clock
from jibe_sqs.syncing.outcomes import Outcomes
from jibe_sqs.syncing.refreshes import Refreshes
from jibe_sqs.telemetry.optional_ledger import OptionalLedger
from jibe_sqs.telemetry.status import Status

MODE: Final = 0o600
BACKLOG: Final = 16
AFTER: Final = 0.5
"""Seconds until it answers. Commands that connect before wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """What the socket may ask of the service. `places`, `status` and `snapshot` return what is known at that moment."""

    refreshes: Refreshes
    outcomes: Outcomes
    ledger: OptionalLedger
    clock: Clock
    places: Callable[[str], BucketPlaces]
    status: Callable[[], ServiceStatus]
    snapshot: Callable[[], Status]
    pause: Callable[[PauseRequest], Awaitable[PauseAnswer]]
    resume: Callable[[ResumeRequest], Awaitable[PauseAnswer]]


@asynccontextmanager
async def control_socket(path: Path, controls: Controls) -> AsyncIterator[None]:
    """Serve during the block. Raises `OSError` if the socket cannot be created; its text says why."""
    with _listening(path) as listener:
        serving = asyncio.create_task(_serve(listener, controls), name="control socket")
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def _serve(listener: socket.socket, controls: Controls) -> None:
    await asyncio.sleep(AFTER)
    from jibe_sqs.adapters.control_server import control_server

    async with control_server(listener, controls):
        await asyncio.Event().wait()


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    """A socket that listens. Its file is removed at the end, unless another service has replaced it by then."""
    with _new_listener(path) as listener:
        inode = path.lstat().st_ino
        try:
            yield listener
        finally:
            with suppress(OSError):
                if path.lstat().st_ino == inode:
                    path.unlink()


def _new_listener(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        # Nobody can connect before `listen`, so there is no moment at which others could use the socket.
        path.chmod(MODE)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that was killed. Raises `OSError` if something else is there, or a service answers."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError("there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its backlog is full, so a process listens
    raise FileExistsError("another service listens there")
