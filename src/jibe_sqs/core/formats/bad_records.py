"""The bad records of one log file. The operator chooses for each source what they mean for its message."""

from typing import Final, Literal

from jibe_sqs.core.errors import RecordMalformed

OnBadRecord = Literal["skip", "reject"]

MAX_SHOWN: Final = 5
"""How many of a file are kept for people; the others are counted."""
MAX_REASON_LENGTH: Final = 110
"""Characters of one reason among several: so that the positions of all `SHOWN` fit into a dead letter's reason."""


class BadRecords:
    """Counts a file's bad records and keeps the first few. The other records of the file are read in any case."""

    def __init__(self, policy: OnBadRecord) -> None:
        self.policy = policy
        self.count = 0
        self.first: list[RecordMalformed] = []

    @property
    def keeps_next(self) -> bool:
        """Whether the next bad record is kept for the log. The position of a record that is only counted is not needed."""
        return len(self.first) < MAX_SHOWN

    def found(self, error: RecordMalformed) -> None:
        """Take in one."""
        self.count += 1
        if self.keeps_next:
            # A copy: the error itself holds, by its traceback, the text that it was found in.
            self.first.append(RecordMalformed(str(error), index=error.index, offset=error.offset, field=error.field))

    @property
    def rejection(self) -> RecordMalformed | None:
        """Why the message of this file must be rejected, once the file's other records are done. None if it need not."""
        if self.policy == "skip" or not self.first:
            return None
        first, count = self.first[0], self.count
        parts = [_located(error) for error in self.first] + (
            [f"and {count - MAX_SHOWN} more"] if count > MAX_SHOWN else []
        )
        text = f"{count} bad record{'s' if count > 1 else ''}, all others are done: {'; '.join(parts)}"
        return RecordMalformed(text, index=first.index, offset=first.offset, field=first.field)


def _located(error: RecordMalformed) -> str:
    text = str(error)
    text = text if len(text) <= MAX_REASON_LENGTH else f"{text[: MAX_REASON_LENGTH - 1]}…"
    where = [f"offset {error.offset}"] * (error.offset is not None) + [f"field {error.field}"] * bool(error.field)
    return f"{text} ({', '.join(where)})" if where else text
