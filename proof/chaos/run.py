"""A chaos run: replicas, changes and disturbances for a while, then a time without faults, then the comparison."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from jibe_sqs.sandbox.counts import dead_letters, summed_reports, waiting_messages
from jibe_sqs.sandbox.differences import differences
from jibe_sqs.sandbox.world import World
from proof.chaos.load import Load
from proof.chaos.monkey import Counts, Monkey
from proof.chaos.proxy import Fault
from proof.chaos.recovery import seconds_until_in_sync
from proof.chaos.replicas import DRAIN_TIMEOUT, KILL_MARGIN, Replica, make_table, replica, systems
from proof.chaos.schedule import Kind, System, disturbances
from proof.chaos.watch import Watch

START_TIMEOUT: Final = 60.0
"""Seconds that replicas may take to start when there is no fault."""
EXIT_DEADLINE: Final = DRAIN_TIMEOUT + KILL_MARGIN
"""Seconds from SIGTERM to the exit."""


class Outcome(msgspec.Struct, kw_only=True):
    """The result. Counts are sums of the replicas' last reports; the last moments of a killed replica are missing."""

    in_sync: bool
    lost: int
    """Objects in S3 that the index does not show, or shows with another size or ETag."""
    extra: int
    """Objects in the index that S3 does not have."""
    examples: list[str]
    objects: int
    dead_letters: int
    waiting: int
    """Messages left in the queues."""
    changes: int
    messages: int
    """Messages that were sent."""
    receives: int
    redelivered: int
    files_read: int
    files_known: int
    """Log files that were announced again and not fetched again."""
    already_refreshed: int
    """Events that were skipped because of a folder's watermark."""
    refreshes: int
    replicas: int
    starts: int
    failed_starts: int
    kills: int
    kills_hung: int
    """Kills of replicas that were hanging."""
    hangs: int
    terms: int
    exit_codes: dict[str, int]
    slowest_exit: float
    """Seconds."""
    late_exits: int
    crashes: list[str]
    """The ends of the logs of replicas that ended by themselves after they were ready."""
    defects: dict[str, int]
    """Log event and exception -> count, for exceptions that no code expected."""
    partitions: dict[str, dict[str, int]]
    """System -> fault -> count."""
    clock_steps: int
    full_disks: int
    can_fill_disks: bool
    aa_outages: int
    aa_faults: dict[str, int]
    errors: dict[str, int]
    """Errors that replicas logged, by class."""
    settled_in: float
    """Seconds from the last fault until the index equalled S3."""
    seconds: float
    seed: int
    ledger: str

    @property
    def is_good(self) -> bool:
        exits = set(self.exit_codes) <= {"0"}
        wrong = self.dead_letters or self.waiting or self.late_exits or self.crashes or self.defects
        return self.in_sync and exits and not wrong


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a run. Times: seconds."""

    seconds: float
    replicas: int
    seed: int
    ledger: str
    patience: float
    """From the last fault until the index must equal S3."""


async def chaos(world: World, options: Options, folder: Path, watch: Watch) -> Outcome:
    """Run the whole test in this world."""
    began = time.monotonic()
    if options.ledger == "dynamodb":
        make_table(world)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(replica(world, folder / f"replica-{n}", options.ledger))
            for n in range(1, options.replicas + 1)
        ]
        monkey, load = Monkey(world, replicas, options.seed), Load(world, options.seed)
        watch(f"starting {len(replicas)} replicas")
        for each in replicas:
            monkey.start(each)
        async with asyncio.TaskGroup() as group:
            restarts = group.create_task(monkey.restart_ended())
            await _wait_until_up(replicas)
            await _run_disturbances(monkey, load, options, watch)
            await _wait_until_up(replicas)
            watch("no more faults: waiting until the queues are empty and the index equals S3")
            settled_in = await seconds_until_in_sync(world, options.patience)
            restarts.cancel()
        watch("stopping the replicas")
        await asyncio.gather(*map(monkey.stop, replicas))
        return await asyncio.to_thread(
            _outcome, world, options, replicas, monkey.done, load, settled_in, time.monotonic() - began
        )


async def _run_disturbances(monkey: Monkey, load: Load, options: Options, watch: Watch) -> None:
    """Make changes and carry out disturbances for the given time. When this returns, no fault is active."""
    watch(f"{options.seconds:g} s of chaos")
    time_over = asyncio.Event()
    asyncio.get_running_loop().call_later(options.seconds, time_over.set)
    plan = (
        disturbances(options.seed, options.replicas, options.seconds, systems(options.ledger))
        if options.replicas
        else []
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(time_over))
        group.create_task(monkey.carry_out(plan, time_over))


async def _wait_until_up(replicas: Sequence[Replica]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not all(each.is_up for each in replicas):
        if time.monotonic() > deadline:
            log_tails = "\n".join(each.log_tail for each in replicas if not each.is_up)
            raise RuntimeError(f"a replica did not start:\n{log_tails}")
        await asyncio.sleep(0.1)


def _outcome(
    world: World,
    options: Options,
    replicas: Sequence[Replica],
    done: Counts,
    load: Load,
    settled_in: float,
    seconds: float,
) -> Outcome:
    found = differences(world)
    counts = summed_reports(log for each in replicas for log in each.logs)
    # A replica that did not exit before the deadline has no code.
    in_time = [end for end in done.ends if end.code is not None]
    partitions: dict[System, dict[Fault, int]] = {}
    for (system, fault), count in sorted(done.partitions.items()):
        partitions.setdefault(system, {})[fault] = count
    return Outcome(
        in_sync=not found.count and found.expected > 0,
        lost=len(found.missing) + len(found.stale),
        extra=len(found.extra),
        examples=found.examples(),
        objects=found.expected,
        dead_letters=dead_letters(world),
        waiting=waiting_messages(world),
        changes=load.changes,
        messages=sum(publisher.messages or len(publisher.files) for publisher in world.publishers.by_format.values()),
        receives=counts.get("messages", 0),
        redelivered=counts.get("redelivered", 0),
        files_read=counts.get("files", 0),
        files_known=counts.get("files_known", 0),
        already_refreshed=counts.get("skipped", {}).get("already-refreshed", 0),
        refreshes=sum(count for kind, count in counts.get("refreshes", {}).items() if kind != "failed"),
        replicas=options.replicas,
        starts=done.starts,
        failed_starts=done.failed_starts,
        kills=done.disturbances[Kind.KILL],
        kills_hung=done.kills_hung,
        hangs=done.disturbances[Kind.HANG],
        terms=done.disturbances[Kind.TERM],
        exit_codes=dict(Counter(str(end.code) for end in in_time)),
        slowest_exit=round(max((end.seconds for end in done.ends), default=0.0), 1),
        late_exits=len(done.ends) - len(in_time),
        crashes=done.crashes,
        defects=dict(_defects(log for each in replicas for log in each.logs)),
        partitions={
            system.value: {fault.value: n for fault, n in by_fault.items()} for system, by_fault in partitions.items()
        },
        clock_steps=done.disturbances[Kind.CLOCK],
        full_disks=done.disturbances[Kind.FULL_DISK],
        can_fill_disks=all(each.disk.can_be_full for each in replicas),
        aa_outages=done.disturbances[Kind.AA_DOWN],
        aa_faults={kind: n for kind, n in world.get_state("stats").get("faults", {}).items() if n},
        errors=dict(sorted(counts.get("errors", {}).items(), key=lambda each: -each[1])),
        settled_in=round(settled_in, 1),
        seconds=round(seconds, 1),
        seed=options.seed,
        ledger=options.ledger,
    )


def _defects(logs: Iterable[Path]) -> Counter[str]:
    found = Counter[str]()
    for log in logs:
        for line in log.read_bytes().splitlines():
            if b'_crashed"' in line and line.startswith(b"{"):
                with suppress(ValueError):  # a line that was cut when the process was killed
                    entry = json.loads(line)
                    found[f"{entry['event']}: {entry['exception'].splitlines()[-1]}"] += 1
    return found
