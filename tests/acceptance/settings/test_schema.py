"""The JSON Schema of the configuration file accepts what the loader accepts, and finds misspelt names."""

import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from tests.acceptance.settings.minimal import JIBE, MINIMAL, OKERA, changed

from jibe_sqs.settings import Settings, load
from jibe_sqs.settings.schema import configuration_schema

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "config").iterdir() if path.is_file())


@pytest.fixture(scope="module")
def schema():
    found = configuration_schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def problems(schema, content):
    return [error.json_path for error in schema.iter_errors(content)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(schema, path):
    text = path.read_text(encoding="utf-8")
    assert problems(schema, tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)) == []


@pytest.mark.parametrize(
    "content",
    [
        MINIMAL,
        JIBE,
        OKERA,
        {},
        changed(drain_timeout="3m", poll={"wait": "15s"}, compare={"every": "7d"}, workers="auto"),
        changed(workers=4, ignore_keys="tmp/*", own_writes={"source_addresses": "192.0.2.0/24"}),
        changed(buckets={"a": "/S3/a", "b": ["/S3/b", {"folder": "/S3/c", "prefix": "c", "ignore": "x"}]}),
        changed(log={"levels": {"aiobotocore": "debug"}}, limits={"decompressed_size": None}),
        {"$schema": "./jibe-sqs.schema.json", **MINIMAL},
    ],
)
def test_other_ways_to_write_a_value_are_valid(schema, content):
    assert problems(schema, content) == []


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (changed(drain_timeout="3 minutes"), "$.drain_timeout"),
        (changed(drain_timout=3), "$"),
        (changed(poll={"waits": 3}), "$.poll"),
        (changed(poll={"wait": 30}), "$.poll.wait"),
        (changed(log={"level": "loud"}), "$.log.level"),
        (changed(queues=[{"region": "eu-west-1"}]), "$.queues[0]"),
        (changed(buckets={"a": {"prefix": "b"}}), "$.buckets"),
        (changed(buckets={"a": []}), "$.buckets"),
        (changed(workers=0), "$.workers"),
    ],
)
def test_mistakes_are_found_where_they_are(schema, content, path):
    assert path in problems(schema, content)


def test_each_setting_has_its_description(schema):
    """An editor shows it. It has no links, because they are of the documentation."""
    found = schema.schema
    properties = [each for group in found["$defs"].values() for each in group.get("properties", {}).items()]
    assert len(properties) > 100
    assert [name for name, each in properties if not each.get("description") and name != "batch"] == []
    assert [name for name, each in properties if "](" in each.get("description", "")] == []


def test_the_address_of_the_schema_is_not_a_setting(write):
    assert load(Settings, config=write({"$schema": "./schema.json", **MINIMAL})).drain_timeout == 90
