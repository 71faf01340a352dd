"""Batches concurrent requests: one transaction, or one pass of the network, for all that arrive together."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from gradejax.web.workers import Workers

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Call it with one item; `work` processes, in a thread of its own, all items that arrived while it was busy.

    Nothing waits for company: an item that arrives alone is processed at once.
    """

    def __init__(self, work: Callable[[Sequence[Item]], Sequence[Result | Exception]], max_items: int):
        """Creates a batcher.

        Args:
            work: returns a result for each item, or the exception to raise for it.
            max_items: the most items that `work` gets in one call.
        """
        self._work = work
        self._max_items = max_items
        self._thread = Workers(1)
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Result:
        """Returns the result for `item`. Raises what `work` returned or raised for it."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._process_waiting())
        return await future

    async def _process_waiting(self) -> None:
        while self._waiting:
            wanted = [(item, future) for item, future in self._waiting if not future.done()]  # the others gave up
            batch, self._waiting = wanted[: self._max_items], wanted[self._max_items :]
            if not batch:
                break
            try:
                results = await self._thread.run(self._work, [item for item, _ in batch])
            except Exception as error:
                results = [error] * len(batch)
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # its caller gave up meanwhile
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._task = None
