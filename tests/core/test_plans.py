"""Plans: the stale folders of a log file, its counts and its principals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.object_events import ANN, ANN_ACTOR, BUCKET, UNKNOWN_ACTOR, event

from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Folder, Kind, ObjectEvent, SkipReason, Unchanged
from jibe_sqs.core.plan import MAX_BUCKETS, MAX_EXAMPLE_LENGTH, Plan, SkippedChanges
from jibe_sqs.core.principals import MAX_PRINCIPALS, Seen

A, B = Folder("/photos/a"), Folder("/photos/b")


def planned(*events: ObjectEvent | Unchanged, decisions: Decisions | None = None) -> Plan:
    plan = Plan()
    for each in events:
        plan.add(each, (decisions or Decisions()).decide(each))
    return plan


def test_an_empty_plan_needs_nothing():
    plan = planned()
    assert (plan.records, plan.events, plan.needed({}).folders) == (0, 0, [])


def test_any_number_of_events_in_a_folder_need_one_refresh():
    plan = planned(*(event(f"a/{n}", time=n) for n in range(1000)), event("b/1"))
    assert plan.needed({}).folders == [A, B]
    assert (plan.records, plan.events) == (1001, 1001)
    assert [(each.earliest, each.latest, each.events) for each in plan.needed({}).stale] == [
        (0, 999, 1000),
        (event().time, event().time, 1),
    ]


def test_the_earliest_and_latest_times_do_not_depend_on_the_order():
    [stale] = planned(event(time=5), event(time=9), event(time=7)).needed({}).stale
    assert (stale.earliest, stale.latest) == (5, 9)


def test_skipped_records_are_counted_by_reason():
    plan = planned(
        Unchanged(SkipReason.READ_ONLY),
        Unchanged(SkipReason.READ_ONLY),
        Unchanged(SkipReason.FAILED),
        event(bucket="other"),
        event(),
        decisions=Decisions({BUCKET: (Place("/photos"),)}),
    )
    assert (plan.records, plan.events) == (5, 1)
    assert plan.skipped == {SkipReason.READ_ONLY: 2, SkipReason.FAILED: 1, SkipReason.NOT_MAPPED: 1}


def test_an_unmapped_bucket_has_the_places_known_at_the_decision():
    part = Place("/Part", "team/")
    decisions = Decisions({BUCKET: (part,)})
    plan = planned(event("team/a"), event("other/a"), event(bucket="new"), decisions=decisions)
    decisions.places = {"new": (Place("/New"),)}
    plan.add(event(bucket="new"), decisions.decide(event(bucket="new")))
    assert plan.unmapped == {BUCKET: (part,), "new": ()}


def test_the_time_of_the_newest_unmapped_change_is_kept():
    decisions = Decisions({"mapped": [Place("/S3")]})
    times = [("mapped", 9e9), ("one", 3.0), ("other", 7.0), ("one", 5.0)]
    plan = planned(*(event(bucket=bucket, time=time) for bucket, time in times), decisions=decisions)
    assert plan.newest_unmapped == 7.0


def test_a_bucket_skipped_for_another_reason_is_not_unmapped():
    decisions = Decisions({BUCKET: (Place("/S3", synced=9e9),)}, OwnWrites(principals=(ANN,)))
    plan = planned(event(), event(bucket="new", actor=ANN_ACTOR), Unchanged(SkipReason.NOT_MAPPED), decisions=decisions)
    assert plan.unmapped == {}


def test_changes_that_are_not_mapped_are_counted_by_bucket_with_the_first_as_an_example():
    events = event("a/1", bucket="new", actor=ANN_ACTOR), event("a/2", bucket="new"), event("b", bucket="other")
    plan = planned(*events, decisions=Decisions({}))
    assert plan.unmapped_changes == {
        "new": SkippedChanges("new", "a/1", ANN, count=2),
        "other": SkippedChanges("other", "b", ""),
    }


def test_own_writes_are_counted_by_rule_with_the_first_as_an_example():
    own = OwnWrites(access_keys=frozenset({"AKIA1"}), user_agents=("aws*",))
    events = event("a/1", actor=ANN_ACTOR), event("a/2", actor=ANN_ACTOR), event("b", actor=Actor(user_agent="aws-x"))
    assert planned(*events, decisions=Decisions(own=own)).own_writes == {
        "own_writes.access_keys: AKIA1": SkippedChanges(BUCKET, "a/1", ANN, count=2),
        "own_writes.user_agents: aws*": SkippedChanges(BUCKET, "b", ""),
    }


def test_the_end_of_a_long_key_is_kept_as_an_example():
    plan = planned(event("a" * 5000 + "/end", bucket="new"), decisions=Decisions({}))
    assert len(plan.unmapped_changes["new"].key) == MAX_EXAMPLE_LENGTH
    assert plan.unmapped_changes["new"].key.endswith("/end")


def test_unmapped_buckets_are_kept_up_to_the_limit():
    plan = planned(*(event(bucket=f"b{n}") for n in range(MAX_BUCKETS + 1)), decisions=Decisions({}))
    assert len(plan.unmapped) == MAX_BUCKETS


def test_an_event_shown_in_two_places_makes_both_stale():
    plan = planned(event(), decisions=Decisions({BUCKET: (Place("/photos"), Place("/more"))}))
    assert plan.needed({}).folders == [A, Folder("/more/a")]
    assert plan.events == 1


def test_a_folder_and_its_tree_are_two_refreshes():
    plan = planned(event("a/b"), event("a/", Kind.DELETED_UNLISTED))
    assert plan.needed({}).folders == [A, Folder("/photos/a", tree=True)]


@pytest.mark.parametrize(
    ("watermark", "needed"),
    [(None, True), (0.0, True), (999.9, True), (1000.0, True), (1000.5, True), (1001.0, False), (2000.0, False)],
)
def test_a_refresh_less_than_a_second_after_a_change_does_not_count(watermark, needed):
    """CloudTrail cuts its times to whole seconds."""
    plan = planned(event(time=1000.0))
    assert plan.needed({} if watermark is None else {A: watermark}).folders == ([A] if needed else [])


def test_events_before_a_refresh_are_counted_as_already_refreshed():
    plan = planned(event("a/1", time=10), event("a/2", time=20), event("b/1", time=5000))
    assert plan.needed({A: 100.0, B: 100.0}).folders == [B]
    assert plan.needed({A: 100.0, B: 100.0}).already_refreshed == {BUCKET: 2}


def test_one_new_event_among_old_events_needs_a_refresh():
    plan = planned(event("a/1", time=10), event("a/2", time=200))
    assert plan.needed({A: 100.0}).folders == [A]
    assert not plan.needed({A: 100.0}).already_refreshed


def planned_for_a_shared_folder(*events: ObjectEvent) -> Plan:
    """A plan in which one folder shows two buckets, and another folder shows one of them."""
    places = {"a": (Place("/media"),), "b": (Place("/media"), Place("/more"))}
    return planned(*events, decisions=Decisions(places))


def test_events_of_two_buckets_in_one_folder_are_counted_for_their_own_bucket():
    plan = planned_for_a_shared_folder(event(bucket="a"), event(bucket="b"), event(bucket="b"))
    needed = plan.needed({Folder(f"{top}/a"): 9e9 for top in ("/media", "/more")})
    assert needed.folders == []
    assert needed.already_refreshed == {"a": 1, "b": 2}


def test_an_event_is_already_refreshed_only_if_all_of_its_folders_are():
    plan = planned_for_a_shared_folder(event(bucket="a"), event(bucket="b"))
    needed = plan.needed({Folder("/media/a"): 9e9})
    assert needed.folders == [Folder("/more/a")]
    assert needed.already_refreshed == {"a": 1}
    assert [(each.bucket, each.folders) for each in needed.stale] == [("b", (Folder("/more/a"),))]


def test_a_new_event_of_one_bucket_refreshes_the_folder_for_the_other_as_well():
    plan = planned_for_a_shared_folder(event(bucket="a", time=10), event(bucket="b", time=200))
    needed = plan.needed({Folder("/media/a"): 100.0, Folder("/more/a"): 900.0})
    assert needed.folders == [Folder("/media/a")]
    assert [each.bucket for each in needed.stale] == ["a", "b"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["x/1", "y/1"]), st.integers(0, 9)), max_size=20))
def test_needed_does_not_change_the_plan(events):
    plan = planned_for_a_shared_folder(*(event(key, bucket=bucket, time=time) for bucket, key, time in events))
    watermarks = {Folder("/media/x"): 5.0, Folder("/media/y"): 8.0, Folder("/more/x"): 6.0}
    first = plan.needed(watermarks)
    assert plan.needed(watermarks) == first
    events_needed = sum(each.events for each in first.stale)
    assert events_needed + first.already_refreshed.total() == plan.events
    assert not plan.skipped


def test_an_event_with_an_unknown_time_is_newer_than_every_watermark_and_sync():
    plan = planned(event(time=UNKNOWN_TIME), decisions=Decisions({BUCKET: (Place("/photos", synced=9e9),)}))
    assert plan.needed({A: 9e9}).folders == [A]
    assert not plan.principals


def test_the_watermark_of_another_folder_does_not_count():
    assert planned(event()).needed({B: 9e9, Folder("/photos/a", tree=True): 9e9}).folders == [A]


# Principals

BOB = Actor(principal="arn:aws:iam::111122223333:user/bob")


def test_a_principal_has_its_first_and_last_change_and_their_number():
    plan = planned(
        event(actor=BOB, time=7), event(actor=ANN_ACTOR, time=3), event(actor=BOB, time=2), event(actor=BOB, time=9)
    )
    assert plan.principals == {
        BOB.principal: Seen(2, 9, 3, actor=BOB),
        ANN_ACTOR.session_issuer: Seen(3, 3, 1, actor=ANN_ACTOR),
    }


def test_an_unchanged_record_adds_no_principal():
    assert planned(Unchanged(SkipReason.READ_ONLY), Unchanged(SkipReason.FAILED)).principals == {}


def test_own_writes_and_unmapped_writes_add_their_principals():
    """This shows an operator how to recognise Access Anywhere's own writes."""
    decisions = Decisions({}, OwnWrites(principals=(ANN,)))
    plan = planned(event(actor=ANN_ACTOR), event(actor=BOB, bucket="other"), decisions=decisions)
    assert plan.skipped == {SkipReason.OWN_WRITE: 1, SkipReason.NOT_MAPPED: 1}
    assert set(plan.principals) == {ANN_ACTOR.session_issuer, BOB.principal}


def test_a_principal_without_an_arn_has_its_access_key():
    plan = planned(
        event(actor=Actor(access_key="AKIA1")), event(actor=UNKNOWN_ACTOR), event(actor=Actor(user_agent="x"))
    )
    assert set(plan.principals) == {"AKIA1"}


def test_principals_are_kept_up_to_the_limit_and_still_counted():
    plan = planned(*(event(actor=Actor(f"session-{n}")) for n in range(MAX_PRINCIPALS + 50)))
    assert len(plan.principals) == MAX_PRINCIPALS
    assert f"session-{MAX_PRINCIPALS}" not in plan.principals
    plan.add(event(actor=Actor("session-0"), time=5000), Decisions().decide(event()))
    assert plan.principals["session-0"] == Seen(1000.0, 5000, 2, actor=Actor("session-0"))
    assert plan.events == MAX_PRINCIPALS + 51
