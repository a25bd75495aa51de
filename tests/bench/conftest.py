"""The stub, as a process of its own."""

from collections.abc import Iterator

import pytest
from bench.stub.process import StubProcess, running


@pytest.fixture(scope="session")
def stub_process() -> Iterator[StubProcess]:
    with running() as stub:
        yield stub


@pytest.fixture
def stub(stub_process: StubProcess) -> StubProcess:
    stub_process.reset()
    return stub_process
