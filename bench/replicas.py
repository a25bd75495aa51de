"""Replicas that share a queue and a ledger in DynamoDB: what each one does, and what is done twice."""

import time
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from bench import prices
from bench.contenders import KEYS, QUEUE, REGION, Contender, ours
from bench.drains import DRAIN_SECONDS, SETTLE_SECONDS, started
from bench.stub.process import StubProcess, running

REPLICAS: Final = (1, 2, 4)
KINDS: Final = {"s3event": 6000, "tiny": 6000, "normal10": 400}
"""Messages by kind."""
REFRESH_SECONDS: Final = 1.0
TABLE: Final = f"arn:aws:dynamodb:{REGION}:111122223333:table/ledger"


class Shared(NamedTuple):
    """How replicas shared the work. `done`: messages that each one deleted. `cpu`, `wall`: seconds. `counts`: of the stub."""

    done: list[int]
    cpu: float
    wall: float
    counts: dict[str, int]

    @property
    def files_read(self) -> int:
        return self.counts.get("s3 GET", 0)

    @property
    def refreshes(self) -> int:
        return self.counts.get("aa refreshes asked", 0)


def replica(number: int, stub: StubProcess, **changed: Any) -> Contender:
    """Our service with the shared ledger. Its access key identifies it in the counts of the stub."""
    aws = {
        "endpoint": stub.endpoint,
        "region": REGION,
        "access_key_id": f"AKIA{number}",
        "secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
    }
    ledger = {"kind": "dynamodb", "table": TABLE}
    return ours(f"replica {number}", aws=aws, ledger=ledger, **changed)._replace(polls=number + 1)


def shared(stub: StubProcess, kind: str, messages: int, replicas: int, **changed: Any) -> Shared:
    """Let so many processes drain one queue. `changed`: other settings of the service."""
    with ExitStack() as stack:
        fleet = [stack.enter_context(started(replica(number, stub, **changed), stub)) for number in range(replicas)]
        before, cpu_before = stub.counts(), [each.cpu_now() for each in fleet]
        began = time.monotonic()
        stub.load(QUEUE, kind, messages)
        stub.wait(queue=QUEUE, deleted=messages, timeout=DRAIN_SECONDS)
        wall = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        cpu = sum(each.cpu_now() for each in fleet) - sum(cpu_before)
        counts = {name: count - before.get(name, 0) for name, count in stub.counts().items()}
        for each in fleet:
            each.stop()
    done = [counts.get(f"deleted with AKIA{number}", 0) for number in range(replicas)]
    return Shared(done, cpu, wall, counts)


def run(scale: float = 1.0) -> None:
    """Replicas that share a queue and a ledger in DynamoDB: what each one does, and what is done twice."""
    print(
        f"{'kind':9}{'N':>2}  {'done by each':24}{'GETs':>6}{'finished':>9}{'refr.':>6}{'us/msg':>8}{'wall s':>8}{'AWS/msg':>8}"
    )
    with running() as stub:
        for kind, whole in KINDS.items():
            messages = max(1, round(whole * scale))
            for replicas in REPLICAS:
                stub.reset()
                stub.set(refresh_seconds=REFRESH_SECONDS)
                stub.events(kind, messages)
                _print(kind, messages, shared(stub, kind, messages, replicas))


def _print(kind: str, messages: int, found: Shared) -> None:
    parts = " ".join(f"{each / messages:.0%}" for each in found.done)
    finished = found.counts.get("dynamodb written f", 0)
    requests = prices.aws_requests(found.counts) / messages
    print(
        f"{kind:9}{len(found.done):>2}  {parts:24}{found.files_read:>6}{finished:>9}{found.refreshes:>6}"
        f"{found.cpu / messages * 1e6:>8,.0f}{found.wall:>8.1f}{requests:>8.2f}",
        flush=True,
    )
