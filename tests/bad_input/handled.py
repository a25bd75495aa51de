"""What the handler makes of a case, with everything around it in memory."""

from collections.abc import Callable, Mapping

from structlog.testing import capture_logs

from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.compose.engine import Engine, Inputs, Outputs, Policies
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.core.model import Done, Message, Reject, Retry, Verdict
from jibe_sqs.core.sources import LogSource, Sources
from jibe_sqs.core.verdicts import RetryPolicy
from jibe_sqs.telemetry.counters import Counters
from jibe_sqs.testing import InMemoryLedger, InMemoryLogStore, InMemorySyncTarget

from .cases import DATA, DONE, FOLDER, LIMITS, LOGS, REJECT, RETRY, End


class Outcome(End):
    """What became of a message. `reason`, of one that is done: what was found, and what done about it."""


async def handled(body: str, files: Mapping[str, bytes]) -> Outcome:
    """`files`: the objects in the bucket of log files, by key."""
    target, logs = InMemorySyncTarget(), InMemoryLogStore()
    logs.objects = {(LOGS, key): data for key, data in files.items()}
    decisions = Decisions({DATA: (Place(FOLDER),)})
    outputs = Outputs(clock=S3Clock(), ledger=InMemoryLedger(), target=target, decisions=decisions)
    engine = Engine(outputs, Policies(limits=LIMITS))
    engine.service(Inputs(queues=[], logs=logs, sources=Sources([LogSource(LOGS)])))
    try:
        with capture_logs() as logged:
            message = Message("id", "receipt", body.encode("utf-8", "surrogatepass"))
            verdict = await engine.handler.handle(message, RetryPolicy(), engine.room.admit(message))
    finally:
        await engine.refreshes.stop()
    bad = [line for line in logged if line["event"] == "bad_records_skipped"]
    return _outcome(verdict, lambda: _found(engine.counters, target, bad))


def _outcome(verdict: Verdict, found: Callable[[], str]) -> Outcome:
    match verdict:
        case Done():
            return Outcome(DONE, "", found())
        case Retry(_, reason):
            return Outcome(RETRY, reason.partition(":")[0], reason)
        case Reject(error, reason):
            return Outcome(REJECT, error, reason)


def _found(counters: Counters, target: InMemorySyncTarget, bad: list) -> str:
    found = []
    for line in bad:
        records = "1 bad record" if line["count"] == 1 else f"{line['count']} bad records"
        found.append(f"{records} skipped: {line['first'][0]['reason']}")
    if counters.nothing:
        found.append(f"nothing to do: {', '.join(counters.nothing)}")
    if counters.skipped:
        found.append("skipped: " + ", ".join(f"{reason} {count}" for reason, count in counters.skipped.items()))
    if target.runs:
        found.append("refreshed: " + ", ".join(map(str, sorted({run.folder for run in target.runs}))))
    return "; ".join(found) or "nothing in it"
