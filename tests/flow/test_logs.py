"""A log call never raises. Log lines contain keys from outside, but no control characters on a terminal."""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime

import pytest
import structlog

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.standard_error import Lost


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


class Unrenderable:
    def __repr__(self):
        raise ZeroDivisionError


class Circular(dict):
    def __init__(self):
        self["self"] = self


@pytest.mark.parametrize("style", ["console", "json"])
@pytest.mark.parametrize("value", [Unrenderable(), [Unrenderable()], {"in": Unrenderable()}, Circular()])
def test_a_value_that_cannot_be_rendered_costs_only_itself(capsys, style, value):
    logs.configure("info", style)
    structlog.get_logger().warning("refresh_failed", folder="/a", odd=value)
    structlog.get_logger().warning("next")
    output = capsys.readouterr().err
    assert "refresh_failed" in output
    assert "/a" in output
    assert "next" in output


def test_a_value_that_cannot_be_rendered_is_named_in_its_line(capsys):
    logs.configure("info", "json")
    structlog.get_logger().warning("refresh_failed", odd=Unrenderable())
    line = json.loads(capsys.readouterr().err)
    assert line["odd"] == "<a Unrenderable that cannot be rendered>"
    assert line["level"] == "warning"


def test_an_error_without_text_costs_no_log_line(capsys):
    class Broken(Exception):
        __str__ = __repr__ = Unrenderable.__repr__

    logs.configure("info", "json")
    try:
        raise Broken
    except Broken:
        structlog.get_logger().exception("handling_crashed", queue="jibe")
    assert json.loads(capsys.readouterr().err)["event"] == "handling_crashed"


@pytest.mark.parametrize("arguments", [("text",), (1, 2), (Unrenderable(),)])
def test_a_librarys_message_that_cannot_be_rendered_is_a_line_that_says_so(capsys, arguments):
    logs.configure("info", "json")
    logging.getLogger("library").warning("count: %d", *arguments)
    captured = capsys.readouterr()
    line = json.loads(captured.err)
    assert "count: %d" in line["event"]
    assert "cannot be rendered" in line["event"]
    assert line["logger"] == "library"


class BrokenStream:
    def write(self, _):
        raise BrokenPipeError

    flush = isatty = lambda self: False


@pytest.mark.parametrize("stream", [BrokenStream(), None])
def test_a_broken_standard_error_reaches_neither_the_log_call_nor_the_listeners(capsys, monkeypatch, stream):
    seen = []
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "auto")
    with logs.listening(lambda event: seen.append(event["event"])):
        structlog.get_logger().warning("refresh_failed")
        logging.getLogger("library").warning("it broke")
    assert seen == ["refresh_failed", "it broke"]
    assert capsys.readouterr().out == ""


def test_the_report_on_lost_lines_is_a_log_line(capsys):
    logs.configure("info", "json")
    line = json.loads(logs._notice(Lost(3, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "a full disk", 5)))
    assert line.items() >= {
        ("event", "log_lines_lost"),
        ("level", "warning"),
        ("count", 3),
        ("since", "2026-01-02T03:04:05+00:00"),
        ("reason", "a full disk"),
    }
    assert capsys.readouterr().err == ""


def test_no_report_on_lost_lines_is_written_below_the_level_of_the_log():
    logs.configure("error", "json")
    assert logs._notice(Lost(3, datetime.now(UTC), "a full disk", 5)) == ""


def test_the_last_lines_are_kept_for_the_support_bundle_and_the_oldest_are_dropped(monkeypatch):
    """A container's log may be gone with the container."""
    monkeypatch.setattr(logs, "_recent", deque(maxlen=logs.MAX_RECENT))
    logs.configure("info", "json")
    for number in range(logs.MAX_RECENT + 10):
        structlog.get_logger().info("line", number=number)
    structlog.get_logger().debug("not_written")
    kept = logs.recent()
    assert len(kept) == logs.MAX_RECENT
    assert json.loads(kept[0])["number"] == 10
    assert json.loads(kept[-1])["number"] == logs.MAX_RECENT + 9


def test_a_long_line_is_kept_without_its_end_and_without_a_part_of_a_word(monkeypatch):
    """A part of a secret would not be recognised as one."""
    monkeypatch.setattr(logs, "_recent", deque(maxlen=logs.MAX_RECENT))
    logs.configure("info", "json")
    structlog.get_logger().info("line", text="x" * (logs.MAX_RECENT_LENGTH - 60) + " CANARY" + "y" * 5000)
    (kept,) = logs.recent()
    assert len(kept) <= logs.MAX_RECENT_LENGTH + 2
    assert "CANARY" not in kept
