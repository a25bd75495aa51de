"""Calls to S3 that two servers record as they happen, told in the format of their bucket.

Access Anywhere's server records its own calls, which become acts of Access Anywhere's identity. AWS's server records the
calls of programs that use its real host names, which become acts of an ordinary user.
"""

from collections.abc import Callable
from typing import Any, Final

from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY
from jibe_sqs.sandbox.aws.records import Caller, iam_user
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call, access_anywhere
from jibe_sqs.sandbox.world import World

USER: Final = "sandbox-user"
"""The name of the IAM user that other programs call S3 as."""


class LoggedCalls:
    """Tells of the calls made since it was created. `since(n)`: the server's records with a number greater than n."""

    def __init__(self, running: World, since: Callable[[int], list[dict[str, Any]]], caller: Caller) -> None:
        self._world = running
        self._since = since
        self._caller = caller
        self._last_delivered = max((write["n"] for write in since(0)), default=0)

    def deliver(self) -> list[dict[str, Any]]:
        """Tell of the calls since the last time, and have them delivered. Returns the server's records of them."""
        buckets = self._world.deployment.buckets
        writes = self._since(self._last_delivered)
        for write in writes:
            self._last_delivered = write["n"]
            # The log bucket has no publisher, and neither has a bucket that a user created.
            if write["bucket"] in buckets:
                self._world.publishers.record(self._s3_call(write, buckets[write["bucket"]]))
        if writes:
            self._world.publishers.deliver()
        return writes

    def _s3_call(self, write: dict[str, Any], region: str) -> S3Call:
        source = write["source"]
        return S3Call(
            kind=CallKind(write["kind"]),
            bucket=write["bucket"],
            region=region,
            account=self._world.deployment.account,
            caller=self._caller,
            began=write["began"],
            at=write["at"],
            keys=tuple(write["keys"]),
            size=write["size"],
            etag=write["etag"],
            source=None if source is None else (source[0], source[1]),
            upload=write["upload"],
        )


def own_calls(running: World) -> LoggedCalls:
    """Access Anywhere's own calls."""
    return LoggedCalls(
        running, lambda n: running.get_state(f"writes?since={n}"), access_anywhere(running.deployment.account)
    )


def foreign_calls(running: World) -> LoggedCalls:
    """The calls of other programs under AWS's real host names."""
    user = iam_user(USER, account=running.deployment.account, access_key=ACCESS_KEY)
    return LoggedCalls(running, running.foreign_writes, user)
