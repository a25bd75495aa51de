"""A sandbox for the test with a running service."""

import contextlib
import io

import pytest

from jibe_sqs.sandbox import world


@pytest.fixture(scope="module")
def sandbox():
    with contextlib.redirect_stdout(io.StringIO()), world.running() as running:
        yield running
