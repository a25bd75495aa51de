"""Regions, roles and ledgers of queues, buckets and tables."""

import pytest
from tests.acceptance.settings.minimal import MINIMAL, QUEUE, changed, problems, s3_logs

from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.ledgers.forgetting import RESERVED_BYTES
from jibe_sqs.compose import stores
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.core.errors import LedgerError
from jibe_sqs.settings import Rules, Settings, load


@pytest.mark.parametrize(
    ("queue", "aws", "expected"),
    [
        ({"url": "https://sqs.eu-west-1.amazonaws.com/1/q"}, {"region": "us-west-2"}, "eu-west-1"),
        ({"url": "https://sqs.cn-north-1.amazonaws.com.cn/1/q"}, {}, "cn-north-1"),
        ({"url": "https://eu-west-1.queue.amazonaws.com/1/q"}, {}, "eu-west-1"),
        ({"url": "https://vpce-0a1-b2.sqs.us-gov-west-1.vpce.amazonaws.com/1/q"}, {}, "us-gov-west-1"),
        ({"url": "https://sqs.eu-west-1.api.aws/1/q"}, {}, "eu-west-1"),
        ({"url": "https://sqs.eu-west-1.amazonaws.com/1/q", "region": "eu-west-2"}, {}, "eu-west-2"),
        ({"url": "https://sqs.eu-west-1.example.com/1/q"}, {"region": "us-west-2"}, "us-west-2"),
        ({"url": "http://127.0.0.1:5000/1/q"}, {}, None),
    ],
)
async def test_a_queues_region_is_configured_or_in_its_url_or_the_common_region(write, queue, aws, expected):
    settings = load(Settings, config=write(changed(queues=[queue], aws=aws)))
    async with Aws() as clients:
        found = stores.queue(settings.queues[0], settings, clients)
    assert (found._calls._region, found._calls._account.region) == (expected, expected)


async def test_each_log_source_has_its_own_role_and_prefix(write):
    role = "arn:aws:iam::111122223333:role/x"
    logs = [{"bucket": "trail"}, {"bucket": "trail", "prefix": "b/", "role_arn": role, "region": "eu-west-1"}]
    settings = load(Settings, config=write(changed(logs=logs, aws={"region": "us-west-2"})))
    async with Aws() as clients:
        first, second = s3_logs(settings, clients)._sources["trail"]
    assert (first.account.role_arn, first.prefix, first.region) == (None, "", None)
    assert (second.account.role_arn, second.account.region) == (role, "eu-west-1")
    assert (second.prefix, second.region) == ("b/", "eu-west-1")


@pytest.mark.parametrize(("given", "prefix"), [("team", "team/"), ("team/", "team/"), ("a/b", "a/b/"), ("", "")])
def test_the_prefix_of_a_place_ends_with_a_slash(write, given, prefix):
    """`team` must not match `teams/`."""
    settings = load(Settings, config=write(changed(buckets={"media": {"folder": "/a", "prefix": given}})))
    assert settings.buckets["media"][0].prefix == prefix


def test_the_prefix_of_logs_is_not_changed(write):
    """The names of access logs begin with the prefix."""
    settings = load(Settings, config=write(changed(logs=[{"bucket": "trail", "prefix": "S3-"}])))
    assert settings.logs[0].prefix == "S3-"


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        ({"kind": "dynamodb"}, "ledger: dynamodb needs the name or the ARN of its table"),
        ({"table": "jibe-ledger"}, "ledger: table is set, but kind is sqlite"),
        ({"kind": "dynamodb", "table": "a b"}, "ledger.table: "),
        ({"kind": "dynamodb", "table": "arn:aws:s3:::bucket"}, "ledger.table: "),
    ],
)
def test_only_a_ledger_in_dynamodb_has_a_table(write, ledger, expected):
    (problem,) = problems(config=write(changed(ledger=ledger)))
    assert problem.startswith(expected)


async def test_the_tables_region_is_configured_or_in_its_arn_or_the_common_region(write):
    arn = "arn:aws:dynamodb:eu-north-1:111122223333:table/jibe"
    own = {
        "region": "eu-south-1",
        "endpoint": "https://dynamodb.example.com",
        "role_arn": "arn:aws:iam::111122223333:role/r",
    }
    for ledger, region in (
        ({"table": arn}, "eu-north-1"),
        ({"table": "jibe"}, "eu-west-3"),
        ({"table": "jibe", **own}, "eu-south-1"),
    ):
        configuration = changed(aws={"region": "eu-west-3"}, ledger={"kind": "dynamodb", **ledger})
        async with Aws() as aws:
            table = stores.opened_ledger(load(Settings, config=write(configuration)), aws)._table
        assert (table.name, table._region) == (ledger["table"], region)
    assert (table._account.endpoint, table._account.role_arn) == (own["endpoint"], own["role_arn"])


async def test_the_size_of_the_ledgers_file_is_limited_as_configured(write):
    for ledger, expected in (({}, 4 << 30), ({"max_bytes": 900_000_000}, 900_000_000)):
        async with Aws() as aws:
            opened = stores.opened_ledger(load(Settings, config=write(changed(ledger=ledger))), aws)
        assert opened._forgetting._max_bytes == expected - RESERVED_BYTES
    assert any("ledger.max_bytes" in line for line in problems(config=write(changed(ledger={"max_bytes": 1000}))))


async def test_commands_do_not_create_a_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("JIBE_LEDGER__PATH", str(tmp_path / "none.sqlite"))
    with pytest.raises(LedgerError, match="no ledger there"):
        async with stores.ledger(load(Rules)):
            pass
    assert not (tmp_path / "none.sqlite").exists()


def test_the_bucket_owner_is_passed_to_the_log_source(write):
    logs = [{"bucket": "trail", "bucket_owner": "111122223333", "verify": "digest"}, {"bucket": "other"}]
    settings = load(Settings, config=write({**MINIMAL, "logs": logs}))
    assert [stores._source(settings, each).owner for each in settings.logs] == ["111122223333", None]


@pytest.mark.parametrize("owner", ["12", "1111222233334", "11112222333\u0663", "an account", ""])
def test_a_bucket_owner_is_an_account_of_twelve_digits(write, owner):
    logs = [{"bucket": "trail", "bucket_owner": owner}]
    assert any("bucket_owner" in line for line in problems(config=write({**MINIMAL, "logs": logs})))


def test_a_bucket_owner_needs_s3(write):
    logs = [{"bucket": "media", "bucket_owner": "111122223333", "via": "access-anywhere"}]
    assert any("bucket_owner" in line for line in problems(config=write({**MINIMAL, "logs": logs})))


def test_topics_are_arns_and_require_verification(write):
    arn = "arn:aws:sns:eu-west-1:111122223333:logs"
    assert load(Settings, config=write({**MINIMAL, "sns": {"verify": True, "topics": arn}})).sns.topics == (arn,)
    assert any("sns.verify" in line for line in problems(config=write({**MINIMAL, "sns": {"topics": [arn]}})))
    wrong = {"verify": True, "topics": ["logs"]}
    assert any("topics" in line for line in problems(config=write({**MINIMAL, "sns": wrong})))


def test_a_queues_name_contains_no_part_of_a_login_or_a_query():
    """The settings refuse such addresses. The names are safe even without that."""
    secret = "https://ana:CANARY@one.example/1/q?X-Amz-Security-Token=CANARY#CANARY"
    assert queue_names([(secret, None)]) == ["q"]
    assert queue_names([(secret, None), ("https://two.example/1/q", None)]) == ["q (one.example)", "q (two.example)"]


def test_queues_with_equal_names_get_their_region_added():
    url = "https://sqs.{}.amazonaws.com/{}/{}".format
    queues = [
        (url("us-east-1", 1, "jibe"), None),
        (url("eu-west-1", 1, "jibe"), None),
        (url("eu-west-1", 1, "a"), None),
    ]
    assert queue_names(queues) == ["jibe (us-east-1)", "jibe (eu-west-1)", "a"]
    assert queue_names([("https://one.example:1/1/q", None), ("https://two.example/1/q", "here")]) == [
        "q (one.example:1)",
        "q (here)",
    ]
    assert queue_names([(url("eu-west-1", 1, "q"), None), (url("eu-west-1", 2, "q/"), None)]) == [
        "q (eu-west-1, 1)",
        "q (eu-west-1, 2)",
    ]


async def test_queues_have_distinct_names(write):
    queues = [{"url": QUEUE}, {"url": QUEUE.replace("us-east-1", "eu-west-1")}]
    settings = load(Settings, config=write(changed(queues=queues)))
    async with stores.clients(settings) as clients:
        names = [stores.queue(each, settings, clients).name for each in settings.queues]
    assert names == ["jibe (us-east-1)", "jibe (eu-west-1)"]
