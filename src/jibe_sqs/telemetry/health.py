"""Whether the service lives, and whether it can work: what an orchestrator asks."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from jibe_sqs.ports import Gate


class Health:
    """Not ready before it has `started`, nor once it is `stopping`; and never well again if one of its workers ends."""

    def __init__(self) -> None:
        self._gates: Sequence[Gate] = ()
        self._is_started = False
        self._is_stopping = False
        self._ended: list[str] = []

    def started(self, workers: "Iterable[asyncio.Task[Any]]", gates: Sequence[Gate] = ()) -> None:
        """The service runs: these tasks do its work until it stops, and take none while a gate has a reason not to."""
        self._is_started = True
        self._gates = gates
        for worker in workers:
            worker.add_done_callback(self._worker_ended)

    def stopping(self) -> None:
        """Workers may end now."""
        self._is_stopping = True

    @property
    def liveness_failures(self) -> list[str]:
        """Why it should be started anew; empty if it lives."""
        return list(self._ended)

    @property
    def readiness_failures(self) -> list[str]:
        """Why it takes no work now; empty if it is ready."""
        if self._is_stopping:
            return ["stopping", *self._ended]
        if not self._is_started:
            return ["starting"]
        return [*self._ended, *(gate.reason for gate in self._gates if gate.reason)]

    def _worker_ended(self, worker: "asyncio.Task[Any]") -> None:
        # The text of a defect may hold anything: the log has it.
        error = None if worker.cancelled() else worker.exception()
        if error is not None:
            self._ended.append(f"{worker.get_name()} has ended: {type(error).__name__}")
        elif not self._is_stopping:
            self._ended.append(f"{worker.get_name()} has ended")
