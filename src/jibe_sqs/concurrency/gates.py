"""Wait until every gate is open."""

from collections.abc import Sequence

from jibe_sqs.ports import Gate


async def passable(gates: Sequence[Gate]) -> None:
    """Return when no gate has a reason against new work."""
    while shut := [gate for gate in gates if gate.reason]:
        await shut[0].passable()
