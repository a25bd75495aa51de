"""Doubles of the ports, all in memory: a queue, a log store, a sync target, an event target, a ledger and a gate.

They are for tests of your own code, such as a sync target, and this project's own tests use them. They are not mocks: each
double behaves like the system that it stands for. Each can be made slow, and each can be made to fail. In a test, wait for
the state that you expect (`queue.deleted`, `target.runs`) instead of counting calls. The page
`docs/how-to/test-your-own-code.md` has an example.

All times are those of the running event loop, in seconds, unless a docstring names another clock. So the doubles also work
in an event loop with virtual time. Each double belongs to one event loop.
"""

from jibe_sqs.testing.gate import ManualGate
from jibe_sqs.testing.ledger import InMemoryLedger
from jibe_sqs.testing.logs import InMemoryLogStore
from jibe_sqs.testing.queue import InMemoryQueue, QueueCall
from jibe_sqs.testing.targets import InMemoryEventTarget, InMemorySyncTarget, Run

__all__ = [
    "InMemoryEventTarget",
    "InMemoryLedger",
    "InMemoryLogStore",
    "InMemoryQueue",
    "InMemorySyncTarget",
    "ManualGate",
    "QueueCall",
    "Run",
]
