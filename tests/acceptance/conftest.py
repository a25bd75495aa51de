"""The commands as processes, and one sandbox for all who only need a world."""

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
def jibe(tmp_path: Path) -> Callable[..., Finished]:
    """Runs a command to its end, in an empty folder."""
    folder = tmp_path / "working-directory"
    folder.mkdir()

    def run(*arguments: str, stdin: str = "", within: float = PATIENCE, **variables: str) -> Finished:
        return finished([*COMMAND, *arguments], stdin=stdin, within=within, cwd=folder, env={**os.environ, **variables})

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts commands that run until they are stopped; at the latest when the test ends."""
    with ExitStack() as stack:

        def start(*arguments: str, **variables: str) -> Started:
            environment = {**os.environ, **variables}
            return stack.enter_context(started([*COMMAND, *arguments], tmp_path, cwd=tmp_path, env=environment))

        yield start


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `jibe-sqs sandbox --json` says of itself; nobody consumes there but the test."""
    with started([*COMMAND, "sandbox", "--json"], tmp_path_factory.mktemp("sandbox")) as running:
        yield json.loads(running.line())
        assert running.stop() == 0
