"""`jibe-sqs config`, as a process."""

import json

CONFIG = {
    "access_anywhere": {"endpoint": "https://files.example.com", "login": "ana", "password": "CANARY"},
    "queues": [{"url": "https://sqs.us-east-1.amazonaws.com/111122223333/jibe"}],
    "log": {"level": "warning"},
}


def test_config_show_prints_each_setting_with_its_source(jibe, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    shown = jibe("config", "show", "--json", "--config", str(path), JIBE_LOG__FORMAT="json")
    rows = {row["name"]: (row["value"], row["source"]) for row in map(json.loads, shown.stdout.splitlines())}
    assert rows["log.level"] == ("warning", "file")
    assert rows["log.format"] == ("json", "environment")
    assert rows["poll.wait"] == (20, "default")
    assert "CANARY" not in shown.stdout
    table = jibe("config", "show", "--changed", "--config", str(path)).stdout
    assert "access_anywhere.endpoint" in table
    assert "https://files.example.com" in table
    assert "poll.wait" not in table
    assert "CANARY" not in table


def test_config_show_reports_mistakes_as_other_commands_do(jibe, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"buckets": 7}))
    shown = jibe("config", "show", "--config", str(path))
    assert shown.returncode == 2
    assert "buckets: must be an object" in shown.stderr


def test_config_schema_needs_no_configuration(jibe):
    assert json.loads(jibe("config", "schema").stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
