"""The outcome of a check."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check found: the facts that make it fail, or the reason why it could not check."""

    result: Result
    facts: tuple[str, ...] = ()
    remedy: str = ""


OK = Outcome(Result.OK)


def failed(facts: list[str], remedy: str) -> Outcome:
    """Failed with these facts; ok if there are none."""
    return Outcome(Result.FAILED, tuple(facts), remedy) if facts else OK


def not_checked(reason: str, remedy: str = "") -> Outcome:
    return Outcome(Result.NOT_CHECKED, (reason,), remedy)
