"""DynamoDB: the calls of a ledger, with conditions, and the request units that AWS would charge for them.

A read costs a unit for each 4 KB of an item, at least one, and half of it if it is not consistent. A write costs a unit for each
1 KB, also if its condition fails.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bench.stub.http import Request, response

READ_UNIT: Final = 4096
WRITE_UNIT: Final = 1024
"""Bytes."""
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
}

Item = dict[str, dict[str, Any]]


class DynamoDb:
    """One table, whatever its name. It makes no mistakes, and never throttles."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._items: dict[str, Item] = {}

    def answer(self, request: Request, operation: str) -> bytes:
        """Answer a request. `operation`: the part of `X-Amz-Target` after the dot."""
        self._counts[f"dynamodb {operation}"] += 1
        asked = msgspec.json.decode(request.body)
        match operation:
            case "GetItem":
                found = self._read(asked["Key"]["pk"]["S"], consistent=asked.get("ConsistentRead", False))
                return _json({"Item": found} if found else {})
            case "BatchGetItem":
                return _json({"Responses": self._batch(asked["RequestItems"]), "UnprocessedKeys": {}})
            case "BatchWriteItem":
                for requests in asked["RequestItems"].values():
                    for each in requests:
                        self._write(each["PutRequest"]["Item"])
                return _json({"UnprocessedItems": {}})
            case "PutItem":
                return self._write_if(asked["Item"], asked)
            case "UpdateItem":
                key = asked["Key"]["pk"]["S"]
                return self._write_if(self._items.get(key, asked["Key"]) | _updated(asked), asked)
        return response(b'{"__type":"com.amazonaws.dynamodb.v20120810#ValidationException"}', status=400)

    def _batch(self, asked: Mapping[str, Any]) -> dict[str, list[Item]]:
        found: dict[str, list[Item]] = {}
        for table, wanted in asked.items():
            is_consistent = wanted.get("ConsistentRead", False)
            items = [self._read(each["pk"]["S"], consistent=is_consistent) for each in wanted["Keys"]]
            found[table] = [item for item in items if item]
        return found

    def _read(self, key: str, *, consistent: bool) -> Item | None:
        found = self._items.get(key)
        units = max(1, math.ceil(_size(found) / READ_UNIT)) if found else 1
        # In halves, so that counts stay whole.
        self._counts["dynamodb half read units"] += units * (2 if consistent else 1)
        return found

    def _write_if(self, item: Item, asked: Mapping[str, Any]) -> bytes:
        values = asked.get("ExpressionAttributeValues", {})
        if holds(asked["ConditionExpression"], self._items.get(item["pk"]["S"]), values):
            self._write(item)
            return _json({})
        self._counts["dynamodb failed conditions"] += 1
        self._count_write(item)
        return response(
            b'{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","message":"failed"}',
            status=400,
        )

    def _write(self, item: Item) -> None:
        self._items[item["pk"]["S"]] = item
        self._count_write(item)

    def _count_write(self, item: Item) -> None:
        self._counts["dynamodb write units"] += math.ceil(_size(item) / WRITE_UNIT)
        self._counts[f"dynamodb written {item['pk']['S'][0]}"] += 1


def holds(condition: str, item: Item | None, values: Mapping[str, Any]) -> bool:
    """Whether an item meets a condition: comparisons and `attribute_not_exists`, joined by OR, and by AND before it."""
    known = item or {}
    return any(
        all(_term(term.strip(), known, values) for term in part.split(" AND ")) for part in condition.split(" OR ")
    )


def _term(term: str, item: Item, values: Mapping[str, Any]) -> bool:
    if term.startswith("attribute_not_exists("):
        return term[len("attribute_not_exists(") : -1] not in item
    name, comparison, value = term.split()
    return name in item and _COMPARISONS[comparison](_plain(item[name]), _plain(values[value]))


def _updated(asked: Mapping[str, Any]) -> Item:
    """The attributes that `SET a = :a, b = :b` sets."""
    pairs = (pair.split(" = ") for pair in asked["UpdateExpression"].removeprefix("SET ").split(", "))
    return {name: asked["ExpressionAttributeValues"][value] for name, value in pairs}


def _plain(value: Mapping[str, Any]) -> Any:
    return float(value["N"]) if "N" in value else value["S"]


def _size(item: Item) -> int:
    """Bytes as AWS counts them: names and texts; a number has a byte for each two digits, and one more."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    if "N" in value:
        return len(str(value["N"])) // 2 + 1
    if "L" in value:
        return 3 + sum(1 + _value_size(each) for each in value["L"])
    return len(str(value["S"]).encode())


def _json(value: object) -> bytes:
    return response(msgspec.json.encode(value))
