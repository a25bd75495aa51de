"""Pauses that an operator asks for: of one provider of Access Anywhere, or of everything."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

EVERYTHING: Final = ""
"""The provider of a pause of everything."""
MAX_SECONDS: Final = 7 * 86_400.0
MAX_PROVIDER_SECONDS: Final = 4 * 86_400.0
"""The longest pause: of everything, and of one provider. While everything is paused, nothing is received. While one provider
is, its messages are held, and SQS counts a receive for each 11.5 hours of that: nine in four days."""
MAX_PROVIDER_LENGTH: Final = 255
MAX_REASON_LENGTH: Final = 500
"""Characters."""
MAX_PAUSES: Final = 100


class Pause(msgspec.Struct, frozen=True):
    """One pause. `since`, `until`: seconds since the epoch, local clock. `reason`: the operator's words, if there are any."""

    provider: str
    since: float
    until: float
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What an operator reads of it."""
        until, day = datetime.fromtimestamp(self.until, UTC), datetime.fromtimestamp(self.since, UTC).date()
        shown = until.strftime("%H:%M" if until.date() == day else "%Y-%m-%d %H:%M")
        text = f"paused by an operator until {shown} (UTC)"
        return f"{self._beginning}{text}: {self.reason}" if self.reason else f"{self._beginning}{text}"

    @property
    def _beginning(self) -> str:
        return f"{self.provider}: " if self.provider else ""


def provider_of(path: str) -> str:
    """The provider of a folder of Access Anywhere: the name of the top-level folder, as it is compared.

    Access Anywhere does not distinguish upper and lower case. Empty for the root, which belongs to none.
    """
    end = path.find("/", 1)
    return (path[1:] if end < 0 else path[1:end]).casefold()


def provider_named(name: str) -> str:
    """The same, from the name that an operator gives."""
    return name.strip("/").casefold()


def encoded(pauses: Iterable[Pause]) -> str:
    """The pauses as a note of the ledger."""
    return msgspec.json.encode(list(pauses)).decode()


def decoded(text: str) -> list[Pause]:
    """The pauses of a note. Raises `ValueError` if another release has written it in another way."""
    return msgspec.json.decode(text, type=list[Pause]) if text else []
