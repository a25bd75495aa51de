"""Delivers the calls to S3 that the sandbox's two servers have recorded, in the format of the bucket.

Access Anywhere's server records its own calls; they are delivered with Access Anywhere's identity. AWS's server
records the calls of programs that use its real host names; they are delivered as calls of an ordinary user.
"""

from collections.abc import Callable
from typing import Any, Final

from jibe_sqs.sandbox.aws.deployment import ACCESS_KEY
from jibe_sqs.sandbox.aws.records import Caller, iam_user
from jibe_sqs.sandbox.aws.s3_calls import CallKind, S3Call, access_anywhere
from jibe_sqs.sandbox.world import World

USER: Final = "sandbox-user"
"""The name of the IAM user with which other programs call S3."""


class LoggedCalls:
    """Delivers the calls made since its creation. `since(n)`: the server's records with a number greater than n."""

    def __init__(self, running: World, since: Callable[[int], list[dict[str, Any]]], caller: Caller) -> None:
        self._world = running
        self._since = since
        self._caller = caller
        self._last_delivered = max((write["n"] for write in since(0)), default=0)

    def deliver(self) -> list[dict[str, Any]]:
        """Record the calls since the last time with the publishers, and deliver them.

        Returns the server's records of them.
        """
        buckets = self._world.deployment.buckets
        writes = self._since(self._last_delivered)
        for write in writes:
            self._last_delivered = write["n"]
            # The log bucket and buckets that a user created have no publisher.
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
