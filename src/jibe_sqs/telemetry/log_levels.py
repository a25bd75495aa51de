"""Levels of single loggers: of modules of this program, and of libraries.

A logger is named as its module, and a name counts for all modules below it: `jibe_sqs.consuming` for `jibe_sqs.consuming.handler`.
The longest name that fits counts.
"""

import logging
import re
import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final

import structlog

OURS: Final = "jibe_sqs"

_VALUES: Final = re.compile(
    r"""(?ix) ((?: x-amz-security-token | x-aws-ec2-metadata-token | authorization | secret_?access_?key | session_?token
    | signature | password ) ["']? \s* [:=>] \s* b? ["']?) [^\s"'<,}]+"""
)
"""What libraries write at the level `debug` that is a secret. botocore writes whole requests and answers."""

_library_names: set[str] = set()


def number(level: str) -> int:
    """The number of a level, such as `debug`."""
    return logging.getLevelNamesMapping()[level.upper()]


class ModuleLevels:
    """A processor that drops events below the level of the module that logs them.

    It looks for the module in the stack, so it is used only if a module has a level of its own.
    """

    def __init__(self, level: str, levels: Mapping[str, str]) -> None:
        self._default = number(level)
        self._levels = {name: number(each) for name, each in levels.items() if is_ours(name)}
        self._by_module: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._levels)

    @property
    def lowest(self) -> int:
        """The lowest level of all modules."""
        return min([self._default, *self._levels.values()])

    def __call__(self, _logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        """The event. Raises `DropEvent`."""
        if number("error" if method == "exception" else method) < self._of(_calling_module(sys._getframe(1))):  # noqa: SLF001 - the documented way
            raise structlog.DropEvent
        return event

    def _of(self, module: str) -> int:
        found = self._by_module.get(module)
        if found is None:
            fitting = [name for name in self._levels if f"{module}.".startswith(f"{name}.")]
            found = self._levels[max(fitting, key=len)] if fitting else self._default
            self._by_module[module] = found
        return found


def set_library_levels(levels: Mapping[str, str]) -> None:
    """Set the levels of the libraries' loggers. Those that were set before, and are not any more, have none again."""
    wanted = {name: number(level) for name, level in levels.items() if not is_ours(name)}
    for name in _library_names - wanted.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    _library_names.clear()
    _library_names.update(wanted)


def without_secrets(text: str) -> str:
    """The text of a library without the secrets that are recognised by their names."""
    return _VALUES.sub(r"\1********", text)


def is_ours(name: str) -> bool:
    """Whether the logger is a module of this program."""
    return f"{name}.".startswith(f"{OURS}.")


def _calling_module(frame: FrameType | None) -> str:
    while frame is not None:
        name: Any = frame.f_globals.get("__name__", "")
        if not name.startswith("structlog."):
            return str(name)
        frame = frame.f_back
    return ""
