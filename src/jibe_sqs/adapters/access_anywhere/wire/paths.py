"""Paths of Access Anywhere's folders: `/`, and names with `/` before each.

S3 lets a name be empty (`a//b` is a good key), and then so it is here: `/a/` is the folder of no name in `/a`.
"""

from collections.abc import Collection, Iterator

ROOT = "/"
TOP = "0"
"""The `fi_id` of `/`."""


def joined(folder: str, name: str) -> str:
    """The path of what is called `name` in `folder`."""
    return f"{'' if folder == ROOT else folder}/{name}"


def parent(path: str) -> str:
    """The folder above; `/` for one of the first level."""
    return path.rpartition("/")[0] or ROOT


def name(path: str) -> str:
    """The last name of a path."""
    return path.rpartition("/")[2]


def ancestors(path: str) -> Iterator[str]:
    """Every folder above, the nearest first, the first level last."""
    while (path := parent(path)) != ROOT:
        yield path


def is_below(path: str, roots: Collection[str]) -> bool:
    """Whether the folder is inside one of `roots`, and not merely one of them."""
    return any(folder in roots for folder in ancestors(path))
