"""Intervals about unseen writers: exact where theory says so, sensible at the edges, right in simulated collections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradejax import intervals
from gradejax.intervals import Tally

cells = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=2, max_size=40)


def of_one_model(rows: list[tuple[int, int]]) -> Tally:
    """A row per writer: right, of how many."""
    return Tally(*np.array([(min(right, total), total) for right, total in rows], float).T[:, None])


@given(cells)
def test_an_interval_contains_the_accuracy_and_lies_within_0_and_1(rows):
    writers = of_one_model(rows)
    mean, low, high = intervals.proportion(writers)
    assert mean == pytest.approx(writers.right.sum() / writers.total.sum())
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert high - low > 1e-3  # even without a mistake


def test_one_writer_says_nothing_about_others_and_one_training_nothing_about_trainings():
    assert str(intervals.accuracy(np.array([True, False, True]), np.zeros(3, int))) == "–"
    one = of_one_model([(3, 4), (1, 4)])
    assert intervals.difference(one, one).p == 1
    assert str(intervals.difference(one, one).interval) == "–"


def test_drawings_of_one_writer_count_as_fewer_than_as_many_by_others():
    correct = np.repeat([True] * 9 + [False], 20)  # ten writers, one of whom is never read
    clustered = intervals.accuracy(correct, np.repeat(np.arange(10), 20))
    independent = intervals.accuracy(correct, np.arange(200))
    assert clustered.low < independent.low - 0.1
    assert independent[1:] == pytest.approx(tuple(stats.binomtest(180, 200).proportion_ci(0.95)), abs=0.005)


def test_a_training_that_goes_wrong_widens_a_difference():
    """Ten writers and six trainings; in one of the other recipe's everybody is read worse."""
    total = np.full((6, 10), 20.0)
    base, steady, unsteady = (np.full((6, 10), 19.0) for _ in range(3))
    steady[:, ::2] -= 1
    unsteady[0] -= 6 * np.arange(10) % 7
    even, uneven = (intervals.difference(Tally(base, total), Tally(each, total)) for each in (steady, unsteady))
    assert even.p < 0.05 < uneven.p


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_never_weaker_than_bonferroni(p):
    corrected = intervals.holm(np.array(p))
    assert (corrected <= np.minimum(np.array(p) * len(p), 1) + 1e-12).all()
    assert (corrected >= np.array(p) - 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_holms_own_steps():
    np.testing.assert_allclose(intervals.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_simulated_experiments_are_covered():
    """Writers differ in how legible they are, trainings in how good they are."""
    rng = np.random.default_rng(0)
    n, inside, false = 300, 0, 0
    total = np.full((8, 50), 40.0)
    for _ in range(n):
        hard = rng.random((50, 40)) > rng.beta(19, 1, 50)[:, None]  # 5% on average
        tallies = []
        for _ in range(2):
            rate = rng.beta(2, 98, (8, 1, 1))  # of drawings that a training reads otherwise, 2% on average
            tallies.append(Tally((~hard ^ (rng.random((8, 50, 40)) < rate)).sum(axis=2).astype(float), total))
        _, low, high = intervals.proportion(tallies[0])
        inside += low <= 0.95 * 0.98 + 0.05 * 0.02 <= high
        false += intervals.difference(*tallies).p <= 0.05
    assert 0.92 <= inside / n <= 0.99
    assert false / n <= 0.08
