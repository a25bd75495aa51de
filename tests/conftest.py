"""For every test: an environment without the settings of the user and of the machine."""

import os
import re
import signal
import ssl
from functools import cache

import certifi
import pytest
import structlog
from hypothesis import HealthCheck, settings

PREFIXES = ("AWS_", "JIBE_", "LC_", "OTEL_", "RCLONE_")
NAMES = {
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("COLUMNS", "LINES", "TERM", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("LANG", "LANGUAGE", "PYTHONWARNINGS"),
}

# Not in a fixture: some modules read the environment when they are imported, and the processes of session fixtures
# inherit it.
for name in list(os.environ):
    if name.upper().startswith(PREFIXES) or name.upper() in NAMES:
        del os.environ[name]
os.environ |= {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}

# Each client of httpx reads more than a hundred certificates, which takes longer than a request on loopback. Here all
# clients without certificates of their own share one context.
_create_default_context = ssl.create_default_context


@cache
def _public_authorities() -> ssl.SSLContext:
    return _create_default_context(cafile=certifi.where())


def _create_or_share_context(*arguments: object, **named: object) -> ssl.SSLContext:
    is_default = not arguments and named == {"cafile": certifi.where()}
    return _public_authorities() if is_default else _create_default_context(*arguments, **named)


ssl.create_default_context = _create_or_share_context

# A shell starts its background jobs so that they ignore SIGINT, and their child processes inherit that. Tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis judges an example by wall time, 200 ms by default. On a busy machine that says nothing about the code.
settings.register_profile("without-deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("without-deadline")

FIRST = ("simulation", "deployment", "bad_input", "acceptance")
"""The parts with the longest tests. If one started last, the other processors would wait for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the parts in FIRST. The rest stays in order."""
    changing = [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]{8,}", item.nodeid)]
    if changing:
        # pytest-xdist compares the names of the tests between its processes.
        raise pytest.UsageError(f"these tests have an address in their names; give them ids: {changing[:5]}")
    order = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(FIRST)))


@pytest.fixture(autouse=True)
def _same_log_afterwards():
    """Restore the configuration of the log: a test that configures it must not silence the events of the next one."""
    before = structlog.get_config()
    yield
    if structlog.get_config() != before:
        structlog.configure(**before)
