"""Access Anywhere's own calls to S3, as the trail logs them.

Its server records each call that changes S3. Here those calls become acts of Access Anywhere's identity, told in the
format of their bucket.
"""

from typing import Any

from jibe_sqs.sandbox.aws.acts import Act, ActKind, access_anywhere
from jibe_sqs.sandbox.world import World


class OwnCalls:
    """Tells of the calls made since it was created."""

    def __init__(self, running: World) -> None:
        self._world = running
        self._told = max((write["n"] for write in running.asked("writes")), default=0)

    def deliver(self) -> list[dict[str, Any]]:
        """Tell of the calls since the last time, and have them delivered. Returns the server's records of them."""
        deployment = self._world.deployment
        writes: list[dict[str, Any]] = self._world.asked(f"writes?since={self._told}")
        for write in writes:
            self._told = write["n"]
            # The log bucket has no teller of its own.
            if write["bucket"] in deployment.buckets:
                self._world.tellers.tell(_act(write, deployment.account, deployment.buckets[write["bucket"]]))
        if writes:
            self._world.tellers.deliver()
        return writes


def _act(write: dict[str, Any], account: str, region: str) -> Act:
    source = write["source"]
    return Act(
        kind=ActKind(write["kind"]),
        bucket=write["bucket"],
        region=region,
        account=account,
        caller=access_anywhere(account),
        began=write["began"],
        at=write["at"],
        keys=tuple(write["keys"]),
        size=write["size"],
        etag=write["etag"],
        source=None if source is None else (source[0], source[1]),
    )
