"""Reads Access Anywhere's answers, which differ in shape between functions and releases.

The same field may be a number or a quoted number, `true` or `"y"`, a list or a dict of `n0`, `n1`, … or a single item.
Only this module knows the differences: its results have one shape.
"""

import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeVar

import msgspec

from jibe_sqs.adapters.access_anywhere.wire.reader import Answer, ListShape
from jibe_sqs.core.errors import AnswerMalformed

MAX_NAME_LENGTH: Final = 4096
"""Characters of a name. A name in S3 has at most 1,024 bytes."""

MAX_ID_LENGTH: Final = 128
"""Characters of an `fi_id`. Real ids are numbers, and some are hexadecimal; they are kept by the thousand."""

FALSE = frozenset({"", "0", "n", "no", "f", "false", "off", "none", "null"})

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)

T = TypeVar("T")


class Item(msgspec.Struct, frozen=True, gc=False):
    """A file or a folder in the index. `modified` is UTC: the file's own time if it is known, else the entry's.

    `seen` is the later of the two. The file's own time is what its uploader gave, so it may be years older than the object.

    Only some functions fill the fields below `trashed`, and only for some entries.
    """

    id: str
    name: str
    is_folder: bool
    parent_id: str = ""
    size: int = 0
    modified: datetime | None = None
    seen: datetime | None = None
    content_type: str = ""
    trashed: bool = False
    is_bucket: bool = False
    bucket: str = ""
    provider: str = ""
    provider_folder: str = ""


class Page(msgspec.Struct, frozen=True):
    """Part of a folder's contents. `total` counts the entries of the whole folder. It is None if the server omits it."""

    items: list[Item]
    total: int | None


class RefreshState(msgspec.Struct, frozen=True):
    """The progress of a refresh. If `token` is empty, no refresh was started: the folder was refreshed recently."""

    token: str
    syncing: bool
    empty: bool
    """Whether the folder is empty, by both its `total` and its `filelist`."""


def decoded(body: bytes) -> Answer:
    """Decode an envelope. Raises `AnswerMalformed`, whose text never quotes the body: that may contain a token."""
    answer = json_object(body)
    if not isinstance(answer.get("status"), str):
        raise AnswerMalformed("JSON without a `status`, so not an answer of Access Anywhere's API")
    return answer


def json_object(body: bytes) -> Answer:
    """Decode a JSON object. Raises `AnswerMalformed`, as `decoded` does."""
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerMalformed(f"not JSON: {error}") from None
    if not isinstance(answer, dict):
        raise AnswerMalformed("JSON but not an object, so not an answer of Access Anywhere's")
    return answer


def truth(value: object) -> bool:
    """Whether a field is true: `"y"`, `1`, `"1"`, `true`, … An unknown word counts as true."""
    return value.strip().lower() not in FALSE if isinstance(value, str) else bool(value)


def text(value: object) -> str:
    """A string, or a number as a string. Returns an empty string if the field is missing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def shared(value: object) -> str:
    """As `text`, for a value that many entries share: it is kept once."""
    return sys.intern(text(value))


def number(value: object) -> int | None:
    """An integer, quoted or not. Returns None if the field is missing or empty. Raises `AnswerMalformed`."""
    match value:
        case None | "" | False:
            return None
        case int() | str():
            try:
                return int(value)
            except ValueError:
                pass
        case float() if value.is_integer():
            return int(value)
    raise AnswerMalformed(f"{value!r:.40} where a number should be")


def count(value: object) -> int | None:
    """A number of files or bytes. Returns None if the field is missing or malformed: one bad count must not fail the answer."""
    try:
        found = number(value)
    except AnswerMalformed:
        return None
    return found if found is not None and found >= 0 else None


def moment(value: object) -> datetime | None:
    """A time as `YYYY-MM-DD HH:MM:SS` in UTC. Returns None if it is zero, missing or malformed: it is not essential."""
    # Lists have many thousands of times, and `strptime` is ten times as slow.
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        return None


def item(value: object) -> Item:
    """Read one file or folder. Raises `AnswerMalformed`."""
    if not isinstance(value, Mapping) or not text(value.get("fi_id")):
        raise AnswerMalformed("an item without an `fi_id`")
    fi_id = text(value["fi_id"])
    if len(fi_id) > MAX_ID_LENGTH:
        raise AnswerMalformed(f"an item whose `fi_id` has more than {MAX_ID_LENGTH} characters")
    name = text(value.get("fi_name"))
    if len(name) > MAX_NAME_LENGTH:
        raise AnswerMalformed(f"an item whose `fi_name` has more than {MAX_NAME_LENGTH:,} characters")
    own, entrys = moment(value.get("fi_localtime")), moment(value.get("fi_modified"))
    return Item(
        id=fi_id,
        name=name,
        is_folder=number(value.get("fi_type")) == 1,
        parent_id=shared(value.get("fi_pid")),
        size=count(value.get("fi_size")) or 0,
        modified=own or entrys,
        seen=max(filter(None, (own, entrys)), default=None),
        content_type=shared(value.get("fi_contenttype")),
        trashed=truth(value.get("trash")),
        is_bucket=truth(value.get("isbucket")),
        bucket=shared(value.get("fi_bname")),
        provider=shared(value.get("fi_provider")),
        provider_folder=shared(value.get("fi_providerfolder")),
    )


def existing(answer: Answer) -> Item | None:
    """The item that `checkPathExists` found. Returns None if there is no such item, or if it is in the trash."""
    if not truth(answer.get("exists")):
        return None
    found = item(answer.get("file"))
    return None if found.trashed else found


def page(answer: Answer) -> Page:
    """The entries that `getFolderContents` listed. Raises `AnswerMalformed`."""
    return Page(items=kept(answer.get(FILES.name), Item), total=number(answer.get("total")))


FILES: Final = ListShape("filelist", known_by="fi_id", kept=item, max_entry=64 * 1024)
"""Files and folders. A name of 1,024 bytes has up to 6 KB as JSON, and a few fields repeat it."""

FILES_NOT_KEPT: Final = ListShape("filelist", known_by="fi_id", kept=lambda _: True, max_entry=FILES.max_entry)
"""For answers about a refresh, which only show whether the folder has entries. We ask for one entry."""


def kept(listed: object, kind: type[T]) -> list[T]:
    """What a reader kept of a list. Raises `AnswerMalformed` for a malformed entry, and for a value that is not a list."""
    if isinstance(listed, AnswerMalformed):
        raise listed
    if not listed:
        return []
    if isinstance(listed, list):
        return [entry for entry in listed if isinstance(entry, kind)]
    raise AnswerMalformed(f"a {type(listed).__name__} where a list should be")


def refresh_state(answer: Answer) -> RefreshState:
    """The progress of a refresh, from the answer of `getFolderContents`. Either place of `stillsyncing` counts."""
    result = answer.get("refreshresult")
    result = result if isinstance(result, dict) else {}
    return RefreshState(
        token=text(result.get("token")),
        syncing=truth(answer.get("stillsyncing")) or truth(result.get("stillsyncing")),
        empty=number(answer.get("total")) == 0 and not answer.get("filelist"),
    )
