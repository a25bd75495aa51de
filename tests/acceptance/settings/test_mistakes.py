"""Each mistake in the configuration is reported with its name and a remedy. Secrets are not shown."""

import json
import re

import pytest
from tests.acceptance.settings.minimal import MINIMAL, QUEUE, changed, problems

from jibe_sqs.settings import Rules, Settings, load


def test_an_empty_configuration_reports_what_is_required():
    assert problems() == [
        (
            "access_anywhere: missing: endpoint, login and password of Access Anywhere, under access_anywhere or as three "
            "keys at the top of the file"
        )
    ]


def test_all_mistakes_are_reported_at_once_with_their_names(write, monkeypatch):
    """Found by this test: a variable that was not JSON hid all other mistakes."""
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
def test_a_text_that_is_not_an_address_is_reported(write, name, address):
    """Found by this test: the error repeated the text after the colon, which may be part of a password; or it was a traceback."""
    group, *_, last = name.split(".")
    entry = {"logs": {"bucket": "trail"}, "access_anywhere": MINIMAL["access_anywhere"]}.get(group, {}) | {
        last: address
    }
    (found,) = problems(config=write(changed(**{group: [entry] if ".0." in name else entry})))
    assert found == f"{name}: not an address: write https:// and a host name"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("JIBE_BUCKET", "JIBE_BUCKET: no such setting; did you mean JIBE_BUCKETS?"),
        ("JIBE_ACCESS_ANYWERE__LOGIN", "did you mean JIBE_ACCESS_ANYWHERE?"),
        ("JIBE_POLL__WIAT", "JIBE_POLL__WIAT: no such setting; did you mean JIBE_POLL__WAIT?"),
        ("jibe_drain", "jibe_drain: no such setting"),
    ],
)
def test_a_misspelt_variable_is_reported(write, monkeypatch, variable, expected):
    monkeypatch.setenv(variable, "3")
    (problem,) = problems(config=write(MINIMAL))
    assert expected in problem


def test_a_misspelt_secret_file_is_reported(write, secret_files):
    secret_files(JIBE_ACCESS_ANYWHERE_PASSWORD="CANARY", README="not a secret file of ours")
    assert problems(config=write(MINIMAL)) == [
        "JIBE_ACCESS_ANYWHERE_PASSWORD: no such setting; did you mean JIBE_ACCESS_ANYWHERE?"
    ]


def test_a_missing_folder_of_secrets_is_reported(write, monkeypatch, tmp_path):
    """Found by this test: a missing folder gave only a Python warning."""
    for path, expected in ((tmp_path / "none", "No such file"), (write(MINIMAL, "file"), "Not a directory")):
        monkeypatch.setenv("JIBE_SECRETS_DIR", str(path))
        (problem,) = problems(config=write(MINIMAL))
        assert problem.startswith(f"JIBE_SECRETS_DIR: {path}: cannot be read: {expected}")


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("{", "config.json", "not JSON"),
        ('{"password": CANARY}', "config.json", "not JSON"),
        ("[]", "config.json", "must be an object"),
        ("password = CANARY", "config.toml", "not TOML"),
        (json.dumps(MINIMAL), "config.toml", "not TOML"),
    ],
)
def test_a_file_that_cannot_be_parsed_is_reported(write, content, name, expected):
    path = write(content, name)
    (problem,) = problems(config=path)
    assert problem.startswith(f"{path}: {expected}")


def test_a_file_that_cannot_be_read_is_reported(tmp_path, monkeypatch):
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
def test_the_drain_timeout_must_be_longer_than_a_long_poll(write, changes, good):
    file = write(changed(**changes))
    if good:
        assert load(Settings, config=file)
    else:
        assert problems(config=file) == [
            "drain_timeout must be longer than poll.wait: the stop waits for some long polls"
        ]


@pytest.mark.parametrize(
    "given", [{"login": "ana"}, {"password": "CANARY"}, {}, {"login": "", "password": "CANARY"}], ids=str
)
def test_an_incomplete_login_is_reported(write, given):
    (problem,) = problems(config=write(changed(access_anywhere={"endpoint": "https://files.example.com", **given})))
    assert problem.startswith("access_anywhere: needs login and password, or permanent_token: ")
    for name in ("login", "password"):
        assert (f"JIBE_ACCESS_ANYWHERE__{name.upper()}" in problem) is not bool(given.get(name))


@pytest.mark.parametrize("half", [{"access_key_id": "AKIA"}, {"secret_access_key": "CANARY"}], ids=str)
def test_an_incomplete_access_key_is_reported(write, half):
    """Found by this test: requests were sent without a valid signature."""
    assert problems(config=write(changed(aws=half))) == [
        "aws: access_key_id and secret_access_key must be set together"
    ]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://ana:CANARY@x/y?X-Amz-Security-Token=CANARY", "https://…: must be a path, an s3:// address or an ARN"),
        ("file:///CANARY", "file://…: must be a path, an s3:// address or an ARN"),
        ("gs://bucket/CANARY", "gs://…: must be a path, an s3:// address or an ARN"),
        ("s3://ana:CANARY@bucket/key", "s3://…: contains a login or a password: write s3://BUCKET/KEY"),
        (
            ' {"password": "CANARY"}',
            "the configuration file: must be a path, an s3:// address or an ARN, not the settings themselves",
        ),
    ],
)
def test_a_configuration_at_an_unknown_kind_of_address_is_reported_without_the_address(monkeypatch, address, expected):
    """Found by this test: a signed address was repeated with its token."""
    assert problems(config=address) == [expected]
    monkeypatch.setenv("JIBE_CONFIG", address)
    assert problems() == [f"JIBE_CONFIG: {expected}"]


@pytest.mark.parametrize(
    ("changes", "expected"),
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
        ({"drain_timeout": "soon"}, "drain_timeout: not a duration: write seconds, such as 30, or 90s, 3m, 1h, 7d"),
        ({"drain_timeout": []}, "drain_timeout: not a duration: write seconds, such as 30, or 90s, 3m, 1h, 7d"),
        ({"poll": {"wait": "3 days"}}, "poll.wait: not a duration: write seconds, such as 30, or 90s, 3m, 1h, 7d"),
        ({"aws": {"region": 5}}, "aws.region: must be text in quotes"),
        (
            {"access_anywhere": {**MINIMAL["access_anywhere"], "password": 5}},
            "access_anywhere.password: must be text in quotes",
        ),
    ],
)
def test_a_mistake_names_the_correct_value(write, changes, expected):
    assert problems(config=write(changed(**changes))) == [expected]


def test_a_misspelt_variable_and_what_is_missing_without_it_are_both_reported(write, monkeypatch):
    monkeypatch.setenv("JIBE_ACCESS_ANYWHERE__PASWORD", "CANARY")
    named, missing = problems(
        config=write(changed(access_anywhere={"endpoint": "https://files.example.com", "login": "ana"}))
    )
    assert named == ("JIBE_ACCESS_ANYWHERE__PASWORD: no such setting; did you mean JIBE_ACCESS_ANYWHERE__PASSWORD?")
    assert missing.endswith("password is missing: set JIBE_ACCESS_ANYWHERE__PASSWORD, for example")


def test_settings_do_not_show_secrets_when_they_are_printed(write):
    file = write(
        changed(
            access_anywhere={**MINIMAL["access_anywhere"], "permanent_token": "TOKEN-CANARY"},
            aws={"access_key_id": "AKIA", "secret_access_key": "KEY-CANARY", "session_token": "SESSION-CANARY"},
        )
    )
    settings = load(Settings, config=file)
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "AKIA" in text
        assert "CANARY" not in text


def test_settings_cannot_be_changed(write):
    settings = load(Settings, config=write(MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        settings.drain_timeout = 1


def test_explain_needs_no_configuration():
    assert load(Rules).buckets is None


def test_explain_reads_the_services_file(write):
    rules = load(Rules, config=write(changed(own_writes={"access_keys": "AKIA"}, poll={"wait": 3})))
    assert (rules.own_writes.access_keys, list(rules.buckets)) == (("AKIA",), ["media"])


def test_explain_reports_misspelt_settings(write, monkeypatch):
    """Found by this test: with `bukets` in the file, `explain` mapped every bucket to its own name."""
    assert problems(Rules, config=write({"bukets": {}})) == ["bukets: no such setting; did you mean buckets?"]
    monkeypatch.setenv("JIBE_OWN_WRITES__PRINCIPAL", "x")
    assert problems(Rules) == ["JIBE_OWN_WRITES__PRINCIPAL: no such setting; did you mean JIBE_OWN_WRITES__PRINCIPALS?"]
