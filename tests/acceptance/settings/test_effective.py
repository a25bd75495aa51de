"""The effective settings: each with its value and source, and without secrets."""

import json

import msgspec
from tests.acceptance.settings.minimal import MINIMAL, changed

from jibe_sqs.settings import Settings, load
from jibe_sqs.settings.effective import MASK, effective


def shown(settings):
    return {each.name: each for each in effective(settings)}


def test_each_setting_names_the_strongest_source_that_gives_it(write, monkeypatch, secret_files):
    """Also within one group."""
    file = write(changed(report={"interval": 60}, log={"level": "debug", "format": "json"}, retry={"first": 1}))
    secret_files(JIBE_ACCESS_ANYWHERE__PASSWORD="CANARY", JIBE_RETRY__FIRST="2")
    monkeypatch.setenv("JIBE_LOG__LEVEL", "error")
    monkeypatch.setenv("JIBE_AWS", '{"region": "eu-west-1"}')
    found = shown(load(Settings, config=file, drain_timeout=40))
    sources = {name: (each.value, each.source) for name, each in found.items()}
    assert sources["drain_timeout"] == (40, "flag")
    assert sources["log.level"] == ("error", "environment")
    assert sources["log.format"] == ("json", "file")
    assert sources["aws.region"] == ("eu-west-1", "environment")
    assert sources["access_anywhere.password"] == (MASK, "secret file")
    assert sources["retry.first"] == (2, "secret file")
    assert sources["report.interval"] == (60, "file")
    assert sources["buckets.media"] == ([{"folder": "/Amazon S3/media"}], "file")
    assert sources["poll.wait"] == (20, "default")


def test_jibes_keys_count_for_the_group(write, monkeypatch):
    """They are translated before the sources are merged."""
    monkeypatch.setenv("JIBE_PASSWORD", "CANARY")
    found = shown(load(Settings, config=write({"endpoint": "https://files.example.com", "login": "ana"})))
    assert found["access_anywhere.login"].source == "file"
    assert found["access_anywhere.password"].source == "environment"


def test_no_secret_is_shown_and_references_are(write):
    """In groups, in the entries of lists, and in the parameters of a call, which are free text."""
    key = {"access_key_id": "AKIA", "secret_access_key": "CANARY", "session_token": "CANARY"}
    file = write(
        {
            "access_anywhere": {
                **MINIMAL["access_anywhere"],
                "password": "arn:aws:secretsmanager:eu-west-1:111122223333:secret:x#password",
            },
            "queues": [{**MINIMAL["queues"][0], **key}],
            "aws": key,
            "alerts": {"webhook": "https://hooks.example.com/CANARY"},
            "sync": {"strategy": "provider-event", "parameters": {"token": "CANARY", "path": "{key}"}},
        }
    )
    settings = load(Settings, config=file)
    text = msgspec.json.encode(effective(settings)).decode()
    assert "CANARY" not in text
    found = shown(settings)
    assert found["access_anywhere.password"].value.startswith("arn:")
    assert found["queues.0"].value["secret_access_key"] == MASK
    assert found["sync.parameters.path"].value == "{key}"
    assert found["aws.access_key_id"].value == "AKIA"
    assert json.loads(text)
