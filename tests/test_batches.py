"""Batches: every drawing once an epoch, always the same for a seed, made ahead of their use."""

import threading
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradejax.augment import DistortionRanges
from gradejax.batches import epoch_batches, steps_per_epoch
from gradejax.threads import prefetch


def drawings(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Ink whose first pixel is its row's number, so that it can be told which drawing is in a batch."""
    ink = np.zeros((n, 8, 8), np.uint8)
    ink[:, 0, 0] = np.arange(n)
    return ink, np.arange(n, dtype=np.int32) % 15


def epoch(n=100, rows=None, batch_size=8, seed=0, number=1, max_steps=128, ranges=None):
    ink, labels = drawings(n)
    return list(
        epoch_batches(
            ink, labels, np.arange(n) if rows is None else rows, batch_size=batch_size,
            augment=ranges or DistortionRanges(), seed=seed, epoch=number, max_steps=max_steps,
        )
    )  # fmt: skip


@settings(deadline=None)
@given(n=st.integers(1, 200), batch_size=st.integers(1, 64), max_steps=st.integers(1, 30))
def test_an_epoch_holds_every_drawing_in_whole_batches(n, batch_size, max_steps):
    chunks = epoch(n, batch_size=batch_size, max_steps=max_steps)
    lengths = [len(chunk.labels) for chunk in chunks]
    assert sum(lengths) == steps_per_epoch(n, batch_size)
    assert max(lengths) <= max_steps
    assert len(set(lengths)) <= 2
    rows = np.concatenate([chunk.ink[:, :, 0, 0].ravel() for chunk in chunks])
    assert all(chunk.ink.shape[1] == batch_size for chunk in chunks)
    assert sorted(rows[:n]) == list(range(n))
    labels = np.concatenate([chunk.labels.ravel() for chunk in chunks])
    np.testing.assert_array_equal(labels, rows % 15)


def test_only_the_rows_asked_for_are_there():
    (chunk,) = epoch(rows=np.arange(0, 100, 5), batch_size=20)
    assert set(chunk.ink[0, :, 0, 0]) == set(range(0, 100, 5))


def test_an_epoch_of_a_seed_is_always_the_same_and_no_other():
    ranges = DistortionRanges(rotation=10, shift=0.1, zoom=0.1)
    once, again = epoch(ranges=ranges), epoch(ranges=ranges)
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a.ink, b.ink)
        np.testing.assert_array_equal(a.labels, b.labels)
    for other in (epoch(ranges=ranges, number=2), epoch(ranges=ranges, seed=1)):
        assert not np.array_equal(once[0].labels, other[0].labels)


def test_prefetched_items_come_in_order_and_errors_come_through():
    assert list(prefetch(lambda: iter(range(1000)))) == list(range(1000))

    def broken():
        yield 1
        raise OSError("the disk is gone")

    items = prefetch(broken)
    assert next(items) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(items)


def test_prefetch_works_ahead_but_not_far():
    made = []
    two_ahead = threading.Event()

    def numbers():
        for number in range(100):
            made.append(number)
            if number == 3:
                two_ahead.set()
            yield number

    items = prefetch(numbers, depth=2)
    assert next(items) == 0
    assert two_ahead.wait(5)
    assert len(made) <= 5
    items.close()


def test_a_consumer_that_stops_early_stops_the_thread():
    before = threading.active_count()
    items = prefetch(lambda: iter(range(10**9)))
    assert list(islice(items, 3)) == [0, 1, 2]
    items.close()
    assert threading.active_count() == before
