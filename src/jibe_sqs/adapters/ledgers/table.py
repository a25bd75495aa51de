"""One DynamoDB table. Each call succeeds or fails within seconds, because the service can work without it.

Three limits bound the cost of a failing table. Each try has a short timeout. Each call, with all its tries, has
`CALL_TIMEOUT`. After `FAILURE_LIMIT` failures in a row, calls fail at once for `PAUSE` seconds; then one call tries again.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import code_and_message, described, failure, no_answer_errors, remedy
from jibe_sqs.adapters.ledgers.shared_look_ups import SharedLookUps
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import LedgerError

Item = dict[str, dict[str, Any]]
"""An item in DynamoDB's JSON: `{"pk": {"S": "…"}, "began": {"N": "…"}}`."""

MAX_GET: Final = 100
"""Keys in one call; DynamoDB's limit."""
MAX_PUT: Final = 25
"""Items in one call; DynamoDB's limit."""
MAX_CALLS: Final = 64
"""Calls at the same time."""
CONNECT_TIMEOUT, READ_TIMEOUT, TRIES, CALL_TIMEOUT = 2.0, 2.0, 3, 8.0
"""Seconds to connect; seconds to wait for an answer; tries of a call; seconds for all tries of a call."""
FAILURE_LIMIT: Final = 3
"""Failures in a row after which calls fail at once."""
PAUSE: Final = 10.0
"""Seconds for which they do."""
BATCH_TRIES: Final = 6
"""Tries of a batch while DynamoDB returns a part of it as unprocessed."""
BATCH_BACKOFF: Final = Backoff(first=0.05, longest=0.8, jitter=1.0)

_THROUGHPUT: Final = "bill the table on demand, or raise its throughput"
_THROTTLED: Final = dict.fromkeys(
    (
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    ),
    _THROUGHPUT,
)
_REFUSALS: Final = {
    "ResourceNotFoundException": "there is no such table: correct ledger.table and ledger.region, or create the table",
    "ValidationException": "its only key must be the string attribute pk: infra/cloudformation/ledger.yaml makes such a "
    "table",
    "AccessDeniedException": "allow the role dynamodb:GetItem, BatchGetItem, PutItem, UpdateItem, BatchWriteItem on it; "
    "for jibe-sqs principals, Scan",
}
"""Remedies for errors that do not pass by waiting."""


class Refused(LedgerError):
    """The table does not exist, has another key, or refuses access. An operator must correct it."""


class ConditionFailed(Exception):
    """The item does not meet the write's condition: another writer was faster. The table itself works."""


class Table:
    """A table with the key `pk`. Raises `LedgerError`s, and `ConditionFailed` for writes with a condition."""

    def __init__(
        self, name: str, *, region: str | None, account: Account, aws: Aws, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._region = region
        self._account = account
        self._aws = aws
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._look_ups = {
            consistent: SharedLookUps(partial(self._get, consistent=consistent), size=MAX_GET)
            for consistent in (False, True)
        }
        self._failures = 0
        self._again_at = 0.0
        self._reason = ""

    async def ask(self) -> None:
        """Return if the table answers. Raises `Refused` for an error that an operator must correct."""
        await self._call("get_item", TableName=self.name, Key={"pk": {"S": "?"}})

    async def get(self, keys: Collection[str], *, consistent: bool = False) -> dict[str, Item]:
        """The existing items, by their keys. `consistent`: includes the last writes, at twice the price."""
        # DynamoDB refuses a call that names a key twice.
        wanted = dict.fromkeys(keys)
        if not wanted:
            return {}
        if len(wanted) <= MAX_GET:
            return await self._look_ups[consistent].find(wanted)
        left = iter(wanted)
        chunks = []
        while chunk := list(islice(left, MAX_GET)):
            chunks.append(self._get(chunk, consistent=consistent))
        # All calls end before an error is raised.
        answers = await asyncio.gather(*chunks, return_exceptions=True)
        found: dict[str, Item] = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.update(answer)
        return found

    async def put(self, items: Sequence[Item]) -> list[Exception | None]:
        """Write up to `MAX_PUT` items. Returns None or the error for each. If items have the same key, writes the last."""
        left = {_key(item): item for item in items}
        error: LedgerError | None = None
        for tries in range(1, BATCH_TRIES + 1):
            requests = [{"PutRequest": {"Item": item}} for item in left.values()]
            try:
                answer = await self._call("batch_write_item", RequestItems={self.name: requests})
            except LedgerError as failure:
                error = failure
                break
            unwritten = [each for some in answer.get("UnprocessedItems", {}).values() for each in some]
            left = {_key(each["PutRequest"]["Item"]): each["PutRequest"]["Item"] for each in unwritten}
            if not left:
                break
            error = await self._throttled(tries)
        return [error if _key(item) in left else None for item in items]

    async def put_if(self, item: Item, condition: str, values: Mapping[str, Any]) -> None:
        """Write an item if the condition holds. Raises `ConditionFailed`."""
        await self._call(
            "put_item",
            TableName=self.name,
            Item=item,
            ConditionExpression=condition,
            **({"ExpressionAttributeValues": values} if values else {}),
        )

    async def update_if(self, key: str, update: str, condition: str, values: Mapping[str, Any]) -> None:
        """Change an item if the condition holds. Raises `ConditionFailed`."""
        await self._call(
            "update_item",
            TableName=self.name,
            Key={"pk": {"S": key}},
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
        )

    async def scan(self, prefix: str) -> list[Item]:
        """Every item whose key begins with `prefix`. Reads the whole table: for commands, not for the service."""
        found: list[Item] = []
        page: dict[str, Any] = {}
        while True:
            answer = await self._call(
                "scan",
                TableName=self.name,
                FilterExpression="begins_with(pk, :prefix)",
                ExpressionAttributeValues={":prefix": {"S": prefix}},
                ConsistentRead=True,
                **page,
            )
            found += answer.get("Items", ())
            if not (last := answer.get("LastEvaluatedKey")):
                return found
            page = {"ExclusiveStartKey": last}

    async def _get(self, keys: Sequence[str], *, consistent: bool) -> dict[str, Item]:
        wanted: dict[str, Any] = {
            self.name: {"Keys": [{"pk": {"S": key}} for key in keys], "ConsistentRead": consistent}
        }
        found: dict[str, Item] = {}
        for tries in range(1, BATCH_TRIES + 1):
            answer = await self._call("batch_get_item", RequestItems=wanted)
            found.update({_key(item): item for items in answer.get("Responses", {}).values() for item in items})
            wanted = answer.get("UnprocessedKeys") or {}
            if not wanted:
                return found
            error = await self._throttled(tries)
        raise error

    async def _throttled(self, tries: int) -> LedgerError:
        """Wait before the next try, if there is one: a batch may succeed without what exceeds the table's throughput."""
        if tries < BATCH_TRIES:
            await asyncio.sleep(BATCH_BACKOFF.delay(tries))
        return LedgerError(
            f"ThrottlingException: table {self.name}: a part of a batch was not processed in {tries} tries: {_THROUGHPUT}"
        )

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        async with self._slots:
            self._check()
            try:
                with _translated(self.name):
                    async with asyncio.timeout(CALL_TIMEOUT):
                        client = await self._aws.client(
                            "dynamodb",
                            self._region,
                            self._account,
                            connect_timeout=CONNECT_TIMEOUT,
                            read_timeout=READ_TIMEOUT,
                            attempts=TRIES,
                        )
                        answer: dict[str, Any] = await getattr(client, operation)(**arguments)
            except LedgerError as error:
                self._failed(error)
                raise
            except ConditionFailed:
                self._failures = 0
                raise
            self._failures = 0
            return answer

    def _check(self) -> None:
        if self._failures < FAILURE_LIMIT:
            return
        now = self._clock()
        if now < self._again_at:
            raise LedgerError(f"{self._reason} (next try in {self._again_at - now:.0f} s)")
        # This call tries for all. Calls that come before it ends fail at once.
        self._again_at = now + PAUSE

    def _failed(self, error: LedgerError) -> None:
        self._failures += 1
        self._again_at = self._clock() + PAUSE
        self._reason = str(error)


def _key(item: Item) -> str:
    key: str = item["pk"]["S"]
    return key


@contextmanager
def _translated(table: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code, message = code_and_message(error)
        if code == "ConditionalCheckFailedException":
            raise ConditionFailed(message) from error
        kind = Refused if remedy(error, _REFUSALS) else LedgerError
        raise kind(described(f"table {table}", error, _REFUSALS | _THROTTLED)) from error
    except TimeoutError as error:
        raise LedgerError(f"table {table}: {str(error) or f'no answer in {CALL_TIMEOUT:.0f} s'}") from error
    except no_answer_errors() as error:
        raise LedgerError(failure(f"table {table}", error)) from error
