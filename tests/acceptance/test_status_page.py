"""The status page of the program as a user has it, in Chromium, with the sandbox: what it says changes with what happens."""

import json
import re
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.acceptance.conftest import SmallService
from tests.processes import PATIENCE, Started, eventually

CHROMIUM = shutil.which("chromium")
SECRET = "a-password-of-the-page"

expect.set_options(timeout=1000 * PATIENCE)


@pytest.fixture
def service(small_service: SmallService) -> Iterator[Started]:
    """The service with the settings of the sandbox, and the page behind a login."""
    small_service.configure(http={"port": 0, "login": "operator", "password": SECRET}, report={"interval": 1})
    with small_service.started() as running:
        running.wait_for("started")
        yield running
        assert running.stop() == 0


def address(running: Started) -> str:
    found = running.wait_for("health_answered")
    assert found["host"] == "127.0.0.1"
    return f"http://127.0.0.1:{found['port']}"


@pytest.fixture
def page(service: Started) -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        context = browser.new_context(http_credentials={"username": "operator", "password": SECRET})
        found = context.new_page()
        found.goto(address(service))
        yield found
        browser.close()


def test_the_page_follows_events_and_an_outage_of_access_anywhere_without_a_reload(
    sandbox, small_service, service, page
):
    faults = f"{sandbox['access_anywhere']}/sandbox/faults"
    sentence, total = page.locator("h1"), page.locator("#totals")
    expect(sentence).to_contain_text("In sync")
    page.evaluate("window.mark = 'same page'")
    page.locator("#totals summary").click()
    done = re.compile(r"messages\s*1\b")
    small_service.announce_change()
    expect(total).to_contain_text(done)
    expect(page.locator("#charts")).to_contain_text("1 event in the last hour")
    expect(sentence).to_contain_text(re.compile(r"In sync; \d.* behind"))
    httpx.put(faults, json={"down": {}}, timeout=PATIENCE).raise_for_status()
    try:
        small_service.announce("down/a.txt")
        expect(sentence).to_contain_text("Access Anywhere is down for")
        expect(page.locator(".state")).to_have_class("state held-up")
        expect(page.locator("#announcement")).to_contain_text("Access Anywhere is down")
        expect(page.locator("#errors")).to_contain_text("circuit_opened")
    finally:
        httpx.delete(faults, timeout=PATIENCE).raise_for_status()
    expect(sentence).to_contain_text("In sync")
    eventually(lambda: small_service.messages() == 0, "the message of the outage is done")
    assert page.evaluate("window.mark") == "same page"


def test_the_page_shows_the_settings_and_no_secret(sandbox, small_service, service):
    configured = json.loads(small_service.config.read_text())
    secrets = [SECRET, *(configured["access_anywhere"].get(name, "") for name in ("password", "permanent_token"))]
    with httpx.Client(base_url=address(service), timeout=PATIENCE) as http:
        assert http.get("/").status_code == 401
        assert http.get("/livez").status_code == 200
        for path in ("/", "/status.json", "/metrics"):
            text = http.get(path, auth=("operator", SECRET)).raise_for_status().text
            assert not [secret for secret in secrets if secret and secret in text]
