"""docs/reference/formats.md: the formats of messages and log files, with examples and the answers to them."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from jibe_sqs.core.announcements import MAX_ANNOUNCEMENTS, MAX_ENVELOPES
from jibe_sqs.core.formats.access_log_keys import ENCODED_ONCE
from jibe_sqs.core.formats.registry import FORMATS, FormatSpec
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.model import SkipReason

from . import configuration
from .document import Page, table
from .format_example import CONFIG, Example, explained
from .format_logs import logs
from .format_messages import messages

ENCODING_NAMES: Final = {
    "aws:s3": "S3 event notifications of AWS",
    "minio:s3": "S3 event notifications of MinIO",
    "ceph:s3": "S3 event notifications of Ceph",
    "eventbridge": "EventBridge events",
}
SKIP_REASONS: Final = {
    SkipReason.READ_ONLY: "the call only reads",
    SkipReason.FAILED: "the call was refused or failed, so nothing changed",
    SkipReason.OWN_WRITE: "one of `own_writes` matches: it is a write of Access Anywhere, which already knows it",
    SkipReason.NOT_OBJECT_CHANGE: (
        "the call changes no object that is shown: a call of another service, tags, ACLs, a part of an upload, a restore, a bucket"
    ),
    SkipReason.IGNORED: "`ignore_keys` or `buckets.*.ignore` matches the key",
    SkipReason.NOT_MAPPED: "no folder of `buckets` shows the object",
    SkipReason.BEFORE_SYNC: "the change happened before the folder's last synchronisation",
    SkipReason.ALREADY_REFRESHED: "the folder was refreshed after the change (only the running service knows this, not `explain`)",
    SkipReason.DUPLICATE: "an earlier record of the same file is about the same event",
}


def _facts() -> dict[str, str]:
    return {
        "config": json.dumps(CONFIG, indent=2),
        "nesting": str(MAX_ENVELOPES),
        "most": f"{MAX_ANNOUNCEMENTS:,}",
        "encodings": "\n".join(
            f"| {ENCODING_NAMES[source]} (`{source}`) | `{word}` |" for source, word in KEY_ENCODINGS.items()
        ),
        "formats": "\n".join(f"| `{name}` | {_keys(spec)} | {_beginnings(spec)} |" for name, spec in FORMATS.items()),
        "once": ", ".join(f"`{name}`" for name in sorted(ENCODED_ONCE)),
        "limits": table(("setting", "default", "meaning"), _limits()),
        "bad": table(
            ("format", "`on_bad_record`", "reason"),
            ((f"`{name}`", f"`{spec.on_bad_record}`", spec.on_bad_record_reason) for name, spec in FORMATS.items()),
        ),
        "reasons": table(("reason", "meaning"), ((f"`{reason}`", SKIP_REASONS[reason]) for reason in SkipReason)),
        "messages": _examples(messages()),
        "logs": _examples(logs()),
    }


def _keys(spec: FormatSpec) -> str:
    return "; ".join(each.shown for each in spec.keys)


def _beginnings(spec: FormatSpec) -> str:
    return "; or ".join(each.shown for each in spec.beginnings)


def _limits() -> Iterator[tuple[str, str, str]]:
    sizes = ", ".join(f"{spec.decompressed_size // 2**30} GiB for `{name}`" for name, spec in FORMATS.items())
    of_the_service = ("limits.messages_reading", "limits.messages_held", "limits.bytes_in_flight")
    for each in configuration.settings():
        if each.name.startswith("limits.") and each.name not in of_the_service:
            default = sizes if each.name == "limits.decompressed_size" else configuration.default(each)
            yield f"`{each.name}`", default, configuration.meaning(each)


def _examples(examples: Iterable[Example]) -> str:
    return "\n".join(_section(example) for example in examples)


def _section(example: Example) -> str:
    where = f"In `{example.key}`:\n\n" if example.key else ""
    note = f"{example.note}\n\n" if example.note else ""
    language = "json" if example.text.startswith("{") else "text"
    return (
        f"\n### {example.title}\n{note}{where}```{language}\n{example.text}\n```\n\n"
        f"gives\n\n```json\n{explained(example)}```"
    )


PAGE: Final = Page("formats", _facts)
