"""Which folders of Access Anywhere show a part of a bucket, and the paths of objects in them."""

from collections.abc import Iterable

from jibe_sqs.core.decisions import Place


def places_of(places: Iterable[Place], prefix: str) -> tuple[list[Place], list[str]]:
    """Divide the places of one bucket by what they show of a prefix.

    Returns the places that show all of the prefix, best first; and, for the places that show only a part of it, the
    prefixes of the next level that lead to them.
    """
    places = [_with_slash(place) for place in places]
    parts = [place.prefix for place in places if place.prefix.startswith(prefix) and place.prefix != prefix]
    next_folders = {part[: part.index("/", len(prefix)) + 1] for part in parts}
    covering = [place for place in places if prefix.startswith(place.prefix)]
    # A folder that seems to show a part of its bucket is listed as if it showed the whole bucket, too. That reading is
    # less likely, so it comes last.
    partial = {place.folder for place in places if place.prefix}
    covering.sort(key=lambda place: not place.prefix and place.folder in partial)
    return covering, sorted(next_folders)


def object_path(place: Place, key: str) -> str:
    """The path at which a place shows an object."""
    return f"{place.folder}/{key.removeprefix(place.prefix)}"


def folder_path(place: Place, prefix: str) -> str:
    """The path at which a place shows a prefix. The prefix ends in `/`, or is empty for the whole bucket."""
    return object_path(place, prefix).removesuffix("/")


def _with_slash(place: Place) -> Place:
    """Settings may say `trail` for the folder `trail/`."""
    if not place.prefix or place.prefix.endswith("/"):
        return place
    return Place(place.folder, f"{place.prefix}/")
