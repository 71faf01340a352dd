"""`python -m gradejax.data generate`: synthetic drawings."""

import logging
from contextlib import closing

from gradejax.data import exchange
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.progress import progress, track
from gradejax.scales import Scale
from gradejax.stores import open_store

log = logging.getLogger(__name__)

_MOST = 10**7


def generate(uri: str, count: str, seed: int, writers: int, scale: Scale | None = None) -> None:
    """Adds synthetic drawings to a store; the same arguments make the same drawings, which are then already there.

    Args:
        uri: the store's address.
        count: how many drawings, as typed.
        seed: another seed makes other drawings.
        writers: how many synthetic writers draw them.
        scale: of the grades, as in `open_store`.
    """
    if not count.isdecimal() or not 0 < int(count) <= _MOST:
        raise UserError(f"{count!r} is not a number from 1 to {_MOST:,}: write python -m gradejax.data generate 2250")
    n = int(count)
    with closing(open_store(uri, scale=scale)) as store, progress("drawing", n, log) as update:
        added = exchange.fill(store, track(write_drawings(n, seed=seed, writers=writers, scale=store.scale), update))
    print(f"added {added}, already there {n - added}")
