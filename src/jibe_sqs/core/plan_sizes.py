"""The sizes of a plan's parts in bytes, as CPython needs them at worst. They were measured with tracemalloc.

A dictionary that grows has room for several times its entries. What is made of each part later counts too: the plan's
needed folders with their watermarks, and the tables of a plan that is coarsened.
"""

from typing import Final

from jibe_sqs.core.model import Folder, ObjectEvent, Refresh

STALE: Final = 420
"""One entry of stale folders, without the folders."""
FOLDER: Final = 380
"""One folder of an entry, without its path."""
PART: Final = 700
"""The entries of one bucket in the same places."""
CHANGE: Final = 800
"""One change, without its texts."""
BUCKET: Final = 2000
"""The counts of one bucket, or one example of skipped changes without its texts."""
PRINCIPAL: Final = 500
_COPIES: Final = 3
"""A path is in the plan, in the table of costs with a `/` at its end, and in the list of trees."""


def text_size(text: str) -> int:
    """Characters of a text other than ASCII take up to four bytes each."""
    return len(text) if text.isascii() else 4 * len(text)


def stale_size(folders: tuple[Folder, ...]) -> int:
    """One entry of stale folders."""
    if len(folders) == 1:  # nearly always
        return STALE + FOLDER + _COPIES * text_size(folders[0].path)
    return STALE + sum(FOLDER + _COPIES * text_size(folder.path) for folder in folders)


def tree_size(length: int, path: str) -> int:
    """One entry of a tree whose path is the first `length` characters of `path`."""
    return STALE + FOLDER + _COPIES * (length if path.isascii() else 4 * length)


def change_size(event: ObjectEvent, decision: Refresh) -> int:
    """One change of `by_object`."""
    actor = event.actor
    texts = (
        event.bucket,
        event.key,
        event.event_id,
        event.region,
        event.version or "",
        event.name,
        actor.principal,
        actor.access_key,
        actor.session_issuer,
        actor.source_address,
        actor.user_agent,
        *decision.tops,
        *(folder.path for folder in decision.folders),
    )
    return CHANGE + FOLDER * len(decision.folders) + sum(map(text_size, texts))
