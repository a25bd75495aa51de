"""The status page and its JSON, made from one snapshot for all clients of a second."""

from collections.abc import Awaitable, Callable
from typing import Final

import jinja2
from cachetools import TTLCache

from jibe_sqs.adapters.web.charts import charts
from jibe_sqs.adapters.web.sections import sections
from jibe_sqs.adapters.web.words import exact, moment, number, shortened, span, utc
from jibe_sqs.concurrency.async_cache import AsyncCache
from jibe_sqs.core.json_bytes import json_bytes
from jibe_sqs.telemetry.status import State, Status

KEPT: Final = 1.0
"""Seconds for which a snapshot and its renderings serve all clients."""
MAX_SENTENCES: Final = 10
"""Reasons, and warnings."""
RELOADED: Final = 30
"""Seconds between two loads of the page without JavaScript."""
LABELS: Final[dict[State, str]] = {
    "starting": "Starting",
    "in-sync": "In sync",
    "catching-up": "Catching up",
    "paused": "Paused",
    "held-up": "Held up",
    "trouble": "Trouble",
    "stopping": "Stopping",
}


class Page:
    """Renders the snapshots of `status`, at most one a second."""

    def __init__(self, status: Callable[[], Awaitable[Status]]) -> None:
        self._status = status
        self._snapshots: AsyncCache[str, Status] = AsyncCache(TTLCache(1, KEPT))
        self._renderings: AsyncCache[str, bytes] = AsyncCache(TTLCache(3, KEPT))

    async def html(self, *, reloads: bool = True) -> bytes:
        """The page. `reloads`: it loads itself again if the browser runs no scripts."""

        async def rendered() -> bytes:
            return html(await self._snapshot(), reloads=reloads)

        return await self._renderings.get(f"html {reloads}", rendered)

    async def json(self) -> bytes:
        """The snapshot as JSON."""

        async def encoded() -> bytes:
            return json_bytes(await self._snapshot())

        return await self._renderings.get("json", encoded)

    async def _snapshot(self) -> Status:
        return await self._snapshots.get("snapshot", self._status)


def html(status: Status, *, reloads: bool = True) -> bytes:
    """The page of one snapshot."""
    text = _TEMPLATE.render(
        status=status,
        label=LABELS[status.state],
        charts=charts(status.minutes),
        sections=sections(status),
        reloads=RELOADED if reloads else 0,
        at_most=MAX_SENTENCES,
    )
    return text.encode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "exact": exact,
        "moment": moment,
        "number": number,
        "shortened": shortened,
        "span": span,
        "utc": utc,
        "zip": zip,
    }
    return environment


_TEMPLATE: Final = _environment().get_template("page.html")
