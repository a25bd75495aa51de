"""Runs chaos or drain. The exit code is 0 only if nothing was lost."""

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from jibe_sqs.sandbox import world
from jibe_sqs.sandbox.world import World
from proof.chaos import drain, table
from proof.chaos.drain import DrainOutcome
from proof.chaos.run import Options, Outcome, chaos
from proof.chaos.schedule import VISIBILITY_TIMEOUT
from proof.chaos.watch import Watch

MAX_RECEIVES = 100
"""A killed replica's messages have been received for nothing.

After ten such receives, SQS would move a message to the dead-letter queue.
"""


def main() -> int:
    options = _options()
    drains = options.proof == "drain"

    def watch(phase: str) -> None:
        if not options.json:
            print(f"{phase} …", file=sys.stderr, flush=True)

    # Clean up as after Ctrl-C. By default, SIGTERM would end only this process, and leave the replicas running.
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="jibe-chaos-") as temporary:
        folder = options.keep or Path(temporary, "replicas")
        folder.mkdir(parents=True)
        watch("starting AWS in three regions and Access Anywhere")
        with world.running(
            seed=options.seed,
            archive=True,
            visibility_timeout=drain.VISIBILITY_TIMEOUT if drains else VISIBILITY_TIMEOUT,
            max_receives=MAX_RECEIVES,
        ) as running:
            found = asyncio.run((_run_drain if drains else _run_chaos)(running, options, folder, watch))
    if options.json:
        sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    elif isinstance(found, DrainOutcome):
        table.print_drain(found, sys.stdout)
    else:
        table.print_outcome(found, sys.stdout)
    return 0 if found.is_good else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m proof.chaos", description=__doc__)
    parser.add_argument("proof", nargs="?", choices=("chaos", "drain"), default="chaos")
    parser.add_argument("--seconds", type=float, default=120, help="duration of chaos (120)")
    parser.add_argument("--replicas", type=int, default=3, help="number of replicas in chaos (3)")
    parser.add_argument(
        "--ledger", choices=("sqlite", "dynamodb"), default="sqlite", help="kind of ledger in chaos (sqlite)"
    )
    parser.add_argument("--times", type=int, default=100, help="number of stops in drain (100)")
    parser.add_argument("--seed", type=int, default=1, help="decides the changes and the disturbances")
    parser.add_argument(
        "--patience", type=float, default=240, help="seconds after the last fault until the index must equal S3"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line")
    parser.add_argument("--keep", type=Path, help="keep the replicas' logs and configurations in this new folder")
    return parser.parse_args()


async def _run_chaos(running: World, options: argparse.Namespace, folder: Path, watch: Watch) -> Outcome | DrainOutcome:
    wanted = Options(
        seconds=options.seconds,
        replicas=options.replicas,
        seed=options.seed,
        ledger=options.ledger,
        patience=options.patience,
    )
    return await chaos(running, wanted, folder, watch)


async def _run_drain(running: World, options: argparse.Namespace, folder: Path, watch: Watch) -> Outcome | DrainOutcome:
    return await drain.drain(
        running, times=options.times, seed=options.seed, patience=options.patience, folder=folder, watch=watch
    )


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
