"""Accuracy, cross-entropy, calibration and confusion on cases small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradejax import metrics


def test_scores_by_hand():
    probabilities = np.array([[0.8, 0.2], [0.4, 0.6], [0.9, 0.1]])
    found = metrics.scores(probabilities, np.array([0, 1, 1]))
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.loss == pytest.approx(-np.log([0.8, 0.6, 0.1]).mean())
    # Three guesses in three bins: |1 - 0.8|, |1 - 0.6| and |0 - 0.9|.
    assert found.ece == pytest.approx((0.2 + 0.4 + 0.9) / 3)


def test_a_bin_is_judged_as_a_whole():
    probabilities = np.tile([0.75, 0.25], (4, 1))
    found = metrics.reliability(probabilities, np.array([0, 0, 0, 1]), bins=10)
    assert found.ece == pytest.approx(0)
    assert found.counts.tolist() == [0] * 7 + [4, 0, 0]
    assert found.confidence[7] == found.accuracy[7] == 0.75


def test_a_lost_network_is_right_in_nothing():
    probabilities = np.array([[np.nan, np.nan], [np.nan, np.nan], [0.2, 0.8]])
    found = metrics.scores(probabilities, np.array([0, 1, 1]))
    assert found.accuracy == pytest.approx(1 / 3)
    assert np.isnan(found.loss) and np.isnan(found.ece)
    assert metrics.reliability(probabilities, np.array([0, 1, 1])).counts.sum() == 3


def test_confusion_counts_labels_by_guesses():
    probabilities = np.eye(3)[[0, 1, 1, 2, 0]]
    found = metrics.confusion(probabilities, np.array([0, 0, 1, 2, 2]))
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_everything_stays_in_its_range(n, seed):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(15, 0.2), n)
    labels = rng.integers(0, 15, n)
    found = metrics.scores(probabilities, labels)
    assert 0 <= found.accuracy <= 1
    assert 0 <= found.ece <= 1
    assert found.loss >= 0
    assert metrics.reliability(probabilities, labels).counts.sum() == n
    assert metrics.confusion(probabilities, labels).sum() == n
    assert np.trace(metrics.confusion(probabilities, labels)) == round(found.accuracy * n)
