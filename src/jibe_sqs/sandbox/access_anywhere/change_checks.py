"""Checks before a change. Each raises `Refused`."""

from typing import TypeVar

from jibe_sqs.sandbox.access_anywhere.change_locks import ChangeLocks
from jibe_sqs.sandbox.access_anywhere.index import Index
from jibe_sqs.sandbox.access_anywhere.items import File, Folder
from jibe_sqs.sandbox.access_anywhere.refusals import Refused

Shown = TypeVar("Shown", File, Folder)


def check_target(locks: ChangeLocks, folder: Folder, name: str) -> None:
    """Whether a file or folder with that name may be stored in the folder."""
    if not folder.bucket:
        raise Refused("not_allowed", "Files and folders are stored in buckets")
    if not name or "/" in name:
        raise Refused("invalid_name", "A name is not empty and has no slash")
    locks.check_free(folder, name)


def check_folder(locks: ChangeLocks, folder: Folder) -> None:
    """Whether the folder may be moved or deleted."""
    if not folder.bucket or folder.is_bucket:
        raise Refused("not_allowed", "Providers and buckets cannot be moved or deleted here")
    if folder.parent is not None:
        locks.check_free(folder.parent, folder.name)


def check_still_shown(index: Index, item: Shown, target: Folder | None = None) -> Shown:
    """The item as the index has it now. Other calls may have changed or deleted it while this one waited for locks."""
    now = index.item(item.id)
    if not isinstance(now, type(item)) or (target is not None and not index.shows(target)):
        raise Refused("not_found", "This is gone")
    return now


def existing_bucket_folder(folder: Folder) -> Folder:
    """The folder that shows the bucket of this folder."""
    if (top := folder.top) is None:
        raise Refused("not_allowed", "Files and folders are stored in buckets")
    return top
