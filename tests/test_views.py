"""Test-time augmentation: a guess that does not hang on how a drawing leans."""

import jax
import numpy as np
import pytest

from gradejax import augment, forward, models, views

SIZE = 20


@pytest.fixture(scope="module")
def ink() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE), dtype=np.uint8)


def logits(ink: np.ndarray, *, averaged: bool) -> np.ndarray:
    options = {"channels": (4, 4), "hidden": 8, "no_grade": True, "test_time_augmentation": averaged}
    network = models.build("cnn", size=SIZE, seed=0, **options)
    return np.asarray(forward.logits_function(network)(forward.variables_of(network), ink))


def test_logits_are_the_mean_over_the_views_of_each_drawing(ink):
    maps = np.repeat(views.maps(SIZE), len(ink), axis=0)
    seen = augment.warp(np.tile(ink, (views.VIEWS, 1, 1)), maps)
    each = logits(seen, averaged=False).reshape(views.VIEWS, len(ink), -1)
    # The host rounds some pixels otherwise, by one of 255.
    np.testing.assert_allclose(logits(ink, averaged=True), each.mean(axis=0), atol=5e-3)
    assert np.abs(each[0] - each[1]).max() > 5e-2  # or the mean would say nothing


def test_one_view_is_the_drawing_as_it_is(ink):
    seen = np.asarray(jax.jit(views.views)(ink)).reshape(views.VIEWS, *ink.shape)
    np.testing.assert_array_equal(seen[0], ink)
    assert len(np.unique(seen[:, 0], axis=0)) == views.VIEWS


def test_a_drawing_gets_the_same_logits_alone_and_among_others(ink):
    np.testing.assert_allclose(logits(ink[3:4], averaged=True), logits(ink, averaged=True)[3:4], atol=1e-5)
