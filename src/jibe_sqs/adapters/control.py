"""The other end of the control socket: what a command may ask of the running service."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from jibe_sqs.adapters.control_messages import (
    BucketPlaces,
    FolderState,
    PauseAnswer,
    PauseRequest,
    RefreshRequest,
    ResumeRequest,
    ServiceStatus,
)
from jibe_sqs.core.errors import ControlError
from jibe_sqs.core.model import Folder
from jibe_sqs.syncing.operator_refreshes import Ended, Step
from jibe_sqs.telemetry.status import Status

ADDRESS: Final = "http://jibe-sqs"
"""The host is not looked up: every connection goes to the socket."""
TIMEOUT: Final = 10.0
"""Seconds for an answer, and between two lines of progress. A service that runs answers in milliseconds."""

T = TypeVar("T")


class RunningService:
    """The running service. Each call raises `ControlError` if it does not answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def status(self) -> ServiceStatus:
        """What the service knows of itself."""
        return await self._get("/status", {}, ServiceStatus)

    async def snapshot(self) -> Status:
        """All that the service shows of itself."""
        return await self._get("/snapshot", {}, Status)

    async def log_lines(self) -> list[str]:
        """The last lines of its log, the oldest first."""
        return await self._get("/log", {}, list[str])

    async def places(self, bucket: str) -> BucketPlaces:
        """Where the bucket is shown."""
        return await self._get("/places", {"bucket": bucket}, BucketPlaces)

    async def folder(self, folder: Folder) -> FolderState:
        """Whether the folder is refreshed, and what came of its last refresh."""
        return await self._get("/folder", {"path": folder.path, "tree": "1" if folder.tree else ""}, FolderState)

    async def pause(self, request: PauseRequest) -> PauseAnswer:
        """Let the service pause."""
        return await self._post("/pause", request, PauseAnswer)

    async def resume(self, request: ResumeRequest) -> PauseAnswer:
        """Let the service end pauses."""
        return await self._post("/resume", request, PauseAnswer)

    async def refresh(self, folders: Sequence[Folder]) -> AsyncGenerator[Step, None]:
        """Let the service refresh these folders. Raises `ControlError` also if it stops before all of them have ended."""
        left = set(folders)
        with _errors():
            async with self._http.stream("POST", "/refresh", content=_encoded(RefreshRequest(list(folders)))) as answer:
                if answer.is_error:
                    await answer.aread()
                answer.raise_for_status()
                async for line in answer.aiter_lines():
                    step = msgspec.json.decode(line, type=Step)
                    if isinstance(step, Ended):
                        left.discard(step.folder)
                    yield step
        if left:
            raise ControlError(
                f"the running service stopped before {len(left):,} of the refreshes had ended: ask again"
            )

    async def _get(self, path: str, wanted: Mapping[str, str], kind: type[T]) -> T:
        with _errors():
            answer = await self._http.get(path, params=dict(wanted))
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)

    async def _post(self, path: str, content: msgspec.Struct, kind: type[T]) -> T:
        with _errors():
            answer = await self._http.post(path, content=_encoded(content))
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=kind)


@asynccontextmanager
async def running_service(path: Path | None) -> AsyncIterator[RunningService | None]:
    """The service that listens at the socket. None if no service answers there."""
    if path is None:
        yield None
        return
    # A connection that is kept may be closed by the service just when the next request is sent.
    transport = httpx.AsyncHTTPTransport(uds=os.fspath(path), limits=httpx.Limits(max_keepalive_connections=0))
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, timeout=TIMEOUT, trust_env=False) as http:
        service = RunningService(http)
        try:
            await service.status()
        except ControlError:
            yield None
            return
        yield service


def _encoded(content: Any) -> bytes:
    return msgspec.json.encode(content)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise ControlError(
            f"the running service answered {error.response.status_code}: {error.response.text[:500]}"
        ) from error
    except httpx.HTTPError as error:
        raise ControlError(f"the running service does not answer at its control socket: {error!r}") from error
    except msgspec.DecodeError as error:
        raise ControlError(
            f"the running service is of another release, whose answer cannot be read: {error}"
        ) from error
