"""A comparison of many folders: what is confirmed, repaired, sampled, and what it survives."""

import pytest
from tests.compared_sides import BUCKET, NOON, SCOPE, TOP, Shown, Storage

from jibe_sqs.commands.comparison import Comparison, Scope
from jibe_sqs.commands.comparison_levels import Levels
from jibe_sqs.commands.sorted_entries import SortedEntries
from jibe_sqs.core.comparison import Entry, Kind, View, order
from jibe_sqs.core.errors import CallFailed, LogAccessDenied
from jibe_sqs.core.globs import KeyFilter

MISSING, STALE, EXTRA, UNSHOWABLE = Kind


async def compared(storage, shown, *, repair=None, scopes=(SCOPE,), most=4, **how):
    comparison = Comparison(Levels(storage, shown, **how), repair=repair)
    return await comparison.run(scopes, most=most)


KEYS = ["a", "x/b", "x/y/c", "x/y/d", "z/e"]


async def test_equal_sides_are_in_sync_and_each_folder_is_read_once():
    storage, shown = Storage(KEYS), Shown(KEYS)
    totals = await compared(storage, shown)
    assert totals.in_sync
    assert (totals.objects, totals.folders) == (5, 4)
    assert set(storage.calls.values()) == set(shown.calls.values()) == {1}


async def test_each_difference_is_counted_in_its_folder():
    storage, shown = Storage([*KEYS, "x/new"]), Shown([*KEYS, "x/y/old", "gone/deep/old"])
    storage.sizes["x/y/c"] = 2
    totals = await compared(storage, shown)
    assert not totals.in_sync
    assert totals.counts == {MISSING: 1, STALE: 1, EXTRA: 2}
    assert {(each.kind, each.key) for each in totals.examples} == {
        (MISSING, "x/new"),
        (STALE, "x/y/c"),
        (EXTRA, "x/y/old"),
        (EXTRA, "gone/deep/old"),
    }
    worst = totals.worst[0]
    assert (worst.prefix, worst.folder, worst.differences, worst.objects) == ("x/y/", "/S3/media/x/y", 2, 2)


async def test_all_objects_of_a_folder_that_is_not_shown_are_missing():
    totals = await compared(Storage(KEYS), Shown(["a", "z/e"]))
    assert totals.counts == {MISSING: 3}
    assert totals.objects == 5


async def test_the_marker_of_a_folder_is_no_object():
    totals = await compared(Storage([*KEYS, "x/", "empty/"]), Shown(KEYS))
    assert totals.in_sync
    assert totals.objects == 5


async def test_objects_that_cannot_be_shown_are_counted_but_are_no_difference():
    keys = [*KEYS, "x//deep/one", "x/../two", "x/."]
    totals = await compared(Storage(keys), Shown(KEYS))
    assert totals.in_sync
    assert totals.counts == {UNSHOWABLE: 3}
    assert totals.objects == 8


async def test_a_difference_that_is_gone_when_it_is_looked_at_again_does_not_count():
    """Both sides change while they are compared."""
    storage, shown = Storage([*KEYS, "x/new"]), Shown(KEYS)
    totals = await compared(storage, shown)
    assert totals.counts == {MISSING: 1}

    def catch_up():
        shown.before["/S3/media/x"] = lambda: shown.sizes.update({"x/new": 1})

    shown.before["/S3/media/x"] = catch_up
    totals = await compared(storage, shown)
    assert totals.in_sync
    assert totals.objects == 6


async def test_a_difference_that_is_new_when_it_is_looked_at_again_does_not_count():
    """It was not confirmed. The next comparison finds it, if it stays."""
    storage, shown = Storage([*KEYS, "x/new"]), Shown(KEYS)

    def change():
        shown.before["/S3/media/x"] = lambda: (shown.sizes.update({"x/new": 1}), storage.sizes.update({"x/newer": 1}))

    shown.before["/S3/media/x"] = change
    totals = await compared(storage, shown)
    assert totals.in_sync


async def test_what_differs_is_refreshed_and_compared_again():
    storage, shown = Storage([*KEYS, "x/new", "q/r/new"]), Shown([*KEYS, "z/old", "gone/old"])
    storage.sizes["x/y/c"] = 2
    totals = await compared(storage, shown, repair=shown.refresh_from(storage))
    assert totals.in_sync
    assert totals.repaired == 5
    assert shown.sizes == storage.sizes


async def test_what_a_refresh_does_not_repair_still_counts():
    async def useless(_):
        return []

    totals = await compared(Storage(KEYS), Shown(KEYS[1:]), repair=useless)
    assert (totals.counts, totals.repaired) == ({MISSING: 1}, 0)


async def test_a_folder_that_cannot_be_read_does_not_stop_the_others():
    shown = Shown(KEYS)
    shown.errors["/S3/media/x"] = CallFailed("getFolderContents: broken", code="broken")
    totals = await compared(Storage([*KEYS, "z/new"]), shown)
    assert not totals.in_sync
    assert totals.counts == {MISSING: 1}
    assert [(each.folder, each.reason) for each in totals.failures] == [
        ("/S3/media/x", "getFolderContents: broken"),
    ]


async def test_an_error_of_all_folders_stops_the_comparison():
    storage = Storage(KEYS)
    storage.error = LogAccessDenied("s3://media: AccessDenied: allow s3:ListBucket")
    with pytest.raises(LogAccessDenied):
        await compared(storage, Shown(KEYS))


async def test_a_sample_asks_access_anywhere_for_the_chosen_folders_only():
    """Whether a folder is chosen does not depend on the others, so the sample is not biased by the tree's shape."""
    keys = [f"{top}/{below}/object" for top in range(10) for below in range(10)]
    storage, shown = Storage(keys), Shown(keys)
    choices = iter([False] * 5 + [True, False] * 100)
    comparison = Comparison(Levels(storage, shown), is_chosen=lambda: next(choices))
    totals = await comparison.run([SCOPE], most=1)
    assert totals.folders + totals.skipped == 111
    assert totals.folders == shown.calls.total() == 53
    assert len(storage.calls) == 111


async def test_ignored_keys_are_on_neither_side():
    storage, shown = Storage([*KEYS, "x/_temporary/1", "x/y/2.tmp"]), Shown([*KEYS, "x/_temporary/2"])
    scope = Scope(BUCKET, "", TOP, (KeyFilter(("_temporary/",)), KeyFilter(("*.tmp",))))
    totals = await compared(storage, shown, scopes=[scope])
    assert totals.in_sync
    assert totals.objects == 5


async def test_a_mapped_prefix_is_compared_below_that_prefix_only():
    shown = Shown(["b", "y/c", "y/d"])
    totals = await compared(Storage(KEYS), shown, scopes=[Scope(BUCKET, "x/", TOP)])
    assert totals.in_sync
    assert totals.objects == 3


async def test_a_difference_with_an_old_listing_is_confirmed_with_a_new_one():
    """Objects that were deleted since the inventory was made are not missing."""
    old, now = Storage([*KEYS, "x/deleted", "z/missing"]), Storage([*KEYS, "z/missing"])
    shown = Shown(KEYS)
    comparison = Comparison(Levels(old, shown, view=lambda: View(listed_at=NOON + 60)), again=Levels(now, shown))
    totals = await comparison.run([SCOPE], most=4)
    assert totals.counts == {MISSING: 1}
    assert [each.key for each in totals.examples] == ["z/missing"]
    assert set(now.calls) == {"x/", "z/"}


async def test_a_million_names_are_sorted_in_files():
    """With few in memory, the order is the same as with all of them."""
    entries = [Entry(name, size=at) for at, name in enumerate(["b", "A", "a", "ß", "SS", "z", "Y", "_", "c"] * 7)]
    with SortedEntries(most_in_memory=4) as spilled:
        for entry in entries:
            spilled.add(entry)
        assert [(each.name, each.is_folder) for each in spilled] == [
            (each.name, each.is_folder) for each in sorted(entries, key=order)
        ]


async def test_what_a_repair_brings_to_light_is_compared_and_repaired():
    """Access Anywhere shows the folder, and not the object of its name, after the folder above is refreshed."""
    storage, shown = Storage(["x/a", "x/a/b"]), Shown(["x/c"])

    async def repair(folder):
        if folder.path == f"{TOP}/x":
            shown.sizes = {"x/a/": 0}
        if folder.path == f"{TOP}/x/a":
            shown.sizes["x/a/b"] = 1
        return []

    totals = await compared(storage, shown, repair=repair)
    assert "x/a/b" in shown.sizes
    assert totals.in_sync
    assert totals.counts == {UNSHOWABLE: 1}
    again = await compared(storage, shown)
    assert again.counts == totals.counts


@pytest.mark.parametrize("prefix", ["x//", "x/../", "./", "x/./y/"])
async def test_a_prefix_that_is_no_path_is_not_asked_of_access_anywhere(prefix):
    """There it might name another folder, whose files would count."""
    shown = Shown(["x/a"])
    scope = Scope(BUCKET, prefix, f"{TOP}/{prefix}".removesuffix("/"))
    totals = await compared(Storage([f"{prefix}a", f"{prefix}y/b"]), shown, scopes=[scope])
    assert totals.counts == {UNSHOWABLE: 2}
    assert not shown.calls


async def test_a_folder_for_which_the_disk_has_no_room_does_not_stop_the_others(monkeypatch):
    """It is not compared, so the index does not count as true. A service that compares goes on."""
    monkeypatch.setattr("tempfile.tempdir", "/no/such/directory")
    keys = [*KEYS, *(f"large/{number}" for number in range(20_001))]
    totals = await compared(Storage(keys), Shown(keys))
    assert not totals.in_sync
    assert (totals.objects, totals.failed) == (len(KEYS), 1)
    assert "TMPDIR" in totals.failures[0].reason


async def test_a_missing_object_that_a_refresh_shows_wrong_is_not_repaired():
    storage, shown = Storage(KEYS), Shown(KEYS)
    del shown.sizes["x/b"]

    async def repair(_):
        shown.sizes["x/b"] = 7
        return []

    totals = await compared(storage, shown, repair=repair)
    assert (totals.in_sync, totals.counts, totals.repaired) == (False, {STALE: 1}, 0)
