"""The table of states: every event in it is one that the service logs, with the fields of its subject."""

import re
import tomllib
from pathlib import Path

import pytest

from jibe_sqs.telemetry.alert_kinds import OF_ONE_PROCESS, RUNBOOKS, STATES, ends_of, is_shared, runbook, subject_of

ROOT = Path(__file__).parents[2]
SOURCE = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "jibe_sqs").rglob("*.py"))
DOCUMENTED = tomllib.loads((ROOT / "docs" / "generate" / "log_events.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("event", sorted({name for state in STATES for name in (state.event, state.ended_by)}))
def test_every_event_of_a_state_is_logged_and_documented(event):
    outside = SOURCE.count(f'"{event}"') - (ROOT / "src/jibe_sqs/telemetry/alert_kinds.py").read_text().count(
        f'"{event}"'
    )
    assert outside > 0
    assert event in DOCUMENTED


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.event)
def test_both_events_of_a_state_have_the_fields_of_its_subject(state):
    for event in (state.event, state.ended_by):
        for found in re.finditer(rf'log\.\w+\(\s*"{event}",([^()]*(\([^()]*\)[^()]*)*)\)', SOURCE):
            assert [name for name in state.subject if f"{name}=" not in found[1]] == []


def test_every_event_of_one_process_is_documented_or_no_log_event():
    assert {name for name in OF_ONE_PROCESS if name not in DOCUMENTED} == {"service_failed"}


def test_a_state_is_about_its_subject():
    state = next(state for state in STATES if state.event == "nothing_received")
    event = {"event": "received_again", "what": "messages", "source": "q\n1"}
    assert subject_of(state, event) == "messages q 1"
    assert ends_of(event) == [("nothing_received", "messages q 1")]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"event": "circuit_opened"}, True),
        ({"event": "message_rejected"}, True),
        ({"event": "refresh_crashed"}, False),
        ({"event": "ledger_unwritable"}, False),
        ({"event": "a text of a library", "logger": "asyncio"}, False),
    ],
)
def test_only_what_concerns_all_replicas_is_shared(event, expected):
    assert is_shared(event) is expected


def test_the_runbook_is_a_place_in_a_page():
    assert runbook("circuit_opened") == f"{RUNBOOKS}#circuit_opened"
    assert runbook("circuit_opened", "https://example.com/runbooks") == "https://example.com/runbooks#circuit_opened"
