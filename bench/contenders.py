"""The programs that are compared: ours, and its peers. Each drains one queue of the stub until SIGTERM."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.stub.log_files import DATA_BUCKET, LOG_BUCKET
from bench.stub.process import StubProcess

QUEUE: Final = "work"
PEERS: Final = Path(__file__).parent / "peers"
REGION: Final = "us-east-1"
KEYS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIA",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
}


class Contender(NamedTuple):
    """A program. `command`: its command line; it may write its settings into the folder. `missing`: why it cannot run.

    `polls`: the long polls that it has in flight when all of it has started.
    """

    name: str
    command: Callable[[StubProcess, Path], Sequence[str]]
    is_ours: bool = False
    missing: Callable[[], str] = lambda: ""
    polls: int = 1


def settings(stub: StubProcess, folder: Path, *, queues: int = 1, **changed: Any) -> dict[str, Any]:
    """The settings of our service. `changed`: further groups of settings, or others in their place."""
    names = [QUEUE, *(f"{QUEUE}{number}" for number in range(1, queues))]
    return {
        "aws": {
            "endpoint": stub.endpoint,
            "region": REGION,
            "access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
            "secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
        },
        "queues": [{"url": stub.queue_url(name)} for name in names],
        "logs": [{"bucket": LOG_BUCKET}],
        "buckets": {DATA_BUCKET: f"/S3/{DATA_BUCKET}"},
        "access_anywhere": {"endpoint": stub.endpoint, "permanent_token": "permanent"},
        "ledger": {"path": str(folder / "ledger.sqlite")},
    } | changed


def ours(name: str = "ours", *, queues: int = 1, **changed: Any) -> Contender:
    """Our service, as a user starts it. `changed`: see `settings`."""

    def command(stub: StubProcess, folder: Path) -> Sequence[str]:
        path = folder / "config.json"
        path.write_text(json.dumps(settings(stub, folder, queues=queues, **changed)))
        return [sys.executable, "-m", "jibe_sqs", "run", "--config", str(path)]

    return Contender(name, command, is_ours=True)


def _python(name: str, module: str) -> Contender:
    def command(stub: StubProcess, _: Path) -> Sequence[str]:
        return [sys.executable, "-m", f"bench.peers.{module}", stub.endpoint, stub.queue_url(QUEUE)]

    return Contender(name, command)


def _node(stub: StubProcess, _: Path) -> Sequence[str]:
    return ["node", str(PEERS / "sqs_consumer.mjs"), stub.endpoint, stub.queue_url(QUEUE)]


def _node_missing() -> str:
    if shutil.which("node") is None:
        return "node is not installed"
    if not (PEERS / "node_modules" / "sqs-consumer").is_dir():
        return "its packages are not installed: `npm ci` in bench/peers"
    return ""


OURS: Final = ours()
WORKERS: Final = ours("ours, 2 workers", workers=2)._replace(polls=2)
DRY_RUN: Final = ours("ours (dry-run)", sync={"strategy": "dry-run"})
AIOBOTOCORE: Final = _python("aiobotocore", "aiobotocore_consumer")
BOTO3: Final = _python("boto3, 16 threads", "boto3_consumer")
SQS_CONSUMER: Final = Contender("sqs-consumer", _node, missing=_node_missing)
LIMIT: Final = _python("raw sockets", "limit")

CONTENDERS: Final = (OURS, DRY_RUN, AIOBOTOCORE, BOTO3, SQS_CONSUMER, LIMIT)
