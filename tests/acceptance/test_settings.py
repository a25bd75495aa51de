"""The configuration as operators give it: variables, secret files, JSON and TOML files, and every mistake by its name."""

import json
import os
import re
from ipaddress import ip_network
from pathlib import Path

import boto3
import pytest
import yaml
from moto import mock_aws

from jibe_sqs import compose
from jibe_sqs.adapters.aws import Aws
from jibe_sqs.adapters.clock import S3Clock
from jibe_sqs.adapters.digests import DigestVerifier
from jibe_sqs.adapters.s3 import Regions
from jibe_sqs.compose import stores
from jibe_sqs.compose.queue_names import queue_names
from jibe_sqs.concurrency.budget import Budget
from jibe_sqs.core.announcements import announcements
from jibe_sqs.core.errors import LedgerError, SettingsError
from jibe_sqs.core.formats.format import Format
from jibe_sqs.core.formats.limits import Limits
from jibe_sqs.core.key_encodings import KEY_ENCODINGS
from jibe_sqs.core.sources import LogSource
from jibe_sqs.settings import Rules, Settings, load

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path for path in (ROOT / "config").iterdir() if path.is_file())
DOCUMENT = (ROOT / "docs" / "reference" / "configuration.md").read_text(encoding="utf-8")

QUEUE = "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"
LEAST = {
    "access_anywhere": {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"},
    "queues": [{"url": QUEUE}],
    "buckets": {"media": "/Amazon S3/media"},
}
JIBE = {"endpoint": "https://files.example.com", "login": "ana", "password": "PASSWORD-CANARY"}
OKERA = {"s3Region": "us-west-2", "sqsRegion": "eu-west-1", "sqsUrl": "https://queues.example.com/1/jibe"}


@pytest.fixture(autouse=True)
def nobodys_machine(monkeypatch, tmp_path):
    """An empty working directory, and no variables of ours."""
    for name in os.environ:
        if name.upper().startswith("JIBE_"):
            monkeypatch.delenv(name)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def write(tmp_path):
    def write(content, name="config.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


@pytest.fixture
def secret_files(tmp_path, monkeypatch):
    """Writes secret files; the folder is the configured one."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(folder))

    def write(**values):
        for name, value in values.items():
            (folder / name).write_text(value)
        return folder

    return write


def problems(kind=Settings, **named):
    with pytest.raises(SettingsError) as raised:
        load(kind, **named)
    assert "CANARY" not in str(raised.value)
    assert "CANARY" not in repr(raised.value)
    return raised.value.problems


def with_(**changes):
    return {**LEAST, **changes}


# Sources


def test_the_least_that_is_needed_is_enough(write):
    settings = load(Settings, config=write(LEAST))
    assert settings.access_anywhere.password.get_secret_value() == "PASSWORD-CANARY"
    assert [queue.url for queue in settings.queues] == [QUEUE]
    assert settings.buckets["media"][0].folder == "/Amazon S3/media"
    assert (settings.drain_timeout, settings.poll.wait, settings.ledger.kind) == (90, 20, "sqlite")


def test_the_stronger_source_wins(write, monkeypatch, secret_files):
    file = write(with_(drain_timeout=31, watermark_margin=31, tree_refresh_interval=31, progress_interval=31))

    def loaded(**overrides):
        found = load(Settings, config=file, **overrides)
        return found.drain_timeout, found.watermark_margin, found.tree_refresh_interval, found.progress_interval

    assert loaded() == (31, 31, 31, 31)
    secret_files(JIBE_DRAIN_TIMEOUT="32", JIBE_WATERMARK_MARGIN="32", jibe_tree_refresh_interval="32\n")
    assert loaded() == (32, 32, 32, 31)
    monkeypatch.setenv("JIBE_DRAIN_TIMEOUT", "33")
    monkeypatch.setenv("JIBE_WATERMARK_MARGIN", "33")
    assert loaded() == (33, 33, 32, 31)
    assert loaded(drain_timeout=34) == (34, 33, 32, 31)


def test_groups_are_put_together_from_all_sources(write, monkeypatch, secret_files):
    """Found by this test: a secret file could hold a whole group as JSON only, not one password."""
    file = write(with_(access_anywhere={"endpoint": "https://files.example.com", "concurrency": 3}))
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__LOGIN", "from-the-environment")
    secret_files(JIBE_ACCESS_ANYWHERE__PASSWORD=" from-a-secret-file\n", JIBE_AWS='{"region": "eu-west-1"}')
    settings = load(Settings, config=file)
    assert settings.access_anywhere.endpoint == "https://files.example.com"
    assert settings.access_anywhere.login == "from-the-environment"
    assert settings.access_anywhere.password.get_secret_value() == "from-a-secret-file"
    assert settings.access_anywhere.concurrency == 3
    assert settings.aws.region == "eu-west-1"


def test_secrets_mounted_by_kubernetes_are_read(write, tmp_path, monkeypatch):
    """There, each file is a link through a hidden folder that is a link itself."""
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026" / "JIBE_ACCESS_ANYWHERE__PASSWORD").write_text("from-a-mount")
    (mount / "..data").symlink_to("..2026")
    (mount / "JIBE_ACCESS_ANYWHERE__PASSWORD").symlink_to("..data/JIBE_ACCESS_ANYWHERE__PASSWORD")
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(mount))
    assert load(Settings, config=write(LEAST)).access_anywhere.password.get_secret_value() == "from-a-mount"


def test_everything_may_come_from_variables(monkeypatch):
    for name, value in {
        "JIBE_ACCESS_ANYWHERE__ENDPOINT": "https://files.example.com",
        "JIBE_ACCESS_ANYWHERE__PERMANENT_TOKEN": "token",
        "JIBE_QUEUES": json.dumps(LEAST["queues"]),
        "JIBE_BUCKETS": json.dumps({"media": ["/a/media", {"folder": "/b", "prefix": "x/"}]}),
        "JIBE_LOGS": '[{"bucket": "trail"}]',
        "JIBE_OWN_WRITES__PRINCIPALS": '["arn:one", "arn:two"]',
        "JIBE_OWN_WRITES__USER_AGENTS": "one word",
        "JIBE_OWN_WRITES__SOURCE_ADDRESSES": "192.0.2.0/24",
        "JIBE_LOG__LEVEL": "debug",
        "jibe_poll__wait": "7",
        "JIBE_LEDGER__PATH": "/tmp/ledger",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(Settings)
    assert settings.access_anywhere.permanent_token.get_secret_value() == "token"
    assert [(place.folder, place.prefix) for place in settings.buckets["media"]] == [("/a/media", ""), ("/b", "x/")]
    assert settings.own_writes.principals == ("arn:one", "arn:two")
    assert settings.own_writes.user_agents == ("one word",)
    assert settings.own_writes.source_addresses == (ip_network("192.0.2.0/24"),)
    assert (settings.poll.wait, settings.log.level, str(settings.ledger.path)) == (7, "debug", "/tmp/ledger")


def test_a_list_is_taken_whole(write, monkeypatch):
    monkeypatch.setenv("JIBE_QUEUES", '[{"url": "https://other.example/1/q"}]')
    assert [queue.url for queue in load(Settings, config=write(LEAST)).queues] == ["https://other.example/1/q"]


def test_empty_variables_are_not_set(write, monkeypatch):
    for name in ("JIBE_DRAIN_TIMEOUT", "JIBE_QUEUES", "JIBE_ACCESS_ANYWHERE__PASSWORD", "JIBE_CONFIG"):
        monkeypatch.setenv(name, "")
    settings = load(Settings, config=write(LEAST))
    assert (settings.drain_timeout, settings.access_anywhere.password.get_secret_value()) == (90, "PASSWORD-CANARY")


def test_toml_says_the_same_as_json(write):
    toml = """
        drain_timeout = 50
        [access_anywhere]
        endpoint = "https://files.example.com"
        login = "ana"
        password = "PASSWORD-CANARY"
        [[queues]]
        url = "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"
        [buckets]
        media = "/Amazon S3/media"
    """
    from_toml = load(Settings, config=write(toml, "config.toml"))
    from_json = load(Settings, config=write(with_(drain_timeout=50)))
    assert from_toml.model_dump() == from_json.model_dump()


def test_the_file_is_the_given_one_then_the_variables_then_the_one_that_is_there(write, monkeypatch):
    given, named = write(with_(drain_timeout=41)), write(with_(drain_timeout=42), "named.json")
    Path("jibe-config.json").write_text(json.dumps(with_(drain_timeout=43)))
    assert load(Settings).drain_timeout == 43
    monkeypatch.setenv("JIBE_CONFIG", str(named))
    assert load(Settings).drain_timeout == 42
    assert load(Settings, config=given).drain_timeout == 41


def test_two_files_do_not_meet(write):
    first = load(Settings, config=write(with_(drain_timeout=41, aws={"region": "eu-west-1"})))
    second = load(Settings, config=write(LEAST))
    assert (first.drain_timeout, second.drain_timeout, second.aws.region) == (41, 90, None)


def test_a_file_written_on_windows_is_read(write):
    """Found by this test: its byte-order mark was no JSON."""
    assert load(Settings, config=write("\ufeff" + json.dumps(LEAST))).queues


# Jibe's and Okera's files


def test_a_file_of_jibes_is_read(write):
    settings = load(Settings, config=write({**JIBE, "queues": LEAST["queues"], "buckets": LEAST["buckets"]}))
    assert settings.access_anywhere.endpoint == "https://files.example.com"
    assert (settings.access_anywhere.login, settings.access_anywhere.password.get_secret_value()) == (
        "ana",
        "PASSWORD-CANARY",
    )


def test_a_file_of_okeras_is_read(write):
    settings = load(Settings, config=write({**JIBE, **OKERA, "buckets": LEAST["buckets"]}))
    (queue,) = settings.queues
    assert (queue.url, queue.region, settings.aws.region) == (OKERA["sqsUrl"], "eu-west-1", "us-west-2")


def test_our_words_win_over_theirs(write):
    ours = {"access_anywhere": {"login": "bo"}, "aws": {"region": "eu-north-1"}, "queues": LEAST["queues"]}
    settings = load(Settings, config=write({**JIBE, **OKERA, **ours, "buckets": LEAST["buckets"]}))
    assert (settings.access_anywhere.login, settings.access_anywhere.endpoint) == ("bo", JIBE["endpoint"])
    assert (settings.aws.region, settings.queues[0].url, len(settings.queues)) == ("eu-north-1", QUEUE, 1)


def test_variables_win_over_theirs(write, monkeypatch):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", "stronger")
    settings = load(Settings, config=write({**JIBE, **OKERA, "buckets": LEAST["buckets"]}))
    assert settings.access_anywhere.password.get_secret_value() == "stronger"


def test_jibes_other_settings_are_passed_over(write, capsys):
    """Found by this test: `timeout` and `logFile` were taken for slips of ours, and nothing started."""
    others = {"slackWebhook": "https://hooks.example/CANARY", "logFile": "/x", "timeout": 3, "reportMinutes": 15}
    file = write({**JIBE, **others, "queues": LEAST["queues"], "buckets": LEAST["buckets"]})
    assert load(Settings, config=file).queues
    said = capsys.readouterr().out
    assert all(name in said for name in others)
    assert "CANARY" not in said


def test_a_slip_in_a_file_of_jibes_is_told(write):
    file = write({**JIBE, "quues": LEAST["queues"], "buckets": LEAST["buckets"]})
    assert problems(config=file) == [
        "queues: missing: the SQS queues, each with its url; or logs with a sweep",
        "quues: no such setting; did you mean queues?",
    ]


def test_in_a_file_of_ours_alone_nothing_is_passed_over(write):
    assert problems(config=write(with_(slackWebhook="x"))) == ["slackWebhook: no such setting"]


@pytest.mark.parametrize("name", ["access_anywhere", "aws"])
def test_their_words_beside_something_odd_of_ours_are_told(write, name):
    """Found by this test: it ended in a TypeError."""
    file = write({**JIBE, **OKERA, "buckets": LEAST["buckets"], name: 3})
    assert any(problem.startswith(f"{name}: must be an object") for problem in problems(config=file))


# Mistakes


def test_with_nothing_everything_that_is_needed_is_named():
    assert problems() == [
        (
            "access_anywhere: missing: endpoint, login and password of Access Anywhere, here or as three keys at the top "
            "of the file"
        )
    ]


def test_every_mistake_is_told_at_once_under_its_name(write, monkeypatch):
    """Found by this test: one variable that was not JSON hid all other mistakes."""
    monkeypatch.setenv("JIBE_QUEUES", "CANARY")
    monkeypatch.setenv("JIBE_QUEU", "CANARY")
    monkeypatch.setenv("JIBE_POLL__WAIT", "CANARY")
    monkeypatch.setenv("JIBE_DRAIN_TIMEOUT", "nan")
    file = write(
        {
            "access_anywhere": {"endpoint": "https://ana:CANARY@files.example.com", "login": "ana"},
            "buckets": {"media": "no slash CANARY", "raw": [], "x": {"folder": "/a", "prefx": "CANARY"}},
            "own_writes": {"source_addresses": ["10.0.0.0/8", "nowhere"]},
            "logs": [{"bucket": "trail", "role_arn": "CANARY"}],
            "limits": {"messages_reading": 0},
            "retry": {"longest": 50_000},
            "ledger": {"kind": "CANARY"},
            "aws": {"access_key_id": "AKIA"},
            "alerts": {"webhook": "hooks.example.com/CANARY"},
            "sync": {"strategy": "provider-event", "parameters": {"object": "{objekt}"}},
            "bukets": {},
        }
    )
    found = problems(config=file)
    assert sorted(re.split(r": ", problem)[0] for problem in found) == sorted(
        [
            "JIBE_QUEU",
            "access_anywhere",
            "access_anywhere.endpoint",
            "alerts.webhook",
            "aws",
            "buckets.media.0.folder",
            "buckets.raw",
            "buckets.x.0.prefx",
            "bukets",
            "drain_timeout",
            "ledger.kind",
            "limits.messages_reading",
            "logs.0.role_arn",
            "own_writes.source_addresses.1",
            "poll.wait",
            "queues",
            "retry.longest",
            "sync.parameters.object",
        ]
    )


@pytest.mark.parametrize(
    "address",
    [
        "",
        "files.example.com",
        "https://",
        "ftp://files.example.com",
        "https://files.example.com:99999",
        "https://files.example.com:0",
        "https://ana:CANARY/1@files.example.com",
        "https://[::1",
        "https://files.example.com\n",
        "https://files .example.com",
        "https://files.example.com/\x1b",
    ],
)
@pytest.mark.parametrize(
    "name", ["access_anywhere.endpoint", "aws.endpoint", "queues.0.url", "logs.0.endpoint", "alerts.webhook"]
)
def test_an_address_that_is_none_is_told(write, name, address):
    """Found by this test: what follows the colon was repeated, and may be a password's beginning; or it was a traceback."""
    group, *_, last = name.split(".")
    told = {"logs": {"bucket": "trail"}, "access_anywhere": LEAST["access_anywhere"]}.get(group, {}) | {last: address}
    (said,) = problems(config=write(with_(**{group: [told] if ".0." in name else told})))
    assert said == f"{name}: not an address: write https:// and a host name"


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("JIBE_BUCKET", "JIBE_BUCKET: no such setting; did you mean JIBE_BUCKETS?"),
        ("JIBE_ACCESS_ANYWERE__LOGIN", "did you mean JIBE_ACCESS_ANYWHERE?"),
        ("JIBE_POLL__WIAT", "JIBE_POLL__WIAT: no such setting; did you mean JIBE_POLL__WAIT?"),
        ("jibe_drain", "jibe_drain: no such setting"),
    ],
)
def test_a_misspelt_variable_is_told(write, monkeypatch, variable, told):
    monkeypatch.setenv(variable, "3")
    (problem,) = problems(config=write(LEAST))
    assert told in problem


def test_a_misspelt_secret_file_is_told(write, secret_files):
    secret_files(JIBE_ACCESS_ANYWHERE_PASSWORD="CANARY", README="of somebody else's")
    assert problems(config=write(LEAST)) == [
        "JIBE_ACCESS_ANYWHERE_PASSWORD: no such setting; did you mean JIBE_ACCESS_ANYWHERE?"
    ]


def test_a_folder_of_secrets_that_is_none_is_told(write, monkeypatch, tmp_path):
    """Found by this test: a missing one was passed over with a Python warning."""
    for path, told in ((tmp_path / "none", "No such file"), (write(LEAST, "file"), "Not a directory")):
        monkeypatch.setenv("JIBE_SECRETS_DIR", str(path))
        (problem,) = problems(config=write(LEAST))
        assert problem.startswith(f"JIBE_SECRETS_DIR: {path}: cannot be read: {told}")


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        ("{", "config.json", "not JSON"),
        ('{"password": CANARY}', "config.json", "not JSON"),
        ("[]", "config.json", "must be an object"),
        ("password = CANARY", "config.toml", "not TOML"),
        (json.dumps(LEAST), "config.toml", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_understood_is_told(write, content, name, told):
    path = write(content, name)
    (problem,) = problems(config=path)
    assert problem.startswith(f"{path}: {told}")


def test_a_file_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    (problem,) = problems(config=tmp_path / "none.json")
    assert problem == f"{tmp_path / 'none.json'}: cannot be read: No such file or directory"
    monkeypatch.setenv("JIBE_CONFIG", str(tmp_path))
    (problem,) = problems()
    assert problem == f"JIBE_CONFIG: {tmp_path}: cannot be read: Is a directory"
    (tmp_path / "latin.json").write_bytes(b'{"login": "\xe9"}')
    (problem,) = problems(config=tmp_path / "latin.json")
    assert "not JSON" in problem


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"drain_timeout": 20}, False),
        ({"drain_timeout": 20.5}, True),
        ({"drain_timeout": 10, "poll": {"wait": 9}}, True),
        ({"drain_timeout": 10, "poll": {"wait": 10}}, False),
    ],
)
def test_the_drain_outlasts_a_long_poll(write, changes, good):
    file = write(with_(**changes))
    if good:
        assert load(Settings, config=file)
    else:
        assert problems(config=file) == [
            "drain_timeout must be longer than poll.wait: a receive that has begun is not cancelled"
        ]


@pytest.mark.parametrize(
    "given", [{"login": "ana"}, {"password": "CANARY"}, {}, {"login": "", "password": "CANARY"}], ids=str
)
def test_half_a_login_is_told(write, given):
    (problem,) = problems(config=write(with_(access_anywhere={"endpoint": "https://files.example.com", **given})))
    assert problem.startswith("access_anywhere: needs login and password, or permanent_token: ")
    for name in ("login", "password"):
        assert (f"JIBE_ACCESS_ANYWHERE__{name.upper()}" in problem) is not bool(given.get(name))


@pytest.mark.parametrize("half", [{"access_key_id": "AKIA"}, {"secret_access_key": "CANARY"}], ids=str)
def test_half_a_pair_of_credentials_is_told(write, half):
    """Found by this test: requests went out signed with nothing."""
    assert problems(config=write(with_(aws=half))) == ["aws: access_key_id and secret_access_key must be set together"]


# Secrets


def test_no_secret_is_in_what_settings_say_of_themselves(write):
    file = write(
        with_(
            access_anywhere={**LEAST["access_anywhere"], "permanent_token": "TOKEN-CANARY"},
            aws={"access_key_id": "AKIA", "secret_access_key": "KEY-CANARY", "session_token": "SESSION-CANARY"},
        )
    )
    settings = load(Settings, config=file)
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "AKIA" in text
        assert "CANARY" not in text


def test_settings_cannot_be_changed(write):
    settings = load(Settings, config=write(LEAST))
    with pytest.raises(ValueError, match="frozen"):
        settings.drain_timeout = 1


# The part that explains


def test_to_explain_needs_nothing():
    assert load(Rules).buckets is None


def test_to_explain_reads_the_services_file(write):
    rules = load(Rules, config=write(with_(own_writes={"access_keys": "AKIA"}, poll={"wait": 3})))
    assert (rules.own_writes.access_keys, list(rules.buckets)) == (("AKIA",), ["media"])


def test_to_explain_does_not_pass_over_a_slip(write, monkeypatch):
    """Found by this test: with `bukets` in the file, every bucket was explained as mapped to its own name."""
    assert problems(Rules, config=write({"bukets": {}})) == ["bukets: no such setting; did you mean buckets?"]
    monkeypatch.setenv("JIBE_OWN_WRITES__PRINCIPAL", "x")
    assert problems(Rules) == ["JIBE_OWN_WRITES__PRINCIPAL: no such setting; did you mean JIBE_OWN_WRITES__PRINCIPALS?"]


# Where things are


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
async def test_a_queues_region_is_its_own_or_its_addresss_or_everybodys(write, queue, aws, expected):
    settings = load(Settings, config=write(with_(queues=[queue], aws=aws)))
    async with Aws() as clients:
        found = stores.queue(settings.queues[0], settings, clients)
    assert (found._region, found._account.region) == (expected, expected)


async def test_each_log_source_has_its_own_role_and_prefix(write):
    role = "arn:aws:iam::111122223333:role/x"
    logs = [{"bucket": "trail"}, {"bucket": "trail", "prefix": "b/", "role_arn": role, "region": "eu-west-1"}]
    settings = load(Settings, config=write(with_(logs=logs, aws={"region": "us-west-2"})))
    async with Aws() as clients:
        first, second = s3_logs(settings, clients)._sources["trail"]
    assert (first.account.role_arn, first.prefix, first.region) == (None, "", None)
    assert (second.account.role_arn, second.account.region) == (role, "eu-west-1")
    assert (second.prefix, second.region) == ("b/", "eu-west-1")


def s3_logs(settings, clients):
    return stores.s3_logs(settings, Regions(clients, S3Clock()), clients, Budget(1))


# How logs are read


def test_each_log_source_says_how_its_files_are_read(write):
    logs = [
        {"bucket": "trail", "prefix": "a/", "verify": "digest"},
        {"bucket": "trail", "prefix": "b/", "format": "access-log", "on_bad_record": "reject"},
        {"bucket": "lyve", "format": "audit-log", "on_bad_record": "skip"},
        {"bucket": "other", "format": "cloudtrail", "verify": "digest"},
    ]
    found = compose.sources(load(Rules, config=write({"logs": logs})))
    assert found.of("trail", "a/x") == LogSource("trail", "a/", None, None, verify=True)
    assert found.of("trail", "b/x") == LogSource("trail", "b/", Format.ACCESS_LOG, "reject")
    assert found.of("lyve", "x") == LogSource("lyve", "", Format.AUDIT_LOG, "skip")
    assert found.of("other", "x") == LogSource("other", "", Format.CLOUDTRAIL, verify=True)
    assert found.of("trail", "c/x") is None


async def test_where_a_file_is_fetched_and_how_it_is_read_are_told_by_the_same_entry(write):
    """Of two that hold it."""
    logs = [{"bucket": "trail", "region": "eu-west-1", "format": "audit-log"}, {"bucket": "trail", "prefix": "a/"}]
    settings = load(Rules, config=write({"logs": logs}))
    async with Aws() as clients:
        fetched = s3_logs(settings, clients)._sources["trail"][0]
    assert (fetched.region, fetched.prefix) == ("eu-west-1", "")
    assert compose.sources(settings).of("trail", "a/x").format is Format.AUDIT_LOG


async def test_verifiers_are_made_for_the_sources_that_ask_for_them(write):
    logs = [{"bucket": "trail", "prefix": "a/", "verify": "digest"}, {"bucket": "trail", "prefix": "b/"}]
    settings = load(Settings, config=write(with_(logs=logs)))
    async with Aws() as clients:
        verifiers = stores.verifiers(settings, clients)
    found = compose.sources(settings)
    assert isinstance(verifiers[found.of("trail", "a/x")], DigestVerifier)
    assert found.of("trail", "b/x") not in verifiers


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"format": "csv"}, "logs.0.format: Input should be 'cloudtrail', 'audit-log' or 'access-log'"),
        ({"on_bad_record": "ignore"}, "logs.0.on_bad_record: Input should be 'skip' or 'reject'"),
        ({"verify": "yes"}, "logs.0.verify: Input should be 'digest'"),
        ({"verify": "digest", "format": "access-log"}, "logs.0: verify: only CloudTrail's log files have digests"),
        ({"verify": "digest", "format": "audit-log"}, "logs.0: verify: only CloudTrail's log files have digests"),
    ],
    ids=str,
)
def test_a_wrong_word_of_a_log_source_is_told(write, entry, told):
    """Found by this test: access logs that were to be verified would all have ended as dead letters."""
    (problem,) = problems(config=write(with_(logs=[{"bucket": "trail", **entry}])))
    assert problem.startswith(told)


def test_limits_are_the_cores_own_unless_they_are_set(write, monkeypatch):
    assert compose.limits(load(Rules)) == Limits()
    wanted = {
        "compressed_size": 1,
        "decompressed_size": 2,
        "ratio": 3,
        "record_size": 1024,
        "records": 5,
        "key_length": 6,
    }
    monkeypatch.setenv("JIBE_LIMITS__RATIO", "7")
    assert compose.limits(load(Rules, config=write({"limits": wanted}))) == Limits(**{**wanted, "ratio": 7})


@pytest.mark.parametrize(
    "name", ["compressed_size", "decompressed_size", "ratio", "record_size", "records", "key_length"]
)
def test_a_limit_of_nothing_is_told(write, name):
    (problem,) = problems(config=write(with_(limits={name: 0})))
    assert problem.startswith(f"limits.{name}: ")


def test_key_encodings_are_set_one_by_one(write, monkeypatch):
    assert compose.sources(load(Rules)).key_encodings == KEY_ENCODINGS
    rules = load(Rules, config=write({"key_encodings": {"ceph:s3": "url"}}))
    assert compose.sources(rules).key_encodings == {**KEY_ENCODINGS, "ceph:s3": "url"}
    monkeypatch.setenv("JIBE_KEY_ENCODINGS", '{"eventbridge": "url"}')
    assert compose.sources(load(Rules)).key_encodings == {**KEY_ENCODINGS, "eventbridge": "url"}


def test_key_encodings_take_any_sources_name_and_all_of_them(write):
    rules = load(
        Rules, config=write({"key_encodings": {"sgws:s3": "raw", "noobaa-1.example.com:s3": "url", "*": "url"}})
    )
    found = compose.sources(rules)
    names = ("sgws:s3", "noobaa-1.example.com:s3", "ceph:s3", "x")
    assert [found.key_encoding(name) for name in names] == ["raw", "url", "url", "url"]


@pytest.mark.parametrize("wrong", [{"": "url"}, {"aws:s3": "base64"}, {"aws:s3": None}, ["url"], "url"], ids=str)
def test_a_wrong_key_encoding_is_told(write, wrong):
    (problem,) = problems(config=write(with_(key_encodings=wrong)))
    assert problem.startswith("key_encodings")


RULE = {"when": "events", "items": "events", "bucket": "bucketName", "key": "objectName"}


def test_notifications_of_other_shapes_are_described_in_jmespath(write, monkeypatch):
    (found,) = compose.sources(load(Rules, config=write({"notifications": [RULE]}))).notifications
    assert (found.when.text, found.items.text, found.bucket.text, found.key.text) == tuple(RULE.values())
    assert (found.event, found.time, found.key_encoding) == (None, None, None)
    monkeypatch.setenv("JIBE_NOTIFICATIONS", json.dumps([{**RULE, "time": "t", "event": "e", "key_encoding": "raw"}]))
    (found,) = compose.sources(load(Rules)).notifications
    assert (found.event.text, found.time.text, found.key_encoding) == ("e", "t", "raw")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"when": "a["}, "notifications.1.when: not a JMESPath expression: 'a[': column 3: "),
        ({"items": "a b"}, "notifications.1.items: not a JMESPath expression: 'a b': column 3: Unexpected token: b"),
        (
            {"key": "foo(a)"},
            "notifications.1.key: not a JMESPath expression: 'foo(a)': column 1: there is no function foo()",
        ),
        ({"bucket": ""}, "notifications.1.bucket: not a JMESPath expression: "),
        ({"time": 7}, "notifications.1.time: "),
        ({"key_encoding": "base64"}, "notifications.1.key_encoding: "),
        ({"keys": "a"}, "notifications.1.keys: no such setting"),
    ],
)
def test_a_wrong_description_is_said_with_its_place(write, changes, said):
    (problem,) = problems(config=write(with_(notifications=[RULE, {**RULE, **changes}])))
    assert problem.startswith(said)


@pytest.mark.parametrize("name", ["when", "bucket", "key"])
def test_a_description_says_what_is_for_it_and_what_was_changed(write, name):
    (problem,) = problems(config=write(with_(notifications=[{key: RULE[key] for key in RULE if key != name}])))
    assert problem.startswith(f"notifications.0.{name}: missing")


@pytest.mark.parametrize(("given", "prefix"), [("team", "team/"), ("team/", "team/"), ("a/b", "a/b/"), ("", "")])
def test_a_places_prefix_is_a_folders(write, given, prefix):
    """`team` is not to show `teams/` as well."""
    settings = load(Settings, config=write(with_(buckets={"media": {"folder": "/a", "prefix": given}})))
    assert settings.buckets["media"][0].prefix == prefix


def test_a_logs_prefix_is_taken_as_it_is(write):
    """Names of access logs begin with it."""
    settings = load(Settings, config=write(with_(logs=[{"bucket": "trail", "prefix": "S3-"}])))
    assert settings.logs[0].prefix == "S3-"


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ({"kind": "dynamodb"}, "ledger: dynamodb needs the name or the ARN of its table"),
        ({"table": "jibe-ledger"}, "ledger: table is set, but kind is sqlite"),
        ({"kind": "dynamodb", "table": "a b"}, "ledger.table: "),
        ({"kind": "dynamodb", "table": "arn:aws:s3:::bucket"}, "ledger.table: "),
    ],
)
def test_a_ledger_in_dynamodb_has_a_table_and_no_other_has(write, ledger, said):
    (problem,) = problems(config=write(with_(ledger=ledger)))
    assert problem.startswith(said)


async def test_the_tables_region_is_told_by_its_arn_and_else_as_for_all(write):
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
        told = with_(aws={"region": "eu-west-3"}, ledger={"kind": "dynamodb", **ledger})
        async with Aws() as aws:
            table = stores.opened_ledger(load(Settings, config=write(told)), aws)._table
        assert (table.name, table._region) == (ledger["table"], region)
    assert (table._account.endpoint, table._account.role_arn) == (own["endpoint"], own["role_arn"])


def test_the_example_of_several_replicas_shares_a_ledger():
    settings = load(Settings, config=ROOT / "config" / "several-replicas.json")
    assert settings.ledger.kind == "dynamodb"
    assert settings.ledger.table


async def test_to_look_at_a_ledger_makes_none(tmp_path, monkeypatch):
    monkeypatch.setenv("JIBE_LEDGER__PATH", str(tmp_path / "none.sqlite"))
    with pytest.raises(LedgerError, match="no ledger there"):
        async with compose.ledger(load(Rules)):
            pass
    assert not (tmp_path / "none.sqlite").exists()


# Files that we ship


@pytest.fixture
def examples_secrets(monkeypatch):
    """What an example may leave to the environment."""
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__LOGIN", "ana")
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", "PASSWORD-CANARY")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_every_example_loads_and_composes(path, examples_secrets):
    settings = load(Settings, config=path)
    assert compose.decisions(settings)
    async with Aws() as clients:
        assert s3_logs(settings, clients)
        for queue in settings.queues:
            assert stores.queue(queue, settings, clients)._region


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_in_the_document(path):
    assert f"`{path.name}`" in DOCUMENT


def test_there_are_examples():
    assert len(EXAMPLES) >= 7


def test_the_document_begins_with_the_least_example():
    (shown, *_) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert json.loads(shown) == json.loads((ROOT / "config" / "jibe-config.json").read_text())


def test_several_regions_shows_what_it_promises():
    settings = load(Settings, config=ROOT / "config" / "several-regions.json")
    assert len(settings.queues) == 3
    assert any(queue.role_arn for queue in settings.queues)
    assert any(len(places) > 1 for places in settings.buckets.values())
    assert all(getattr(settings.own_writes, kind) for kind in type(settings.own_writes).model_fields)


def test_the_example_for_lyve_reads_its_audit_logs_and_no_other_stream():
    settings = load(Settings, config=ROOT / "config" / "lyve.json")
    found = compose.sources(settings)
    assert found.of("example-audit-logs", "S3-example-media-2026-01-31-12-00-00.gz").format is Format.AUDIT_LOG
    assert found.of("example-audit-logs", "IAM-2026-01-31-12-00-00.gz") is None
    # Its largest files are of 500 MB.
    assert compose.limits(settings).compressed_size > 500 * 1024**2
    assert compose.limits(settings).decompressed_size is None


async def test_the_example_of_notifications_reads_events_and_needs_no_logs():
    settings = load(Settings, config=ROOT / "config" / "notifications.json")
    assert not settings.logs
    assert len(settings.queues) == 2
    assert compose.sources(settings).key_encodings == KEY_ENCODINGS


@pytest.mark.parametrize(
    ("body", "event"),
    [
        (
            {"events": [{"bucketName": "b", "objectName": "a+b", "eventType": "b2:ObjectDeleted:Delete"}]},
            ("deleted", "b", "a+b"),
        ),
        (
            {"Records": [{"eventVersion": "3.0", "obs": {"bucket": {"bucket": "b"}, "object": {"key": "a+b"}}}]},
            ("written", "b", "a b"),
        ),
        (
            {"account": "1", "action": "PutObject", "bucket": "b", "object": {"key": "a+b"}},
            ("written", "b", "a+b"),
        ),
    ],
)
def test_the_example_of_other_notifications_reads_them(body, event):
    settings = load(Settings, config=ROOT / "config" / "other-notifications.json")
    (found,) = announcements(json.dumps(body), compose.sources(settings))
    assert (found.kind, found.bucket, found.key) == event


def kubernetes_file():
    folder = ROOT / "infra" / "kubernetes" / "base"
    return yaml.safe_load((folder / "configmap.yaml").read_text())["data"]["jibe-config.json"]


def test_the_configuration_for_kubernetes_loads(write, examples_secrets):
    settings = load(Settings, config=write(kubernetes_file()))
    assert settings.access_anywhere.login == "ana"
    assert settings.logs


def test_the_environment_of_the_task_on_ecs_loads(monkeypatch, examples_secrets):
    """As CloudFormation renders it; its secrets come beside, by reference."""
    keys = {"region_name": "us-east-1", "aws_access_key_id": "example", "aws_secret_access_key": "example"}
    parameters = {
        "Image": "registry.example.com/jibe-sqs:0.1.0",
        "Subnets": "subnet-1",
        "SecurityGroups": "sg-1",
        "QueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe",
        "DeadLetterQueueArn": "arn:aws:sqs:eu-west-1:111122223333:jibe-dead",
        "LogBucketArn": "arn:aws:s3:::example-trail",
        "AccessAnywhereEndpoint": "https://files.example.com",
        "ConfigSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:jibe-AbCdEf",
        "Buckets": '{"example-media": "/Amazon S3/example-media"}',
        "OwnWritePrincipals": "arn:aws:iam::111122223333:user/access-anywhere,arn:aws:iam::111122223333:role/aa-*",
    }
    with mock_aws():
        boto3.client("cloudformation", **keys).create_stack(
            StackName="jibe",
            TemplateBody=(ROOT / "infra" / "cloudformation" / "service.yaml").read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        ecs = boto3.client("ecs", **keys)
        (arn,) = ecs.list_task_definitions()["taskDefinitionArns"]
        (container,) = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]["containerDefinitions"]
    for entry in container["environment"]:
        monkeypatch.setenv(entry["name"], entry["value"])
    settings = load(Settings)
    assert [queue.url for queue in settings.queues] == ["https://sqs.eu-west-1.amazonaws.com/111122223333/jibe"]
    assert [log.bucket for log in settings.logs] == ["example-trail"]
    assert list(settings.buckets) == ["example-media"]
    assert len(settings.own_writes.principals) == 2
    assert {entry["name"] for entry in container["secrets"]} == {
        "JIBE_ACCESS_ANYWHERE__LOGIN",
        "JIBE_ACCESS_ANYWHERE__PASSWORD",
    }


# What goes together


def test_where_logs_are_swept_no_queue_is_needed(write):
    swept = {**LEAST, "queues": [], "logs": [{"bucket": "audit-logs", "sweep": "3m"}]}
    assert load(Settings, config=write(swept)).logs[0].sweep == 180


def test_logs_that_are_not_swept_need_a_queue(write):
    said = problems(config=write({**LEAST, "queues": [], "logs": [{"bucket": "audit-logs"}]}))
    assert said == ["queues: missing: the SQS queues, each with its url; or logs with a sweep"]


def test_buckets_need_not_be_told(write):
    assert load(Settings, config=write({name: LEAST[name] for name in LEAST if name != "buckets"})).buckets is None


def test_a_dry_run_cannot_ask_which_buckets_there_are(write):
    least = {name: LEAST[name] for name in LEAST if name != "buckets"}
    said = problems(config=write({**least, "sync": {"strategy": "dry-run"}}))
    assert said == ["sync: a dry run makes no calls, so it cannot ask Access Anywhere for the buckets: set buckets"]


def test_provider_event_needs_the_parameters_of_its_call(write):
    (said,) = problems(config=write(with_(sync={"strategy": "provider-event"})))
    assert said.startswith("sync: provider-event needs the parameters of its call")
    told = write(with_(sync={"strategy": "provider-event", "parameters": {"bucket": "{bucket}"}}))
    assert load(Settings, config=told).sync.function == "syncOnProviderEvent"


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), (90, 90), ("90s", 90), ("3m", 180), (" 1.5h ", 5400), (0.5, 0.5)]
)
def test_a_time_may_have_a_unit(write, written, seconds):
    settings = load(Settings, config=write(with_(access_anywhere={**LEAST["access_anywhere"], "timeout": written})))
    assert settings.access_anywhere.timeout == seconds


TIMES = ["drain_timeout", "watermark_margin", "tree_refresh_interval", "progress_interval", "retry.first",
         "retry.longest", "poll.wait", "report.interval", "alerts.interval", "sync.min_refresh_interval",
         "limits.read_seconds", "access_anywhere.refresh_timeout", "access_anywhere.look_interval"]  # fmt: skip


@pytest.mark.parametrize("name", TIMES)
def test_every_time_may_have_a_unit(write, name):
    """Found by this test: half of them took numbers only."""
    group, _, last = name.rpartition(".")
    time = "18s" if name == "poll.wait" else "2m"
    told = with_(**{group: {**LEAST.get(group, {}), last: time}} if group else {last: time})
    found = load(Settings, config=write(told))
    for part in name.split("."):
        found = getattr(found, part)
    assert found == (18 if name == "poll.wait" else 120)


@pytest.mark.parametrize("written", ["0.5", 0.5, "1m", "-1s"])
def test_a_long_poll_is_of_whole_seconds_up_to_twenty(write, written):
    (said,) = problems(config=write(with_(poll={"wait": written})))
    assert said.startswith("poll.wait: ")


@pytest.mark.parametrize("name", [*TIMES, "ledger.retain_days", "access_anywhere.calls_per_second"])
@pytest.mark.parametrize("nonsense", ["1e999", "-1", "NaN", '"1e999"', '"-1"', '""', '"soon"', f'"{"9" * 400}"', "{}"])
def test_a_time_that_is_nonsense_is_told(write, name, nonsense):
    group, _, last = name.rpartition(".")
    told = with_(**{group: {**LEAST.get(group, {}), last: "NONSENSE"}} if group else {last: "NONSENSE"})
    (said,) = problems(config=write(json.dumps(told).replace('"NONSENSE"', nonsense)))
    assert said.startswith(f"{name}: ")


@pytest.mark.parametrize(("interval", "good"), [(0, True), (1, True), ("15m", True), (0.25, False), (0.001, False)])
def test_reports_come_at_most_once_a_second(write, interval, good):
    """Whoever writes 0.25 means a quarter of an hour, and had four files a second in Access Anywhere."""
    file = write(with_(report={"interval": interval}))
    if good:
        assert load(Settings, config=file)
    else:
        assert problems(config=file) == ["report.interval: must be at least 1 second, such as 15m; or 0 for no reports"]


def test_nothing_is_remembered_for_longer_than_dates_last(write):
    """A ledger in DynamoDB failed with an OverflowError for each message, and none was ever done."""
    (said,) = problems(config=write(with_(ledger={"retain_days": 1e305})))
    assert said.startswith("ledger.retain_days: ")


@pytest.mark.parametrize("written", ["3 days", "m", "-3m", "1h30m", ""])
def test_a_time_that_is_none_is_told(write, written):
    (said,) = problems(config=write(with_(access_anywhere={**LEAST["access_anywhere"], "timeout": written})))
    assert said.startswith("access_anywhere.timeout: ")


# The owner of a bucket, and SNS's signatures


def test_a_bucket_owner_reaches_all_who_read_the_bucket(write):
    logs = [{"bucket": "trail", "bucket_owner": "111122223333", "verify": "digest"}, {"bucket": "other"}]
    settings = load(Settings, config=write({**LEAST, "logs": logs}))
    assert [stores._source(settings, each).owner for each in settings.logs] == ["111122223333", None]


@pytest.mark.parametrize("owner", ["12", "1111222233334", "11112222333\u0663", "an account", ""])
def test_a_bucket_owner_is_an_account(write, owner):
    logs = [{"bucket": "trail", "bucket_owner": owner}]
    assert any("bucket_owner" in line for line in problems(config=write({**LEAST, "logs": logs})))


def test_a_bucket_that_is_read_through_access_anywhere_has_no_owner_that_we_could_ask_for(write):
    logs = [{"bucket": "media", "bucket_owner": "111122223333", "via": "access-anywhere"}]
    assert any("bucket_owner" in line for line in problems(config=write({**LEAST, "logs": logs})))


def test_topics_are_arns_and_need_signatures(write):
    arn = "arn:aws:sns:eu-west-1:111122223333:logs"
    assert load(Settings, config=write({**LEAST, "sns": {"verify": True, "topics": arn}})).sns.topics == (arn,)
    assert any("sns.verify" in line for line in problems(config=write({**LEAST, "sns": {"topics": [arn]}})))
    wrong = {"verify": True, "topics": ["logs"]}
    assert any("topics" in line for line in problems(config=write({**LEAST, "sns": wrong})))


# Remedies in messages


@pytest.mark.parametrize("address", ["https://x/y", "file:///etc/jibe.json", "gs://bucket/key"])
def test_a_configuration_at_another_kind_of_address_says_what_is_needed(monkeypatch, address):
    assert problems(config=address) == [f"{address}: must be a path or an s3:// address"]
    monkeypatch.setenv("JIBE_CONFIG", address)
    assert problems() == [f"JIBE_CONFIG: {address}: must be a path or an s3:// address"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logs": [{"bucket": "trail", "buckett": 1}]}, "logs.0.buckett: no such setting; did you mean bucket?"),
        ({"queues": [{"url": QUEUE, "urll": 1}]}, "queues.0.urll: no such setting; did you mean url?"),
        (
            {"notifications": [{"when": "a", "bucket": "b", "key": "c", "wen": 1}]},
            "notifications.0.wen: no such setting; did you mean when?",
        ),
        (
            {"buckets": {"media": {"folder": "/a", "prefx": "b"}}},
            "buckets.media.0.prefx: no such setting; did you mean prefix?",
        ),
        ({"drain_timeout": "soon"}, "drain_timeout: not a duration: write seconds, such as 30, or 90s, 3m, 1h"),
        ({"drain_timeout": []}, "drain_timeout: not a duration: write seconds, such as 30, or 90s, 3m, 1h"),
        ({"poll": {"wait": "3 days"}}, "poll.wait: not a duration: write seconds, such as 30, or 90s, 3m, 1h"),
        ({"aws": {"region": 5}}, "aws.region: must be text in quotes"),
        (
            {"access_anywhere": {**LEAST["access_anywhere"], "password": 5}},
            "access_anywhere.password: must be text in quotes",
        ),
    ],
)
def test_a_mistake_says_what_to_write(write, changes, said):
    assert problems(config=write(with_(**changes))) == [said]


def test_a_misspelt_variable_and_what_is_missing_without_it_are_both_reported(write, monkeypatch):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASWORD", "CANARY")
    named, missing = problems(
        config=write(with_(access_anywhere={"endpoint": "https://files.example.com", "login": "ana"}))
    )
    assert named == ("JIBE_ACCESS_ANYWHERE__PASWORD: no such setting; did you mean JIBE_ACCESS_ANYWHERE__PASSWORD?")
    assert missing.endswith("password is missing: set JIBE_ACCESS_ANYWHERE__PASSWORD, for example")


def test_queues_of_one_name_have_their_region_in_their_names():
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


async def test_a_queue_is_known_by_its_distinct_name(write):
    queues = [{"url": QUEUE}, {"url": QUEUE.replace("us-east-1", "eu-west-1")}]
    settings = load(Settings, config=write(with_(queues=queues)))
    async with stores.clients(settings) as clients:
        names = [stores.queue(each, settings, clients).name for each in settings.queues]
    assert names == ["jibe (us-east-1)", "jibe (eu-west-1)"]
