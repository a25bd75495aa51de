"""The status page in Debian's Chromium, with snapshots that change."""

import shutil
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect
from tests.adapters.statuses import NOW, STATUSES, full, queue

from jibe_sqs.adapters.web import Login, Sources, http_server
from jibe_sqs.adapters.web.page import LABELS
from jibe_sqs.telemetry.health import Health
from jibe_sqs.telemetry.status import Status

CHROMIUM = shutil.which("chromium")
WIDE = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
PATIENCE = 30_000
"""Milliseconds for a change of the page, which loads itself every two seconds."""

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
expect.set_options(timeout=PATIENCE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        await browser.close()


class Shown:
    """A page of the browser, and the snapshot that it shows."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.asked = 0
        self.complaints: list[str] = []
        self.origins: set[str] = set()
        self.page: Page
        self.port = 0

    async def snapshot(self) -> Status:
        self.asked += 1
        return self.status

    def change(self, **fields) -> None:
        self.status = msgspec.structs.replace(self.status, at=self.status.at + 2, **fields)

    def observe(self, page: Page) -> None:
        self.page = page
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.origins.add("/".join(request.url.split("/")[:3])))

    async def width(self) -> int:
        """How far the page reaches to the right."""
        return await self.page.evaluate("document.documentElement.scrollWidth")

    async def sentence(self) -> str:
        return await self.page.locator("h1").inner_text()


@asynccontextmanager
async def shown(browser: Browser, status: Status, *, path: str = "", login: Login | None = None, **context):
    """The page in a window of its own."""
    found = Shown(status)
    async with AsyncExitStack() as stack:
        sources = Sources(health=Health(), status=found.snapshot)
        found.port = await stack.enter_async_context(http_server("127.0.0.1", 0, sources, login=login))
        window = await stack.enter_async_context(await browser.new_context(**(WIDE | context)))
        found.observe(await window.new_page())
        await found.page.goto(f"http://127.0.0.1:{found.port}/{path}")
        yield found


async def opened(page: Page) -> None:
    """Open all folded parts, so that they are looked at as well."""
    for summary in await page.locator("summary").all():
        await summary.click()


async def assert_accessible(page: Page, part: str = "main") -> None:
    results = await Axe().run(page, context=part)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize(
    ("state", "screen", "schemes"),
    [
        (state, *((WIDE, ("light", "dark")) if number % 2 else (PHONE, ("dark", "light"))))
        for number, state in enumerate(STATUSES)
    ],
    ids=STATUSES,
)
async def test_each_state_is_named_fits_the_screen_and_has_no_fault_that_axe_finds(browser, state, screen, schemes):
    """The whole page in one scheme, and the colours of the state in the other one, too."""
    async with shown(browser, STATUSES[state], color_scheme=schemes[0], **screen) as found:
        assert await found.sentence() == STATUSES[state].sentence
        assert LABELS[state] in await found.page.locator(".state").inner_text()
        await opened(found.page)
        await assert_accessible(found.page, "html")
        assert await found.width() <= screen["viewport"]["width"]
        await found.page.emulate_media(color_scheme=schemes[1])
        await assert_accessible(found.page, ".state")
        assert found.complaints == []
        assert found.origins == {f"http://127.0.0.1:{found.port}"}


async def test_the_fullest_page_fits_the_screen_and_has_no_fault_that_axe_finds(browser):
    status = msgspec.structs.replace(full(3), settings_problem="buckets: must be an object", state="trouble")
    async with shown(browser, status, color_scheme="light", **PHONE) as found:
        await opened(found.page)
        await assert_accessible(found.page, "html")
        assert await found.width() <= PHONE["viewport"]["width"]
        assert found.complaints == []


async def test_the_state_is_seen_by_colour_in_both_schemes(browser):
    look = """state => {
        const panel = document.querySelector(".state");
        panel.className = `state ${state}`;
        return getComputedStyle(panel).backgroundColor;
    }"""
    async with shown(browser, STATUSES["in-sync"], color_scheme="light") as found:
        light = {await found.page.evaluate(look, state) for state in STATUSES}
        await found.page.emulate_media(color_scheme="dark")
        dark = {await found.page.evaluate(look, state) for state in STATUSES}
    # The start and the stop look alike: both are quiet.
    assert len(light) == len(dark) == len(STATUSES) - 1
    assert not light & dark


async def test_values_and_sentence_change_without_a_reload_and_keep_what_the_reader_does(browser):
    async with shown(browser, STATUSES["in-sync"]) as found:
        page = found.page
        await page.evaluate("window.mark = 'same page'")
        settings = page.locator("#settings summary")
        await settings.click()
        await expect(settings).to_be_focused()
        down = STATUSES["held-up"]
        # Some sections appear above the one that is read, and one disappears.
        appeared = {"errors": down.errors, "dead_letters": STATUSES["trouble"].dead_letters, "principals": []}
        found.change(
            sentence=down.sentence, state="held-up", queues=[queue(visible=4711)], failing=down.failing, **appeared
        )
        await expect(page.locator("h1")).to_have_text(down.sentence)
        await expect(page.locator("#queues")).to_contain_text("4,711")
        await expect(page.locator("#folders")).to_contain_text("/Amazon S3/example-media/a")
        await expect(page.locator(".state")).to_have_class("state held-up")
        await expect(page).to_have_title(f"{down.sentence} – jibe-sqs")
        await expect(page.locator("section#dead-letters")).to_contain_text("LogMissing")
        await expect(page.locator("section#principals")).to_have_count(0)
        assert await page.evaluate("window.mark") == "same page"
        await expect(settings).to_be_focused()
        await expect(page.locator("#settings table")).to_be_visible()
        order = "[...document.querySelectorAll('.sections > section')].map(each => each.id)"
        changed = await page.evaluate(order)
        await page.reload()
        assert changed == await page.evaluate(order)
        assert found.complaints == []


async def test_a_screen_reader_hears_a_new_sentence_and_not_each_number(browser):
    async with shown(browser, STATUSES["in-sync"]) as found:
        announcement = found.page.locator("#announcement")
        await expect(announcement).to_have_attribute("aria-live", "polite")
        found.change(sentence="In sync; 5 s behind")
        await expect(found.page.locator("h1")).to_have_text("In sync; 5 s behind")
        await expect(announcement).to_be_empty()
        found.change(sentence="Access Anywhere is down for 3 min; 120 messages wait", state="held-up")
        await expect(announcement).to_have_text("Access Anywhere is down for 3 min; 120 messages wait")


async def test_a_service_that_does_not_answer_is_said_until_it_answers(browser):
    async with shown(browser, STATUSES["in-sync"]) as found:
        connection = found.page.locator("#connection")
        await expect(connection).to_be_hidden()
        await found.page.context.set_offline(True)
        await expect(connection).to_contain_text("The service does not answer. This page shows how it was at")
        assert "outdated" in await found.page.locator("body").get_attribute("class")
        await assert_accessible(found.page, "#connection, .state")
        await found.page.context.set_offline(False)
        await expect(connection).to_be_hidden()


async def test_a_hidden_page_asks_for_nothing(browser):
    async with shown(browser, STATUSES["in-sync"]) as found:
        turn = """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await found.page.clock.install()
        await found.page.reload()
        await found.page.evaluate(turn, True)
        asked = found.asked
        await found.page.clock.run_for(60_000)
        assert found.asked == asked
        found.change(sentence="Seen again")
        await found.page.evaluate(turn, False)
        await expect(found.page.locator("h1")).to_have_text("Seen again")


async def test_without_scripts_the_page_is_complete_and_the_browser_loads_it_again(browser):
    async with shown(browser, STATUSES["trouble"], java_script_enabled=False) as found:
        page = found.page
        assert await found.sentence() == STATUSES["trouble"].sentence
        assert "example-scratch" in await page.locator("#unmapped").inner_text()
        assert await page.locator("noscript meta[http-equiv=refresh]").get_attribute("content") == "30"
        await page.locator("#settings summary").click()
        await expect(page.locator("#settings table")).to_be_visible()
        await page.get_by_role("link", name="Keep it still").click()
        await expect(page.get_by_role("link", name="Load it again and again")).to_be_visible()
        assert await page.locator("noscript meta").count() == 0


async def test_the_keyboard_reaches_all_that_can_be_opened_in_reading_order(browser):
    async with shown(browser, STATUSES["in-sync"]) as found:
        focused = "document.activeElement.innerText.trim()"
        reached = []
        for _ in range(7):
            await found.page.keyboard.press("Tab")
            reached.append(await found.page.evaluate(focused))
        assert reached == [
            "Principals",
            "Counts since the start",
            "Settings",
            "status.json",
            "metrics",
            "readyz",
            "livez",
        ]
        await found.page.locator("#principals summary").focus()
        await found.page.keyboard.press("Enter")
        await expect(found.page.locator("#principals table")).to_be_visible()


async def test_the_page_goes_on_with_a_login(browser):
    login = {"username": "operator", "password": "example"}
    async with shown(browser, STATUSES["in-sync"], login=Login(*login.values()), http_credentials=login) as found:
        found.change(sentence="Changed")
        await expect(found.page.locator("h1")).to_have_text("Changed")
        assert found.complaints == []


async def test_foreign_texts_are_text(browser):
    hostile = "<img src=x onerror=\"document.title='broken'\">"
    async with shown(browser, STATUSES["in-sync"]) as found:
        found.change(sentence=hostile, instance=hostile, queues=[queue(hostile, last_message=NOW)])
        await expect(found.page.locator("h1")).to_have_text(hostile)
        assert await found.page.locator("img").count() == 0
        assert found.complaints == []
