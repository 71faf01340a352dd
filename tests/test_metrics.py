"""Metrics on cases small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradejax import metrics


def test_scores_by_hand():
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    scores = metrics.scores(probabilities, np.array([0, 1, 1]))
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.loss == pytest.approx(-np.log([0.8, 0.6, 0.1]).mean())
    # Three predictions in three bins: |1 - 0.8|, |1 - 0.6| and |0 - 0.9|.
    assert scores.ece == pytest.approx((0.2 + 0.4 + 0.9) / 3)


def test_the_error_of_a_bin_is_that_of_its_mean():
    probabilities = np.tile([0.75, 0.25], (4, 1))
    bins = metrics.reliability(probabilities, np.array([0, 0, 0, 1]), bins=10)
    assert bins.ece == pytest.approx(0)
    assert bins.counts.tolist() == [0] * 7 + [4, 0, 0]
    assert bins.confidence[7] == bins.accuracy[7] == 0.75


def test_nan_probabilities_count_as_wrong():
    probabilities = np.array([[np.nan, np.nan], [np.nan, np.nan], [0.2, 0.8]])
    scores = metrics.scores(probabilities, np.array([0, 1, 1]))
    assert scores.accuracy == pytest.approx(1 / 3)
    assert np.isnan(scores.loss) and np.isnan(scores.ece)
    assert metrics.reliability(probabilities, np.array([0, 1, 1])).counts.sum() == 3


def test_confusion_counts_labels_by_predictions():
    probabilities = np.eye(3)[[0, 1, 1, 2, 0]]
    counts = metrics.confusion(probabilities, np.array([0, 0, 1, 2, 2]))
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_metrics_stay_in_their_ranges(n, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(15, 0.2), n)
    labels = rng.integers(0, 15, n)
    scores = metrics.scores(probabilities, labels)
    assert 0 <= scores.accuracy <= 1
    assert 0 <= scores.ece <= 1
    assert scores.loss >= 0
    assert metrics.reliability(probabilities, labels).counts.sum() == n
    assert metrics.confusion(probabilities, labels).sum() == n
    assert np.trace(metrics.confusion(probabilities, labels)) == round(scores.accuracy * n)
