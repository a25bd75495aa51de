"""Plans that take more than their room are coarsened: families of folders become trees. Nothing is lost."""

import tracemalloc
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.object_events import BUCKET, event

from jibe_sqs.core import plan_sizes, stale_folders
from jibe_sqs.core.collisions import Collisions
from jibe_sqs.core.decisions import TIME_PRECISION, Decisions, Place
from jibe_sqs.core.model import Actor, Folder, Kind, ObjectEvent
from jibe_sqs.core.plan import MAX_BUCKETS, Plan
from jibe_sqs.core.principals import MAX_PRINCIPAL_LENGTH

KiB, MiB = 1024, 1024 * 1024
PHOTOS = Decisions({BUCKET: (Place("/S3/photos"),)})


def planned(keys, *, room, decisions=PHOTOS, **more) -> Plan:
    plan = Plan(room=room, **more)
    for key in keys:
        each = key if isinstance(key, ObjectEvent) else event(key)
        plan.add(each, decisions.decide(each))
    return plan


def texts(plan: Plan) -> set[str]:
    return {str(folder) for folder in plan.folders}


def covers(folder: Folder, other: Folder) -> bool:
    """Whether a refresh of `folder` is also a refresh of `other`."""
    if not folder.tree:
        return folder == other
    return f"{other.path.rstrip('/')}/".startswith(f"{folder.path.rstrip('/')}/")


ORDINARY = [f"ordinary/{n}/deep/er/x" for n in range(10)]
HOT = [f"hot/prefix/{n}/x" for n in range(3000)]


@pytest.mark.parametrize("keys", [[*ORDINARY, *HOT], [*HOT, *ORDINARY]], ids=["ordinary first", "ordinary last"])
def test_one_large_family_becomes_a_tree_and_the_other_folders_stay(keys):
    plan = planned(keys, room=MiB)
    assert texts(plan) == {f"/S3/photos/{key.rpartition('/')[0]}" for key in ORDINARY} | {"/S3/photos/hot/prefix/**"}
    assert plan.coarsened == 1
    assert (plan.events, plan.records) == (3010, 3010)


def test_trees_are_made_as_far_down_as_possible():
    plan = planned([*ORDINARY, *(f"hot/{n % 50}/{n}/x" for n in range(3000))], room=MiB)
    assert texts(plan) >= {f"/S3/photos/{key.rpartition('/')[0]}" for key in ORDINARY}
    rest = [text for text in texts(plan) if "/hot/" in text]
    assert 1 < sum(text.endswith("/**") for text in rest) <= 50
    assert "/S3/photos/hot/**" not in texts(plan)


def test_many_folders_at_the_top_do_not_hide_larger_families_below():
    """The top has more folders than each family in `hot`, but fewer than all of them."""
    plan = planned([*(f"{n}/x" for n in range(200)), *(f"hot/{n % 50}/{n}/x" for n in range(5000))], room=MiB)
    assert texts(plan) >= {f"/S3/photos/{n}" for n in range(200)}


def test_a_plan_within_its_room_is_not_coarsened():
    plan = planned(HOT, room=100 * MiB)
    assert (plan.coarsened, len(plan.folders)) == (0, 3000)


def test_later_events_below_a_tree_make_no_new_entries():
    plan = planned(HOT, room=MiB)
    size = plan.size
    for key in (f"hot/prefix/later-{n}/more/x" for n in range(1000)):
        plan.add(event(key, time=5000.0), PHOTOS.decide(event(key)))
    assert plan.size == size
    [stale] = plan.needed({}).stale
    assert (stale.earliest, stale.latest, stale.events) == (1000, 5000, 4000)


def test_a_name_that_begins_like_a_tree_is_not_in_it():
    plan = planned(HOT, room=MiB)
    for key in ("hot/prefix-2/x", "hot/prefix", "hot/prefix!/x"):
        plan.add(event(key), PHOTOS.decide(event(key)))
    assert texts(plan) == {f"/S3/photos/hot{end}" for end in ("/prefix/**", "", "/prefix-2", "/prefix!")}


def test_a_tree_never_goes_above_its_place():
    places = Decisions({BUCKET: (Place("/S3/photos/team", "team/"), Place("/All"))})
    plan = planned((f"team/{n}/x" for n in range(3000)), room=20 * KiB, decisions=places)
    assert texts(plan) == {"/S3/photos/team/**", "/All/team/**"}
    assert plan.events == sum(stale.events for stale in plan.needed({}).stale) == 3000


def test_a_place_at_the_root_may_become_the_tree_of_everything():
    plan = planned((f"{n}/x" for n in range(3000)), room=20 * KiB, decisions=Decisions({BUCKET: (Place("/"),)}))
    assert texts(plan) == {"/**"}


def test_a_tree_stays_within_a_place_that_lies_in_another():
    places = {"a": (Place("/S3"),), "b": (Place("/S3/x/b"),)}
    plan = Plan(room=20 * KiB)
    for n in range(1000):
        for bucket in "ab":
            each = event(f"x/{n}/x", bucket=bucket)
            plan.add(each, Decisions(places).decide(each))
    assert {stale.bucket: set(map(str, stale.folders)) for stale in plan.needed({}).stale} == {
        "a": {"/S3/x/**"},
        "b": {"/S3/x/b/x/**"},
    }


def test_the_room_is_asked_for_when_the_plan_grows_and_may_change():
    answers, asked = [64 * MiB], []

    def room() -> int:
        asked.append(answers[-1])
        return answers[-1]

    plan = planned(HOT, room=room)
    assert 1 <= len(asked) < 20
    assert not plan.coarsened
    answers.append(MiB)
    for key in (f"more/{n}/x" for n in range(3000)):
        plan.add(event(key), PHOTOS.decide(event(key)))
    assert plan.coarsened
    assert plan.size <= MiB


def test_changes_beyond_the_room_refresh_their_folders_all_of_them():
    """The refreshes come before the reports. So a later refresh and an earlier report of one object must not be mixed."""
    plan = planned(HOT, room=100 * MiB, by_object=True)
    assert (len(plan.changes), len(plan.folders)) == (3000, 0)
    plan = planned([*HOT, "a/x"], room=MiB, by_object=True)
    assert not plan.changes
    assert texts(plan) == {"/S3/photos/hot/prefix/**", "/S3/photos/a"}
    assert sum(stale.events for stale in plan.needed({}).stale) == plan.events == 3001


@pytest.mark.parametrize("key", ["a/../b", "../b", "a/./b", "a/..", ".", "a/../"])
def test_a_change_of_an_object_without_a_path_refreshes_its_folder(key):
    plan = planned([key, "a/b"], room=MiB, by_object=True)
    assert [change.event.key for change in plan.changes] == ["a/b"]
    assert len(plan.folders) == 1


@pytest.mark.parametrize("key", ["a/..b/c", "a/b..", "...", "a//b"])
def test_a_change_of_an_object_with_other_dots_is_reported(key):
    assert len(planned([key], room=MiB, by_object=True).changes) == 1


# Hostile files


SEGMENTS = "/".join("a" * 2000)

HOSTILE = {
    "folders in one parent": lambda n: f"{n}/x",
    "a binary tree": lambda n: "/".join(f"{n:b}") + "/x",
    "2,000 segments, different at the start": lambda n: f"{n}/{SEGMENTS}/x",
    "2,000 segments, different at the end": lambda n: f"{SEGMENTS}/{n}/x",
    "2,000 segments, different in between": lambda n: (
        f"{SEGMENTS[: 2 * (n % 2000)]}b/{SEGMENTS[: 2 * (n * 7 % 2000)]}{n}/x"
    ),
    "each folder in the one before": lambda n: "a/" * (n % 2000) + f"{n // 2000}/x",
    "keys of 4,000 other characters": lambda n: f"{n}/{'🌊' * 4000}/x",
}


@pytest.mark.parametrize("key", HOSTILE.values(), ids=HOSTILE.keys())
def test_the_size_stays_within_the_room_after_each_event(key):
    plan, room = Plan(room=MiB), MiB
    for n in range(3000):
        each = event(key(n))
        plan.add(each, PHOTOS.decide(each))
        assert plan.size <= room
    assert plan.coarsened
    assert plan.events == sum(stale.events for stale in plan.needed({}).stale) == 3000


def test_coarsening_again_and_again_visits_each_folder_only_a_few_times(monkeypatch):
    """Each coarsening halves the plan. So the work grows with the number of folders, not with its square."""
    visited = 0

    def counted(costs, excess):
        nonlocal visited
        visited += sum(map(len, costs.values()))
        return starts_of_trees(costs, excess)

    starts_of_trees = stale_folders.starts_of_trees
    monkeypatch.setattr(stale_folders, "starts_of_trees", counted)
    plan = planned((f"{n // 100}/{n}/x" for n in range(20_000)), room=MiB)
    assert plan.coarsened > 1
    assert visited < 4 * 20_000


def test_many_buckets_and_their_long_names_are_not_kept():
    buckets = count()
    plan = planned((event(bucket=f"{next(buckets)}{'b' * MiB}") for _ in range(50)), room=MiB, decisions=Decisions({}))
    assert (plan.unmapped, list(plan.buckets), plan.records) == ({}, [""], 50)
    assert plan.size < 10 * KiB


def test_each_bucket_is_a_place_that_coarsening_keeps_even_beyond_the_room():
    events = [event(f"{n}/x", bucket=f"b{n % 1500}") for n in range(6000)]
    plan = planned(events, room=MiB, decisions=Decisions())
    assert len({stale.bucket for stale in plan.needed({}).stale}) == 1500
    assert plan.size < smallest(Decisions(), events) * 5 // 4
    assert len(plan.buckets) == MAX_BUCKETS + 1
    assert sum(stale.events for stale in plan.needed({}).stale) == 6000


@pytest.mark.parametrize("key", ["x", "🌊" * 4000], ids=["short", "long"])
def test_the_size_of_buckets_that_are_not_mapped_is_not_below_the_truth(key):
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        plan = planned((event(f"{n}{key}", bucket=f"b{n}") for n in range(1000)), room=MiB, decisions=Decisions({}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(plan.unmapped_changes) == 1000
    assert peak - before <= plan.size


def test_a_principal_longer_than_any_arn_is_not_kept():
    names = ["a" * MAX_PRINCIPAL_LENGTH, "b" * (MAX_PRINCIPAL_LENGTH + 1), "c" * MiB]
    plan = planned((event(actor=Actor(name)) for name in names), room=MiB)
    assert list(plan.principals) == names[:1]


def test_principals_give_way_to_folders():
    plan = planned((event(f"{n // 100}/{n}/x", actor=Actor(f"{n}{'a' * 2000}")) for n in range(3000)), room=MiB)
    assert not plan.principals
    assert len(plan.folders) > 20


@pytest.mark.parametrize("folders", [1000, 3000, 5500])
@pytest.mark.parametrize("name", ["n", "n" * 500, "🌊" * 500], ids=["short", "long", "other characters"])
def test_the_size_is_not_below_the_truth(folders, name):
    """Python's own count of the memory, with all that `needed` and coarsening take."""
    decisions = Decisions({BUCKET: (Place("/S3/photos"),)})
    decisions.collisions = Collisions(max_names=2)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        plan = planned((f"hot/{n}/{name}/x" for n in range(folders)), room=1000 * MiB, decisions=decisions)
        size = plan.size
        needed = plan.needed(dict.fromkeys(plan.folders, 0.0))
        assert len(needed.folders) == folders
        del needed
        plan._stale.coarsen(0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= size


# Any events

NAMES = st.sampled_from(["a", "b", "aa", "a b", "é", "🌊", "", ".."])
KEYS = st.lists(NAMES, min_size=1, max_size=6).map(lambda names: "/".join([*names, "x"]))
EVENTS = st.lists(
    st.builds(
        event,
        KEYS,
        st.sampled_from([*[Kind.WRITTEN] * 5, Kind.DELETED, Kind.DELETED_UNLISTED]),
        bucket=st.sampled_from(["one", "two"]),
        time=st.integers(0, 20).map(float),
    ),
    max_size=60,
)
PLACE = st.builds(Place, st.sampled_from(["/", "/P", "/P/a", "/Q/b"]), st.sampled_from(["", "", "a/", "a/b/"]))
PLACES = st.fixed_dictionaries({"one": st.lists(PLACE, max_size=3), "two": st.lists(PLACE, max_size=2)})
ROOMS = st.sampled_from([0, 5_000, 10_000, 15_000, 20_000, 30_000, 10**9])


def smallest(decisions: Decisions, events) -> int:
    """The size of a plan with nothing but trees of whole places."""
    plan = Plan(room=10**9)
    for each in events:
        plan.add(each, decisions.decide(event("", Kind.DELETED_UNLISTED, bucket=each.bucket)))
    return plan.size


@given(EVENTS, PLACES, ROOMS, st.booleans())
def test_every_event_is_covered_and_counted_once_in_any_room(events, places, room, by_object):
    decisions = Decisions(places)
    floor = smallest(decisions, events)
    plan, fine = Plan(room=room, by_object=by_object), Plan(room=10**9)
    for each in events:
        decision = decisions.decide(each)
        plan.add(each, decision)
        fine.add(each, decision)
        examples = plan.unmapped_changes.values()
        size = sum(plan_sizes.BUCKET + plan_sizes.text_size(one.bucket + one.key) for one in examples)
        assert plan.size <= max(room, floor * 5 // 4 + 2000 + size)
    assert (plan.records, plan.events, plan.skipped) == (fine.records, fine.events, fine.skipped)
    counted = Counter({bucket: counts.events for bucket, counts in plan.buckets.items() if counts.events})
    stale = plan.needed({}).stale
    for change in plan.changes:
        counted[change.event.bucket] -= 1
    found = Counter()
    for each in stale:
        found[each.bucket] += each.events
    assert +found == +counted
    for wanted in fine.needed({}).stale:
        for folder in wanted.folders:
            by_stale = [
                each
                for each in stale
                if each.bucket == wanted.bucket and any(covers(other, folder) for other in each.folders)
            ]
            reported = [change for change in plan.changes if folder in change.folders]
            assert by_stale or reported
            if not reported:
                assert min(each.earliest for each in by_stale) <= wanted.earliest
                assert max(each.latest for each in by_stale) >= wanted.latest


@given(EVENTS, PLACES, ROOMS)
def test_no_tree_is_above_its_place(events, places, room):
    decisions = Decisions(places)
    plan = Plan(room=room)
    for each in events:
        plan.add(each, decisions.decide(each))
    for stale in plan.needed({}).stale:
        tops = [place.folder for place in places[stale.bucket]]
        assert all(any(covers(Folder(top, tree=True), folder) for top in tops) for folder in stale.folders)


@given(EVENTS, PLACES, ROOMS, st.integers(0, 20))
def test_watermarks_never_skip_an_event_that_no_refresh_has_seen(events, places, room, moment):
    """All folders were refreshed at one time, the trees too. Each later event is in a folder or tree that is needed."""
    decisions = Decisions(places)
    plan = Plan(room=room)
    for each in events:
        plan.add(each, decisions.decide(each))
    needed = plan.needed(dict.fromkeys(plan.folders, float(moment))).folders
    for each in events:
        decision = decisions.decide(each)
        if each.time + TIME_PRECISION > moment and hasattr(decision, "folders"):
            assert all(any(covers(other, folder) for other in needed) for folder in decision.folders)
