"""What `make test` shows while it runs: how far it is, which parts it is in, and each failure at once.

A pytest plugin: `pytest -p tests.progress`. A terminal shows one line that changes, other output a line every 5 per cent.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from _pytest.terminal import TerminalReporter

WIDTH = 79
STEP = 5
"""Per cent between two lines, if the output is not a terminal."""
MAX_SILENCE = 30.0
"""Seconds between two lines, if the output is not a terminal and STEP is not reached before."""
MIN_INTERVAL = 0.2
"""Seconds between two changes of the line on a terminal."""


class Progress:
    def __init__(self, reporter: TerminalReporter) -> None:
        self._reporter = reporter
        self._is_terminal = reporter.isatty
        self._began = time.monotonic()
        self._total = self._finished = self._failed = 0
        self._running: Counter[str] = Counter()
        self._shown_percent, self._shown_at = 0, self._began

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._total = self._total or len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        self._total = len(ids)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_report_teststatus(self) -> Iterator[None]:
        """Show no letter. The summary needs the category, and the word of a test that did not pass."""
        category, _, word = yield
        return category, "", "" if category == "passed" else word

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[part(nodeid)] += 1

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._finished += 1
        self._running[part(nodeid)] -= 1
        self._show()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.failed:
            return
        self._failed += 1
        if self._is_terminal:
            self._reporter.rewrite("", erase=True)
        self._reporter.write_line(f"FAILED {report.nodeid}, in its {report.when}", red=True)
        self._reporter.write_line(report.longreprtext)

    def _show(self) -> None:
        percent = 100 * self._finished // max(1, self._total)
        now = time.monotonic()
        silence = now - self._shown_at
        is_due = percent >= self._shown_percent + STEP or silence > MAX_SILENCE
        if not (silence > MIN_INTERVAL if self._is_terminal else is_due) and self._finished < self._total:
            return
        self._shown_percent, self._shown_at = percent - percent % STEP, now
        if self._is_terminal:
            self._reporter.rewrite(self._line(percent, now), erase=True)
        else:
            self._reporter.write_line(self._line(percent, now))

    def _line(self, percent: int, now: float) -> str:
        minutes, seconds = divmod(int(now - self._began), 60)
        parts = ", ".join(sorted(name for name, count in self._running.items() if count > 0))
        line = f"{percent:3} %  {self._finished} of {self._total} tests, {self._failed} failed, {minutes}:{seconds:02}"
        return f"{line}  {parts}"[:WIDTH]


def part(nodeid: str) -> str:
    """The folder or module below `tests`, as `core`."""
    names = nodeid.partition("::")[0].split("/")
    return names[1] if len(names) > 1 else names[0]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(reporter), "progress")


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: tests of processes often wait."""
    return (os.cpu_count() or 1) + 1
