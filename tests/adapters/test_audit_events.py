"""Audit events over a socket to a stand-in for CloudTrail's data service, which checks the documented limits and schema."""

from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs
from tests.cloudtrail_lake import CHANNEL, lake, throttling
from tests.processes import PATIENCE

from jibe_sqs.adapters.audit_events import AuditChannel, Channel
from jibe_sqs.adapters.aws import Account, Aws
from jibe_sqs.core.model import LogFile, Message, Reject
from jibe_sqs.telemetry import audit as collecting
from jibe_sqs.telemetry.activity import Counts, StaleFolders
from jibe_sqs.telemetry.audit import Audit, AuditFailed
from jibe_sqs.telemetry.report_text import Report, Row

EVERYTHING = ("files", "dead-letters", "reports")
FILE = LogFile("the-logs", "AWSLogs/a.json.gz", version="v1")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """No wait for more events, and none before another try. To make the client may take long on a busy machine."""
    monkeypatch.setattr(collecting, "LAST_TIMEOUT", PATIENCE)
    monkeypatch.setattr(collecting, "LINGER", 0.0)
    monkeypatch.setattr(collecting, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(collecting, "LAST_DELAY", 0.0)


@pytest.fixture
async def aws():
    async with Aws() as clients:
        yield clients


@pytest.fixture
def channel_of(aws):
    """Makes the sender for a stand-in."""

    def made(found, external_id=""):
        account = Account(endpoint=found.address, access_key_id="AKIA", secret_access_key="secret")
        return AuditChannel(Channel.of(CHANNEL), aws=aws, account=account, external_id=external_id)

    return made


def audit_of(sender, *, kinds=EVERYTHING):
    return Audit(sender.send, kinds=kinds, account="111122223333", instance="host")


def report(*rows):
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Report(moment, moment, list(rows), Counts(), Counts(), [], {}, 0, [])


async def test_each_kind_of_event_fits_the_schema(channel_of):
    with lake() as found:
        audit = audit_of(channel_of(found))
        async with audit.running():
            audit.file_done(FILE, "etag", events=3, folders=2)
            audit.dead_lettered("q", Message("m", "r", b"", 3), Reject("LogMalformed", "why", source="s3://b/k"))
            counts = Counts(records=9, events=3)
            counts.skipped["read-only"] += 6
            audit.reported(report(Row("Amazon S3", "media", counts, StaleFolders(1, 2.0))))
        assert found.signed_for == {("eu-west-1", "cloudtrail-data")}
    (done,) = found.named("FileDone")
    assert done["requestParameters"] == {
        "bucketName": "the-logs", "key": "AWSLogs/a.json.gz", "versionId": "v1", "eTag": "etag"
    }  # fmt: skip
    assert done["additionalEventData"] == {"events": 3, "folders": 2}
    assert done["eventSource"] == "jibe-sqs"
    assert done["userIdentity"]["principalId"] == "host"
    (dead,) = found.named("MessageDeadLettered")
    assert (dead["errorCode"], dead["errorMessage"]) == ("LogMalformed", "why")
    assert dead["requestParameters"] == {"queue": "q", "messageId": "m", "receiveCount": 3}
    (provider,) = found.named("ProviderReport")
    assert provider["requestParameters"]["provider"] == "Amazon S3"
    assert provider["additionalEventData"]["skipped"] == {"read-only": 6}


async def test_long_and_odd_names_stay_within_the_limits(channel_of):
    with lake() as found:
        audit = audit_of(channel_of(found))
        async with audit.running():
            for text in ("\N{GRINNING FACE}" * 5000, '"\\' * 5000, "a\udfffb"):
                audit.file_done(LogFile("b", text), "", events=0, folders=0)
                audit.dead_lettered("q", Message(text, "r", b""), Reject(text, text, text, text))
                audit.reported(report(Row(text, text, Counts(), StaleFolders())))
        assert len(found.events) == 9


async def test_events_are_sent_in_calls_of_a_hundred(channel_of):
    with lake() as found:
        audit = audit_of(channel_of(found))
        async with audit.running():
            for _ in range(250):
                audit.file_done(FILE, "etag", events=1, folders=1)
    assert sorted(found.calls) == [50, 100, 100]
    assert len({each["UID"] for each in found.events}) == 250


async def test_no_call_is_larger_than_a_megabyte(channel_of):
    """Quotes in the data take two bytes in the call."""
    with lake() as found:
        audit = audit_of(channel_of(found))
        quotes = '"\\' * 500
        async with audit.running():
            for _ in range(200):
                audit.dead_lettered("q", Message(quotes, "r", b""), Reject("E", quotes, source=quotes))
        assert len(found.calls) > 2
    assert len(found.events) == 200


async def test_the_external_id_is_sent(channel_of):
    with lake("the+id=1,2.a@b:/c-d") as found:
        audit = audit_of(channel_of(found, "the+id=1,2.a@b:/c-d"))
        async with audit.running():
            audit.file_done(FILE, "etag", events=1, folders=1)
    assert len(found.events) == 1


async def test_refused_events_of_a_successful_call_are_sent_again_if_that_can_help(channel_of):
    with lake() as found:
        found.faults = [
            lambda sent: {sent[0]["id"]: "Throttling", sent[1]["id"]: "InvalidData", sent[2]["id"]: "InternalFailure"},
            lambda sent: {sent[0]["id"]: "Throttling"},
        ]
        audit = audit_of(channel_of(found))
        with capture_logs() as events:
            async with audit.running():
                for number in range(5):
                    audit.file_done(LogFile("b", str(number)), "", events=1, folders=1)
    assert sorted(each["requestParameters"]["key"] for each in found.events) == ["0", "2", "3", "4"]
    assert found.calls == [5, 2, 1]
    (refused,) = [each for each in events if each["event"] == "audit_refused"]
    assert refused["code"] == "InvalidData"
    (lost,) = [each for each in events if each["event"] == "audit_events_lost"]
    assert lost["reasons"] == {"InvalidData": 1}


async def test_a_throttled_call_is_sent_again_with_the_same_ids(channel_of):
    with lake() as found:
        # The client tries twice by itself.
        found.faults = [throttling] * 3
        audit = audit_of(channel_of(found))
        with capture_logs() as events:
            async with audit.running():
                audit.file_done(FILE, "etag", events=1, folders=1)
    assert len(found.events) == 1
    assert [each["event"] for each in events] == ["audit_not_sent"]
    assert "ThrottlingException" in events[0]["reason"]


async def test_a_wrong_external_id_is_named_with_its_remedy(channel_of):
    with lake("right") as found:
        sender = channel_of(found, "wrong")
        audit = audit_of(sender)
        audit.file_done(FILE, "", events=1, folders=1)
        with pytest.raises(AuditFailed, match=r"audit\.channel_external_id") as failed:
            await sender.send(list(audit._waiting))
        assert "wrong" not in str(failed.value)


async def test_a_service_that_cannot_be_reached_raises_nothing_else(channel_of):
    with lake() as found:
        sender = channel_of(found)
    audit = audit_of(sender)
    audit.file_done(FILE, "", events=1, folders=1)
    with pytest.raises(AuditFailed):
        await sender.send(list(audit._waiting))
