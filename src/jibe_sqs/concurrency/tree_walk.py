"""Trees of folders, walked from the top down, several folders at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def walked(top: str, visit: Callable[[str], Awaitable[Iterable[str]]], *, most: int) -> None:
    """Visit `top`, and then what each visit returns, `most` at a time. Raises what a visit does, when none runs any more."""
    waiting = [top]
    running: set[asyncio.Task[Iterable[str]]] = set()

    async def visited(path: str) -> Iterable[str]:
        return await visit(path)

    try:
        while waiting or running:
            # Tasks for as many as can run, not for every folder of a tree that may have a million.
            while waiting and len(running) < most:
                running.add(asyncio.create_task(visited(waiting.pop())))
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.discard(task)
                waiting += task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
