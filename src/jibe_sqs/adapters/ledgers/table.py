"""One DynamoDB table that answers or fails within seconds: nobody who can do without it waits for it.

Three times limit what a sick table costs. Each try is given up early, each call after `CALL_TIMEOUT`, tries and all. And
after a few failures in a row the table is left alone for a while: then one call asks, and the others fail at once.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from botocore.exceptions import ClientError

from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.adapters.aws_errors import NO_ANSWER_ERRORS, code_and_message, described, failure, remedy
from jibe_sqs.concurrency.backoff import Backoff
from jibe_sqs.core.errors import LedgerError

Item = dict[str, dict[str, Any]]
"""As the table writes it: `{"pk": {"S": "…"}, "began": {"N": "…"}}`."""

MAX_GET: Final = 100
"""Keys in one call; DynamoDB's limit."""
MAX_PUT: Final = 25
"""Items in one call; DynamoDB's limit."""
MAX_CALLS: Final = 64
"""Calls."""
CONNECT_TIMEOUT, READ_TIMEOUT, TRIES, CALL_TIMEOUT = 2.0, 2.0, 3, 8.0
"""Seconds to connect; for an answer; tries of a call; and seconds for all of them."""
FAILURE_LIMIT: Final = 3
"""In a row, and the table is left alone."""
PAUSE: Final = 10.0
"""Seconds for which it is."""
BATCH_TRIES: Final = 6
"""Tries of a batch of which DynamoDB leaves out a part."""
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
    "ResourceNotFoundException": "there is no such table: see to ledger.table and ledger.region, or create it",
    "ValidationException": "has it a key of one attribute, pk, a string? infra/cloudformation/ledger.yaml makes such one",
    "AccessDeniedException": "allow the role dynamodb:GetItem, BatchGetItem, PutItem, UpdateItem, BatchWriteItem on it; "
    "for jibe-sqs principals, Scan",
}
"""Remedies for what waiting does not mend."""


class Refused(LedgerError):
    """The table is not there, or not ours: the operator mends it."""


class ConditionFailed(Exception):
    """The item is not as the condition says; somebody else came first. The table is well."""


class Table:
    """A table whose key is `pk`. Raises `LedgerError`s, and `ConditionFailed` where a condition was given."""

    def __init__(
        self, name: str, *, region: str | None, account: Account, aws: Aws, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self._region = region
        self._account = account
        self._aws = aws
        self._clock = clock
        self._slots = asyncio.Semaphore(MAX_CALLS)
        self._failures = 0
        self._again_at = 0.0
        self._reason = ""

    async def ask(self) -> None:
        """Return if it answers. Raises `Refused` where it never will."""
        await self._call("get_item", TableName=self.name, Key={"pk": {"S": "?"}})

    async def get(self, keys: Collection[str], *, consistent: bool = False) -> dict[str, Item]:
        """The items that are there, by their keys. `consistent`: as of the last write, at twice the price."""
        # One call takes no key twice.
        left = iter(dict.fromkeys(keys))
        chunks = []
        while chunk := list(islice(left, MAX_GET)):
            chunks.append(self._get(chunk, consistent=consistent))
        # All come to their end before anybody hears of an error.
        answers = await asyncio.gather(*chunks, return_exceptions=True)
        found: dict[str, Item] = {}
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            found.update(answer)
        return found

    async def put(self, items: Sequence[Item]) -> list[Exception | None]:
        """Write up to `MAX_PUT` items; what became of each. Of those with one key the last is written."""
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
        """Write one, if."""
        await self._call(
            "put_item",
            TableName=self.name,
            Item=item,
            ConditionExpression=condition,
            **({"ExpressionAttributeValues": values} if values else {}),
        )

    async def update_if(self, key: str, update: str, condition: str, values: Mapping[str, Any]) -> None:
        """Change one, if."""
        await self._call(
            "update_item",
            TableName=self.name,
            Key={"pk": {"S": key}},
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
        )

    async def scan(self, prefix: str) -> list[Item]:
        """Every item whose key begins so. Reads the whole table: for commands, not for the service."""
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
            f"ThrottlingException: table {self.name}: a part of a batch was left out, again and again: {_THROUGHPUT}"
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
            raise LedgerError(f"{self._reason} (not asked for {self._again_at - now:.0f} s more)")
        # This call asks for all; those that come meanwhile go without.
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
    except NO_ANSWER_ERRORS as error:
        raise LedgerError(failure(f"table {table}", error)) from error
