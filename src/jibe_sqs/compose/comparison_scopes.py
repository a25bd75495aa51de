"""Which keys of which bucket are compared with which folder of Access Anywhere."""

from collections.abc import Iterable
from typing import Final

from jibe_sqs.commands.comparison import Scope
from jibe_sqs.core.decisions import Place, Places
from jibe_sqs.core.errors import ComparisonError
from jibe_sqs.core.globs import KeyFilter

MAX_NAMED: Final = 5
"""Buckets that an error names."""


def roots(places: Places) -> frozenset[str]:
    """The folders that show the top of a bucket, or of a prefix."""
    return frozenset(place.folder for shown in places.values() for place in shown)


def scopes_of(places: Places, ignore: KeyFilter | None = None, bucket: str = "", prefix: str = "") -> list[Scope]:
    """What to compare of a bucket below a prefix; of all buckets if `bucket` is empty. Raises `ComparisonError`.

    `ignore`: keys that are of no interest in any bucket.
    """
    if bucket and bucket not in places:
        names = sorted(places)
        shown = f"{', '.join(names[:MAX_NAMED]) or 'none'}{', …' if len(names) > MAX_NAMED else ''}"
        raise ComparisonError(f"Access Anywhere shows no bucket {bucket!r}; it shows: {shown}")
    prefix = f"{prefix}/" if prefix and not prefix.endswith("/") else prefix
    wanted = [bucket] if bucket else sorted(places)
    found = {
        (scope.bucket, scope.prefix, scope.folder): scope
        for name in wanted
        for scope in _scopes(name, prefix, places[name], ignore)
    }
    if not found:
        raise ComparisonError(f"Access Anywhere shows nothing of s3://{bucket}/{prefix}")
    return [found[key] for key in sorted(found)]


def _scopes(bucket: str, prefix: str, places: Iterable[Place], ignore: KeyFilter | None) -> Iterable[Scope]:
    # An item of Access Anywhere that seems to show a part of its bucket counts as the whole bucket, too, where a change
    # must not be lost. Here the more likely meaning counts.
    partial = {place.folder for place in places if place.prefix}
    for place in places:
        if not place.prefix and place.folder in partial:
            continue
        filters = tuple(each for each in (place.ignore, ignore) if each is not None)
        if prefix.startswith(place.prefix):
            below = prefix.removeprefix(place.prefix).removesuffix("/")
            yield Scope(bucket, prefix, f"{place.folder}/{below}".removesuffix("/"), filters)
        elif place.prefix.startswith(prefix):
            yield Scope(bucket, place.prefix, place.folder, filters)
