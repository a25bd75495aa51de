"""Reports each change to Access Anywhere, by a function and parameters from the settings.

    single   one call for each change and each folder that shows the object. The parameters are rendered templates.
    batched  one call for many changes. The rendered items are a JSON list in one parameter.

If two folders of a change give the same call or item, it is sent once.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from jibe_sqs.adapters.access_anywhere.uses.target import Slots
from jibe_sqs.adapters.access_anywhere.wire.client import AccessAnywhere
from jibe_sqs.core.errors import SettingsError
from jibe_sqs.core.model import Change
from jibe_sqs.core.templates import Template, templates
from jibe_sqs.ports import EventTarget

RESERVED = frozenset({"function", "token", "apiformat"})
"""Parameters that jibe-sqs itself adds to every call."""


CHANGES_FILES = re.compile(r"\s*(do(delete|move|rename|copy|modify|create)|empty)", re.IGNORECASE)
"""The names of functions that change customers' files begin like this: doDeleteFile, doMoveFolders, emptyTrash, …"""


class Batch(msgspec.Struct, frozen=True):
    """How several changes are sent in one call. `item`: templates of one item's fields. `size`: the most items in a call."""

    parameter: str
    item: Mapping[str, str]
    size: int


class ProviderEventTarget(EventTarget):
    """Calls `function` for changes, in `slots`. With a `batch`, the `parameters` are constant and go with each call."""

    def __init__(
        self,
        client: AccessAnywhere,
        *,
        function: str,
        parameters: Mapping[str, str],
        batch: Batch | None = None,
        slots: Slots,
    ) -> None:
        """Raises `SettingsError` with all mistakes."""
        self._client = client
        self._function = function
        self._parameters, self._item = _checked(function, parameters, batch)
        self._constant = {name: text.constant for name, text in self._parameters.items() if text.constant is not None}
        self._batch = batch
        self._slots = slots
        self.batch = batch.size if batch else 1

    async def report(self, changes: Sequence[Change]) -> None:
        """Report changes. Returns when all are accepted. Raises `AccessAnywhereError`: some may then be accepted."""
        for parameters in self._calls(changes):
            async with self._client.in_slot(self._slots.slot):
                await self._client.call(self._function, parameters)

    def _calls(self, changes: Sequence[Change]) -> Iterator[dict[str, str]]:
        if self._batch is None:
            yield from _rendered(self._parameters, changes)
            return
        items = _rendered(self._item, changes)
        for start in range(0, len(items), self._batch.size):
            yield {**self._constant, self._batch.parameter: json.dumps(items[start : start + self._batch.size])}


def _rendered(texts: Mapping[str, Template], changes: Sequence[Change]) -> list[dict[str, str]]:
    """The parameters or items for the changes, without duplicates."""
    found: dict[tuple[str, ...], None] = {}
    for change in changes:
        for folder in change.folders:
            found[tuple(text.render(change.event, folder) for text in texts.values())] = None
    return [dict(zip(texts, values, strict=True)) for values in found]


def _checked(
    function: str, parameters: Mapping[str, str], batch: Batch | None
) -> tuple[dict[str, Template], dict[str, Template]]:
    """Parameters and items as templates. Raises `SettingsError` with all mistakes."""
    problems: list[str] = []
    if CHANGES_FILES.match(function):
        problems.append(
            f"sync.function: {function} changes customers' files, and jibe-sqs does not call such functions: write the "
            "function that makes Access Anywhere check an object, such as syncOnProviderEvent"
        )

    def parsed(texts: Mapping[str, str], setting: str) -> dict[str, Template]:
        try:
            return templates(texts, setting)
        except SettingsError as error:
            problems.extend(error.problems)
            return {}

    calls = parsed(parameters, "sync.parameters")
    items = parsed(batch.item, "sync.batch.item") if batch else {}
    ours = "is set by jibe-sqs itself: choose the name in the call's documentation"
    problems += [f"sync.parameters.{name}: {ours}" for name in RESERVED.intersection(parameters)]
    if batch:
        if batch.parameter in RESERVED:
            problems.append(f"sync.batch.parameter: {batch.parameter} {ours}")
        if batch.parameter in parameters:
            problems.append(f"sync.batch.parameter: {batch.parameter} is also in sync.parameters: remove one of them")
        problems += [
            f"sync.parameters.{name}: with sync.batch a call has many events, so this cannot be a field of one "
            "event: move it to sync.batch.item"
            for name, text in calls.items()
            if text.constant is None
        ]
    elif not parameters:
        problems.append("sync.parameters: required by provider-event without sync.batch")
    if problems:
        raise SettingsError(problems)
    return calls, items
