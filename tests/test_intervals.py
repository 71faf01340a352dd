"""Intervals about unseen writers: exact where theory says so, sensible at the edges, right in simulated collections."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gradejax import intervals
from gradejax.intervals import Tally

counts = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=2, max_size=40).map(
    lambda rows: Tally(*np.array([(min(right, total), total) for right, total in rows], float).T)
)


@given(counts)
def test_an_interval_contains_the_accuracy_and_lies_within_0_and_1(writers):
    mean, low, high = intervals.proportion(writers)
    assert mean == pytest.approx(writers.right.sum() / writers.total.sum())
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1
    assert high - low > 1e-3  # even without a mistake


def test_one_writer_says_nothing_about_others():
    assert str(intervals.accuracy(np.array([True, False, True]), np.zeros(3, int))) == "–"
    one = Tally(np.array([3.0]), np.array([4.0]))
    assert intervals.difference(one, one).p == 1


def test_drawings_of_one_writer_count_as_fewer_than_as_many_by_others():
    correct = np.repeat([True] * 9 + [False], 20)  # ten writers, one of whom is never read
    clustered = intervals.accuracy(correct, np.repeat(np.arange(10), 20))
    independent = intervals.accuracy(correct, np.arange(200))
    assert clustered.low < independent.low - 0.1
    low, high = stats.binomtest(180, 200).proportion_ci(0.95)
    assert independent[1:] == pytest.approx((low, high), abs=0.005)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=3, max_size=30))
def test_with_as_many_drawings_by_each_writer_a_difference_is_the_paired_t_test(pairs):
    base, other = np.array(pairs, float).T
    total = np.full(len(pairs), 20.0)
    (mean, low, high), p = intervals.difference(Tally(base, total), Tally(other, total))
    per_writer = (other - base) / 20
    assert mean == pytest.approx(per_writer.mean())
    if np.ptp(per_writer) > 1e-9:
        expected = stats.ttest_1samp(per_writer, 0)
        assert p == pytest.approx(expected.pvalue)
        assert (low, high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    elif mean == 0:
        assert p == 1
        assert low < 0 < high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_never_weaker_than_bonferroni(p):
    corrected = intervals.holm(np.array(p))
    assert (corrected <= np.minimum(np.array(p) * len(p), 1) + 1e-12).all()
    assert (corrected >= np.array(p) - 1e-12).all()
    assert (np.diff(corrected[np.argsort(p, kind="stable")]) >= 0).all()


def test_holms_own_steps():
    np.testing.assert_allclose(intervals.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_simulated_writers_are_covered():
    """Writers differ in how legible they are; trainings agree on most drawings."""
    rng = np.random.default_rng(0)
    inside = wrong_verdicts = 0
    for _ in range(400):
        legible = rng.beta(19, 1, 50)  # 95% on average
        hard = rng.random((50, 40)) > legible[:, None]
        base, other = (~hard ^ (rng.random(hard.shape) < 0.01) for _ in range(2))
        one, two = (Tally(each.sum(axis=1).astype(float), np.full(50, 40.0)) for each in (base, other))
        _, low, high = intervals.proportion(one)
        inside += low <= 0.95 * 0.99 + 0.05 * 0.01 <= high
        wrong_verdicts += intervals.difference(one, two).p <= 0.05
    assert 0.92 <= inside / 400 <= 0.985
    assert wrong_verdicts / 400 <= 0.08
