"""Work done in other threads: alone, mapped in order, and as an iterator that runs ahead of its consumer."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def start(work: Callable[..., object], *args: object) -> threading.Thread:
    """Starts a thread that may run JAX. It is no daemon, not even of one: Python would crash if it ended inside XLA."""
    thread = threading.Thread(target=work, args=args, daemon=False)
    thread.start()
    return thread


def parallel_map(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    """Applies `work` to each item in a few threads.

    Args:
        work: must release the GIL for most of its time, or nothing is gained.
        items: only a few are read ahead of the one that is yielded.

    Yields:
        Each item with its result, in the order of the items.
    """
    threads = os.cpu_count() or 1
    ahead: deque[tuple[Item, Future[Result]]] = deque()
    executor = ThreadPoolExecutor(threads)
    try:
        for item in items:
            ahead.append((item, executor.submit(work, item)))
            if len(ahead) > 4 * threads:
                item, result = ahead.popleft()
                yield item, result.result()
        for item, result in ahead:
            yield item, result.result()
    finally:
        executor.shutdown(cancel_futures=True)


def prefetch(make: Callable[[], Iterator[Item]], depth: int = 2) -> Generator[Item, None, None]:
    """Runs an iterator in a thread of its own, ahead of the consumer.

    Args:
        make: returns the iterator; called in the thread.
        depth: how many items may wait to be consumed.

    Yields:
        The items of `make()`. An exception of its is raised here. Closing this generator stops the thread.
    """
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in make():
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:
            put((None, error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        stopped.set()
        thread.join()
