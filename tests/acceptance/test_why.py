"""`jibe-sqs why`, `refresh` and `history` beside a running service, and without one."""

import json
import os
import re
from pathlib import Path

import pytest
from tests.acceptance.conftest import COMMAND, REGION
from tests.aws_clients import aws_client
from tests.processes import eventually, finished

BUCKET = f"jibe-sandbox-{REGION}-media"
FOLDER = f"/Amazon S3 {REGION}/{BUCKET}"


class Operator:
    """Runs commands with the configuration of the service."""

    def __init__(self, sandbox, config, folder):
        self._environment = {**os.environ, **sandbox["environment"], "COLUMNS": "80"}
        self._config, self._folder = config, folder
        self.s3 = aws_client(sandbox["environment"], "s3", REGION)

    def run(self, *arguments, config=None):
        command = [*COMMAND, *arguments, "--config", str(config or self._config)]
        return finished(command, cwd=self._folder, env=self._environment)

    def json(self, *arguments, config=None):
        """The exit code and the object that a command prints."""
        result = self.run(*arguments, "--json", config=config)
        assert result.stdout, result.stderr
        return result.returncode, json.loads(result.stdout)

    def changed(self, **changes):
        """The path of another configuration."""
        path = self._folder / "changed.json"
        path.write_text(json.dumps(json.loads(Path(self._config).read_text()) | changes))
        return path


@pytest.fixture
def operator(sandbox, small_service, tmp_path):
    return Operator(sandbox, small_service.config, tmp_path)


def codes(answer):
    return [reason["code"] for reason in answer["reasons"]]


def test_an_operator_finds_out_repairs_and_sees_what_happened(operator, small_service):
    key = f"why/{small_service.config.parent.name}/a b.txt"
    url = f"s3://{BUCKET}/{key}"
    folder = f"{FOLDER}/{key.rpartition('/')[0]}"
    with small_service.started() as service:
        service.wait_for("control_socket_opened")
        # The sandbox announces this change to other queues, so this service does not hear of it.
        operator.s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
        exit_code, answer = operator.json("why", url)
        assert (exit_code, answer["verdict"], answer["folders"]) == (1, "unknown", [folder])
        assert codes(answer)[0] == "not-expected-yet"

        assert operator.json("refresh", url) == (
            0,
            {"refreshed": [f"{FOLDER}/{key}"], "failed": [], "through": "service"},
        )
        exit_code, answer = operator.json("why", url)
        assert (exit_code, answer["verdict"], answer["reasons"]) == (0, "in-sync", [])

        exit_code, answer = operator.json("why", f"s3://not-{BUCKET}/x")
        assert (exit_code, answer["verdict"], codes(answer)) == (1, "unknown", ["not-mapped", "s3-unknown"])

        small_service.announce_change()
        eventually(lambda: small_service.messages() == 0, "the message is done")
        service.stop()

    _, remembered = operator.json("history", f"s3://{BUCKET}/why", "--since", "1h")
    assert [entry["reason"] for entry in remembered["entries"] if entry["what"] == "refresh"].count("operator") == 1
    _, remembered = operator.json("history", f"s3://{BUCKET}")
    (read,) = [entry for entry in remembered["entries"] if entry["what"] == "read"]
    assert re.fullmatch(r"s3://jibe-sandbox-logs/AWSLogs/.*/small-[0-9-]+\.json\.gz", read["file"])
    assert {"events", "operator"} <= {entry.get("reason") for entry in remembered["entries"]}
    for command in (("history", f"s3://{BUCKET}"), ("why", url)):
        shown = operator.run(*command).stdout.splitlines()
        assert shown
        assert max(map(len, shown[2:])) <= 80


def test_without_a_service_a_refresh_is_done_by_the_command_itself(operator):
    key = "direct/c.txt"
    operator.s3.put_object(Bucket=BUCKET, Key=key, Body=b"hello")
    exit_code, result = operator.json("refresh", f"s3://{BUCKET}/direct/", "--deep")
    assert (exit_code, result) == (0, {"refreshed": [f"{FOLDER}/direct/**"], "failed": [], "through": "direct"})
    assert operator.json("why", f"s3://{BUCKET}/{key}")[1]["verdict"] == "in-sync"
    exit_code, result = operator.json("refresh", f"s3://not-{BUCKET}")
    assert (exit_code, result["refreshed"], result["failed"][0]["error"]) == (1, [], "NotMapped")


def test_if_access_anywhere_does_not_answer_the_answer_says_so(operator):
    down = operator.changed(access_anywhere={"endpoint": "http://127.0.0.1:9", "login": "a", "password": "b"})
    exit_code, answer = operator.json("why", f"s3://{BUCKET}/x", config=down)
    assert (exit_code, answer["verdict"]) == (1, "unknown")
    assert codes(answer)[0] == "access-anywhere-down"


@pytest.mark.parametrize(
    "arguments", [("why", "s3://bucket"), ("why", "bucket/key"), ("refresh", "x"), ("history", "x")]
)
def test_an_address_that_cannot_be_meant_is_a_mistake(operator, arguments):
    result = operator.run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "write s3://BUCKET" in result.stderr


def test_a_damaged_ledger_is_one_json_object(jibe, sandbox, tmp_path):
    settings = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8"))
    ledger, config = tmp_path / "damaged.sqlite", tmp_path / "damaged.json"
    ledger.write_bytes(b"no database" * 1000)
    config.write_text(json.dumps(settings | {"ledger": {"path": str(ledger)}}))
    done = jibe("history", "s3://media", "--json", "--config", str(config), **sandbox["environment"])
    assert (done.returncode, json.loads(done.stdout)["error"]) == (1, "LedgerError")
