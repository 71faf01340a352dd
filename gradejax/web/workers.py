"""Threads for blocking work, such as a store's, so that the event loop keeps answering."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Workers:
    """A fixed number of threads that coroutines hand work to."""

    def __init__(self, threads: int):
        self._executor = ThreadPoolExecutor(threads)

    async def run(
        self, work: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Calls `work` in one of the threads and waits for its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *args, **kwargs))
