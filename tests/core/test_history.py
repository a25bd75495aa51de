"""The entries of the history: what is kept of a log file, and which entries answer a question."""

import pytest
from tests.core import object_events

from jibe_sqs.core.decisions import Decisions, OwnWrites, Place
from jibe_sqs.core.errors import CallFailed
from jibe_sqs.core.history import (
    MAX_BUCKETS,
    MAX_FOLDERS,
    MAX_TEXT,
    FileRead,
    FolderRefreshed,
    HistoryQuestion,
    file_read,
    folder_refreshed,
)
from jibe_sqs.core.model import UNKNOWN_TIME, Actor, Folder, SkipReason, Unchanged
from jibe_sqs.core.plan import Plan

OWN = OwnWrites(principals=("arn:aws:iam::1:user/aa",))
AA = Actor(principal="arn:aws:iam::1:user/aa")


def event(key, **fields):
    return object_events.event(key, **{"bucket": "media", **fields})


def plan_of(*records, places=None, **options):
    decisions, plan = Decisions(places or {"media": (Place("/S3/media"),)}, OWN), Plan(**options)
    for record in records:
        plan.add(record, decisions.decide(record))
    return plan


@pytest.mark.parametrize("by_object", [False, True])
def test_a_file_is_kept_with_its_folders_times_and_skipped_changes(by_object):
    plan = plan_of(
        event("a/x", time=10.0),
        event("b/y", time=30.0),
        event("c/z", time=50.0, actor=AA),
        event("d", bucket="other", time=20.0),
        Unchanged(SkipReason.READ_ONLY, "media", "a/x"),
        by_object=by_object,
    )
    found = file_read(plan, "s3://trail/x.json.gz")
    assert found.file == "s3://trail/x.json.gz"
    assert found.events == 2
    assert sorted(found.folders) == [Folder("/S3/media/a"), Folder("/S3/media/b")]
    assert (found.more, found.rest) == (0, None)
    assert found.own_writes == {f"own_writes.principals: {AA.principal}": AA.principal}
    assert found.skipped == {"media": {"own-write": 1}, "other": {"not-mapped": 1}}


def test_a_file_without_changes_is_not_kept():
    assert file_read(plan_of(Unchanged(SkipReason.READ_ONLY, "media", "a"))) is None


def test_beyond_some_folders_the_rest_is_one_tree():
    found = file_read(plan_of(*(event(f"a/b/{n:03}/x") for n in range(MAX_FOLDERS + 5))))
    assert len(found.folders) == MAX_FOLDERS
    assert (found.more, found.rest) == (5, Folder("/S3/media/a/b", tree=True))


def test_an_entry_is_small_however_many_buckets_and_however_long_names_are():
    found = file_read(plan_of(*(event("x", bucket=f"b{n}") for n in range(MAX_BUCKETS + 5))), "s3://t/" + "k" * 5000)
    assert len(found.skipped) == MAX_BUCKETS
    assert len(found.file) == MAX_TEXT
    failed = folder_refreshed(Folder("/a"), seconds=1, reason="events", error=CallFailed("x" * 5000, code="y"))
    assert (failed.error, len(failed.text)) == ("CallFailed", MAX_TEXT)


def test_a_time_that_is_unknown_does_not_count():
    found = file_read(plan_of(event("a", time=UNKNOWN_TIME), event("b", time=7.0)))
    assert (found.first, found.last) == (7.0, 7.0)
    found = file_read(plan_of(event("a", time=UNKNOWN_TIME)))
    assert (found.first, found.last) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("folder", "concerns", "deep"),
    [
        (Folder("/S3/media/a"), True, False),
        (Folder("/S3/media/a", tree=True), True, False),
        (Folder("/S3/media", tree=True), True, False),
        (Folder("/", tree=True), True, False),
        (Folder("/S3/media"), False, False),
        (Folder("/S3/media/ab"), False, True),
        (Folder("/S3/med", tree=True), False, True),
        (Folder("/S3/media/a/b"), False, False),
        (Folder("/S3/media/a/b"), True, True),
    ],
)
def test_a_question_finds_the_folder_trees_above_it_and_if_wanted_folders_below(folder, concerns, deep):
    question = HistoryQuestion(**{"trees" if deep else "paths": ("/S3/media/a",)})
    assert question.concerns(FolderRefreshed(folder)) is concerns
    assert question.concerns(FileRead(folders=(Folder("/x"), folder))) is concerns
    assert question.concerns(FileRead(rest=folder, more=1)) is concerns


def test_a_question_finds_files_with_skipped_changes_of_the_bucket():
    question = HistoryQuestion((), "media")
    assert question.concerns(FileRead(skipped={"media": {"own-write": 1}}))
    assert not question.concerns(FileRead(skipped={"other": {"own-write": 1}}))
    assert not question.concerns(FolderRefreshed(Folder("/media")))
