"""Decisions on events: the reason to skip an event, or its stale folders."""

from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.core.object_events import ANN, ANN_ACTOR, BUCKET, ROLE, SESSION, UNKNOWN_ACTOR, event, folders, is_own

from jibe_sqs.core.decisions import (
    MAX_REMEMBERED,
    MAX_REMEMBERED_LENGTH,
    TIME_PRECISION,
    Decisions,
    OwnWrite,
    OwnWrites,
    Place,
    Unmapped,
)
from jibe_sqs.core.globs import KeyFilter
from jibe_sqs.core.model import Actor, Folder, Kind, ObjectEvent, Refresh, Skip, SkipReason, Unchanged


@pytest.mark.parametrize("reason", SkipReason)
def test_an_unchanged_record_is_skipped_for_its_reason(reason):
    assert Decisions({}).decide(Unchanged(reason, BUCKET, "a")) == Skip(reason)


def test_an_unchanged_record_is_never_an_own_write():
    own = OwnWrites(source_addresses=(ip_network("0.0.0.0/0"),))
    assert Decisions({}, own).decide(Unchanged(SkipReason.FAILED)) == Skip(SkipReason.FAILED)


def test_an_own_write_to_a_bucket_that_is_not_mapped_is_an_own_write():
    decisions = Decisions({}, OwnWrites(access_keys=frozenset({"AKIA1"})))
    assert decisions.decide(event(actor=ANN_ACTOR)) == OwnWrite(rule="own_writes.access_keys: AKIA1")
    assert OwnWrite().reason is SkipReason.OWN_WRITE


def test_another_write_to_a_bucket_that_is_not_mapped_is_not_mapped():
    decisions = Decisions({"other": (Place("/other"),)}, OwnWrites(access_keys=frozenset({"AKIA2"})))
    assert decisions.decide(event(actor=ANN_ACTOR)) == Unmapped()


def test_a_bucket_without_places_is_not_mapped():
    assert Decisions({BUCKET: ()}).decide(event()) == Unmapped()
    assert Unmapped().reason is SkipReason.NOT_MAPPED


@pytest.mark.parametrize("kind", Kind)
def test_an_event_of_any_kind_asks_for_a_refresh(kind):
    assert isinstance(Decisions().decide(event(kind=kind)), Refresh)


# Own writes

OWN = {
    "its access key": {"access_keys": frozenset({"AKIA0", "AKIA1"})},
    "its ARN": {"principals": (ANN,)},
    "its ARN, with a wildcard": {"principals": ("arn:aws:iam::*:user/ann",)},
    "its ARN, with ? for a letter": {"principals": (ANN[:-1] + "?",)},
    "one of several ARNs (yas3fs PR #147)": {"principals": ("arn:other", ANN)},
    "the role of its session": {"session_issuers": (ROLE,)},
    "the role of its session, with a wildcard": {"session_issuers": ("*role/access-*",)},
    "its address": {"source_addresses": (ip_network("192.0.2.7"),)},
    "its network": {"source_addresses": (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))},
    "its user agent": {"user_agents": ("aws-cli/*",)},
    "its user agent with brackets": {"user_agents": ("aws-cli/2.15 [x]",)},
    "one of several fields": {"access_keys": frozenset({"other"}), "user_agents": ("aws-cli*",)},
}

RULES = {
    "own_writes.access_keys: AKIA1": {"access_keys": frozenset({"AKIA0", "AKIA1"})},
    "own_writes.principals: *user/ann": {"principals": ("arn:other", "*user/ann", "*")},
    f"own_writes.session_issuers: {ROLE}": {"session_issuers": (ROLE,)},
    "own_writes.source_addresses: 192.0.2.0/24": {
        "source_addresses": (ip_network("10.0.0.0/8"), ip_network("192.0.2.0/24"))
    },
    "own_writes.user_agents: aws-cli/2.15 [x]": {"user_agents": ("aws-cli/2.15 [x]", "aws*")},
}

NOT_OWN = {
    "nothing configured": {},
    "another access key": {"access_keys": frozenset({"AKIA2"})},
    "an access key with a wildcard, which is not supported": {"access_keys": frozenset({"AKIA*"})},
    "another ARN": {"principals": (ANN + "a",)},
    "the beginning of its ARN": {"principals": (ANN[:-1],)},
    "the end of its ARN": {"principals": (ANN[1:],)},
    "its ARN in capitals": {"principals": (ANN.upper(),)},
    "its ARN as the issuer of its session": {"session_issuers": (ANN,)},
    "dots in place of colons": {"principals": (ANN.replace(":", "."),)},
    "brackets as a set of letters": {"user_agents": ("aws-cli/2.15 x", "aws-cli/2.1[0-9]*")},
    "another network": {"source_addresses": (ip_network("192.0.3.0/24"), ip_network("2001:db8::/32"))},
}


@pytest.mark.parametrize("rule", RULES)
def test_an_own_write_names_the_first_rule_that_matches_it(rule):
    """An operator must see which rule is too broad."""
    assert Decisions(own=OwnWrites(**RULES[rule])).decide(event(actor=ANN_ACTOR)) == OwnWrite(rule=rule)


@pytest.mark.parametrize("own", OWN.values(), ids=OWN.keys())
def test_a_write_is_an_own_write_by(own):
    assert is_own(ANN_ACTOR, **own)


@pytest.mark.parametrize("own", NOT_OWN.values(), ids=NOT_OWN.keys())
def test_a_write_is_not_an_own_write_by(own):
    assert not is_own(ANN_ACTOR, **own)


def test_an_assumed_role_matches_the_arn_of_its_session():
    assert is_own(Actor(SESSION), principals=("arn:aws:sts::*:assumed-role/access-anywhere/*",))


def test_an_ipv6_address_matches_its_network():
    assert is_own(Actor(source_address="2001:db8::7"), source_addresses=(ip_network("2001:db8::/32"),))
    assert not is_own(Actor(source_address="2001:db9::7"), source_addresses=(ip_network("2001:db8::/32"),))


@pytest.mark.parametrize("address", ["cloudtrail.amazonaws.com", "AWS Internal", "", "192.0.2", "192.0.2.7, 10.0.0.1"])
def test_a_text_that_is_not_an_address_matches_no_network(address):
    assert not is_own(Actor(source_address=address), source_addresses=(ip_network("0.0.0.0/0"), ip_network("::/0")))


def test_an_empty_field_never_matches():
    empty = OwnWrites(frozenset({""}), ("", "*"), ("", "*"), (ip_network("0.0.0.0/0"),), ("", "*"))
    assert isinstance(Decisions(own=empty).decide(event(actor=UNKNOWN_ACTOR)), Refresh)


@given(st.text(min_size=1))
def test_any_text_matches_itself_and_a_star(text):
    plain = text.replace("*", "+").replace("?", "+")
    assert is_own(Actor(plain), principals=(plain,))
    assert is_own(Actor(text), principals=("*",))
    assert is_own(Actor(f"a{text}b"), principals=("a*b",))


# Folders

TOP = Place("/S3/photos")
TEAM = Place("/Team", "team/")

MAPPED = {
    "without settings a bucket is at its name": ("a/b.txt", (), ["/photos/a"]),
    "a key without a folder": ("b.txt", (TOP,), ["/S3/photos"]),
    "a key in a folder": ("a/b.txt", (TOP,), ["/S3/photos/a"]),
    "a key in deep folders": ("a/b/c/d/e.txt", (TOP,), ["/S3/photos/a/b/c/d"]),
    "a folder marker is shown in the folder above": ("a/b/", (TOP,), ["/S3/photos/a"]),
    "a marker at the top": ("a/", (TOP,), ["/S3/photos"]),
    "two places": ("a/b", (TOP, Place("/Elsewhere")), ["/S3/photos/a", "/Elsewhere/a"]),
    "the same place twice": ("a/b", (TOP, TOP), ["/S3/photos/a"]),
    "a prefix is removed": ("team/a/b", (TEAM,), ["/Team/a"]),
    "a key directly below the prefix": ("team/b", (TEAM,), ["/Team"]),
    "the marker of the prefix": ("team/", (TEAM,), ["/Team"]),
    "a key beside the prefix": ("other/b", (TEAM,), []),
    "a key with a similar prefix": ("teams/b", (TEAM,), []),
    "a key above the prefix": ("team", (TEAM,), []),
    "a whole bucket and a part of it": ("team/a/b", (TOP, TEAM), ["/S3/photos/team/a", "/Team/a"]),
    "a place with a slash at its end": ("a/b", (Place("/S3/photos/"),), ["/S3/photos/a"]),
    "the root folder": ("b", (Place("/"),), ["/"]),
    "a folder below the root folder": ("a/b", (Place("/"),), ["/a"]),
    "spaces": ("a b/ c /d", (TOP,), ["/S3/photos/a b/ c "]),
    "a plus": ("a+b/c", (TOP,), ["/S3/photos/a+b"]),
    "a key that looks encoded": ("a%2Fb/c%20d/e", (TOP,), ["/S3/photos/a%2Fb/c%20d"]),
    "unicode": ("été/🌊/e\u0301/x", (TOP,), ["/S3/photos/été/🌊/e\u0301"]),
    "dots in names": ("a.b/..c/.../d..", (TOP,), ["/S3/photos/a.b/..c/..."]),
    "a name ..: the tree above it": ("a/../b/c", (TOP,), ["/S3/photos/a/**"]),
    "a name .: the tree above it": ("a/b/./c", (TOP,), ["/S3/photos/a/b/**"]),
    "names .. at the start: the tree of the place": ("../../../etc/passwd", (TOP,), ["/S3/photos/**"]),
    "a name .. after the prefix of the place": ("team/../a", (TEAM,), ["/Team/**"]),
    "names .. and no name": ("a/b//../c", (TOP,), ["/S3/photos/a/b/**"]),
    "an object named ..": ("a/..", (TOP,), ["/S3/photos/a"]),
    "an object named .": (".", (TOP,), ["/S3/photos"]),
    "the marker of a folder ..": ("a/../", (TOP,), ["/S3/photos/a"]),
    "a backslash and a line end": ("a\\b\n/c", (TOP,), ["/S3/photos/a\\b\n"]),
    "a folder without a name: the tree above it": ("a//b", (TOP,), ["/S3/photos/a/**"]),
    "a key that starts with a slash": ("/a/b", (TOP,), ["/S3/photos/**"]),
    "folders without a name in a named one": ("a/b//c//d", (TOP,), ["/S3/photos/a/b/**"]),
    "the marker of a folder without a name": ("a//", (TOP,), ["/S3/photos/a"]),
    "a key that is one slash": ("/", (TOP,), ["/S3/photos"]),
}


@pytest.mark.parametrize("kind", [Kind.WRITTEN, Kind.DELETED])
@pytest.mark.parametrize(("key", "places", "expected"), MAPPED.values(), ids=MAPPED.keys())
def test_the_stale_folders_of_a_key(key, places, expected, kind):
    assert folders(key, *places, kind=kind) == expected


UNLISTED = {
    "a whole bucket": ("", (TOP,), ["/S3/photos/**"]),
    "a whole bucket without settings": ("", (), ["/photos/**"]),
    "a whole bucket of two places": ("", (TOP, TEAM), ["/S3/photos/**", "/Team/**"]),
    "a prefix that is a folder": ("a/b/", (TOP,), ["/S3/photos/a/b/**"]),
    "a prefix that ends within a name": ("a/b", (TOP,), ["/S3/photos/a/**"]),
    "a prefix with a nameless folder": ("a//b", (TOP,), ["/S3/photos/a/**"]),
    "a prefix with a folder ..": ("a/../b/", (TOP,), ["/S3/photos/a/**"]),
    "a prefix of a folder .": ("a/./", (TOP,), ["/S3/photos/a/**"]),
    "a prefix that is ..": ("..", (TOP,), ["/S3/photos/**"]),
    "a prefix of a nameless folder": ("a//", (TOP,), ["/S3/photos/a/**"]),
    "a prefix above the prefix of the place": ("te", (TEAM,), ["/Team/**"]),
    "the prefix of the place": ("team/", (TEAM,), ["/Team/**"]),
    "a prefix below the prefix of the place": ("team/a/b", (TEAM,), ["/Team/a/**"]),
    "a prefix beside the prefix of the place": ("other/", (TEAM,), []),
    "a prefix that only starts like the prefix of the place": ("teams", (TEAM,), []),
    "the root folder": ("", (Place("/"),), ["/**"]),
}


@pytest.mark.parametrize("kind", [Kind.DELETED_UNLISTED, Kind.WRITTEN_UNLISTED])
@pytest.mark.parametrize(("prefix", "places", "expected"), UNLISTED.values(), ids=UNLISTED.keys())
def test_a_change_without_a_key_makes_everything_below_its_prefix_stale(prefix, places, expected, kind):
    assert folders(prefix, *places, kind=kind) == expected


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: "/" not in name and name not in (".", ".."))


@given(st.lists(NAMES, max_size=5), NAMES, st.sampled_from(["/", "/S3", "/Amazon S3/my bucket"]))
def test_a_key_maps_to_its_folders_below_the_place(path, name, top):
    key = "/".join([*path, name])
    expected = Folder("/" + "/".join([*top.strip("/").split("/"), *path]).lstrip("/"))
    assert Decisions({BUCKET: (Place(top),)}).decide(event(key)).folders == (expected,)


@given(st.lists(NAMES, min_size=1, max_size=5), NAMES)
def test_a_place_with_a_prefix_gives_the_same_folder_as_a_place_without(path, name):
    whole = folders("/".join([*path, name]), Place("/P"))
    for depth in range(len(path)):
        prefix = "".join(f"{each}/" for each in path[:depth])
        place = "/".join(["/P", *path[:depth]])
        assert folders("/".join([*path, name]), Place(place, prefix)) == whole


@given(st.text(alphabet="a/ .é", max_size=12), st.sampled_from(list(Kind)))
def test_any_key_maps_to_a_path_without_empty_names_and_dots(key, kind):
    [folder] = Decisions({BUCKET: (Place("/S3"),)}).decide(event(key, kind)).folders
    assert folder.path.startswith("/S3")
    assert not {"", ".", ".."}.intersection(folder.path.split("/")[1:])


@given(st.text(alphabet="ab./", max_size=10), st.text(alphabet="ab./", min_size=1, max_size=5))
def test_the_folder_of_a_key_is_below_the_tree_of_its_prefix(key, rest):
    [tree] = Decisions().decide(event(key, Kind.DELETED_UNLISTED)).folders
    [folder] = Decisions().decide(event(key + rest)).folders
    assert tree.tree
    assert f"{folder.path}/".startswith(f"{tree.path}/")


# Changes before a provider's sync

SYNCED = 1000.0


def decided(time: float, *places: Place, key: str = "a/b", kind: Kind = Kind.WRITTEN):
    return Decisions({BUCKET: places}).decide(event(key, kind, time=time))


@pytest.mark.parametrize("kind", Kind)
def test_a_change_before_the_last_sync_is_skipped(kind):
    assert decided(900.0, Place("/S3", synced=SYNCED), key="a/", kind=kind) == Skip(SkipReason.BEFORE_SYNC)


def test_without_a_sync_no_change_is_too_old():
    assert isinstance(decided(0.0, Place("/S3")), Refresh)


@pytest.mark.parametrize(
    ("time", "is_skipped"), [(998.0, True), (998.9, True), (999.0, False), (999.5, False), (1000.0, False)]
)
def test_a_change_less_than_a_second_before_a_sync_is_refreshed(time, is_skipped):
    """CloudTrail cuts times to seconds: a change logged at 999 may be of 999.9, after a sync that began at 999.5."""
    assert isinstance(decided(time, Place("/S3", synced=SYNCED)), Skip) == is_skipped


def test_only_a_provider_whose_sync_has_not_seen_the_change_is_refreshed():
    places = Place("/One", synced=500.0), Place("/Two", synced=SYNCED)
    assert decided(700.0, *places).folders == (Folder("/One/a"),)
    assert decided(400.0, *places) == Skip(SkipReason.BEFORE_SYNC)
    assert decided(2000.0, *places).folders == (Folder("/One/a"), Folder("/Two/a"))


def test_the_sync_of_one_place_does_not_count_for_another():
    places = Place("/Whole"), Place("/Part", "team/", synced=SYNCED)
    assert decided(0.0, *places, key="team/a/b").folders == (Folder("/Whole/team/a"),)
    assert decided(0.0, *places, key="other/b").folders == (Folder("/Whole/other"),)


def test_a_key_outside_a_synced_part_is_not_mapped():
    part = Place("/Part", "team/", synced=SYNCED)
    assert decided(0.0, part, key="other/b") == Unmapped(places=(part,))


@given(
    st.lists(st.tuples(st.sampled_from(["", "a/", "b/"]), st.floats(0, 100)), min_size=1, max_size=4),
    st.sampled_from(["a/x", "b/x", "c"]),
    st.floats(0, 110),
)
def test_a_place_is_refreshed_unless_its_sync_began_later(places, key, moment):
    """`moment`: the exact time; the log has it cut to seconds."""
    shown = [Place(f"/P{n}", prefix, synced) for n, (prefix, synced) in enumerate(places)]
    decision = decided(float(int(moment)), *shown, key=key)
    refreshed = {folder.path.split("/")[1] for folder in getattr(decision, "folders", ())}
    for place in shown:
        if key.startswith(place.prefix) and moment >= place.synced:
            assert place.folder[1:] in refreshed
        if not key.startswith(place.prefix) or moment + TIME_PRECISION < place.synced:
            assert place.folder[1:] not in refreshed


def test_new_places_apply_from_the_next_record():
    decisions = Decisions({})
    assert decisions.decide(event()) == Unmapped()
    decisions.places = {BUCKET: [Place("/S3")]}
    assert decisions.decide(event()).folders == (Folder("/S3/a"),)


# Names that differ in case


def collisions_of(*records: ObjectEvent) -> int:
    decisions = Decisions({BUCKET: (Place("/S3", "a/", synced=SYNCED),)})
    for record in records:
        decisions.decide(record)
    return decisions.collisions.count


def test_two_keys_that_differ_only_in_case_are_a_collision():
    assert collisions_of(event("a/B"), event("a/b")) == 1


def test_a_rename_in_case_is_not_a_collision():
    assert collisions_of(event("a/B"), event("a/B", Kind.DELETED), event("a/b")) == 0


def test_events_without_a_refresh_are_not_collisions():
    assert collisions_of(event("B"), event("b"), event("a/B", time=1), event("a/b", time=1)) == 0


# Ignored keys

TEMPORARY = KeyFilter(("_temporary/",))
IGNORED = Skip(SkipReason.IGNORED)


@pytest.mark.parametrize(
    "decisions",
    [
        Decisions(ignore=TEMPORARY),
        Decisions({BUCKET: (Place("/photos", ignore=TEMPORARY),)}),
        Decisions({BUCKET: (Place("/photos", "a/", ignore=TEMPORARY),)}),
    ],
    ids=["in every bucket", "in a place", "in a place of a part"],
)
@pytest.mark.parametrize("kind", [Kind.WRITTEN, Kind.DELETED])
def test_an_ignored_key_is_skipped_and_its_neighbours_are_not(decisions, kind):
    assert decisions.decide(event("a/_temporary/x", kind)) == IGNORED
    assert isinstance(decisions.decide(event("a/temporary/x", kind)), Refresh)


def test_a_key_that_is_ignored_in_one_place_is_refreshed_in_the_other():
    decisions = Decisions({BUCKET: (Place("/one", ignore=TEMPORARY), Place("/two"))})
    assert decisions.decide(event("_temporary/x")) == Refresh((Folder("/two/_temporary"),), ("/two",))


@pytest.mark.parametrize("kind", [Kind.WRITTEN_UNLISTED, Kind.DELETED_UNLISTED])
def test_a_tree_is_never_ignored(kind):
    everything = KeyFilter(("*",))
    decisions = Decisions({BUCKET: (Place("/photos", ignore=everything),)}, ignore=everything)
    assert isinstance(decisions.decide(event("_temporary/", kind)), Refresh)


def test_an_own_write_of_an_ignored_key_is_an_own_write():
    own = OwnWrites(access_keys=frozenset({"AKIA1"}))
    decision = Decisions(own=own, ignore=TEMPORARY).decide(event("_temporary/x", actor=ANN_ACTOR))
    assert decision.reason is SkipReason.OWN_WRITE


def test_an_ignored_key_needs_no_place_and_is_ignored_also_before_a_sync():
    assert Decisions({}, ignore=TEMPORARY).decide(event("_temporary/x")) == IGNORED
    assert Decisions({}, ignore=TEMPORARY).decide(event("x")) == Unmapped()
    synced = Place("/photos", synced=1e9, ignore=TEMPORARY)
    assert Decisions({BUCKET: (synced,)}).decide(event("_temporary/x")) == IGNORED


def test_a_key_that_the_place_does_not_show_is_not_mapped_although_the_place_ignores_it():
    place = Place("/photos", "team/", ignore=TEMPORARY)
    assert Decisions({BUCKET: (place,)}).decide(event("_temporary/x")) == Unmapped(places=(place,))


def test_an_ignored_key_does_not_count_as_one_that_differs_only_in_case():
    decisions = Decisions(ignore=TEMPORARY)
    for key in ("_temporary/a", "_temporary/A"):
        decisions.decide(event(key))
    assert decisions.collisions.count == 0


_NAMES = st.sampled_from(["", "a", "b", "a/", "a/b/", "a/b", "a/./", "a//", "a/b/c"])
_PLACES = st.lists(
    st.builds(
        Place,
        st.sampled_from(["/S3", "/S3/x", "/"]),
        _NAMES,
        st.sampled_from([float("-inf"), 50.0]),
        st.sampled_from([None, KeyFilter(("*.tmp",))]),
    ),
    max_size=2,
)


@given(
    _PLACES,
    st.lists(
        st.tuples(
            st.builds("".join, st.tuples(_NAMES, st.sampled_from(["", "x", "y.tmp", "x/", "../z"]))),
            st.sampled_from([10.0, 48.9, 49.0, 60.0]),
            st.sampled_from(Kind),
        ),
        max_size=8,
    ),
)
@example([Place("/S3")], [("a/", 60.0, Kind.WRITTEN), ("a/x", 60.0, Kind.WRITTEN)])
@example([Place("/S3", "a/b")], [("a/b", 60.0, Kind.WRITTEN), ("a/c", 60.0, Kind.WRITTEN)])
@example([Place("/S3", "", 50.0)], [("a/b", 60.0, Kind.WRITTEN), ("a/c", 48.9, Kind.WRITTEN)])
@example([Place("/S3", "", ignore=KeyFilter(("*.tmp",)))], [("a/b", 9.0, Kind.WRITTEN), ("a/b.tmp", 9.0, Kind.WRITTEN)])
def test_a_remembered_decision_is_the_one_that_would_be_made_anew(places, changes):
    """Decisions are remembered by folder. Keys, times, places and filters at every edge must not change them."""
    remembering = Decisions({BUCKET: places})
    for key, time, kind in changes:
        record = ObjectEvent(kind, BUCKET, key, time)
        assert remembering.decide(record) == Decisions({BUCKET: places}).decide(record)


def test_the_memory_for_decisions_is_bounded():
    decisions = Decisions()
    for number in range(3 * MAX_REMEMBERED):
        decisions.decide(ObjectEvent(Kind.WRITTEN, f"bucket-{number % 7}", f"{number}/x", 0.0))
        assert decisions.remembered <= MAX_REMEMBERED + 1
    long = "x" * (MAX_REMEMBERED_LENGTH + 1)
    before = decisions.remembered
    decisions.decide(ObjectEvent(Kind.WRITTEN, "bucket-1", f"{long}/x", 0.0))
    assert decisions.remembered <= before + 1


def test_each_caller_is_checked_also_when_callers_alternate():
    decisions = Decisions(own=OwnWrites(access_keys=frozenset({"OURS"})))
    ours, other = Actor(access_key="OURS"), Actor(access_key="OTHER")
    for actor in (other, ours, other, ours, ours, other):
        found = decisions.decide(ObjectEvent(Kind.WRITTEN, BUCKET, "x", 0.0, actor=actor))
        assert isinstance(found, OwnWrite) is (actor is ours)
