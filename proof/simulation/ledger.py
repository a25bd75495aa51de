"""A ledger on a disk or in a table. An applied write survives the death of its process."""

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen
from jibe_sqs.ports import Validity
from proof.simulation.judge import Judge
from proof.simulation.network import Network


class Disk:
    """The durable content. `settled`: files that were finished, or whose failed write was reported to the service.

    Each file by its key and the rules under which it was finished.
    """

    def __init__(self, name: str, network: Network, judge: Judge) -> None:
        self.name = name
        self.memory = MemoryLedger(judge.time)
        self.settled: set[tuple[str, str]] = set()
        network.add(name)

    def note(self, name: str, text: str) -> None:
        """Note a fact, as a command of an operator does."""
        now(lambda: self.memory.note(name, text))

    def has_note(self, name: str) -> bool:
        """Whether a fact with this name was noted."""
        return bool(now(lambda: self.memory.notes([name])))


class SimulatedLedger:
    """The `Ledger` port, for one process."""

    def __init__(
        self,
        disk: Disk,
        network: Network,
        judge: Judge,
        *,
        retain: float,
        rules: str = "",
        validity: Validity | None = None,
    ) -> None:
        """`rules`: those of the process. A defective service may use another `validity`."""
        self._rules = rules
        self._validity = validity or Validity(rules)
        self._disk = disk
        self._network = network
        self._judge = judge
        self._retain = retain

    def change_rules(self, rules: str) -> None:
        self._rules, self._validity = rules, Validity(rules)

    async def is_finished(self, file: LogFile) -> bool:
        return bool(await self._call(lambda: self._disk.memory.is_finished(file)))

    async def unfinished(self, files: Sequence[LogFile]) -> list[LogFile]:
        return list(await self._call(lambda: self._disk.memory.unfinished(files)))

    async def finish(self, file: LogFile, etag: str) -> None:
        def finish() -> Coroutine[Any, Any, None]:
            self._disk.settled.add((file.key, self._rules))
            self._judge.record("file finished", file.key[-9:-5])
            return self._disk.memory.finish(file, etag)

        try:
            await self._call(finish)
        except LedgerError:
            # The service knows of the failure and may go on: at worst, the file is read once more.
            self._disk.settled.add((file.key, self._rules))
            raise

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        asked = list(folders)
        return dict(await self._call(lambda: self._disk.memory.watermarks(asked)))

    async def refreshed(self, folder: Folder, began: float) -> None:
        def refreshed() -> Coroutine[Any, Any, None]:
            self._judge.record("watermark", folder, round(began, 3))
            return self._disk.memory.refreshed(folder, began)

        await self._call(refreshed)

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        await self._call(lambda: self._disk.memory.observe(principals))

    async def principals(self) -> dict[str, Seen]:
        return await self._disk.memory.principals()

    async def note(self, name: str, text: str) -> None:
        await self._call(lambda: self._disk.memory.note(name, text))

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        asked = list(names)
        return dict(await self._call(lambda: self._disk.memory.notes(asked)))

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        return bool(await self._call(lambda: self._disk.memory.claim(name, owner, seconds)))

    async def record(self, entry: HistoryEntry) -> None:
        """Without the network: nothing waits for it, and nothing depends on it."""
        await self._disk.memory.record(entry)

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        return await self._disk.memory.history(question)

    async def prune(self, before: float) -> None:
        del before  # by the clock of this machine
        await self._call(lambda: self._disk.memory.prune(self._judge.time() - self._retain))

    async def _call(self, effect: Any) -> Any:
        def applied() -> Any:
            # The processes that share the disk may have different settings.
            self._disk.memory.validity = self._validity
            return now(effect)

        return await self._network.call(self._disk.name, applied, LedgerError)


def now(effect: Any) -> Any:
    """The result of a coroutine that never waits."""
    try:
        effect().send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the coroutine waits")
