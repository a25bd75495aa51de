"""Which ids a file has shown already, in bounded memory."""

from typing import Final

MAX_ID_LENGTH: Final = 2048
"""Characters of an id that is remembered. No store gives longer ones; a file made to harm us might."""


class Recent:
    """Whether an id was among the last ones seen: exact for the last `size`, and never much larger than twice that."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[str] = set()
        self._old: set[str] = set()

    def add(self, id_: str) -> bool:
        """False if it was seen. No id is no duplicate of another, nor is one too long to be remembered."""
        if not id_ or len(id_) > MAX_ID_LENGTH:
            return True
        if id_ in self._new or id_ in self._old:
            return False
        self._new.add(id_)
        if len(self._new) >= self._size:
            self._old, self._new = self._new, set()
        return True

    def __contains__(self, id_: str) -> bool:
        return id_ in self._new or id_ in self._old
