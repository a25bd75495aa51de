"""A tree of folders is visited from the top down, several folders at a time."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable

Visit = AsyncGenerator[Iterable[str], None]
"""The visit of one folder. It yields the folders below it, in one portion or in several."""


async def walk_tree(top: str, visit: Callable[[str], Visit], *, most: int) -> None:
    """Visit `top`, and then the folders that each visit yields, `most` at a time.

    After each portion, a visit pauses until the visits of these folders, and of those below them, have begun. So little waits
    in memory, even if a folder has a million folders. Raises the error of a visit, when no visit is running any more.
    """
    waiting: list[str | Visit] = [top]
    running: dict[asyncio.Task[Iterable[str] | None], Visit] = {}

    async def portion(going: Visit) -> Iterable[str] | None:
        return await anext(going, None)

    try:
        while waiting or running:
            # A tree may have a million folders: only the running visits have tasks.
            while waiting and len(running) < most:
                each = waiting.pop()
                going = visit(each) if isinstance(each, str) else each
                running[asyncio.create_task(portion(going))] = going
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                found = task.result()
                going = running.pop(task)
                if found is not None:
                    # The last one is taken first.
                    waiting += [going, *found]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for left in (*running.values(), *waiting):
            if not isinstance(left, str):
                await left.aclose()
