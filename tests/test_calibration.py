"""Calibration: the fitted temperature, the rejection threshold, and drawings that are never grades."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradejax import calibration, checkpoints, forward, metrics, models
from gradejax.calibration import Calibration
from gradejax.errors import UserError
from gradejax.recogniser import load
from gradejax.scales import LETTERS

GRADES = LETTERS.labels

SEEDS = st.integers(0, 2**32 - 1)


def calibrated_logits(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the very probabilities that the logits stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 15))
    # Gumbel noise on logits is a draw from their softmax.
    return logits, (logits + rng.gumbel(size=(n, 15))).argmax(axis=1)


def full_size_ink(n: int) -> np.ndarray:
    """Ink that is large enough to be a grade."""
    ink = np.zeros((n, 28, 28), np.uint8)
    ink[:, 4:24, 10:13] = 255
    return ink


@settings(deadline=None)  # a busy machine is not a failure
@given(SEEDS, st.floats(0.1, 10))
def test_the_temperature_undoes_scaling(seed, scale):
    logits, labels = calibrated_logits(400, seed)
    plain, scaled = calibration.fit(logits, labels), calibration.fit(scale * logits, labels)
    assert plain.temperature == pytest.approx(1, rel=0.25)
    assert scaled.temperature == pytest.approx(scale * plain.temperature, rel=1e-4)
    np.testing.assert_allclose(scaled.confidences(scale * logits), plain.confidences(logits), atol=1e-3)


def test_calibration_lowers_the_calibration_error():
    logits, labels = calibrated_logits(20_000, 0)
    before = metrics.scores(Calibration().confidences(4 * logits[10_000:]), labels[10_000:])
    fitted = calibration.fit(4 * logits[:10_000], labels[:10_000])
    after = metrics.scores(fitted.confidences(4 * logits[10_000:]), labels[10_000:])
    assert before.ece > 0.1
    assert after.ece < 0.02
    assert after.accuracy == before.accuracy
    assert after.loss < before.loss


@settings(deadline=None)
@given(st.integers(1, 500), SEEDS)
def test_the_threshold_accepts_99_percent(n, seed):
    logits, labels = calibrated_logits(n, seed)
    fitted = calibration.fit(logits, labels)
    rejected = ~fitted.are_grades(logits, full_size_ink(n))
    assert rejected.sum() <= 0.01 * n
    # A slightly higher threshold would accept fewer.
    assert (fitted.scores(logits) < fitted.threshold + 1e-4).sum() > 0.01 * n - 1e-9


@settings(deadline=None)
@given(st.integers(20, 500), SEEDS)
def test_with_an_output_for_no_grade_the_threshold_lets_4_percent_of_strangers_in(n, seed):
    rng = np.random.default_rng(seed)
    logits, labels = calibrated_logits(n, seed)
    logits = np.column_stack([logits, rng.normal(-3, 1, n)])
    strangers = np.column_stack([rng.normal(0, 1, (n, 15)), rng.normal(3, 2, n)])
    fitted = calibration.fit(logits, labels, strangers)
    let_in = fitted.are_grades(strangers, full_size_ink(n)).mean()
    assert abs(let_in - 0.04) <= 2 / n
    # That output counts for the score alone: it changes no confidence and no temperature.
    assert fitted.temperature == calibration.fit(logits[:, :15], labels).temperature
    np.testing.assert_array_equal(fitted.confidences(logits), fitted.confidences(logits[:, :15]))
    np.testing.assert_allclose(fitted.confidences(logits).sum(axis=1), 1)
    assert (fitted.scores(logits) <= fitted.confidences(logits).max(axis=1)).all()
    np.testing.assert_array_equal(fitted.scores(logits[:, :15]), fitted.confidences(logits).max(axis=1))


@settings(deadline=None)
@given(st.integers(1, 300), SEEDS)
def test_a_model_without_mistakes_does_not_become_infinitely_confident(n, seed):
    logits, _ = calibrated_logits(n, seed)
    fitted = calibration.fit(logits, logits.argmax(axis=1))
    assert np.isfinite(fitted).all()
    # The loss is at least about that of the one extra drawing assumed by smoothing.
    assert metrics.scores(fitted.confidences(logits), logits.argmax(axis=1)).loss > 0.1 / (n + 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.integers(1, 30), SEEDS)
def test_cross_fitting_ignores_a_writers_own_labels(n, n_writers, seed):
    rng = np.random.default_rng(seed)
    logits, labels = calibrated_logits(n, seed)
    writers, ink = rng.integers(0, n_writers, n), full_size_ink(n)
    confidences, scores, are_grades = calibration.cross_fit(logits, labels, writers, ink)
    np.testing.assert_allclose(scores, confidences.max(axis=1))
    np.testing.assert_allclose(confidences.sum(axis=1), 1)
    if len(np.unique(writers)) == 1:
        return
    mine = writers == writers[0]
    mislabelled = np.where(mine, (labels + 1) % 15, labels)
    again, _, are_still = calibration.cross_fit(logits, mislabelled, writers, ink)
    np.testing.assert_array_equal(again[mine], confidences[mine])
    np.testing.assert_array_equal(are_still[mine], are_grades[mine])


@pytest.mark.parametrize("size", [16, 28, 64])
@settings(deadline=None)
@given(x=st.floats(0.1, 0.9), y=st.floats(0.1, 0.9), width=st.floats(0, 0.09))
def test_blank_paper_and_dots_are_rejected_whatever_the_confidence(size, x, y, width):
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size
    dot = 255 * (np.hypot(rows - y, columns - x) <= width / 2).astype(np.uint8)
    ink = np.stack([dot, np.zeros_like(dot), np.full_like(dot, 255)])
    certain = 50 * np.eye(15)[[0, 0, 0]]
    assert Calibration().are_grades(certain, ink).tolist() == [False, False, True]


def test_a_checkpoint_without_calibration_opens_uncalibrated(tmp_path):
    options = {"name": "mlp", "hidden": [8], "dropout": [0.1]}
    network = models.build(size=16, seed=0, **options)
    variables = forward.variables_of(network)
    with checkpoints.open_manager(tmp_path) as manager:
        checkpoints.save(manager, 1, variables, variables, {"labels": GRADES, "size": 16, "model": options})
    recogniser = load(tmp_path)
    ink = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    logits = np.asarray(forward.logits_function(network)(variables, ink), np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(recogniser.confidences(ink), probabilities, rtol=1e-4)
    assert recogniser.calibration.are_grades(logits, ink).all()


@pytest.mark.parametrize(
    "value",
    [None, [], "1", {"x": 1}, *({"temperature": bad} for bad in (0, -1, 1e9, np.nan, np.inf, "1", [1], None, True)),
     *({"threshold": bad} for bad in (-0.1, 1.1, np.nan, 10**400, {}))],
)  # fmt: skip
def test_an_invalid_calibration_is_an_error(value):
    with pytest.raises(UserError, match="calibration"):
        calibration.read(value)


@settings(deadline=None)
@given(st.integers(1, 300), SEEDS)
def test_a_fitted_calibration_survives_a_round_trip(n, seed):
    fitted = calibration.fit(*calibrated_logits(n, seed))
    assert calibration.read(fitted.as_json()) == fitted
