"""Liveness and readiness of the service, for the probes of an orchestrator and for people."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

Sentences = Callable[[], Iterable[str]]
"""What does not work now, one sentence for an operator for each thing. Empty sentences do not count."""


class HealthReport(msgspec.Struct, frozen=True):
    """Why the service must be restarted, why it does not run, why it does not do its work now, and what else does not work.

    One sentence each.
    """

    liveness_failures: list[str] = []
    startup_failures: list[str] = []
    readiness_failures: list[str] = []
    warnings: list[str] = []


class Health:
    """The service is ready between `started` and `stopping`, while nothing that it requires has failed.

    A task that ends before `stopping` makes the service neither alive nor ready, until it is restarted.
    """

    def __init__(self) -> None:
        self._required: list[Sentences] = []
        self._noted: list[Sentences] = []
        self._is_started = False
        self._is_stopping = False
        self._ended: list[str] = []

    def require(self, failures: Sentences) -> None:
        """The service is not ready while this has a sentence."""
        self._required.append(failures)

    def note(self, warnings: Sentences) -> None:
        """Show these sentences. The service is ready nevertheless."""
        self._noted.append(warnings)

    def started(self, tasks: "Iterable[asyncio.Task[Any]]") -> None:
        """The service runs. `tasks`: those that must run until `stopping`."""
        self._is_started = True
        for task in tasks:
            task.add_done_callback(self._task_ended)

    def stopping(self) -> None:
        """The service stops. From now on tasks may end."""
        self._is_stopping = True

    @property
    def liveness_failures(self) -> list[str]:
        """Why the service must be restarted; empty if it is alive."""
        return list(self._ended)

    @property
    def startup_failures(self) -> list[str]:
        """Why the service does not run; empty between start and stop, also while something that it requires has failed."""
        if self._is_stopping:
            return ["stopping", *self._ended]
        return list(self._ended) if self._is_started else ["starting"]

    @property
    def readiness_failures(self) -> list[str]:
        """Why the service does not do its work now; empty if it is ready."""
        failures = self.startup_failures
        return failures if self._is_stopping or not self._is_started else [*failures, *_sentences(self._required)]

    @property
    def warnings(self) -> list[str]:
        """What does not work, although the service is ready."""
        return _sentences(self._noted)

    @property
    def report(self) -> HealthReport:
        """All of it at once."""
        return HealthReport(self.liveness_failures, self.startup_failures, self.readiness_failures, self.warnings)

    def _task_ended(self, task: "asyncio.Task[Any]") -> None:
        # Only the class is shown: the text of an error may contain a secret.
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._ended.append(f"{task.get_name()} has ended: {type(error).__name__}")
        elif not self._is_stopping:
            self._ended.append(f"{task.get_name()} has ended")


def _sentences(parts: Iterable[Sentences]) -> list[str]:
    return [sentence for part in parts for sentence in part() if sentence]
