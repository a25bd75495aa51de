"""Collisions: keys that differ only in case. They have one name in Access Anywhere, which shows only one of them.

This module finds collisions of whole keys, and of the folders that directly contain a key (`A/x`, `a/y`). It does not find
collisions of folders further up (`A/b/x`, `a/c/y`), or with a name that was seen too long ago.
"""

from typing import Final

import msgspec

EXAMPLES: Final = 20
MAX_LENGTH: Final = 1024
"""Characters of a name in an example. Only the end of a longer name is kept, after `…`."""
_COLLIDES: Final = -1
"""Stands for a hash. Python's `hash` never returns -1."""


class Collision(msgspec.Struct):
    """Names that are equal for Access Anywhere: keys, or folders (which end in `/`).

    Before a collision, only hashes of names are kept. So the first of the names is added here when it is seen again.
    """

    bucket: str
    names: list[str]


class Collisions:
    """Finds collisions among the last names: at least the last `max_names / 2`, and never more than `max_names`."""

    def __init__(self, *, max_names: int = 50_000) -> None:
        self.count = 0
        """The number of names that several keys or folders share. A name that was not seen for long may be counted again."""
        self._examples: dict[int, Collision] = {}
        self._generation = max(max_names // 2, 1)
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._bucket = self._folder = ""
        self._salt = 0

    @property
    def examples(self) -> list[Collision]:
        """The first few collisions."""
        return list(self._examples.values())

    def see(self, bucket: str, key: str) -> bool:
        """Add the key of an existing object. Returns whether its name, or its folder's name, collides with another."""
        if bucket != self._bucket:
            self._bucket, self._folder, self._salt = bucket, "", hash((bucket,))
        # Writers stay in one folder for a while, so most keys are in the same folder as the key before.
        folder = key[: key.rfind("/") + 1]
        is_shared = False
        if folder != self._folder:
            self._folder = folder
            is_shared = bool(folder) and self._is_shared(folder)
        return self._is_shared(key) or is_shared

    def forget(self, bucket: str, key: str) -> None:
        """Remove the key of a deleted object. It no longer collides with any other."""
        name = hash(key.casefold()) ^ hash((bucket,))
        for seen in (self._new, self._old):
            if name in seen and seen[name] in (hash(key), _COLLIDES):
                del seen[name]

    def _is_shared(self, text: str) -> bool:
        name, exact = hash(text.casefold()) ^ self._salt, hash(text)
        known = self._new.get(name)
        if known is None:
            known = self._old.get(name, exact)
            self._new[name] = known
            if len(self._new) >= self._generation:
                self._old, self._new = self._new, {}
        if known == exact:
            return False
        self._add_example(name, known, text)
        return True

    def _add_example(self, name: int, known: int, text: str) -> None:
        if known != _COLLIDES:
            (self._new if name in self._new else self._old)[name] = _COLLIDES
            self.count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.setdefault(name, Collision(_shortened(self._bucket), []))
        example = self._examples.get(name)
        shown = _shortened(text)
        if example is not None and shown not in example.names and len(example.names) < EXAMPLES:
            example.names.append(shown)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_LENGTH else f"…{text[1 - MAX_LENGTH :]}"
