"""Keys that differ in case alone, and so share one name in Access Anywhere, which shows only one of them.

What is told apart: whole keys, and the whole folders that they are in (`A/x`, `a/y`). Not: folders above those, where
nothing below them is alike (`A/b/x`, `a/c/y`); nor names of which one was seen too long ago.
"""

from typing import Final

import msgspec

EXAMPLES: Final = 20
_COLLIDES: Final = -1
"""In place of a hash; Python hashes nothing to it."""


class Collision(msgspec.Struct):
    """Names that are one to Access Anywhere: keys, or folders (which end in `/`).

    Only hashes are kept of names that nothing collides with, so that of the name that was there first stands here once
    it is seen again.
    """

    bucket: str
    names: list[str]


class Collisions:
    """Notices them among the names lately seen: at least the last half of `most`, and never more than `most`."""

    def __init__(self, *, most: int = 50_000) -> None:
        self.count = 0
        """How many names stand for several keys or folders. One that was long unseen may be counted anew."""
        self._examples: dict[int, Collision] = {}
        self._generation = max(most // 2, 1)
        self._new: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._bucket = self._folder = ""
        self._salt = 0

    @property
    def examples(self) -> list[Collision]:
        """The first few."""
        return list(self._examples.values())

    def see(self, bucket: str, key: str) -> bool:
        """An object is there. Returns whether it has to share its name, or its folder's, with another."""
        if bucket != self._bucket:
            self._bucket, self._folder, self._salt = bucket, "", hash((bucket,))
        # Writers stay in a folder for a while: most keys are of the folder that was looked at last.
        folder = key[: key.rfind("/") + 1]
        is_shared = False
        if folder != self._folder:
            self._folder = folder
            is_shared = bool(folder) and self._is_shared(folder)
        return self._is_shared(key) or is_shared

    def forget(self, bucket: str, key: str) -> None:
        """The object is no more; so of two that shared a name, only one is left."""
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
        self._found(name, known, text)
        return True

    def _found(self, name: int, known: int, text: str) -> None:
        if known != _COLLIDES:
            (self._new if name in self._new else self._old)[name] = _COLLIDES
            self.count += 1
            if len(self._examples) < EXAMPLES:
                self._examples.setdefault(name, Collision(self._bucket, []))
        example = self._examples.get(name)
        if example is not None and text not in example.names and len(example.names) < EXAMPLES:
            example.names.append(text)
