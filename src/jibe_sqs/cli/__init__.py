"""The command line: one module per group of commands, without logic of its own.

A command imports its code only when it runs. So the program starts fast, and needs the sandbox's packages only for the
sandbox. The service starts even without the library of the command line, if it has only its own options.
"""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from jibe_sqs.core.errors import SettingsError

_SERVICE_OPTIONS: Final = {"--config": "config", "-c": "config", "--worker": "worker"}
COMPLETION: Final = "_JIBE_SQS_COMPLETE"
"""The variable by which a shell asks for completions."""
_NOT_NEEDED: Final = ("rich", "httpx._main")
"""structlog and httpx import them where they exist, for output that the service does not write. They take a tenth of the CPU
time of its start."""


def main() -> None:
    """Run a command. An operator's mistake ends in a few lines and exit code 2, not in a traceback."""
    # A shell that completes a command line calls the program without arguments, and must not start the service.
    options = None if COMPLETION in os.environ else service_options(sys.argv[1:])
    if options is not None:
        for name in _NOT_NEEDED:
            sys.modules[name] = None  # type: ignore[assignment]  # an import fails, as if it were not installed
        # To look for plugins, pydantic reads the metadata of all installed packages.
        os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from jibe_sqs.core.errors import JibeError, SettingsError
    from jibe_sqs.telemetry import logs
    from jibe_sqs.telemetry.printable import printable

    logs.take_standard_error()
    # Log lines from before the settings are loaded are not part of a command's output.
    logs.configure("info", "auto")
    if wrong := [each for each in sys.argv[1:] if not _is_unicode(each)]:
        print(f"jibe-sqs: an argument is not UTF-8: {wrong[0]!a}", file=sys.stderr)  # noqa: T201 - an answer
        sys.exit(2)
    try:
        if options is not None:
            from jibe_sqs.cli.service import run

            sys.exit(run(**options))
        from jibe_sqs.cli.app import app

        app(prog_name="jibe-sqs")
    except SettingsError as error:
        _show_mistakes(error)
        sys.exit(2)
    except JibeError as error:
        text = printable(str(error), allowed="\n")
        print(f"jibe-sqs: {type(error).__name__}: {text}", file=sys.stderr)  # noqa: T201 - an answer
        sys.exit(1)


def service_options(arguments: Sequence[str]) -> dict[str, str] | None:
    """The options of `run`, if this is the command and nothing else is given. None for the library of the command line."""
    left = list(arguments)
    if left[:1] == ["run"]:
        del left[0]
    elif left:
        return None  # only the library knows the options before a command
    found: dict[str, str] = {}
    while left:
        name, _, value = left.pop(0).partition("=")
        if name not in _SERVICE_OPTIONS or _SERVICE_OPTIONS[name] in found:
            return None
        if not value:
            value = left.pop(0) if left else ""
        if not value or value.startswith("-"):
            return None
        found[_SERVICE_OPTIONS[name]] = value
    return found


def _is_unicode(text: str) -> bool:
    """Whether it can be part of a key or a path. Python passes other bytes of an argument on as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _show_mistakes(error: "SettingsError") -> None:
    """Print at most ten lines, for any number of mistakes."""
    advice = [
        "Give these in a JSON file (--config FILE) or as variables, such as",
        "JIBE_ACCESS_ANYWHERE__ENDPOINT=https://files.example.com; see docs/reference/configuration.md",
    ]
    after = advice if error.is_incomplete else []
    room = 9 - len(after)
    shown = error.problems if len(error.problems) <= room else error.problems[: room - 1]
    lines = ["jibe-sqs: the configuration is incomplete or wrong.", *(f"  {line}" for line in shown)]
    if left := len(error.problems) - len(shown):
        lines.append(f"  (and {left} more)")
    lines += after
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - an answer
