"""Liveness and readiness of the service, for the probes of an orchestrator."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from jibe_sqs.ports import Gate


class Health:
    """The service is ready between `started` and `stopping`, while every gate is open.

    A worker that ends before `stopping` makes the service neither alive nor ready, until it is restarted.
    """

    def __init__(self) -> None:
        self._gates: Sequence[Gate] = ()
        self._is_started = False
        self._is_stopping = False
        self._ended: list[str] = []

    def started(self, workers: "Iterable[asyncio.Task[Any]]", gates: Sequence[Gate] = ()) -> None:
        """The service runs. `workers`: the tasks that must run until `stopping`. A gate with a reason makes it not ready."""
        self._is_started = True
        self._gates = gates
        for worker in workers:
            worker.add_done_callback(self._worker_ended)

    def stopping(self) -> None:
        """The service stops. From now on workers may end."""
        self._is_stopping = True

    @property
    def liveness_failures(self) -> list[str]:
        """Why the service must be restarted; empty if it is alive."""
        return list(self._ended)

    @property
    def readiness_failures(self) -> list[str]:
        """Why the service takes no work now; empty if it is ready."""
        if self._is_stopping:
            return ["stopping", *self._ended]
        if not self._is_started:
            return ["starting"]
        return [*self._ended, *(gate.reason for gate in self._gates if gate.reason)]

    def _worker_ended(self, worker: "asyncio.Task[Any]") -> None:
        # Only the class is shown: the text of an error may contain a secret.
        error = None if worker.cancelled() else worker.exception()
        if error is not None:
            self._ended.append(f"{worker.get_name()} has ended: {type(error).__name__}")
        elif not self._is_stopping:
            self._ended.append(f"{worker.get_name()} has ended")
