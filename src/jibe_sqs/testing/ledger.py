"""A ledger that can be made to fail."""

from collections.abc import Iterable, Mapping

from jibe_sqs.adapters.ledgers.memory import MemoryLedger
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.core.history import HistoryEntry, HistoryQuestion, Remembered
from jibe_sqs.core.model import Folder, LogFile
from jibe_sqs.core.principals import Seen


class InMemoryLedger(MemoryLedger):
    """The `Ledger` port: the ledger that the program uses for dry runs, with three switches that make it fail.

    While `unreadable` is true, every question raises `LedgerError`. While `unwritable` is true, every write does. While
    `refuses_principals` is true, only the writes of principals do. A failed write changes nothing. Entries of the history are
    lost while `unwritable` is true. `finished` holds the bucket and key of each finished file.
    """

    def __init__(self) -> None:
        super().__init__()
        self.unreadable = self.unwritable = self.refuses_principals = False

    @property
    def finished(self) -> list[tuple[str, str]]:
        return list(self._files)

    async def is_finished(self, file: LogFile) -> bool:
        _fail_if(self.unreadable)
        return await super().is_finished(file)

    async def watermarks(self, folders: Iterable[Folder]) -> dict[Folder, float]:
        _fail_if(self.unreadable)
        return await super().watermarks(folders)

    async def principals(self) -> dict[str, Seen]:
        _fail_if(self.unreadable)
        return await super().principals()

    async def finish(self, file: LogFile, etag: str) -> None:
        _fail_if(self.unwritable)
        await super().finish(file, etag)

    async def refreshed(self, folder: Folder, began: float) -> None:
        _fail_if(self.unwritable)
        await super().refreshed(folder, began)

    async def note(self, name: str, text: str) -> None:
        _fail_if(self.unwritable)
        await super().note(name, text)

    async def notes(self, names: Iterable[str]) -> dict[str, str]:
        _fail_if(self.unreadable)
        return await super().notes(names)

    async def claim(self, name: str, owner: str, seconds: float) -> bool:
        _fail_if(self.unwritable)
        return await super().claim(name, owner, seconds)

    async def record(self, entry: HistoryEntry) -> None:
        if not self.unwritable:
            await super().record(entry)

    async def history(self, question: HistoryQuestion) -> list[Remembered]:
        _fail_if(self.unreadable)
        return await super().history(question)

    async def observe(self, principals: Mapping[str, Seen]) -> None:
        _fail_if(self.unwritable or self.refuses_principals)
        await super().observe(principals)


def _fail_if(broken: bool) -> None:
    if broken:
        raise LedgerError("disk I/O error")
