"""The verdict on an object: for each cause the right code and the next step, and no alarm where there is no reason for one."""

import pytest
from msgspec.structs import replace

from jibe_sqs.commands.object_facts import FolderFacts, Letter, ObjectFacts, ServiceFacts, Shown, Stored, Unknown
from jibe_sqs.commands.object_verdict import DELIVERY, Cause, Verdict, answer
from jibe_sqs.core.comparison import Entry
from jibe_sqs.core.history import FileRead, FolderRefreshed, Remembered
from jibe_sqs.core.model import Folder

NOW = 1_800_000_000.0
OLD = NOW - 7200
"""When the object was written: two hours ago."""
FOLDER = Folder("/S3/media/a")
SHOWN = Shown("/S3/media/a/x.txt", FOLDER)
AS_IT_IS = replace(SHOWN, entry=Entry("x.txt", size=10, modified=OLD))
SERVICE = ServiceFacts(running=86_400.0, messages=1000)
BEFORE = FolderFacts(FOLDER, watermark=OLD - 600)


def facts(**changes):
    """An object that S3 has and Access Anywhere does not show; everything seems to work, and other log files were read."""
    usual = {
        "bucket": "media",
        "key": "a/x.txt",
        "now": NOW,
        "stored": Stored(10, OLD),
        "shown": (SHOWN,),
        "folders": (BEFORE,),
        "service": SERVICE,
        "newest_read": NOW - 60,
    }
    return ObjectFacts(**usual | changes)


def codes(**changes):
    return [reason.code for reason in answer(facts(**changes)).reasons]


def remedy(code, **changes):
    return next(reason.remedy for reason in answer(facts(**changes)).reasons if reason.code is code)


def read(**fields):
    return Remembered(NOW - 100, FileRead("s3://trail/1.gz", first=OLD - 60, last=OLD + 60, **fields))


@pytest.mark.parametrize(
    "changes",
    [
        {"shown": (AS_IT_IS,)},
        {"stored": None},
        {"shown": (replace(SHOWN, entry=Entry("x.txt", size=10, modified=None)),)},
        {"key": "a/x/", "stored": Stored(0, OLD), "shown": (replace(SHOWN, entry=Entry("x", is_folder=True)),)},
        {"shown": (AS_IT_IS,), "service": None, "letters": Unknown("denied"), "history": Unknown("no file")},
    ],
    ids=["the same", "deleted in both", "without a time", "a folder", "whatever else is unknown"],
)
def test_what_is_the_same_in_all_places_is_in_sync_without_reasons(changes):
    found = answer(facts(**changes))
    assert (found.verdict, found.reasons) == (Verdict.IN_SYNC, [])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shown": (AS_IT_IS, SHOWN)},
        {"shown": (replace(SHOWN, entry=Entry("x.txt", size=9, modified=OLD)),)},
        {"shown": (replace(SHOWN, entry=Entry("x.txt", size=10, modified=OLD - 60)),)},
        {"stored": None, "shown": (AS_IT_IS,)},
    ],
    ids=["missing", "in one place only", "another size", "an older version", "deleted in S3"],
)
def test_what_differs_is_stale_and_always_has_a_reason_with_a_remedy(changes):
    found = answer(facts(**changes))
    assert found.verdict is Verdict.STALE
    assert found.reasons
    assert all(reason.what and reason.remedy for reason in found.reasons)


# The six causes of a stale bucket


def test_a_bucket_that_is_not_mapped():
    assert answer(facts(shown=())).verdict is Verdict.STALE
    assert codes(shown=()) == [Cause.NOT_MAPPED]
    assert "add media to `buckets`" in remedy(Cause.NOT_MAPPED, shown=())


def test_without_s3s_answer_an_unmapped_object_is_not_called_stale():
    """The bucket may not even exist. The reason is named all the same."""
    changes = {"shown": (), "stored": Unknown("NoSuchBucket")}
    assert answer(facts(**changes)).verdict is Verdict.UNKNOWN
    assert codes(**changes) == [Cause.NOT_MAPPED, Cause.S3_UNKNOWN]


def test_access_anywhere_is_down():
    down = {"shown": (replace(SHOWN, entry=Unknown("no answer within 20 s", is_outage=True)),)}
    assert answer(facts(**down)).verdict is Verdict.UNKNOWN
    gate = replace(SERVICE, gates=["Access Anywhere is down since 10:12 (UTC): 503"])
    assert codes(**down, service=gate) == [Cause.ACCESS_ANYWHERE_DOWN]
    places = {"shown": Unknown("AccessAnywhereUnavailable: 503", is_outage=True)}
    assert (answer(facts(**places)).verdict, codes(**places)) == (Verdict.UNKNOWN, [Cause.ACCESS_ANYWHERE_DOWN])
    # It answers this command, and not the service.
    assert codes(service=gate) == [Cause.ACCESS_ANYWHERE_DOWN]


def test_a_folder_whose_refresh_fails_by_the_service_or_by_the_history():
    by_service = {"folders": (replace(BEFORE, error="CallFailed: storage said no"),)}
    by_history = {"history": [Remembered(NOW, FolderRefreshed(FOLDER, 1, "events", "CallFailed", "storage said no"))]}
    for changes in (by_service, by_history):
        (reason,) = answer(facts(**changes)).reasons
        assert reason.code is Cause.FOLDER_FAILS
        assert "/S3/media/a failed: CallFailed: storage said no" in reason.what
    later = [*by_history["history"], Remembered(NOW, FolderRefreshed(FOLDER, 1, "events"))]
    assert Cause.FOLDER_FAILS not in codes(history=later)


def test_the_service_knows_more_of_an_outage_than_a_command_that_waited_in_vain():
    in_vain = replace(SHOWN, entry=Unknown("no answer within 20 s", is_outage=True))
    down = replace(SERVICE, gates=["Access Anywhere is down since 10:12 (UTC): HTTP 503"])
    found = answer(facts(shown=(in_vain,), service=down))
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons[0].what == "Access Anywhere is down since 10:12 (UTC): HTTP 503"
    refused = replace(SHOWN, entry=Unknown("CallFailed: no"))
    assert answer(facts(shown=(refused,), service=down)).reasons[0].code is Cause.ACCESS_ANYWHERE_ERROR


def test_a_log_bucket_that_cannot_be_read_by_the_service_or_by_dead_letters():
    outage = replace(SERVICE, outages=["Log bucket trail cannot be read since 10:12 (UTC): AccessDenied"])
    assert codes(service=outage) == [Cause.LOG_BUCKET_UNREADABLE]
    letters = [Letter("1", "LogAccessDenied", "AccessDenied: s3://trail/1.gz", names_it=False)]
    assert codes(letters=letters) == [Cause.LOG_BUCKET_UNREADABLE]
    assert "s3:GetObject" in remedy(Cause.LOG_BUCKET_UNREADABLE, letters=letters)


@pytest.mark.parametrize("newest", [None, OLD - 60])
def test_a_subscription_that_was_removed_is_seen_by_the_silence_since(newest):
    assert codes(newest_read=newest) == [Cause.NOTHING_RECEIVED]
    assert "jibe-sqs check" in remedy(Cause.NOTHING_RECEIVED, newest_read=newest)
    # A deleted object has no time.
    assert codes(newest_read=newest, stored=None, shown=(AS_IT_IS,)) == [Cause.NOTHING_RECEIVED]


def test_a_silence_that_the_service_has_noticed_counts_although_other_queues_go_on():
    """One subscription of several was removed. A change of a moment ago is not stale for that reason alone."""
    silent = replace(SERVICE, silences=["No message from jibe since 2027-01-15T05:00:00Z"])
    assert codes(service=silent) == [Cause.NOTHING_RECEIVED]
    assert "jibe-sqs backfill" in remedy(Cause.NOTHING_RECEIVED, service=silent)
    assert codes(service=silent, stored=Stored(10, NOW - 30)) == [Cause.NOT_EXPECTED_YET, Cause.NOTHING_RECEIVED]
    # A cause that is seen explains more.
    assert codes(service=silent, folders=(replace(BEFORE, error="CallFailed: no"),)) == [Cause.FOLDER_FAILS]


def test_without_a_history_the_service_knows_of_the_silence():
    unknown = {"history": Unknown("the ledger keeps no history"), "newest_read": None}
    assert codes(**unknown, service=replace(SERVICE, messages=0)) == [Cause.NOTHING_RECEIVED]
    assert codes(**unknown, service=replace(SERVICE, last_message=OLD - 60)) == [Cause.NOTHING_RECEIVED]
    assert codes(**unknown, service=replace(SERVICE, last_message=NOW - 60)) == [Cause.NO_LOG_NAMES_IT]
    assert codes(**unknown, service=replace(SERVICE, messages=0, running=5)) == [Cause.NO_LOG_NAMES_IT]


def test_own_writes_that_match_too_much():
    skipped = read(
        skipped={"media": {"own-write": 3}}, own_writes={"own_writes.user_agents: *": "arn:aws:iam::1:user/ana"}
    )
    (reason,) = answer(facts(history=[skipped])).reasons
    assert reason.code is Cause.OWN_WRITE
    assert "own_writes.user_agents: *, such as by arn:aws:iam::1:user/ana" in reason.what
    assert "jibe-sqs refresh 's3://media/a/x.txt'" in reason.remedy


@pytest.mark.parametrize(
    "entry",
    [
        read(skipped={"other": {"own-write": 3}}),
        read(skipped={"media": {"not-mapped": 3}}),
        Remembered(NOW, FileRead(first=OLD + 600, last=OLD + 700, skipped={"media": {"own-write": 3}})),
    ],
    ids=["of another bucket", "for another reason", "at another time"],
)
def test_other_skipped_changes_are_no_cause(entry):
    assert codes(history=[entry]) == [Cause.NO_LOG_NAMES_IT]


# Other causes


@pytest.mark.parametrize("key", ["a//x", "a/../x", "./x", "a/."])
def test_a_key_without_a_path(key):
    tree = replace(SHOWN, folder=Folder("/S3/media", tree=True))
    assert codes(key=key, shown=(tree,)) == [Cause.KEY_CANNOT_BE_SHOWN]


def test_each_other_cause_has_its_code():
    assert codes(ignored_by="ignore_keys") == [Cause.IGNORED]
    assert codes(folders=(replace(BEFORE, waited=3.0, reason="events"),)) == [Cause.REFRESH_PENDING]
    assert codes(folders=(replace(BEFORE, watermark=OLD + 600),)) == [Cause.REFRESHED_BUT_DIFFERS]
    assert codes(shown=(replace(SHOWN, alike=["X.txt"]),)) == [Cause.NAME_COLLISION]
    assert codes(letters=[Letter("1", "RefreshTimedOut", "/S3/media/a", names_it=True)]) == [Cause.DEAD_LETTER]
    assert codes(service=replace(SERVICE, troubles=["Queue jibe cannot be received from"])) == [Cause.QUEUE_UNUSABLE]
    assert codes() == [Cause.NO_LOG_NAMES_IT]


def test_what_s3_has_may_be_unknown_because_of_permissions():
    denied = {"stored": Unknown("LogAccessDenied: AccessDenied")}
    found = answer(facts(**denied))
    assert (found.verdict, found.reasons[0].code) == (Verdict.UNKNOWN, Cause.S3_UNKNOWN)
    assert "s3:GetObject" in found.reasons[0].remedy
    # A cause that is seen is named all the same.
    assert codes(**denied, folders=(replace(BEFORE, error="CallFailed: no"),)) == [Cause.S3_UNKNOWN, Cause.FOLDER_FAILS]


def test_a_difference_in_one_place_counts_if_another_place_does_not_answer():
    error = replace(SHOWN, entry=Unknown("CallFailed: no"))
    found = answer(facts(shown=(error, SHOWN)))
    assert found.verdict is Verdict.STALE
    assert [reason.code for reason in found.reasons] == [Cause.NO_LOG_NAMES_IT, Cause.ACCESS_ANYWHERE_ERROR]


def test_a_change_of_a_moment_ago_is_not_yet_stale_and_the_time_to_wait_for_is_named():
    young = {"stored": Stored(10, NOW - 30)}
    found = answer(facts(**young))
    assert (found.verdict, [reason.code for reason in found.reasons]) == (Verdict.UNKNOWN, [Cause.NOT_EXPECTED_YET])
    assert "30 s ago" in found.reasons[0].what
    assert "2027-01-15T08:14:30Z" in found.reasons[0].remedy
    assert answer(facts(stored=Stored(10, NOW - DELIVERY - 1))).verdict is Verdict.STALE
    # A cause that is seen need not be waited for.
    assert codes(**young, folders=(replace(BEFORE, error="CallFailed: no"),)) == [Cause.FOLDER_FAILS]
    # Silence is suspicious before that.
    assert codes(**young, newest_read=None) == [Cause.NOT_EXPECTED_YET, Cause.NOTHING_RECEIVED]


def test_if_no_service_answers_that_is_the_last_reason():
    assert codes(service=None)[-1] is Cause.SERVICE_UNREACHABLE
    assert codes(service=None, ignored_by="ignore_keys") == [Cause.IGNORED, Cause.SERVICE_UNREACHABLE]
