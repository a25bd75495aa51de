"""Connections with limits, so that slow clients hold nothing up.

uvicorn limits only the time between two requests. Its limit of connections answers 503 to everyone, also to the probes of an
orchestrator, which would restart the service because others are slow.
"""

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS: Final = 100
"""Beyond it, each new connection ends the one that has waited longest for its client."""
STEP_TIMEOUT: Final = 10.0
"""Seconds in which a client must send a whole request, and then take the whole answer."""


class Connection(H11Protocol):
    """One client. It is cut off if it takes too long, or if it is the slowest of too many."""

    _since = 0.0
    """When its present step began, by the loop's clock."""
    _deadline: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether an answer is on its way."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request. It may cost another client its connection."""
        if len(self.connections) >= MAX_CONNECTIONS:
            others = [each for each in self.connections if isinstance(each, Connection)]
            min(others, key=lambda each: (each.is_answering, each._since))._cut_off()  # noqa: SLF001
        super().connection_made(transport)
        self._begin_step()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Read what has arrived. If it is a whole request, its answer begins."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._begin_step()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request. The last bytes of the answer may still be in the transport."""
        self._begin_step()
        super().on_response_complete()

    def _begin_step(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._since = self.loop.time()
        self._deadline = self.loop.call_later(STEP_TIMEOUT, self._cut_off)

    def _cut_off(self) -> None:
        # `close` would wait until a client that reads nothing has taken the rest.
        self.connections.discard(self)
        self.transport.abort()
