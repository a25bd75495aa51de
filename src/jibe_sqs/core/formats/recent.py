"""The ids that a file has already shown, in bounded memory."""

from typing import Final

MAX_ID_LENGTH: Final = 2048
"""Characters of an id that is remembered. Stores do not write longer ids, but a hostile file may."""


class Recent:
    """Remembers the last `size` ids, and up to twice as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: set[str] = set()
        self._old: set[str] = set()

    def add(self, id_: str) -> bool:
        """Remember the id. False if it is remembered already. An empty id or a too long one is never a duplicate."""
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
