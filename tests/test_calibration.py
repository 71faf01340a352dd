"""A temperature that is found again, a threshold that keeps what it says, and what is never a grade."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradejax import calibration, checkpoints, forward, metrics, models
from gradejax.calibration import Calibration
from gradejax.errors import UserError
from gradejax.grades import GRADES
from gradejax.recogniser import load

SEEDS = st.integers(0, 2**32 - 1)


def honest(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn with the very probabilities that the logits stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, 15))
    # Gumbel noise on logits is a draw from their softmax.
    return logits, (logits + rng.gumbel(size=(n, 15))).argmax(axis=1)


def grades_of(n: int) -> np.ndarray:
    """Ink that reaches over the canvas."""
    ink = np.zeros((n, 28, 28), np.uint8)
    ink[:, 4:24, 10:13] = 255
    return ink


@settings(deadline=None)  # a busy machine is no failure
@given(SEEDS, st.floats(0.1, 10))
def test_the_temperature_undoes_a_scaling(seed, scale):
    logits, labels = honest(400, seed)
    plain, scaled = calibration.fit(logits, labels), calibration.fit(scale * logits, labels)
    assert plain.temperature == pytest.approx(1, rel=0.25)
    assert scaled.temperature == pytest.approx(scale * plain.temperature, rel=1e-4)
    np.testing.assert_allclose(scaled.confidences(scale * logits), plain.confidences(logits), atol=1e-3)


def test_after_it_confidence_means_what_it_says():
    logits, labels = honest(20_000, 0)
    before = metrics.scores(Calibration().confidences(4 * logits[10_000:]), labels[10_000:])
    fitted = calibration.fit(4 * logits[:10_000], labels[:10_000])
    after = metrics.scores(fitted.confidences(4 * logits[10_000:]), labels[10_000:])
    assert before.ece > 0.1
    assert after.ece < 0.02
    assert after.accuracy == before.accuracy
    assert after.loss < before.loss


@settings(deadline=None)
@given(st.integers(1, 500), SEEDS)
def test_the_threshold_keeps_99_of_100(n, seed):
    logits, labels = honest(n, seed)
    fitted = calibration.fit(logits, labels)
    confidences = fitted.confidences(logits)
    refused = ~fitted.are_grades(confidences, grades_of(n))
    assert refused.sum() <= 0.01 * n
    # A little higher, and it would keep fewer.
    assert (confidences.max(axis=1) < fitted.threshold + 1e-4).sum() > 0.01 * n - 1e-9


@settings(deadline=None)
@given(st.integers(1, 300), SEEDS)
def test_a_model_that_is_always_right_is_sure_but_not_beyond_reason(n, seed):
    logits, _ = honest(n, seed)
    fitted = calibration.fit(logits, logits.argmax(axis=1))
    assert np.isfinite(fitted).all()
    # A drawing more, of no grade at all, would have cost it this.
    assert metrics.scores(fitted.confidences(logits), logits.argmax(axis=1)).loss > 0.1 / (n + 1)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 30), SEEDS)
def test_nobody_is_judged_by_what_their_own_drawings_taught(n, hands, seed):
    rng = np.random.default_rng(seed)
    logits, labels = honest(n, seed)
    writers, ink = rng.integers(0, hands, n), grades_of(n)
    confidences, are_grades = calibration.cross_fit(logits, labels, writers, ink)
    np.testing.assert_allclose(confidences.sum(axis=1), 1)
    if len(np.unique(writers)) == 1:
        return
    mine = writers == writers[0]
    mislabelled = np.where(mine, (labels + 1) % 15, labels)
    again, are_still = calibration.cross_fit(logits, mislabelled, writers, ink)
    np.testing.assert_array_equal(again[mine], confidences[mine])
    np.testing.assert_array_equal(are_still[mine], are_grades[mine])


@pytest.mark.parametrize("size", [16, 28, 64])
@settings(deadline=None)
@given(x=st.floats(0.1, 0.9), y=st.floats(0.1, 0.9), width=st.floats(0, 0.09))
def test_blank_paper_and_dots_are_no_grade_whatever_the_confidence(size, x, y, width):
    rows, columns = (np.mgrid[:size, :size] + 0.5) / size
    dot = 255 * (np.hypot(rows - y, columns - x) <= width / 2).astype(np.uint8)
    ink = np.stack([dot, np.zeros_like(dot), np.full_like(dot, 255)])
    sure = np.eye(15)[[0, 0, 0]]
    assert Calibration().are_grades(sure, ink).tolist() == [False, False, True]


def test_a_model_kept_without_a_calibration_opens_and_is_taken_at_its_word(tmp_path):
    options = {"name": "mlp", "hidden": [8], "dropout": [0.1]}
    network = models.build(size=16, seed=0, **options)
    variables = forward.initial_variables(network)
    with checkpoints.open_manager(tmp_path) as manager:
        checkpoints.save(manager, 1, variables, variables, {"labels": GRADES, "size": 16, "model": options})
    recogniser = load(tmp_path)
    ink = np.random.default_rng(0).integers(0, 256, (4, 16, 16), dtype=np.uint8)
    logits = np.asarray(forward.logits_function(network)(variables, ink), np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(recogniser.confidences(ink), shares, rtol=1e-4)
    assert recogniser.calibration.are_grades(shares, ink).all()


@pytest.mark.parametrize(
    "kept",
    [None, [], "1", {"x": 1}, *({"temperature": bad} for bad in (0, -1, 1e9, np.nan, np.inf, "1", [1], None, True)),
     *({"threshold": bad} for bad in (-0.1, 1.1, np.nan, 10**400, {}))],
)  # fmt: skip
def test_a_calibration_that_is_none_is_refused(kept):
    with pytest.raises(UserError, match="calibration"):
        calibration.read(kept)


@settings(deadline=None)
@given(st.integers(1, 300), SEEDS)
def test_what_is_fitted_is_read_again(n, seed):
    fitted = calibration.fit(*honest(n, seed))
    assert calibration.read(fitted._asdict()) == fitted
