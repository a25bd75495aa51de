"""Measures the constants of the scaling model: CPU time, requests and request units of a message, with a ledger in DynamoDB."""

from pathlib import Path
from typing import Final

import msgspec

from bench import prices, results
from bench.replicas import shared
from bench.stub.process import StubProcess, running

PATH: Final = Path(__file__).parent / "results" / "scale.json"
KINDS: Final = {"s3event": 8000, "tiny": 6000, "normal1": 500, "normal10": 500, "normal90": 500, "huge": 1}
"""Messages by kind of workload."""
HUGE: Final = 100_000_000
"""Bytes of text of the huge file."""


class Constants(msgspec.Struct, frozen=True):
    """What one message costs, as the servers counted it; without refreshes.

    `cpu`: seconds. `events`: object events. `receives`, `deletes`, `changes`: requests to SQS. `reads`, `writes`: request units
    of DynamoDB, without those of the watermarks that a refresh writes.
    """

    cpu: float
    events: float
    receives: float
    deletes: float
    changes: float
    gets: float
    reads: float
    writes: float


class Measured(msgspec.Struct, frozen=True):
    """Constants by kind of workload. `refresh_cpu`: seconds of a refresh. `refresh_calls`: calls of Access Anywhere for it."""

    date: str
    machine: dict[str, str]
    kinds: dict[str, Constants]
    refresh_cpu: float
    refresh_calls: float


def load(path: Path = PATH) -> Measured:
    """The constants of the last measurement."""
    return msgspec.json.decode(path.read_bytes(), type=Measured)


def run(scale: float = 1.0) -> None:
    """Measure the constants of the scaling model, and write them to `bench/results/scale.json`."""
    with running() as stub:
        stub.set(huge=HUGE)
        refresh_cpu, refresh_calls = _refresh(stub, max(100, round(2000 * scale)))
        sizes = {kind: max(1, round(number * scale)) for kind, number in KINDS.items()}
        kinds = {kind: _constants(stub, kind, messages, refresh_cpu) for kind, messages in sizes.items()}
    found = Measured(results.Results().date, results.machine(), kinds, refresh_cpu, refresh_calls)
    PATH.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    print(PATH.read_text())


def _constants(stub: StubProcess, kind: str, messages: int, refresh_cpu: float) -> Constants:
    stub.reset()
    events = stub.events(kind, messages)
    found = shared(stub, kind, messages, 1)
    counts = {name: count / messages for name, count in found.counts.items()}

    def each(*names: str) -> float:
        return round(sum(counts.get(name, 0.0) for name in names), 4)

    return Constants(
        cpu=max(found.cpu - found.refreshes * refresh_cpu, 0.1 * found.cpu) / messages,
        events=round(events / messages, 4),
        receives=each("sqs ReceiveMessage"),
        deletes=each("sqs DeleteMessageBatch", "sqs DeleteMessage"),
        changes=each("sqs ChangeMessageVisibilityBatch", "sqs ChangeMessageVisibility"),
        gets=each("s3 GET"),
        reads=each("dynamodb half read units") / 2,
        writes=round(max(0.0, counts.get("dynamodb write units", 0.0) - counts.get("dynamodb written w", 0.0)), 4),
    )


def _refresh(stub: StubProcess, folders: int) -> tuple[float, float]:
    """CPU seconds and calls of a refresh: what a change in a folder of its own costs more than one that is not refreshed."""
    stub.reset()
    stub.events("manyfolders", folders)
    dry = shared(stub, "manyfolders", folders, 1, sync={"strategy": "dry-run"})
    stub.reset()
    found = shared(stub, "manyfolders", folders, 1)
    refreshes = max(1, found.refreshes)
    return max(0.0, found.cpu - dry.cpu) / refreshes, prices.access_anywhere_calls(found.counts) / refreshes
