"""The checks with doubles: what each finds, and that none hides another."""

import asyncio
import re
from functools import partial
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest

from jibe_sqs.commands.check.data_buckets import CheckedBuckets, check_lifecycles, check_listable
from jibe_sqs.commands.check.facts import (
    Cloud,
    Expiry,
    KeyState,
    NoCredentials,
    NotAllowed,
    NotFound,
    Notifications,
    QueueState,
    Selector,
    Subscription,
    SubscriptionState,
    TrailState,
)
from jibe_sqs.commands.check.ledger import CheckedLedger, check_clock, check_ledger
from jibe_sqs.commands.check.own_writes import CheckedOwnWrites, check_own_writes
from jibe_sqs.commands.check.problems import Code, Fine, Problem, Severity, Topic, warning
from jibe_sqs.commands.check.queues import CheckedQueue, check_dead_letters, check_queue, check_queue_key
from jibe_sqs.commands.check.running import CHECK_TIMEOUT, Check, report
from jibe_sqs.commands.check.topics import CheckedTopics, check_topics
from jibe_sqs.commands.check.trails import CheckedTrails, Trails, check_logged_buckets, check_trails
from jibe_sqs.core.errors import LedgerError, LogAccessDenied, LogStoreUnavailable
from jibe_sqs.core.principals import Seen

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "check.md"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:jibe"
DEAD = "arn:aws:sqs:eu-west-1:111122223333:jibe-dead"
TOPIC = "arn:aws:sns:eu-west-1:111122223333:jibe"
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1"
POLICY = (
    '{"Statement": {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}}'
)
USABLE = '{"Statement": {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "kms:*"}}'
DAY = 86_400.0


class World(Cloud):
    """AWS in memory. `denied`: actions that are not allowed."""

    def __init__(self):
        self.denied = set()
        self.queues = {
            QUEUE: QueueState(QUEUE, 120, 4 * DAY, POLICY, redrive_target=DEAD, max_receives=10),
            DEAD: QueueState(DEAD, 30, 14 * DAY),
        }
        self.topics = {TOPIC: [Subscription(f"{TOPIC}:1", "sqs", QUEUE)]}
        self.details = SubscriptionState()
        self.topic_keys = {}
        self.keys = {KEY: KeyState(KEY, "Enabled", is_managed_by_aws=False)}
        self.key_policies = {KEY: USABLE}
        self.announced = {}
        self.rules = {}
        self.access_logs = {}
        self.age = None
        self.known_trails = []

    def change(self, arn=QUEUE, **attributes):
        self.queues[arn] = msgspec.structs.replace(self.queues[arn], **attributes)

    def allowed(self, action):
        if action in self.denied:
            raise NotAllowed(action, "*", "AccessDenied: no")

    async def identity(self):
        return "arn:aws:iam::111122223333:user/jibe"

    async def queue(self, url, region):
        self.allowed("sqs:GetQueueAttributes")
        return await self.queue_at(QUEUE)

    async def queue_at(self, arn):
        if arn not in self.queues:
            raise NotFound("QueueDoesNotExist")
        return self.queues[arn]

    async def oldest_message(self, arn):
        self.allowed("cloudwatch:GetMetricStatistics")
        return self.age

    async def subscriptions(self, topic):
        self.allowed("sns:ListSubscriptionsByTopic")
        if topic not in self.topics:
            raise NotFound("NotFound")
        return self.topics[topic]

    async def subscription(self, arn):
        self.allowed("sns:GetSubscriptionAttributes")
        return self.details

    async def topic_key(self, topic):
        return self.topic_keys.get(topic, "")

    async def key(self, key, region):
        self.allowed("kms:DescribeKey")
        if key not in self.keys:
            raise NotFound("NotFoundException")
        return self.keys[key]

    async def key_policy(self, arn):
        self.allowed("kms:GetKeyPolicy")
        return self.key_policies[arn]

    async def bucket_region(self, bucket):
        return "eu-west-1"

    async def notifications(self, bucket, region):
        self.allowed("s3:GetBucketNotification")
        return self.announced.get(bucket, Notifications())

    async def access_log_bucket(self, bucket, region):
        return self.access_logs.get(bucket, "")

    async def expiries(self, bucket, region):
        self.allowed("s3:GetLifecycleConfiguration")
        return self.rules.get(bucket, [])

    async def trails(self, region):
        self.allowed("cloudtrail:DescribeTrails")
        return self.known_trails

    async def trail_status(self, trail):
        self.allowed("cloudtrail:GetTrailStatus")
        return trail

    async def trail_selectors(self, trail):
        self.allowed("cloudtrail:GetEventSelectors")
        return trail


@pytest.fixture
def aws():
    """AWS where everything is right."""
    return World()


async def yes():
    return True


async def no():
    return False


def queue(aws, **fields):
    return CheckedQueue("jibe", "https://sqs.example/jibe", aws, **{"may_reject": yes, **fields})


def codes(findings):
    return [each.code.value for each in findings if isinstance(each, Problem)]


async def found(check, *arguments):
    return [finding async for finding in check(*arguments)]


async def of_queue(aws, **fields):
    checked = queue(aws, **fields)
    return codes(
        [
            finding
            for check in (check_queue, check_dead_letters, check_queue_key)
            for finding in await found(check, checked)
        ]
    )


async def test_a_good_queue_has_no_problem(aws):
    """With SQS's own encryption, or with a usable key."""
    assert await of_queue(aws) == []
    aws.change(key=KEY)
    assert await of_queue(aws) == []


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"visibility_timeout": 10.0}, "visibility-timeout-short"),
        ({"visibility_timeout": 43_200.0}, "visibility-timeout-long"),
        ({"retention": 3600.0}, "queue-retention-short"),
        ({"policy": ""}, "queue-policy-missing"),
        ({"policy": POLICY.replace('{"Service": "sns.amazonaws.com"}', '"*"')}, "queue-policy-open"),
        ({"redrive_target": ""}, "dead-letters-missing"),
        ({"redrive_target": DEAD + "-gone"}, "dead-letters-missing"),
        ({"max_receives": 2}, "max-receives-low"),
        ({"key": "alias/aws/sqs"}, "queue-key-unusable"),
        ({"key": KEY + "-gone"}, "queue-key-unusable"),
    ],
)
async def test_each_mistake_of_a_queue_is_found(aws, attributes, code):
    """One at a time, and nothing else with it."""
    aws.change(**attributes)
    assert await of_queue(aws) == [code]


async def test_a_message_that_sqs_will_delete_soon_is_found(aws):
    """Only if a message waits: CloudWatch repeats the last value for a while."""
    aws.age = 3 * DAY
    assert await of_queue(aws) == []
    aws.change(waiting=1)
    assert await of_queue(aws) == ["queue-messages-old"]


@pytest.mark.parametrize(
    ("key", "policy"),
    [
        (KeyState(KEY, "Disabled", is_managed_by_aws=False), USABLE),
        (KeyState(KEY, "Enabled", is_managed_by_aws=True), USABLE),
        (KeyState(KEY, "Enabled", is_managed_by_aws=False), USABLE.replace("sns.", "s3.")),
        (KeyState(KEY, "Enabled", is_managed_by_aws=False), USABLE.replace("kms:*", "kms:Decrypt")),
    ],
)
async def test_a_key_that_sns_cannot_use_is_found(aws, key, policy):
    """Then SNS drops every announcement, and nothing else shows it."""
    aws.keys[KEY], aws.key_policies[KEY] = key, policy
    aws.change(key=KEY)
    assert await of_queue(aws) == ["queue-key-unusable"]


async def test_dead_letters_that_wait_or_cannot_be_written_are_found(aws):
    """Two findings about one dead-letter queue."""
    aws.change(DEAD, waiting=3)
    assert await of_queue(aws, may_reject=no) == ["dead-letters-denied", "dead-letters-waiting"]


@pytest.mark.parametrize(("days", "codes"), [(4, ["dead-letters-retention"]), (14, [])])
async def test_a_dead_letter_is_kept_longer_than_a_message_or_as_long_as_sqs_can(aws, days, codes):
    """Both may keep 14 days: no queue keeps messages longer."""
    aws.change(retention=days * DAY)
    aws.change(DEAD, retention=days * DAY)
    assert await of_queue(aws) == codes


async def test_a_region_that_differs_from_the_url_is_found(aws):
    """The service would ask in the wrong region."""
    assert await of_queue(aws, region="eu-west-1", url_region="us-east-1") == ["queue-region"]


async def test_a_queue_that_we_may_not_read_is_an_error(aws):
    """The service itself needs this permission."""
    aws.denied.add("sqs:GetQueueAttributes")
    assert await of_queue(aws) == ["queue-denied"]


async def of_topics(aws, regions=("eu-west-1",), trail_topics=(), **fields):
    async def given(what):
        return what

    checked = CheckedTopics([queue(aws)], aws, partial(given, trail_topics), partial(given, regions), **fields)
    return codes(await found(check_topics, checked))


async def test_a_topic_of_a_trail_must_be_subscribed(aws):
    """A removed subscription shows nowhere else: there is no message, and no error."""
    assert await of_topics(aws, trail_topics=[TOPIC]) == []
    aws.topics[TOPIC] = [
        Subscription(f"{TOPIC}:1", "sqs", QUEUE + "-other"),
        Subscription(f"{TOPIC}:2", "email", "a@b"),
    ]
    assert await of_topics(aws, trail_topics=[TOPIC]) == ["subscription-missing"]


async def test_a_policy_that_leaves_the_region_open_names_topics_in_each_region(aws):
    """A topic that does not exist in one of them is no problem. One that exists must be subscribed."""
    policy = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Condition": {"ArnLike": %s}}}'
    aws.change(policy=policy % '{"aws:SourceArn": "arn:aws:sns:*:111122223333:jibe"}')
    assert await of_topics(aws, ["eu-west-1", "us-east-1"]) == []
    aws.topics[TOPIC.replace("eu-west-1", "us-east-1")] = []
    assert await of_topics(aws, ["eu-west-1", "us-east-1"]) == ["subscription-missing"]


async def test_topics_that_nothing_names_are_a_note(aws):
    """Then no subscription was checked, and the report must not look as if all were right."""
    assert await of_topics(aws) == ["topics-unknown"]


async def test_each_mistake_of_a_topic_is_found(aws):
    """Those of the topic, of its subscription and of the policy."""
    check_it = partial(of_topics, aws, trail_topics=[TOPIC])
    assert await of_topics(aws, configured=(TOPIC + "-gone",)) == ["topic-missing"]
    aws.topic_keys[TOPIC] = "alias/aws/sns"
    assert await check_it() == ["topic-key-unusable"]
    aws.topic_keys.clear()
    aws.details = SubscriptionState(is_raw=True, filter_policy='{"a": ["b"]}')
    assert await check_it() == ["subscription-filtered"]
    assert await check_it(requires_signatures=True) == ["subscription-filtered", "subscription-raw"]
    aws.details = SubscriptionState()
    aws.change(policy="")
    assert await check_it() == ["topic-not-admitted"]
    aws.topics[TOPIC] = [Subscription("PendingConfirmation", "sqs", QUEUE)]
    assert await check_it() == ["subscription-pending"]


async def test_a_topic_in_an_opt_in_region_needs_its_own_principal(aws):
    """The policy admits SNS, but not the region's principal."""
    topic = TOPIC.replace("eu-west-1", "me-south-1")
    aws.topics[topic] = [Subscription(f"{topic}:1", "sqs", QUEUE)]
    assert await of_topics(aws, trail_topics=[topic]) == ["topic-region-not-admitted"]


async def test_topics_that_we_may_not_list_are_notes(aws):
    """Only those that certainly exist: otherwise each region would have a note."""
    aws.denied.add("sns:ListSubscriptionsByTopic")
    assert await of_topics(aws, trail_topics=[TOPIC]) == ["cannot-check"]


TRAIL = TrailState(
    "arn:aws:cloudtrail:eu-west-1:111122223333:trail/jibe",
    "eu-west-1",
    "logs",
    topic=TOPIC,
    is_logging=True,
    selectors=(
        Selector("AWS::S3::Object", reads=False, writes=True, not_starts=("arn:aws:s3:::logs/",)),
        Selector("AWS::S3Express::Object", reads=False, writes=True),
    ),
)


def changed(trail, **fields):
    return msgspec.structs.replace(trail, **fields)


class Logs(msgspec.Struct, frozen=True):
    """What the checks of trails need of a configured log source."""

    source: object
    cloud: object
    is_swept: bool = False
    name: str = "logs"


async def of_trails(aws, *trails, buckets=("media",), **fields):
    from jibe_sqs.core.sources import LogSource

    async def regions():
        return ["eu-west-1"]

    aws.known_trails = list(trails)
    logs = [Logs(LogSource("logs"), aws, **fields)]
    checked = CheckedTrails(
        Trails(aws, regions), logs, None, dict.fromkeys(buckets, "eu-west-1"), {"logs": "eu-west-1"}
    )
    return codes([*await found(check_trails, checked), *await found(check_logged_buckets, checked, aws)])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, []),
        ({"is_logging": False}, ["trail-not-logging", "bucket-not-logged"]),
        ({"delivery_error": "NoSuchBucket"}, ["trail-delivery-failed"]),
        ({"notification_error": "AuthorizationError"}, ["trail-notification-failed"]),
        ({"topic": ""}, ["trail-without-topic"]),
        ({"selectors": TRAIL.selectors[1:]}, ["trail-without-s3-events", "bucket-not-logged"]),
        ({"selectors": TRAIL.selectors[:1]}, ["trail-without-s3-express"]),
        ({"selectors": (*TRAIL.selectors, Selector("AWS::S3::Object", True, False))}, ["trail-logs-reads"]),
        ({"selectors": (*TRAIL.selectors, Selector("AWS::S3::Object", False, True))}, ["trail-logs-log-bucket"]),
    ],
)
async def test_each_mistake_of_a_trail_is_found(aws, fields, expected):
    """One at a time, with what follows from it."""
    assert await of_trails(aws, changed(TRAIL, **fields)) == expected


async def test_a_trail_needs_no_topic_if_new_files_are_found_otherwise(aws):
    """By sweeps, or by notifications of the log bucket."""
    assert await of_trails(aws, changed(TRAIL, topic=""), is_swept=True) == []
    aws.announced["logs"] = Notifications(("s3:ObjectCreated:*",))
    assert await of_trails(aws, changed(TRAIL, topic="")) == []


async def test_a_thousand_buckets_are_asked_about_several_at_a_time(aws):
    """One after the other, they would take longer than a check may."""

    async def slow(bucket, region):
        await asyncio.sleep(0.2)
        return Notifications()

    aws.notifications = slow
    buckets = [f"bucket-{number}" for number in range(1000)]
    began = asyncio.get_running_loop().time()
    assert await of_trails(aws, changed(TRAIL, selectors=TRAIL.selectors[1:]), buckets=buckets)
    assert asyncio.get_running_loop().time() - began < CHECK_TIMEOUT / 2


async def test_two_trails_that_log_the_same_events_are_found(aws):
    """Not if they log different buckets."""
    other = changed(TRAIL, arn=f"{TRAIL.arn}-2")
    assert await of_trails(aws, TRAIL, other) == ["trail-duplicate"]
    elsewhere = Selector("AWS::S3::Object", False, True, starts=("arn:aws:s3:::projects/",))
    assert await of_trails(aws, TRAIL, changed(other, selectors=(elsewhere, TRAIL.selectors[1]))) == []


async def test_what_we_may_not_read_of_a_trail_does_not_count_as_wrong(aws):
    """A note for each permission, and no more."""
    aws.denied |= {"cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"}
    assert await of_trails(aws, changed(TRAIL, is_logging=None, selectors=None)) == ["cannot-check", "cannot-check"]


@pytest.mark.parametrize(
    ("announced", "access_logs", "expected"),
    [
        (Notifications(), "", ["lifecycle-unheard"]),
        (Notifications(("s3:ObjectCreated:*", "s3:ObjectRemoved:*")), "elsewhere", ["lifecycle-unheard"]),
        (Notifications(("s3:LifecycleExpiration:*",)), "", []),
        (Notifications(("s3:LifecycleExpiration:DeleteMarkerCreated",)), "", []),
        (Notifications(has_eventbridge=True), "", []),
        (Notifications(), "logs", []),
    ],
)
async def test_expiry_must_be_announced_by_something_else_than_cloudtrail(aws, announced, access_logs, expected):
    """S3's events, EventBridge, or server access logs in a configured log bucket."""
    aws.rules["media"] = [Expiry("tidy", "tmp/")]
    aws.announced["media"], aws.access_logs["media"] = announced, access_logs
    checked = CheckedBuckets(aws, None, {"media": "eu-west-1", "projects": "eu-west-1"}, {"logs"})
    assert codes(await found(check_lifecycles, checked)) == expected


async def test_a_bucket_that_we_may_not_list_is_a_note(aws):
    """Only comparisons need to list it. An outage of S3 is no finding of this check."""

    class Listing:
        async def has(self, bucket, prefix):
            if bucket != "good":
                raise {"denied": LogAccessDenied, "down": LogStoreUnavailable}[bucket](bucket)
            return False

    checked = CheckedBuckets(aws, Listing(), dict.fromkeys(["good", "denied", "down"], "eu-west-1"))
    problem, fine = await found(check_listable, checked)
    assert (problem.code, problem.subject, problem.severity) == ("bucket-not-listable", "denied", Severity.NOTE)
    assert fine.subject == "2 buckets"


def own(*patterns, seen=(), networks=(), is_own=None):
    async def principals():
        return {name: Seen(1.0, 2.0) for name in seen}

    return CheckedOwnWrites(patterns, networks, (), is_own or (lambda actor: actor.principal in patterns), principals)


ANA, BOB, AA = (f"arn:aws:iam::1:user/{name}" for name in ("ana", "bob", "access-anywhere"))


@pytest.mark.parametrize(
    ("checked", "expected"),
    [
        (own(AA, seen=[ANA, BOB, AA]), []),
        (own(seen=[ANA]), ["own-writes-unset"]),
        (own(ANA, seen=[ANA, BOB, AA]), ["own-writes-incomplete"]),
        (own("arn:aws:iam::1:user/*"), ["own-writes-too-broad"]),
        (own(networks=[ip_network("0.0.0.0/0")]), ["own-writes-too-broad"]),
        (own("arn:aws:iam::1:*a*", seen=[ANA, BOB, AA], is_own=lambda _: True), ["own-writes-too-broad"]),
    ],
)
async def test_rules_for_own_writes_are_compared_with_the_callers_that_were_seen(checked, expected):
    """Rules that are missing, too broad, or match the wrong callers."""
    assert codes(await found(check_own_writes, checked)) == expected


async def test_a_caller_that_looks_like_access_anywhere_makes_missing_rules_a_warning():
    """Otherwise they are a note: perhaps nothing is written through Access Anywhere."""
    (unseen,), (seen,) = await found(check_own_writes, own()), await found(check_own_writes, own(seen=[AA]))
    assert (unseen.severity, seen.severity) == (Severity.NOTE, Severity.WARNING)
    assert AA in seen.what


@pytest.mark.parametrize(
    ("skew", "expected"),
    [(None, []), (2.0, []), (-90.0, [Severity.WARNING]), (1000.0, [Severity.ERROR])],
)
async def test_a_wrong_clock_is_found(skew, expected):
    """From 15 minutes on, AWS refuses every request."""

    async def measured():
        return skew

    assert [each.severity for each in await found(check_clock, measured) if isinstance(each, Problem)] == expected


async def test_a_ledger_that_is_nearly_full_or_damaged_is_found(tmp_path):
    """One that does not exist yet is no problem, if its directory can be written."""
    path = tmp_path / "ledger.sqlite"

    async def good():
        return None

    async def damaged():
        raise LedgerError("file is not a database")

    ledger = CheckedLedger("sqlite", "ledger", good, path, max_bytes=1000)
    assert codes(await found(check_ledger, ledger)) == []
    path.write_bytes(b"x" * 950)
    assert codes(await found(check_ledger, ledger)) == ["ledger-full"]
    assert codes(await found(check_ledger, msgspec.structs.replace(ledger, open=damaged))) == ["ledger-unusable"]
    nowhere = msgspec.structs.replace(ledger, path=tmp_path / "no" / "ledger.sqlite")
    assert codes(await found(check_ledger, nowhere)) == ["ledger-unusable"]
    assert codes(await found(check_ledger, msgspec.structs.replace(ledger, kind="memory"))) == ["ledger-in-memory"]


async def test_no_failure_of_a_check_hides_a_finding():
    """What a check had found before it failed counts, too."""
    first = warning(Code.MAX_RECEIVES_LOW, "a", "what", "remedy")

    def then(error):
        async def check():
            yield first
            raise error

        return check

    async def endless():
        yield first
        await asyncio.Event().wait()

    async def good():
        yield Fine("b", "fine")

    failures = [NotAllowed("s3:X", "*", ""), NoCredentials("none"), LedgerError("broken"), ZeroDivisionError("oops")]
    checks = [*(Check(Topic.QUEUES, str(n), then(error)) for n, error in enumerate(failures))]
    checks += [Check(Topic.QUEUES, "slow", endless), Check(Topic.CREDENTIALS, "b", good)]
    result = await report(checks, limit=0.01)
    assert codes(result.problems) == ["max-receives-low", "credentials", "no-answer", "check-defect", "no-answer"]
    assert codes(result.notes) == ["cannot-check"]
    assert result.findings[0] == (Topic.CREDENTIALS, Fine("b", "fine"))


async def test_missing_credentials_are_reported_once():
    """Every question fails for the same reason."""

    async def refused():
        raise NoCredentials("Unable to locate credentials")
        yield

    result = await report([Check(topic, "a", refused) for topic in (Topic.QUEUES, Topic.TRAILS, Topic.TRAILS)])
    assert codes(result.problems) == ["credentials"]


def test_the_documentation_has_every_problem_code():
    """And no other."""
    rows = DOCS.read_text(encoding="utf-8").partition("## Problem codes")[2]
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", rows, re.MULTILINE) == [code.value for code in Code]
