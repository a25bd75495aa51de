"""A ledger's table, over the sandbox's AWS: moto as a real process on loopback."""

import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import pytest

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.ledgers.dynamodb import DynamoDbLedger
from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY, SECRET_KEY, client

REGION = "eu-west-1"
NUMBER = count(1)


@pytest.fixture(scope="session")
def dynamodb_endpoint() -> Iterator[str]:
    server = [sys.executable, "-m", "jibe_sqs.sandbox.aws", "--exit-with-parent"]
    with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["endpoint"]
        process.terminate()


@pytest.fixture
def new_table(dynamodb_endpoint: str) -> Callable[..., str]:
    """Makes a table, empty; returns its name."""

    def new_table(key: str = "pk") -> str:
        name = f"ledger-{next(NUMBER)}"
        client(dynamodb_endpoint, "dynamodb", REGION).create_table(
            TableName=name,
            KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        return name

    return new_table


@pytest.fixture
def table_ledger(dynamodb_endpoint: str) -> Callable[..., AbstractAsyncContextManager[DynamoDbLedger]]:
    """A replica's ledger in a table, with connections of its own."""

    @asynccontextmanager
    async def table_ledger(
        table: str,
        wall_clock: Callable[[], float] = time.time,
        *,
        retain: float = 500.0,
        endpoint: str = dynamodb_endpoint,
        clock: Callable[[], float] = time.monotonic,
    ) -> AsyncIterator[DynamoDbLedger]:
        account = Account(endpoint=endpoint, access_key_id=ACCESS_KEY, secret_access_key=SECRET_KEY)
        async with (
            Aws() as aws,
            DynamoDbLedger(
                table, region=REGION, account=account, aws=aws, retain=retain, wall_clock=wall_clock, clock=clock
            ) as ledger,
        ):
            yield ledger

    return table_ledger
