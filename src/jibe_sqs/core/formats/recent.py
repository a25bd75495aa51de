"""The ids that a file has already shown, in bounded memory."""

from hashlib import blake2b
from typing import Final

MAX_SEEN: Final = 8192
"""Ids that one file remembers, and up to twice as many. A change that is read twice costs nothing: the refresh of its folder is
shared. Sixty files may be read at the same time."""
MAX_ID_LENGTH: Final = 48
"""Characters of an id that is kept as it is. A hostile file may have longer ids than stores write: of these, a hash is kept."""
_HASH_SIZE: Final = 16


class Recent:
    """Remembers the last `size` ids, and up to twice as many. Each takes at most about 200 bytes."""

    def __init__(self, size: int = MAX_SEEN) -> None:
        self._size = size
        self._new: set[str | bytes] = set()
        self._old: set[str | bytes] = set()

    def add(self, id_: str) -> bool:
        """Remember the id. False if it is remembered already. An empty id is never a duplicate."""
        if not id_:
            return True
        kept = id_ if len(id_) <= MAX_ID_LENGTH else _short(id_)
        new = self._new
        if kept in new or kept in self._old:
            return False
        new.add(kept)
        if len(new) >= self._size:
            self._old, self._new = new, set()
        return True

    def discard(self, id_: str) -> None:
        """Forget the id."""
        kept = id_ if len(id_) <= MAX_ID_LENGTH else _short(id_)
        self._new.discard(kept)
        self._old.discard(kept)

    def __contains__(self, id_: str) -> bool:
        kept = id_ if len(id_) <= MAX_ID_LENGTH else _short(id_)
        return kept in self._new or kept in self._old


def change_id(request: str, name: str, bucket: str, key: str) -> str:
    """An id of one change, if a request may change several objects. It is short, so that it need not be hashed again.

    Two changes of the same request have the same id with a probability of 2 to the power of -61.
    """
    return f"{request}{hash((name, bucket, key))}"


def _short(id_: str) -> bytes:
    return blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=_HASH_SIZE).digest()
