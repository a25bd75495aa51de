"""A race: wait for something, but not beyond the end of something else."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def first_of(wanted: Awaitable[T], limit: Awaitable[object]) -> T | None:
    """Return the result of `wanted`, or None if `limit` ends first. Raises what `wanted` raises.

    The one that has not ended is cancelled, and has ended when this returns. If both have ended, `wanted` counts.
    """
    task, end = asyncio.ensure_future(wanted), asyncio.ensure_future(limit)
    try:
        await asyncio.wait([task, end], return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        end.cancel()
        await asyncio.gather(task, end, return_exceptions=True)
