"""Puts what support needs into one archive, without secrets. A part that fails or takes too long is left out, with its reason."""

import asyncio
import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

from jibe_sqs.core.errors import JibeError
from jibe_sqs.core.redaction import Redaction

MODE: Final = 0o600
MAX_PART_BYTES: Final = 16 * 1024 * 1024
"""Bytes of one file in the archive."""
FORMAT: Final = 1
"""The version of the manifest."""


class LeftOut(Exception):
    """There is nothing to put into this part. The text says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the archive. `gather`: returns its text, or an object to be written as JSON. `limit`: seconds."""

    name: str
    gather: Callable[[], Awaitable[Any]]
    limit: float = 20.0


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came of a part: its content, or why there is none."""

    name: str
    content: bytes
    reason: str
    seconds: float


async def gathered(parts: Sequence[Part], redaction: Redaction) -> list[Gathered]:
    """All parts, gathered at the same time and redacted. Raises nothing."""
    return list(await asyncio.gather(*(_gathered(part, redaction) for part in parts)))


async def _gathered(part: Part, redaction: Redaction) -> Gathered:
    began = time.monotonic()
    text = reason = ""
    try:
        async with asyncio.timeout(part.limit):
            found = await part.gather()
        # Redacted first: a part of a secret is not recognised as a secret.
        text = redaction.text(found) if isinstance(found, str) else _as_json(redaction.value(found))
    except TimeoutError:
        reason = f"not gathered within {part.limit:g} s"
    except (LeftOut, JibeError) as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one part, the others are needed all the more
        reason = f"{type(error).__name__}: {error}"
    content = text.encode("utf-8", "replace")[-MAX_PART_BYTES:]
    return Gathered(part.name, content, redaction.text(reason), round(time.monotonic() - began, 3))


def write(path: Path, found: Sequence[Gathered], redaction: Redaction, facts: Mapping[str, Any]) -> None:
    """Write the archive with its manifest, for the user alone. Raises `OSError`, also if the file exists."""
    manifest = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "files": {
            each.name: {
                "sha256": hashlib.sha256(each.content).hexdigest(),
                "bytes": len(each.content),
                "seconds": each.seconds,
            }
            for each in found
            if not each.reason
        },
        "left_out": {each.name: each.reason for each in found if each.reason},
        "redacted_places": redaction.count,
    }
    files = [
        ("manifest.json", _as_json(manifest).encode("utf-8", "replace")),
        *((each.name, each.content) for each in found if not each.reason),
    ]
    # O_EXCL: the archive never gets the content, the owner or the mode of a file that is there already.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    try:
        with os.fdopen(descriptor, "wb") as output:
            _archive(output, path.name.removesuffix(".gz").removesuffix(".tar"), files)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n"


def _archive(output: IO[bytes], folder: str, files: Sequence[tuple[str, bytes]]) -> None:
    with tarfile.open(fileobj=output, mode="w:gz") as archive:
        for name, content in files:
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), MODE, int(time.time())
            archive.addfile(entry, io.BytesIO(content))
