"""Waiting for what a server, a process or a page does in its own time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 60, pause: float = 0.02) -> T:
    """What `condition` returns as soon as that is true; it is asked again after each `pause`, in seconds.

    Raises:
        AssertionError: after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{seconds} s were not enough"
        time.sleep(pause)
    return result
