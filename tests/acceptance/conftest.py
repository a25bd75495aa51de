"""The commands as processes, one sandbox for all tests that only need a world, and an environment without settings."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.processes import PATIENCE, Finished, Started, finished, started

COMMAND = [sys.executable, "-m", "jibe_sqs"]


@pytest.fixture
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working directory, and no JIBE_ variables."""
    for name in os.environ:
        if name.upper().startswith("JIBE_"):
            monkeypatch.delenv(name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def jibe(tmp_path: Path) -> Callable[..., Finished]:
    """Runs a command to its end, in an empty folder."""
    folder = tmp_path / "working-directory"
    folder.mkdir()

    def run(*arguments: str, stdin: str = "", within: float = PATIENCE, **variables: str) -> Finished:
        return finished([*COMMAND, *arguments], stdin=stdin, within=within, cwd=folder, env={**os.environ, **variables})

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts commands that run until they are stopped, or until the test ends."""
    with ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Started:
            environment = {**os.environ, **variables}
            return stack.enter_context(started([*COMMAND, *arguments], tmp_path, cwd=tmp_path, env=environment))

        yield start


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The output of `jibe-sqs sandbox --json`. The sandbox has no consumer; tests may consume its queues."""
    with started([*COMMAND, "sandbox", "--json"], tmp_path_factory.mktemp("sandbox")) as running:
        yield json.loads(running.line())
        assert running.stop() == 0
