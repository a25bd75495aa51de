"""The output of dead letters. Anyone who can write to their queue can write any text there."""

import asyncio
import io
import json
from collections import Counter

import msgspec

from jibe_sqs.commands import dead_letter_text
from jibe_sqs.commands.dead_letters import DeadLetter, RedriveResult

HOSTILE = DeadLetter(
    id="0123456789abcdef",
    receipt="receipt",
    body='{"a": "\x1b[31mred"}\nnext',
    dead_letters="dead",
    queue="queue",
    error="[bold]E[/bold]",
    reason="[bold]E[/bold]: \x1b]0;title\x07 " + "long " * 200,
    source="s3://logs/\x85",
    time="\x1b[2J2026-11-21",
)
ORDINARY = DeadLetter("fedcba98", "receipt", "body", "dead", "queue", "AccessAnywhereUnavailable", "words", sent_at=0.0)


async def letters():
    for letter in (HOSTILE, ORDINARY):
        yield letter


def written(write, *args, **named):
    output = io.StringIO()
    found = write(*args, output, **named)
    if asyncio.iscoroutine(found):
        asyncio.run(found)
    return output.getvalue()


def test_a_table_has_one_line_per_letter_of_at_most_80_columns_without_control_characters():
    table = written(dead_letter_text.as_table, letters())
    lines = table.splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert all(character.isprintable() for line in lines for character in line)
    assert "01234567" in lines[1]
    assert "[bold]E[/bold]" in lines[1]  # not markup
    assert "AccessAnywhereUnavailable" in lines[2]
    assert "2 dead letters" in lines[3]


def test_a_letter_is_shown_completely_with_its_line_breaks():
    text = written(dead_letter_text.as_text, HOSTILE)
    assert "\x1b" not in text
    assert '\N{REPLACEMENT CHARACTER}[31mred"}\nnext\n' in text
    assert text.count("long") == 200


def test_json_contains_the_original_values():
    assert json.loads(written(dead_letter_text.as_json_object, HOSTILE))["body"] == HOSTILE.body
    rows = [json.loads(line) for line in written(dead_letter_text.as_lines, letters()).split("\n")[:-1]]
    assert [row["reason"] for row in rows] == [HOSTILE.reason, ORDINARY.reason]
    assert all("body" not in row for row in rows)


def test_a_redrive_shows_what_was_sent_what_failed_and_what_is_left():
    done = RedriveResult([ORDINARY], [(HOSTILE, "QueueRefused: why\x1b")], Counter({"LogMissing": 2}))
    text = written(dead_letter_text.redriven_as_text, done, dry_run=False)
    assert "sent back: 1 dead letter: 1 AccessAnywhereUnavailable" in text
    assert "not sent back: 0123456789abcdef: QueueRefused: why\N{REPLACEMENT CHARACTER}" in text
    assert "left: 2 dead letters: 2 LogMissing" in text
    assert "\x1b" not in text
    rows = [
        json.loads(line) for line in written(dead_letter_text.redriven_as_lines, done, dry_run=True).split("\n")[:-1]
    ]
    assert [(row["redriven"], row["why"]) for row in rows] == [(False, None), (False, "QueueRefused: why\x1b")]


def test_a_letter_without_a_known_error_is_selected_by_unknown_and_by_the_former_word():
    letter = msgspec.structs.replace(ORDINARY, error="unknown")
    assert letter.has_error("unknown")
    assert letter.has_error("not-told")
    assert not letter.has_error("LogMissing")
    assert not ORDINARY.has_error("not-told")
