"""Runs checks at the same time. Whatever happens in one of them is a finding, and does not hide the others."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec

from jibe_sqs.commands.check.facts import Refusal
from jibe_sqs.commands.check.problems import Code, Finding, Problem, Severity, Topic
from jibe_sqs.core.errors import JibeError

T = TypeVar("T")

CHECK_TIMEOUT: Final = 90.0
"""Seconds that one check may take."""

Findings = AsyncGenerator[Finding, None]


class Check(msgspec.Struct, frozen=True):
    """One check. `subject`: what it is about, if it ends with an error."""

    topic: Topic
    subject: str
    run: Callable[[], Findings]


class Report(msgspec.Struct, frozen=True):
    """All findings, by topic, in the order of the checks. Each finding is in it once."""

    findings: tuple[tuple[Topic, Finding], ...]

    @property
    def problems(self) -> list[Problem]:
        """The findings that make the check fail."""
        return [each for each in self._all_problems() if each.severity is not Severity.NOTE]

    @property
    def notes(self) -> list[Problem]:
        """What is worth knowing, but does not make the check fail."""
        return [each for each in self._all_problems() if each.severity is Severity.NOTE]

    def _all_problems(self) -> list[Problem]:
        return [found for _, found in self.findings if isinstance(found, Problem)]


async def report(checks: Sequence[Check], *, limit: float = CHECK_TIMEOUT) -> Report:
    """Run all checks. `limit`: seconds for each."""
    answers = await asyncio.gather(*(_findings(check, limit) for check in checks))
    ordered = sorted(zip(checks, answers, strict=True), key=lambda each: list(Topic).index(each[0].topic))
    topics: dict[Finding, Topic] = {}
    for check, findings in ordered:
        for finding in findings:
            # The same reason may end many checks, such as missing credentials. It counts in the first topic.
            topics.setdefault(finding, check.topic)
    return Report(tuple((topic, finding) for finding, topic in topics.items()))


async def unless_refused(subject: str, question: Awaitable[T]) -> T | Problem:
    """The answer, or the finding that there is none. For a check that can go on without this answer."""
    try:
        return await question
    except Refusal as refusal:
        return refusal.as_problem(subject)


async def _findings(check: Check, limit: float) -> list[Finding]:
    found: list[Finding] = []
    try:
        async with asyncio.timeout(limit), aclosing(check.run()) as findings:
            async for finding in findings:
                found.append(finding)  # noqa: PERF401 - what was found before an error counts
    except Refusal as refusal:
        found.append(refusal.as_problem(check.subject))
    except TimeoutError:
        remedy = "check the network and the load of the other side, and try again"
        found.append(Problem(Code.NO_ANSWER, check.subject, f"no answer within {limit:g} s", remedy))
    except JibeError as error:
        remedy = "see the reason, and docs/reference/errors.md"
        found.append(Problem(Code.NO_ANSWER, check.subject, f"{type(error).__name__}: {error}", remedy))
    except Exception as error:  # noqa: BLE001 - a defect of one check must not hide the findings of the others
        what = f"this check itself failed: {type(error).__name__}: {error}"
        found.append(Problem(Code.CHECK_DEFECT, check.subject, what, "report it, with this text"))
    return found
