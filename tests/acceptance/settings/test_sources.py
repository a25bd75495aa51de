"""Settings come from variables, secret files, JSON and TOML files, and the files of Jibe and Okera."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from tests.acceptance.settings.minimal import JIBE, MINIMAL, OKERA, QUEUE, changed, problems

from jibe_sqs.settings import Settings, load


def test_a_minimal_configuration_loads_with_defaults(write):
    settings = load(Settings, config=write(MINIMAL))
    assert settings.access_anywhere.password.get_secret_value() == "PASSWORD-CANARY"
    assert [queue.url for queue in settings.queues] == [QUEUE]
    assert settings.buckets["media"][0].folder == "/Amazon S3/media"
    assert (settings.drain_timeout, settings.poll.wait, settings.ledger.kind) == (90, 20, "sqlite")


def test_the_stronger_source_wins(write, monkeypatch, secret_files):
    file = write(changed(drain_timeout=31, watermark_margin=31, tree_refresh_interval=31, progress_interval=31))

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


def test_groups_are_merged_from_all_sources(write, monkeypatch, secret_files):
    """Found by this test: a secret file could only hold a whole group as JSON, not a single password."""
    file = write(changed(access_anywhere={"endpoint": "https://files.example.com", "concurrency": 3}))
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__LOGIN", "from-the-environment")
    secret_files(JIBE_ACCESS_ANYWHERE__PASSWORD=" from-a-secret-file\n", JIBE_AWS='{"region": "eu-west-1"}')
    settings = load(Settings, config=file)
    assert settings.access_anywhere.endpoint == "https://files.example.com"
    assert settings.access_anywhere.login == "from-the-environment"
    assert settings.access_anywhere.password.get_secret_value() == "from-a-secret-file"
    assert settings.access_anywhere.concurrency == 3
    assert settings.aws.region == "eu-west-1"


def test_secrets_mounted_by_kubernetes_are_read(write, tmp_path, monkeypatch):
    """Kubernetes mounts each file as a link through a hidden folder, which is also a link."""
    mount = tmp_path / "mount"
    (mount / "..2026").mkdir(parents=True)
    (mount / "..2026" / "JIBE_ACCESS_ANYWHERE__PASSWORD").write_text("from-a-mount")
    (mount / "..data").symlink_to("..2026")
    (mount / "JIBE_ACCESS_ANYWHERE__PASSWORD").symlink_to("..data/JIBE_ACCESS_ANYWHERE__PASSWORD")
    monkeypatch.setenv("JIBE_SECRETS_DIR", str(mount))
    assert load(Settings, config=write(MINIMAL)).access_anywhere.password.get_secret_value() == "from-a-mount"


def test_all_settings_can_come_from_variables(monkeypatch):
    for name, value in {
        "JIBE_ACCESS_ANYWHERE__ENDPOINT": "https://files.example.com",
        "JIBE_ACCESS_ANYWHERE__PERMANENT_TOKEN": "token",
        "JIBE_QUEUES": json.dumps(MINIMAL["queues"]),
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


def test_lists_are_not_merged(write, monkeypatch):
    monkeypatch.setenv("JIBE_QUEUES", '[{"url": "https://other.example/1/q"}]')
    assert [queue.url for queue in load(Settings, config=write(MINIMAL)).queues] == ["https://other.example/1/q"]


def test_empty_variables_are_not_set(write, monkeypatch):
    for name in ("JIBE_DRAIN_TIMEOUT", "JIBE_QUEUES", "JIBE_ACCESS_ANYWHERE__PASSWORD", "JIBE_CONFIG"):
        monkeypatch.setenv(name, "")
    settings = load(Settings, config=write(MINIMAL))
    assert (settings.drain_timeout, settings.access_anywhere.password.get_secret_value()) == (90, "PASSWORD-CANARY")


def test_toml_and_json_load_the_same_settings(write):
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
    from_json = load(Settings, config=write(changed(drain_timeout=50)))
    assert from_toml.model_dump() == from_json.model_dump()


def test_the_option_wins_over_the_variable_and_the_variable_over_the_default_file(write, monkeypatch):
    given, named = write(changed(drain_timeout=41)), write(changed(drain_timeout=42), "named.json")
    Path("jibe-config.json").write_text(json.dumps(changed(drain_timeout=43)))
    assert load(Settings).drain_timeout == 43
    monkeypatch.setenv("JIBE_CONFIG", str(named))
    assert load(Settings).drain_timeout == 42
    assert load(Settings, config=given).drain_timeout == 41


def test_two_loads_do_not_share_values(write):
    first = load(Settings, config=write(changed(drain_timeout=41, aws={"region": "eu-west-1"})))
    second = load(Settings, config=write(MINIMAL))
    assert (first.drain_timeout, second.drain_timeout, second.aws.region) == (41, 90, None)


def test_a_file_with_a_byte_order_mark_is_read(write):
    """Found by this test: the byte-order mark made the JSON invalid."""
    assert load(Settings, config=write("\ufeff" + json.dumps(MINIMAL))).queues


def test_jibes_file_loads(write):
    settings = load(Settings, config=write({**JIBE, "queues": MINIMAL["queues"], "buckets": MINIMAL["buckets"]}))
    assert settings.access_anywhere.endpoint == "https://files.example.com"
    assert (settings.access_anywhere.login, settings.access_anywhere.password.get_secret_value()) == (
        "ana",
        "PASSWORD-CANARY",
    )


def test_okeras_file_loads(write):
    settings = load(Settings, config=write({**JIBE, **OKERA, "buckets": MINIMAL["buckets"]}))
    (queue,) = settings.queues
    assert (queue.url, queue.region, settings.aws.region) == (OKERA["sqsUrl"], "eu-west-1", "us-west-2")


def test_our_names_win_over_foreign_names(write):
    ours = {"access_anywhere": {"login": "bo"}, "aws": {"region": "eu-north-1"}, "queues": MINIMAL["queues"]}
    settings = load(Settings, config=write({**JIBE, **OKERA, **ours, "buckets": MINIMAL["buckets"]}))
    assert (settings.access_anywhere.login, settings.access_anywhere.endpoint) == ("bo", JIBE["endpoint"])
    assert (settings.aws.region, settings.queues[0].url, len(settings.queues)) == ("eu-north-1", QUEUE, 1)


def test_variables_win_over_foreign_names(write, monkeypatch):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASSWORD", "stronger")
    settings = load(Settings, config=write({**JIBE, **OKERA, "buckets": MINIMAL["buckets"]}))
    assert settings.access_anywhere.password.get_secret_value() == "stronger"


def test_other_keys_of_jibe_are_ignored_with_a_warning(write, capsys):
    """Found by this test: `timeout` and `logFile` were reported as misspelt settings of ours, and the service did not start."""
    others = {"slackWebhook": "https://hooks.example/CANARY", "logFile": "/x", "timeout": 3, "reportMinutes": 15}
    file = write({**JIBE, **others, "queues": MINIMAL["queues"], "buckets": MINIMAL["buckets"]})
    assert load(Settings, config=file).queues
    found = capsys.readouterr().out
    assert all(name in found for name in others)
    assert "CANARY" not in found


def test_a_misspelt_setting_in_jibes_file_is_reported(write):
    file = write({**JIBE, "quues": MINIMAL["queues"], "buckets": MINIMAL["buckets"]})
    assert problems(config=file) == [
        "queues: missing: the SQS queues, each with its url; or logs with a sweep",
        "quues: no such setting; did you mean queues?",
    ]


def test_unknown_keys_are_mistakes_in_a_file_without_foreign_keys(write):
    assert problems(config=write(changed(slackWebhook="x"))) == ["slackWebhook: no such setting"]


@pytest.mark.parametrize("name", ["access_anywhere", "aws"])
def test_a_group_of_the_wrong_type_beside_foreign_keys_is_reported(write, name):
    """Found by this test: it raised a TypeError."""
    file = write({**JIBE, **OKERA, "buckets": MINIMAL["buckets"], name: 3})
    assert any(problem.startswith(f"{name}: must be an object") for problem in problems(config=file))
