"""The output of principals. Their names come from log files, and may contain any text."""

import io
import json

from jibe_sqs.commands import principals
from jibe_sqs.core.principals import Seen

HOSTILE = "ana\x1b]0;owned\x07\x9b2J[red]"
SEEN = {"AIDAEXAMPLE": Seen(1.0, 2.0, 3), HOSTILE: Seen(1.0, 2.0, 30)}


def test_a_table_contains_no_control_characters_and_no_markup():
    output = io.StringIO()
    principals.as_table(SEEN, output)
    _, first, second = output.getvalue().splitlines()
    assert "ana\N{REPLACEMENT CHARACTER}]0;owned" in first
    assert "[red]" in first
    assert "AIDAEXAMPLE" in second
    assert all(character.isprintable() for character in output.getvalue().replace("\n", ""))


def test_json_lines_contain_the_original_names():
    output = io.StringIO()
    principals.as_lines(SEEN, output)
    assert [json.loads(line)["principal"] for line in output.getvalue().splitlines()] == [HOSTILE, "AIDAEXAMPLE"]
