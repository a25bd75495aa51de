"""Log lines contain keys from outside, but no control characters on a terminal."""

import logging

import pytest
import structlog

from jibe_sqs.telemetry import logs


@pytest.fixture(autouse=True)
def restored():
    """Restore the logging configuration for the tests after this one."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.mark.parametrize("key", ["a\x1b]0;owned\x07b", "a\x9b2Jb", "a\rb", "a\x08b"])
def test_control_characters_do_not_reach_the_terminal(capsys, key):
    logs.configure("info", "console")
    structlog.get_logger().warning("file_failed", key=key)
    output = capsys.readouterr().err
    assert "file_failed" in output
    assert key not in output
    assert "\N{REPLACEMENT CHARACTER}" in output


def test_json_contains_the_original_key(capsys):
    logs.configure("info", "json")
    structlog.get_logger().warning("file_failed", key="a\x1bb")
    assert '"key": "a\\u001bb"' in capsys.readouterr().err


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_traceback_shows_no_local_variables(capsys, style):
    """Regression: if rich is installed, structlog's console shows the local variables of each frame, also passwords."""

    def log_in(password):
        raise RuntimeError("the answer is \x1b]0;owned\x07 no login")

    logs.configure("info", style)
    try:
        log_in("CANARY"[::-1])
    except RuntimeError:
        structlog.get_logger().exception("handling_crashed", queue="jibe")
        logging.getLogger("library").exception("it broke")
    output = capsys.readouterr().err
    assert output.count("RuntimeError: the answer is") == 2
    assert "log_in" in output
    assert "YRANAC" not in output
    assert "\x1b]0;owned" not in output


@pytest.mark.parametrize("key", ["a\nforged", "a\u2028forged", "a\x85forged", ["a\nforged"]])
def test_a_key_cannot_start_a_new_log_line(capsys, key):
    logs.configure("info", "console")
    structlog.get_logger().warning("file_failed", key=key)
    assert len(capsys.readouterr().err.splitlines()) == 1
