"""Generates object keys: a realistic tree of folders, some of them used more often, and the unusual characters that
people use.

Keys that S3 allows and that a file index cannot show are left out: empty path segments, two keys that differ only in
case or in Unicode composition, and a key that is also a folder.
"""

import unicodedata
from random import Random
from typing import Final

_FOLDERS: Final = (
    *(
        "Projects",
        "clients",
        "2025",
        "2026",
        "Q1",
        "Q2",
        "raw footage",
        "masters",
        "exports",
        "invoices",
        "shared",
        "in",
    ),
    *(
        "R&D",
        "final+approved",
        "#archive",
        "why?",
        "50%2F50",
        "it's here",
        'the "good" ones',
        "Ångström",
        "e\u0301tudes",
    ),
    *(
        "日本語",
        "العربية",
        "🎬 takes",
        "a=b;c,d",
        "(draft) [old]",
        "Straße",
        "семья",
        "v1.2.3",
        "~tmp",
        "100%",
        "x!y*z",
    ),
    # Each name results from decoding or encoding another one of them once too often.
    *("My Folder", "My+Folder", "My%20Folder", "My%2BFolder"),
)
_STEMS: Final = ("report", "IMG_2041", "clip", "Budget", "contract", "index", "data", "scan", "model", "notes", "take")
_ODD_STEMS: Final = (
    *(
        "two  spaces here",
        "one+one",
        "a%2Fb",
        "a&b=c",
        "#1 choice",
        "really?",
        "it's",
        'say "hi"',
        "naïve café",
        "cafe\u0301",
    ),
    *(
        "写真",
        "📷🏽 photo",
        "עברית",
        "Ωmega",
        "semi;colon",
        "comma,comma",
        "50%",
        "%41",
        "tilde~",
        "at@home",
        "dollar$",
        "a:b",
    ),
    *("plus + space", "{braces}", "[brackets]", "caret^", "back`tick", "pipe|pipe", "less<more>", "star*", "ﬁnal ﬂow"),
)
_EXTENSIONS: Final = ("jpg", "mov", "pdf", "docx", "csv", "parquet", "txt", "tar.gz", "JSON", "mp4")
_LONGEST_FOLDER: Final = 600
"""Bytes of UTF-8. S3 allows 1024 for a whole key."""


class Tree:
    """Generates keys. Each new key can exist beside all earlier ones."""

    def __init__(self, random: Random, buckets: list[str]) -> None:
        self._random = random
        self._taken: set[tuple[str, str]] = set()
        """Case-folded names of files and folders."""
        self._folders = [(bucket, "") for bucket in buckets]
        self._heat: list[float] = []
        self.grow(len(buckets))

    def grow(self, folders: int) -> None:
        """Create folders until there are about so many, and choose anew which of them are used more often."""
        while len(self._folders) < folders:
            bucket, folder = self._random.choice(self._folders)
            # Some chains of folders contain files only in the last folder.
            for _ in range(self._random.choice((1, 1, 1, 2, 4))):
                folder += self._take(bucket, folder, self._random.choice(_FOLDERS)) + "/"
            if len(folder.encode()) < _LONGEST_FOLDER:
                self._folders.append((bucket, folder))
        self._random.shuffle(self._folders)
        self._heat = [1 / (rank + 2) ** 0.6 for rank in range(len(self._folders))]

    def new_key(self) -> tuple[str, str]:
        """A bucket and a key that was never returned before."""
        ((bucket, folder),) = self._random.choices(self._folders, self._heat)
        stem = self._random.choice(_ODD_STEMS if self._random.random() < 0.4 else _STEMS)
        if self._random.random() < 0.03:
            stem = f"{stem} {'long name ' * 20}".rstrip()
        name = f"{stem}-{self._random.randrange(1000):03}.{self._random.choice(_EXTENSIONS)}"
        return bucket, folder + self._take(bucket, folder, name)

    def _take(self, bucket: str, folder: str, name: str) -> str:
        """`name`, or a variant of it if the folder already has that name in any case or Unicode composition."""
        free_name, number = name, 1
        while (address := (bucket, _folded(folder + free_name))) in self._taken:
            number += 1
            free_name = f"{number}-{name}"
        self._taken.add(address)
        return free_name


def _folded(key: str) -> str:
    return unicodedata.normalize("NFKC", key).casefold()
