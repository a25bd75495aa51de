"""The sandbox's AWS, and a ledger's table in it."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import structlog

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.ledgers.dynamodb import DynamoDbLedger
from jibe_sqs.ports import Validity
from jibe_sqs.sandbox.aws.certificates import CA_FILE
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client
from jibe_sqs.sandbox.environment import of_client
from jibe_sqs.sandbox.processes import server

REGION = "eu-west-1"
NUMBER = count(1)


@pytest.fixture(scope="session")
def _aws_server() -> Iterator[str]:
    """One server for all tests: it takes two seconds to start."""
    with server("jibe_sqs.sandbox.aws") as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def emptied_aws(_aws_server: str) -> Callable[[], str]:
    """Empties the sandbox's AWS (moto in another process on loopback), and returns its endpoint."""

    def emptied_aws() -> str:
        httpx.post(f"{_aws_server}/moto-api/reset", timeout=60).raise_for_status()
        return _aws_server

    return emptied_aws


@pytest.fixture(scope="session")
def tunnelled_aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """Another AWS of the sandbox, which also has AWS's real host names. It is never emptied."""
    folder = tmp_path_factory.mktemp("certificates")
    with server("jibe_sqs.sandbox.aws", "--certificates", str(folder)) as endpoint:
        ca_file = folder / CA_FILE
        environment = of_client(proxy=endpoint, ca_file=str(ca_file), region="us-east-1")
        port = urlsplit(endpoint).port
        yield SimpleNamespace(endpoint=endpoint, folder=folder, ca_file=ca_file, environment=environment, port=port)


@pytest.fixture(scope="module")
def endpoint(emptied_aws: Callable[[], str]) -> str:
    """The sandbox's AWS, empty at the beginning of a module."""
    return emptied_aws()


@pytest.fixture
def new_aws(emptied_aws: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The sandbox's AWS, empty for each test, with its keys in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    return emptied_aws()


@pytest.fixture
def new_table(endpoint: str) -> Callable[..., str]:
    """Creates an empty table, and returns its name."""

    def new_table(key: str = "pk", sort_key: str | None = None) -> str:
        keys = {"HASH": key} | ({"RANGE": sort_key} if sort_key else {})
        name = f"ledger-{next(NUMBER)}"
        client(endpoint, "dynamodb", REGION).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": each, "KeyType": kind} for kind, each in keys.items()],
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in keys.values()],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    return new_table


@pytest.fixture
def table_ledger(endpoint: str) -> Callable[..., AbstractAsyncContextManager[DynamoDbLedger]]:
    """A replica's ledger in a table, with its own connections."""

    @asynccontextmanager
    async def table_ledger(
        table: str,
        wall_clock: Callable[[], float] = time.time,
        *,
        retain: float = 500.0,
        validity: Validity | None = None,
        endpoint: str = endpoint,
        clock: Callable[[], float] = time.monotonic,
    ) -> AsyncIterator[DynamoDbLedger]:
        account = Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
        async with (
            Aws() as aws,
            DynamoDbLedger(
                table,
                region=REGION,
                account=account,
                aws=aws,
                retain=retain,
                validity=validity,
                wall_clock=wall_clock,
                clock=clock,
            ) as ledger,
        ):
            yield ledger

    return table_ledger


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The log entries of the test."""
    with structlog.testing.capture_logs() as events:
        yield events
