"""Levels of single loggers: modules of ours, which share one logger, and libraries."""

import json
import logging

import pytest
import structlog

from jibe_sqs.telemetry import logs
from jibe_sqs.telemetry.log_levels import ModuleLevels

SCRIPT = """
import structlog
log = structlog.get_logger()

def write():
    for method in (log.debug, log.info, log.warning, log.error):
        method(method.__name__)
    try:
        raise ValueError
    except ValueError:
        log.exception("exception")
"""


@pytest.fixture(autouse=True)
def restored():
    """Restore the logging configuration for the tests after this one."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure("info", "json")
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def module():
    """Makes a module of this name that logs one event of each level."""

    def make(name):
        space = {"__name__": name}
        exec(SCRIPT, space)
        return space["write"]

    return make


@pytest.fixture
def lines(capsys):
    """The lines that were written, as objects."""
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


ALL = ["debug", "info", "warning", "error", "exception"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("jibe_sqs.consuming.handler", ALL),
        ("jibe_sqs.consuming", ALL),
        ("jibe_sqs.consuming.holds", ["error", "exception"]),
        ("jibe_sqs.consuming_more", ALL[1:]),
        ("jibe_sqs.sweeping.sweeper", ALL[1:]),
    ],
)
def test_a_module_has_the_level_of_the_longest_name_that_fits(module, lines, name, written):
    logs.configure("info", "json", {"jibe_sqs.consuming": "debug", "jibe_sqs.consuming.holds": "error"})
    module(name)()
    assert [each["event"] for each in lines()] == written


def test_listeners_get_what_is_not_written_too(module, lines):
    """Alerts listen: a state that ends is logged at `info`, and a warning is an alert whatever the log has."""
    heard = []
    logs.configure("info", "json", {"jibe_sqs.quiet": "error"})
    with logs.listening(lambda event: heard.append(event["event"])):
        module("jibe_sqs.quiet")()
    assert heard == ["info", "warning", "error", "exception"]
    assert [each["event"] for each in lines()] == ["error", "exception"]


def test_lines_are_verbose_if_one_module_is():
    logs.configure("info", "json", {"jibe_sqs.consuming": "debug"})
    assert logs.are_verbose()
    logs.configure("info", "json", {"aiobotocore": "debug"})
    assert not logs.are_verbose()


def test_without_levels_of_modules_nothing_looks_at_the_stack():
    """Each event that is written would pay for it."""

    def looks_at_the_stack():
        return any(isinstance(each, ModuleLevels) for each in structlog.get_config()["processors"])

    logs.configure("info", "json", {"aiobotocore": "debug"})
    assert not looks_at_the_stack()
    logs.configure("info", "json", {"jibe_sqs.consuming": "debug"})
    assert looks_at_the_stack()


def test_a_library_gets_its_level_and_loses_it_again(lines):
    logs.configure("info", "json", {"some.library": "debug"})
    logging.getLogger("some.library.part").debug("a request")
    logging.getLogger("other").info("not this")
    assert [each["event"] for each in lines()] == ["a request"]
    logs.configure("info", "json")
    logging.getLogger("some.library.part").debug("a request")
    assert lines() == []


@pytest.mark.parametrize(
    "text",
    [
        "x-amz-security-token:CANARY\n",
        "{'X-Amz-Security-Token': b'CANARY', 'a': 1}",
        "<SecretAccessKey>CANARY</SecretAccessKey><SessionToken>CANARY</SessionToken>",
        '{"SecretAccessKey": "CANARY"}',
        "Credential=AKIA, Signature=CANARY",
    ],
)
def test_secrets_in_the_debug_lines_of_libraries_are_masked(lines, text):
    """As botocore writes them."""
    logs.configure("info", "json", {"botocore": "debug"})
    logging.getLogger("botocore.auth").debug("Request: %s", text)
    (line,) = lines()
    assert "CANARY" not in line["event"]
    assert "********" in line["event"]
