"""A tree of folders is visited from the top down, several folders at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def walk_tree(top: str, visit: Callable[[str], Awaitable[Iterable[str]]], *, most: int) -> None:
    """Visit `top`, and then the folders that each visit returns, `most` at a time.

    Raises the error of a visit, when no visit is running any more.
    """
    waiting = [top]
    running: set[asyncio.Task[Iterable[str]]] = set()

    async def visited(path: str) -> Iterable[str]:
        return await visit(path)

    try:
        while waiting or running:
            # A tree may have a million folders: only the running visits have tasks.
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
