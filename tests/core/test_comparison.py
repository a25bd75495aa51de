"""What counts as a difference in one folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jibe_sqs.core.comparison import SAME, Difference, Entry, Kind, Subfolder, View, order, outcomes

NOON = 1_767_268_800.0
MISSING, STALE, EXTRA, UNSHOWABLE = Kind


def file(name, size=1, at=NOON):
    return Entry(name, size=size, modified=at)


def folder(name, fi_id=""):
    return Entry(name, is_folder=True, id=fi_id)


def compared(stored, shown, view=View()):  # noqa: B008 - it is frozen
    return list(outcomes(sorted(stored, key=order), sorted(shown, key=order), view))


def wrong(stored, shown, view=View()):  # noqa: B008 - it is frozen
    return {(each.kind, each.name) for each in compared(stored, shown, view) if isinstance(each, Difference)}


def test_equal_sides_are_the_same():
    """One outcome for each object, and each folder with its id."""
    assert compared([file("a"), folder("b")], [file("a"), folder("b", "7")]) == [SAME, Subfolder("b", "7")]


def test_an_object_that_is_not_shown_is_missing():
    assert wrong([file("a"), file("b")], [file("b")]) == {(MISSING, "a")}


def test_a_file_without_its_object_is_extra():
    assert wrong([file("b")], [file("a"), file("b")]) == {(EXTRA, "a")}


def test_another_size_is_stale():
    assert wrong([file("a", size=2)], [file("a")]) == {(STALE, "a")}


@pytest.mark.parametrize(("shown_at", "is_stale"), [(-3600, True), (-6, True), (-4, False), (0, False), (3600, False)])
def test_only_an_older_time_is_stale(shown_at, is_stale):
    """A later time may be Access Anywhere's own, of an upload through it. Whole seconds and small skew do not count."""
    assert bool(wrong([file("a")], [file("a", at=NOON + shown_at)])) is is_stale


def test_an_unknown_time_is_not_stale():
    assert not wrong([file("a")], [file("a", at=None)])


def test_times_may_be_left_out():
    assert not wrong([file("a")], [file("a", at=NOON - 3600)], View(compares_times=False))


def test_what_is_in_a_folder_that_one_side_has_differs():
    """The folder is looked into, because only objects count."""
    assert compared([folder("a")], [folder("b", "7")]) == [Subfolder("a", kind=MISSING), Subfolder("b", "7", EXTRA)]


def test_what_is_in_the_trash_is_neither_missing_nor_extra():
    """Access Anywhere may keep its trash in the bucket, or elsewhere."""
    trashed = Entry("a", size=1, modified=NOON, trashed=True)
    assert not wrong([file("a")], [trashed])
    assert not wrong([], [trashed])


def test_a_name_in_another_case_is_the_same_name():
    assert not wrong([file("Read.me")], [file("read.ME")])


def test_of_names_that_differ_in_case_only_one_must_be_shown():
    both = [file("A", size=1), file("a", size=2)]
    assert wrong(both, [file("a", size=2)]) == {(UNSHOWABLE, "A")}
    assert wrong(both, [file("A", size=1)]) == {(UNSHOWABLE, "a")}
    assert wrong(both, both) == set()
    assert wrong(both, []) == {(MISSING, "A"), (UNSHOWABLE, "a")}


def test_an_object_and_a_folder_of_one_name_may_hide_each_other():
    both = [file("a"), folder("a")]
    assert compared(both, [folder("a", "7")]) == [Subfolder("a", "7"), Difference(UNSHOWABLE, "a")]
    assert compared(both, [file("a")]) == [SAME, Subfolder("a", kind=UNSHOWABLE)]
    assert compared(both, [file("a"), folder("a", "7")]) == [SAME, Subfolder("a", "7")]


def test_an_object_in_place_of_a_folder_that_is_gone_is_missing():
    """A refresh removes the folder, and then shows the object."""
    assert compared([file("a")], [folder("a", "7")]) == [Difference(MISSING, "a"), Subfolder("a", "7", EXTRA)]


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_no_names_in_a_path_cannot_be_shown(name):
    """Whether or not Access Anywhere shows something of that name."""
    for shown in ([], [folder(name, "7")]):
        assert compared([folder(name)], shown) == [Subfolder(name, kind=UNSHOWABLE)]
    assert compared([], [folder(name, "7")]) == []
    if name:
        assert compared([file(name)], []) == [Difference(UNSHOWABLE, name)]


def test_what_access_anywhere_has_seen_after_an_old_listing_is_no_difference():
    view = View(listed_at=NOON)
    later = NOON + 60
    assert not wrong([], [file("new", at=later)], view)
    assert not wrong([file("a", at=NOON - 60)], [file("a", size=2, at=later)], view)
    assert wrong([], [file("old", at=NOON - 60)], view) == {(EXTRA, "old")}


def test_objects_that_changed_lately_may_not_be_known_yet():
    view = View(before=NOON)
    assert not wrong([file("a", at=NOON + 60)], [], view)
    assert not wrong([file("a", size=2, at=NOON + 60)], [file("a", at=NOON - 60)], view)
    assert wrong([file("a", at=NOON - 60)], [], view) == {(MISSING, "a")}


NAMES = st.sampled_from(["a", "A", "b", "B", ".", "ß", "SS", "ss", "c"])
ENTRIES = st.lists(
    st.builds(Entry, NAMES, st.booleans(), st.integers(0, 2)), unique_by=lambda entry: (entry.name, entry.is_folder)
)


@given(ENTRIES, ENTRIES)
def test_each_object_has_one_outcome_and_each_folder_one(stored, shown):
    """No object is counted twice or forgotten, however the names collide."""
    found = compared(stored, shown)
    objects = [entry for entry in stored if not entry.is_folder]
    ours = [each for each in found if each is SAME or (isinstance(each, Difference) and each.kind is not EXTRA)]
    assert len(ours) == len(objects)
    folders = sorted(each.name for each in found if isinstance(each, Subfolder) and each.kind is not EXTRA)
    assert folders == sorted(entry.name for entry in stored if entry.is_folder)


@given(ENTRIES)
def test_a_side_that_shows_everything_differs_in_nothing(stored):
    assert {kind for kind, _ in wrong(stored, stored)} <= {UNSHOWABLE}
