"""An example of docs/reference/formats.md, and the answer of `jibe-sqs explain` to it."""

import contextlib
import gzip
import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final, NamedTuple

from typer.testing import CliRunner

from jibe_sqs.cli.app import app
from jibe_sqs.sandbox.aws import records

ACCOUNT: Final = "111122223333"
REGION: Final = "eu-west-1"
TRAIL: Final = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/2026/01/31/{ACCOUNT}_CloudTrail_{REGION}_20260131T1205Z_Mu0KsOhtH1ar15ZZ.json.gz"
EXPRESS: Final = "media--euw1-az1--x-s3"
CONFIG: Final = {
    "buckets": {"photos": "/Amazon S3/photos", EXPRESS: "/Amazon S3/media"},
    "own_writes": {"principals": "arn:aws:iam::*:user/access-anywhere"},
    "notifications": [
        {
            "when": "events[0].bucketName",
            "items": "events",
            "bucket": "bucketName",
            "key": "objectName",
            "event": "eventType",
            "time": "eventTimestamp",
            "key_encoding": "raw",
        }
    ],
}


class Example(NamedTuple):
    """A message or a log file. `text` is its content, and `note` explains it."""

    title: str
    note: str
    text: str
    key: str = ""
    """The key of a log file. A message has no key."""
    compressed: bool = True
    arguments: tuple[str, ...] = ()


def explained(example: Example) -> str:
    """The output of `explain --json`."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
        options = ["explain", "--json", "--config", "config.json", *example.arguments]
        if example.key:
            name = "log"
            data = example.text.encode()
            Path(name).write_bytes(gzip.compress(data) if example.compressed else data)
            options += ["--key", example.key, name]
        else:
            name = "body"
            Path(name).write_text(example.text, encoding="utf-8")
            options += ["--body", name]
        unset = {variable: None for variable in os.environ if variable.startswith("JIBE_")}
        ran = CliRunner().invoke(app, options, env=unset)
    if not ran.output.startswith("{"):
        raise RuntimeError(f"{example.title}: {ran.output} {ran.exception!r}")
    return ran.output


def fields(value: dict[str, Any]) -> str:
    """A JSON object with one field in each line."""
    lines = ",\n".join(f"  {as_json(name)}: {as_json(inner)}" for name, inner in value.items())
    return f"{{\n{lines}\n}}"


def as_json(value: Any) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False)


def deciding_fields(record: records.Record) -> records.Record:
    """The record, shortened to the fields that decide what happens to it."""
    names = ["eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "errorCode", "requestParameters"]
    names += ["requestID", "eventID", "readOnly", "eventType"]
    return {name: record[name] for name in names if name in record}
