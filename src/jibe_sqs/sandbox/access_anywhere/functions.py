"""The parameters and answers of the API's functions."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jibe_sqs.sandbox.access_anywhere.refusals import Refused

Params = Mapping[str, str]
"""By name. Names that a function does not know are ignored."""
Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One function. `for_rclone` returns whether the parameters are rclone's: rclone accepts one shape of an answer only."""

    answer: Callable[[Params, bool], Awaitable[Answer]]
    for_rclone: Callable[[Params], bool]
    needs_login: bool = True


def words(params: Params, name: str) -> Collection[str]:
    """The values in a parameter, separated by commas or by `|`."""
    return [word for word in params.get(name, "").replace("|", ",").split(",") if word]


def integer(params: Params, name: str) -> int | None:
    """Returns None if the parameter is missing or empty. Raises `Refused`."""
    text = params.get(name, "")
    if not text:
        return None
    if not text.isdecimal():
        raise Refused("invalid_parameter", f"{name} is not a number")
    return int(text)
