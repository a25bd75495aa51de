"""Take pictures of the status page in the states that an operator meets, from a service that runs in the sandbox.

`python -m docs.record_status_page [FOLDER]` writes a PNG of the whole page and one of its top for each state, on a desktop and on a
phone, light and dark, and prints what axe-core finds. docs/status-page.png is the top of the first of them. It takes about four
minutes, and needs Debian's Chromium.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import boto3
import httpx
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, sync_playwright

PICTURE: Final = Path(__file__).parent / "status-page.png"
REGION: Final = "us-east-1"
MEDIA, OTHER = f"jibe-sandbox-{REGION}-media", f"jibe-sandbox-{REGION}-projects"
WINDOWS: Final = {"desktop": (1280, 900), "phone": (390, 844)}
PATIENCE: Final = 240.0
"""Seconds for a state to be reached."""
BACKLOG: Final = 300
"""Objects that are written while the service is stopped, one log file for each few of them."""


class Place:
    """The sandbox, and a service in it."""

    def __init__(self, sandbox: dict[str, Any], folder: Path) -> None:
        self.sandbox = sandbox
        self.folder = folder
        self.config = folder / "jibe-config.json"
        self.environment = {**os.environ, **sandbox["environment"]}
        self.settings = json.loads(Path(sandbox["config"]).read_text(encoding="utf-8")) | {
            "ledger": {"path": str(folder / "ledger.sqlite")},
            "http": {"port": 0},
            "log": {"format": "json"},
            "compare": {"every": "1h"},
            "sync": {"min_refresh_interval": 1},
        }
        session = boto3.Session(aws_access_key_id="AKIAWRITER", aws_secret_access_key="x", region_name=REGION)  # noqa: S106 - the sandbox takes any
        self.s3 = session.client("s3")
        self.sqs = session.client("sqs")
        self.address = ""

    @contextmanager
    def service(self, **changes: Any) -> Iterator[None]:
        """Run the service during the block, with these settings changed."""
        self.configure(**changes)
        log = self.folder / "service.log"
        with log.open("w") as output:
            command = [sys.executable, "-m", "jibe_sqs", "run", "--config", str(self.config)]
            process = subprocess.Popen(command, env=self.environment, stderr=output)  # noqa: S603 - our own program
        try:
            port = until(lambda: _port(log), "the service answers")
            self.address = f"http://127.0.0.1:{port}"
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)

    def configure(self, **changes: Any) -> None:
        """Write the configuration. A service that runs notices it within a minute."""
        self.config.write_text(json.dumps(self.settings | changes))

    def command(self, *arguments: str) -> None:
        """Run a command of the program."""
        command = [sys.executable, "-m", "jibe_sqs", *arguments, "--config", str(self.config)]
        subprocess.run(command, env=self.environment, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program

    def write(self, keys: Iterator[str] | list[str], bucket: str = MEDIA) -> None:
        """Write objects, as a program other than Access Anywhere does."""
        for key in keys:
            self.s3.put_object(Bucket=bucket, Key=key, Body=b"an object")

    def set_faults(self, **faults: Any) -> None:
        """Let Access Anywhere misbehave."""
        httpx.put(f"{self.sandbox['access_anywhere']}/sandbox/faults", json=faults).raise_for_status()

    def status(self) -> dict[str, Any]:
        """What the service shows."""
        found: dict[str, Any] = httpx.get(f"{self.address}/status.json", timeout=PATIENCE).json()
        return found

    def reached(self, begins: str, condition: Callable[[dict[str, Any]], Any] = bool) -> None:
        """Wait until the first sentence begins so, and the condition is true."""
        until(lambda: (found := self.status())["sentence"].startswith(begins) and condition(found), begins)


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for the condition, and return its value. Raises `TimeoutError`."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.5)
    return found


def _port(log: Path) -> int:
    for line in log.read_text().splitlines():
        if '"health_answered"' in line:
            return int(json.loads(line)["port"])
    return 0


def take(browser: Browser, place: Place, state: str, folder: Path) -> None:
    """Take the pictures of one state, and print what axe-core finds."""
    for window, (width, height) in WINDOWS.items():
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
            page = context.new_page()
            page.goto(f"{place.address}/")
            page.screenshot(path=folder / f"{state}-{window}-{scheme}-top.png")
            page.screenshot(path=folder / f"{state}-{window}-{scheme}.png", full_page=True)
            found = Axe().run(page)
            print(f"{state:12} {window:8} {scheme:6} axe-core: {found.violations_count} violations")  # noqa: T201 - an answer
            context.close()
    print(f"{'':12} {place.status()['sentence']}")  # noqa: T201 - an answer


def record(browser: Browser, place: Place, folder: Path) -> None:
    """Bring the service into each state, and take its pictures."""
    with place.service():
        place.reached("In sync")
        for minute in range(3):
            place.write([f"letters/{minute}/{number}.txt" for number in range(20)])
            place.write([f"plans/{minute}/{number}.txt" for number in range(10)], OTHER)
            time.sleep(20)
        place.reached("In sync; ", lambda found: found["lag"]["p50"] is not None and found["comparison"])
        take(browser, place, "in-sync", folder)

        place.command("pause", "--for", "2h", "--reason", "upgrade of Access Anywhere")
        place.write(["letters/paused/a.txt"])
        place.reached("Paused for ", lambda found: sum(queue["visible"] or 0 for queue in found["queues"]))
        take(browser, place, "paused", folder)
        place.command("resume")

        place.set_faults(down={})
        place.write([f"letters/down/{number}.txt" for number in range(40)])
        place.reached("Access Anywhere is down", lambda found: sum(queue["visible"] or 0 for queue in found["queues"]))
        take(browser, place, "down", folder)
    # The service is stopped, and Access Anywhere is slow afterwards: so a backlog grows old.
    place.set_faults(slow={"seconds": 1})
    for number in range(BACKLOG):
        place.write([f"backlog/{number % 60}/{number}.txt"])
    time.sleep(60)
    with place.service(access_anywhere=place.settings["access_anywhere"] | {"concurrency": 1}):
        place.reached("Catching up", lambda found: found["minutes"][-1]["refreshes"])
        take(browser, place, "catching-up", folder)
    place.set_faults()
    wrong = {"buckets": {MEDIA: place.settings["buckets"][MEDIA]}}
    with place.service(**wrong):
        place.write(["plans/not-shown.txt"], OTHER)
        place.sqs.send_message(QueueUrl=place.settings["queues"][0]["url"], MessageBody="not an announcement")
        place.configure(**wrong, limits={"messages_held": "many"})
        place.reached(
            "In sync", lambda found: found["unmapped"] and found["dead_letters"] and found["settings_problem"]
        )
        take(browser, place, "misconfigured", folder)


def main() -> None:
    """Write the pictures into the folder of the command line, or into a new one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium: apt-get install chromium")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="status-page-"))
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        command = [sys.executable, "-m", "jibe_sqs", "sandbox", "--json"]
        sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # noqa: S603
        stack.callback(sandbox.wait, PATIENCE)
        stack.callback(sandbox.send_signal, signal.SIGTERM)
        described = json.loads(sandbox.stdout.readline() if sandbox.stdout else "")
        os.environ.update(described["environment"])
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=chromium)
        stack.callback(browser.close)
        record(browser, Place(described, temporary), folder)
    shutil.copy(folder / "in-sync-desktop-light-top.png", PICTURE)
    print(f"{PICTURE.name}, and all pictures in {folder}")  # noqa: T201 - an answer


if __name__ == "__main__":
    main()
