"""Who changed objects, as it is shown: a principal is what a log file says, and whoever writes logs says what he likes."""

import io
import json

from jibe_sqs.commands import principals
from jibe_sqs.core.decisions import Seen

HOSTILE = "ana\x1b]0;owned\x07\x9b2J[red]"
SEEN = {"AIDAEXAMPLE": Seen(1.0, 2.0, 3), HOSTILE: Seen(1.0, 2.0, 30)}


def test_a_table_drives_no_terminal_and_takes_no_name_for_markup():
    output = io.StringIO()
    principals.as_table(SEEN, output)
    _, first, second = output.getvalue().splitlines()
    assert "ana\N{REPLACEMENT CHARACTER}]0;owned" in first
    assert "[red]" in first
    assert "AIDAEXAMPLE" in second
    assert all(character.isprintable() for character in output.getvalue().replace("\n", ""))


def test_lines_hold_names_as_they_are():
    output = io.StringIO()
    principals.as_lines(SEEN, output)
    assert [json.loads(line)["principal"] for line in output.getvalue().splitlines()] == [HOSTILE, "AIDAEXAMPLE"]
