"""What log lines may hold: other people's keys, and nothing that drives a terminal."""

import logging

import pytest
import structlog

from jibe_sqs.telemetry import logs


@pytest.fixture(autouse=True)
def restored():
    """Nobody else is to log in our way afterwards."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("key", ["a\x1b]0;owned\x07b", "a\x9b2Jb", "a\rb", "a\x08b"])
def test_what_drives_a_terminal_does_not_reach_it(capsys, key):
    logs.configure("info", "console")
    structlog.get_logger().warning("file_failed", key=key)
    said = capsys.readouterr().err
    assert "file_failed" in said
    assert key not in said
    assert "\N{REPLACEMENT CHARACTER}" in said


def test_to_machines_a_key_is_told_as_it_is(capsys):
    logs.configure("info", "json")
    structlog.get_logger().warning("file_failed", key="a\x1bb")
    assert '"key": "a\\u001bb"' in capsys.readouterr().err


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_variables(capsys, style):
    """Found by this test: where rich is installed, structlog's console shows the locals of each frame, passwords too."""

    def log_in(password):
        raise RuntimeError("the answer is \x1b]0;owned\x07 no login")

    logs.configure("info", style)
    try:
        log_in("CANARY"[::-1])
    except RuntimeError:
        structlog.get_logger().exception("handling_crashed", queue="jibe")
        logging.getLogger("library").exception("it broke")
    said = capsys.readouterr().err
    assert said.count("RuntimeError: the answer is") == 2
    assert "log_in" in said
    assert "YRANAC" not in said
    assert "\x1b]0;owned" not in said


@pytest.mark.parametrize("key", ["a\nforged", "a\u2028forged", "a\x85forged", ["a\nforged"]])
def test_a_key_cannot_pass_for_the_next_line(capsys, key):
    logs.configure("info", "console")
    structlog.get_logger().warning("file_failed", key=key)
    assert len(capsys.readouterr().err.splitlines()) == 1
