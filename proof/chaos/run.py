"""The run: replicas, changes and a monkey, for a while; then peace, and a judge."""

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
from proof.chaos.monkey import Done, Monkey
from proof.chaos.proxy import Fault
from proof.chaos.recovery import seconds_until_true
from proof.chaos.replicas import DRAIN_TIMEOUT, KILL_MARGIN, Replica, make_table, replica, systems
from proof.chaos.schedule import Kind, System, disturbances
from proof.chaos.watch import Watch

START_TIMEOUT: Final = 60.0
"""Seconds that replicas may take to start when nothing is amiss."""
DEADLINE: Final = DRAIN_TIMEOUT + KILL_MARGIN
"""Seconds from SIGTERM to the exit."""


class Outcome(msgspec.Struct, kw_only=True):
    """What came of it. Counts of replicas are as of their last reports, which a killed one's last tenths of a second lack."""

    in_sync: bool
    lost: int
    """Objects of S3 that the index doesn't show, or shows as they were."""
    extra: int
    """Objects of the index that S3 doesn't have any more."""
    examples: list[str]
    objects: int
    dead_letters: int
    waiting: int
    """Messages left in the queues."""
    changes: int
    messages: int
    """That were sent."""
    receives: int
    redelivered: int
    files_read: int
    files_known: int
    """Announced again, and not fetched again."""
    already_refreshed: int
    """Events that a folder's watermark absorbed."""
    refreshes: int
    replicas: int
    starts: int
    failed_starts: int
    kills: int
    kills_hung: int
    """Of them, those of hung replicas."""
    hangs: int
    terms: int
    exit_codes: dict[str, int]
    slowest_exit: float
    """Seconds."""
    late_exits: int
    crashes: list[str]
    """Last words of replicas that ended by themselves, though they had started."""
    defects: dict[str, int]
    """Events that tell of an exception which nobody expected, and how often."""
    partitions: dict[str, dict[str, int]]
    """System -> fault -> how often."""
    clock_steps: int
    full_disks: int
    can_fill_disks: bool
    aa_outages: int
    aa_faults: dict[str, int]
    errors: dict[str, int]
    """That replicas met, by class."""
    settled_in: float
    """Seconds from the last fault to the true index."""
    seconds: float
    seed: int
    ledger: str

    @property
    def is_good(self) -> bool:
        exits = set(self.exit_codes) <= {"0"}
        wrong = self.dead_letters or self.waiting or self.late_exits or self.crashes or self.defects
        return self.in_sync and exits and not wrong


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    seconds: float
    replicas: int
    seed: int
    ledger: str
    patience: float
    """From the last fault until the index must be true."""


async def chaos(world: World, options: Options, folder: Path, watch: Watch) -> Outcome:
    """Everything but the world."""
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
            care = group.create_task(monkey.restart_ended())
            await _wait_until_up(replicas)
            await _run_disturbances(monkey, load, options, watch)
            await _wait_until_up(replicas)
            watch("peace: waiting for empty queues and a true index")
            settled_in = await seconds_until_true(world, options.patience)
            care.cancel()
        watch("stopping the replicas")
        await asyncio.gather(*map(monkey.stop, replicas))
        return await asyncio.to_thread(
            _outcome, world, options, replicas, monkey.done, load, settled_in, time.monotonic() - began
        )


async def _run_disturbances(monkey: Monkey, load: Load, options: Options, watch: Watch) -> None:
    """Changes and disturbances, for as long as is wanted. All that was amiss is well when this returns."""
    watch(f"{options.seconds:g} s of chaos")
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(options.seconds, over.set)
    plan = (
        disturbances(options.seed, options.replicas, options.seconds, systems(options.ledger))
        if options.replicas
        else []
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(load.run(over))
        group.create_task(monkey.do(plan, over))


async def _wait_until_up(replicas: Sequence[Replica]) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not all(each.is_up for each in replicas):
        if time.monotonic() > deadline:
            words = "\n".join(each.log_tail for each in replicas if not each.is_up)
            raise RuntimeError(f"a replica does not start:\n{words}")
        await asyncio.sleep(0.1)


def _outcome(
    world: World,
    options: Options,
    replicas: Sequence[Replica],
    done: Done,
    load: Load,
    settled_in: float,
    seconds: float,
) -> Outcome:
    found = differences(world)
    counts = summed_reports(log for each in replicas for log in each.logs)
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
        partitions={system.value: {fault.value: n for fault, n in of.items()} for system, of in partitions.items()},
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
                with suppress(ValueError):  # a line that a kill cut in two
                    entry = json.loads(line)
                    found[f"{entry['event']}: {entry['exception'].splitlines()[-1]}"] += 1
    return found
