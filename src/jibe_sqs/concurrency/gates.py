"""Waiting until there is sense in taking more work."""

from collections.abc import Sequence

from jibe_sqs.ports import Gate


async def passable(gates: Sequence[Gate]) -> None:
    """Return as soon as none of them is shut."""
    while shut := [gate for gate in gates if gate.reason]:
        await shut[0].passable()
