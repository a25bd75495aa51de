"""Paths of Access Anywhere's folders: `/`, or names with a `/` before each.

A name may be empty, as in S3, where `a//b` is a valid key. So `/a/` is the folder with the empty name in `/a`.
"""

from collections.abc import Collection, Iterator

ROOT = "/"
TOP = "0"
"""The `fi_id` of `/`."""


def joined(folder: str, name: str) -> str:
    """The path of the entry `name` in `folder`."""
    return f"{'' if folder == ROOT else folder}/{name}"


def parent(path: str) -> str:
    """The path of the folder above. It is `/` for a folder of the first level."""
    return path.rpartition("/")[0] or ROOT


def name(path: str) -> str:
    """The last name of a path."""
    return path.rpartition("/")[2]


def ancestors(path: str) -> Iterator[str]:
    """The paths of all folders above, from the nearest one to the first level."""
    while (path := parent(path)) != ROOT:
        yield path


def is_below(path: str, roots: Collection[str]) -> bool:
    """Whether the folder is inside one of `roots`. A root is not inside itself."""
    return any(folder in roots for folder in ancestors(path))
