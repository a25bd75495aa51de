"""The report of `verify`: a bucket in memory, every kind of tampering, and the finding for each."""

import gzip
import hashlib
import io
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from jibe_sqs.commands.findings import Status, Subject
from jibe_sqs.commands.verification import Scope, Verification
from jibe_sqs.commands.verification_text import as_lines, as_text
from jibe_sqs.core.digest_checks import check_signature, public_key
from jibe_sqs.core.digest_names import digest_name
from jibe_sqs.core.digests import read_digest
from jibe_sqs.core.errors import DigestInvalid, DigestMissing, LogAccessDenied, LogMissing, LogStoreUnavailable
from jibe_sqs.sandbox.aws.digests import SigningKey, write_digest

BUCKET, ACCOUNT, REGION = "example-trail", "111122223333", "eu-west-1"
START = datetime(2026, 1, 1, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 8
END = START + HOURS * HOUR
"""On the next day, so that two folders are listed."""
SCOPE = Scope(BUCKET, ACCOUNT, REGION)


@cache
def signing_key(number=0):
    del number
    return SigningKey(START - 30 * 24 * HOUR, START + 30 * 24 * HOUR)


def log_key(time, unique="x"):
    return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{time:%Y/%m/%d}/{ACCOUNT}_CloudTrail_{REGION}_{time:%Y%m%dT%H%MZ}_{unique}.json.gz"


class World:
    """A log bucket with a chain of digests, one an hour, each with two log files. It is the digest store, the key store and the log store at once."""

    def __init__(self, hours=HOURS, *, trail="jibe"):
        self.objects = {}
        self.metadata = {}
        self.denied = set()
        self.keys_known = {signing_key().fingerprint: public_key(signing_key().der)}
        self.written = []
        self.logs = []
        self.trail = trail
        for _ in range(hours):
            self.another_hour()

    def another_hour(self, *, previous=..., skip=0, key=None, backfill_of=None):
        before = (self.written[-1] if self.written else None) if previous is ... else previous
        start = digest_name(self.written[-1].key).end if self.written else START
        start = (start if backfill_of is None else START + backfill_of * HOUR) + skip * HOUR
        unique = "b" if backfill_of is not None else self.trail
        logs = []
        for minutes in (10, 50):
            where = log_key(start + timedelta(minutes=minutes), unique)
            text = json.dumps({"Records": [{"eventTime": f"{start:%FT%TZ}", "n": minutes}]}).encode()
            self.objects[where] = gzip.compress(text)
            logs.append((BUCKET, where, text))
        digest = write_digest(
            key or signing_key(),
            bucket=BUCKET,
            account=ACCOUNT,
            region=REGION,
            trail=self.trail,
            home="us-east-1",
            start=start,
            end=start + HOUR,
            logs=logs,
            previous=None if backfill_of is not None else before,
            backfill=backfill_of is not None,
        )
        if backfill_of is None:
            self.written.append(digest)
        self.logs.append([where for _, where, _ in logs])
        self.objects[digest.key] = digest.body
        self.metadata[digest.key] = digest.metadata
        return digest

    def digest_of(self, hour):
        return self.written[hour].key

    def change(self, key, change):
        self.objects[key] = gzip.compress(change(gzip.decompress(self.objects[key])))

    # The stores

    async def keys(self, bucket, prefix):
        assert bucket == BUCKET
        return [key for key in sorted(self.objects) if key.startswith(prefix)]

    async def digest(self, bucket, key):
        if key in self.denied:
            raise LogAccessDenied(key)
        if bucket != BUCKET or key not in self.objects:
            raise DigestMissing(key)
        return read_digest(bucket, key, self.objects[key], self.metadata[key])

    async def key(self, digest):
        if digest.fingerprint not in self.keys_known:
            raise DigestInvalid("no such key", fault="unknown-key")
        return self.keys_known[digest.fingerprint]

    @asynccontextmanager
    async def open(self, file):
        if file.key in self.denied:
            raise LogStoreUnavailable(file.key)
        if file.bucket != BUCKET or file.key not in self.objects:
            raise LogMissing(file.key)

        async def chunks():
            body = self.objects[file.key]
            for at in range(0, len(body), 40):
                yield body[at : at + 40]

        yield chunks()

    def verification(self, scope=SCOPE, now=END + 24 * HOUR):
        return Verification(digests=self, keys=self, logs=self, scope=scope, now=now)


async def findings_in(world, *, start=START, end=END, **more):
    return [finding async for finding in world.verification(**more).findings(start, end)]


async def problems(world, **more):
    return [
        (finding.what, finding.status.value, finding.key.rpartition("/")[2], finding.reason)
        for finding in await findings_in(world, **more)
        if finding.status not in (Status.VALID, Status.UNCOVERED)
    ]


async def gaps(world, **more):
    return [
        ((finding.start - START) / HOUR, (finding.end - START) / HOUR, finding.reason)
        for finding in await findings_in(world, **more)
        if finding.what is Subject.GAP
    ]


def name(key):
    return key.rpartition("/")[2]


# Everything is valid


async def test_every_file_in_an_untouched_bucket_is_valid():
    findings = await findings_in(World())
    assert {finding.status for finding in findings} == {Status.VALID}
    assert sum(finding.what == "digest" for finding in findings) == HOURS
    assert sum(finding.what is Subject.LOG for finding in findings) == 2 * HOURS


async def test_digests_come_newest_first_each_followed_by_its_log_files():
    world = World(2)
    keys = [finding.key for finding in await findings_in(world, end=START + 2 * HOUR)]
    assert keys == [world.digest_of(1), *world.logs[1], world.digest_of(0), *world.logs[0]]


async def test_only_the_requested_time_range_is_checked():
    world = World()
    findings = await findings_in(world, start=START + 3.5 * HOUR, end=START + 5.5 * HOUR)
    found = [finding.key for finding in findings if finding.what == "digest"]
    assert found == [world.digest_of(hour) for hour in (5, 4, 3)]
    assert {finding.status for finding in findings} == {Status.VALID}


async def test_recent_time_without_a_digest_is_not_a_gap():
    assert await gaps(World(), end=END + HOUR, now=END + HOUR) == []


async def test_backfill_digests_are_verified_and_cause_no_gaps():
    world = World()
    backfill = world.another_hour(backfill_of=2)
    findings = await findings_in(world)
    assert {finding.status for finding in findings} == {Status.VALID}
    assert [finding.what for finding in findings if finding.key == backfill.key] == ["backfill digest"]
    assert findings[-1].key == world.logs[-1][-1]


async def test_two_trails_in_one_bucket_are_two_chains():
    world, other = World(), World(trail="another_trail")
    world.objects |= other.objects
    world.metadata |= other.metadata
    findings = await findings_in(world)
    assert {finding.status for finding in findings} == {Status.VALID}
    assert sum(finding.what is Subject.LOG for finding in findings) == 4 * HOURS
    only = await findings_in(world, scope=Scope(BUCKET, ACCOUNT, REGION, trail="jibe"))
    assert {finding.trail for finding in only if finding.what == "digest"} == {"jibe"}
    assert {finding.status for finding in only} == {Status.VALID}


# Log files


async def test_a_changed_log_file_is_invalid():
    world = World()
    world.change(world.logs[3][0], lambda text: text.replace(b"10", b"11"))
    assert await problems(world) == [("log file", "invalid", name(world.logs[3][0]), "hash")]


async def test_a_truncated_log_file_is_invalid():
    world = World()
    world.objects[world.logs[3][0]] = world.objects[world.logs[3][0]][:-6]
    assert await problems(world) == [("log file", "invalid", name(world.logs[3][0]), "format")]


async def test_a_removed_log_file_is_missing():
    world = World()
    del world.objects[world.logs[0][1]]
    assert await problems(world) == [("log file", "missing", name(world.logs[0][1]), "not-found")]


async def test_an_added_log_file_is_unlisted():
    world = World()
    forged = log_key(START + 2.25 * HOUR, "forged")
    world.objects[forged] = world.objects[world.logs[2][0]]
    assert await problems(world) == [("log file", "unlisted", name(forged), "unlisted")]


async def test_a_recent_log_file_is_not_unlisted_because_its_digest_may_still_come():
    world = World()
    world.objects[log_key(END - 0.5 * HOUR, "new")] = b""
    assert await problems(world) == []


async def test_a_log_file_that_cannot_be_read_is_unreadable():
    world = World()
    world.denied.add(world.logs[0][0])
    assert await problems(world) == [("log file", "unreadable", name(world.logs[0][0]), "LogStoreUnavailable")]


# Digests


async def test_a_changed_digest_is_invalid_and_its_hour_is_a_gap():
    world = World()
    world.change(world.digest_of(4), lambda text: text.replace(b'"hashValue":"', b'"hashValue":"0'))
    assert await problems(world) == [("digest", "invalid", name(world.digest_of(4)), "signature")]
    assert await gaps(world) == [(4, 5, "bad-digest")]


async def test_a_digest_with_a_changed_signature_is_invalid():
    world = World()
    world.metadata[world.digest_of(4)] = world.metadata[world.digest_of(3)]
    assert await problems(world) == [("digest", "invalid", name(world.digest_of(4)), "signature")]


async def test_a_digest_signed_with_an_unknown_key_is_invalid():
    world = World()
    forged = world.another_hour(key=signing_key(1))
    assert await problems(world, end=END + HOUR) == [("digest", "invalid", name(forged.key), "unknown-key")]
    assert await gaps(world, end=END + HOUR) == [(HOURS, HOURS + 1, "bad-digest")]


async def test_a_digest_whose_hash_is_not_in_the_next_digest_is_invalid():
    world = World(3)
    good = world.written[-1]
    world.written[-1] = write_digest(
        signing_key(), bucket=BUCKET, account=ACCOUNT, region=REGION, trail="jibe", home="us-east-1",
        start=START + 2 * HOUR, end=START + 3 * HOUR, logs=(), previous=world.written[1],
    )  # fmt: skip
    world.another_hour()
    assert good.key == world.written[2].key
    found = await problems(world, end=START + 4 * HOUR)
    assert found[0] == ("digest", "invalid", name(good.key), "previous-hash")


async def test_a_removed_digest_is_missing_and_its_hour_is_a_gap():
    world = World()
    del world.objects[world.digest_of(4)]
    assert await problems(world) == [("digest", "missing", name(world.digest_of(4)), "not-found")]
    assert await gaps(world) == [(4, 5, "bad-digest")]


async def test_two_removed_digests_are_one_gap_of_two_hours():
    """Only the first removed digest contains the name of the second, so only the time of the second is known."""
    world = World()
    del world.objects[world.digest_of(4)], world.objects[world.digest_of(5)]
    assert await problems(world) == [("digest", "missing", name(world.digest_of(5)), "not-found")]
    assert await gaps(world) == [(4, 6, "bad-digest")]


async def test_removed_newest_digests_are_a_gap():
    world = World()
    del world.objects[world.digest_of(HOURS - 1)], world.objects[world.digest_of(HOURS - 2)]
    assert await gaps(world) == [(HOURS - 2, HOURS, "no-digest")]


async def test_removed_oldest_digests_are_missing_and_a_gap():
    world = World()
    del world.objects[world.digest_of(0)], world.objects[world.digest_of(1)]
    assert await problems(world) == [("digest", "missing", name(world.digest_of(1)), "not-found")]
    assert await gaps(world) == [(0, 2, "bad-digest")]


async def test_time_without_log_file_validation_is_a_gap_and_nothing_is_invalid():
    world = World()
    world.another_hour(previous=None, skip=3)
    assert await problems(world, end=END + 4 * HOUR) == []
    assert await gaps(world, end=END + 4 * HOUR) == [(HOURS, HOURS + 3, "chain-start")]


async def test_the_time_before_the_trail_is_a_gap():
    assert await gaps(World(), start=START - 5 * HOUR) == [(-5, 0, "chain-start")]


async def test_digests_that_name_another_bucket_are_invalid():
    world = World(2)
    for key in (world.digest_of(0), world.digest_of(1)):
        world.change(key, lambda text: text.replace(b"example-trail", b"another-trail"))
    found = await problems(world, end=START + 2 * HOUR)
    assert found[:2] == [("digest", "invalid", name(world.digest_of(hour)), "moved") for hour in (1, 0)]
    assert await gaps(world, end=START + 2 * HOUR) == [(0, 2, "bad-digest")]


async def test_a_digest_that_cannot_be_read_is_unreadable():
    world = World()
    world.denied.add(world.digest_of(4))
    assert await problems(world) == [("digest", "unreadable", name(world.digest_of(4)), "LogAccessDenied")]


async def test_an_empty_bucket_is_one_gap():
    assert await gaps(World(0)) == [(0, HOURS, "no-digests")]


# Reports


@pytest.fixture
def tampered():
    world = World()
    world.change(world.logs[3][0], lambda text: text + b" ")
    del world.objects[world.digest_of(5)]
    return world


async def test_lines_are_json_and_the_last_is_the_summary(tampered):
    output = io.StringIO()
    summary = await as_lines(tampered.verification().findings(START, END), output)
    *findings, last = map(json.loads, output.getvalue().splitlines())
    assert [finding["reason"] for finding in findings if "reason" in finding] == ["not-found", "bad-digest", "hash"]
    assert len(findings) == (HOURS - 1) + 2 * (HOURS - 1) + 2
    assert last == {
        "summary": {
            "digest": {"missing": 1, "valid": HOURS - 1},
            "gap": {"uncovered": 1},
            "log file": {"invalid": 1, "valid": 2 * HOURS - 3},
        },
        "start": "2026-01-01T20:00:00Z",
        "end": "2026-01-02T04:00:00Z",
        "exit_code": 1,
    }
    assert summary.exit_code == 1


async def test_the_text_fits_80_columns_and_shows_only_problems(tampered):
    output = io.StringIO()
    await as_text(tampered.verification().findings(START, END), output)
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    joined = output.getvalue().replace("\n    ", "")
    assert f"s3://{BUCKET}/{tampered.logs[3][0]}" in joined
    assert "log file: INVALID" in lines
    assert "GAP: 2026-01-02 01:00:00Z to 2026-01-02 02:00:00Z of trail jibe" in lines
    assert lines[-4:] == [
        "Valid digests cover 2026-01-01 20:00:00Z to 2026-01-02 04:00:00Z.",
        "8 digests: 7 valid, 1 MISSING",
        "14 log files: 13 valid, 1 INVALID",
        "1 gap",
    ]


async def test_verbose_text_shows_valid_files_too():
    output = io.StringIO()
    await as_text(World(2).verification().findings(START, START + 2 * HOUR), output, verbose=True)
    assert output.getvalue().count("log file: valid") == 4


async def test_control_characters_in_a_key_do_not_reach_the_terminal():
    world = World()
    world.objects[log_key(START + 2.25 * HOUR, "\x1b[2J\n")] = b""
    output = io.StringIO()
    await as_text(world.verification().findings(START, END), output)
    assert "UNLISTED" in output.getvalue()
    assert "\x1b" not in output.getvalue()


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (lambda world: None, 0),
        (lambda world: world.objects.pop(world.logs[0][0]), 1),
        (lambda world: world.objects.pop(world.digest_of(2)), 1),
        (lambda world: world.objects.pop(world.digest_of(HOURS - 1)), 3),
        (lambda world: world.denied.add(world.logs[0][0]), 1),
    ],
)
async def test_the_exit_code_depends_on_the_findings(tamper, code):
    world = World()
    tamper(world)
    summary = await as_lines(world.verification().findings(START, END), io.StringIO())
    assert summary.exit_code == code


def test_the_digests_of_these_tests_are_valid():
    """Otherwise the tests above could find a fault for a reason other than the one in their names."""
    digest = World(1).written[0]
    found = read_digest(BUCKET, digest.key, digest.body, digest.metadata)
    check_signature(found, public_key(signing_key().der))
    assert found.sha256 == hashlib.sha256(digest.text).hexdigest()
