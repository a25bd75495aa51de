"""The sync target's roots: the folders that show the top of a bucket, as the bucket map knows them at the moment."""

import pytest

from jibe_sqs.compose.world import roots_of
from jibe_sqs.core.decisions import Decisions, Place
from jibe_sqs.settings import Settings

LOG_FOLDER = "/Logs/AWSLogs"


@pytest.fixture
def decisions():
    return Decisions({"one": (Place("/One"),)})


@pytest.fixture
def roots(decisions):
    logs = [{"bucket": "trail", "folder": LOG_FOLDER, "via": "access-anywhere", "sweep": 60}]
    return roots_of(Settings.model_validate(required() | {"logs": logs}), decisions)


def required():
    return {
        "access_anywhere": {"endpoint": "https://aa.example", "login": "jibe@example.com", "password": "x"},
        "ledger": {"path": "ledger.db"},
    }


def test_the_roots_are_the_folders_of_buckets_prefixes_and_logs(roots, decisions):
    decisions.places = {"one": (Place("/One"), Place("/Part", "a/")), "two": (Place("/Two"),)}
    assert roots() == {LOG_FOLDER, "/One", "/Part", "/Two"}


def test_the_roots_follow_the_bucket_map(roots, decisions):
    assert roots() == {LOG_FOLDER, "/One"}
    decisions.places = {"two": (Place("/Two"),)}
    assert roots() == {LOG_FOLDER, "/Two"}


def test_the_roots_are_computed_again_only_when_the_bucket_map_replaces_its_places(roots, decisions):
    """The sync target asks for them at each refresh."""
    first = roots()
    assert roots() is first
    decisions.places = dict(decisions.places)
    assert roots() == first
    assert roots() is not first


def test_before_the_first_look_only_the_folders_of_logs_areroots_of(roots, decisions):
    decisions.places = None
    assert roots() == {LOG_FOLDER}
