"""What the folds' networks made of the drawings is kept, and used again only for the same training."""

import json

import numpy as np
import pytest

from gradejax import crossvalidation, recipe, splits
from gradejax.crossvalidation import OutOfSample
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.metrics import Scores

N = 60
DATA = Dataset(
    np.zeros((N, 8, 8), np.uint8), np.tile(np.arange(15, dtype=np.int32), 4),
    np.repeat(np.arange(4, dtype=np.int32), 15), tuple("abcd"), "digest",
)  # fmt: skip
FOLDS = splits.folds(DATA, "writer", 2, 0)
SETTINGS = recipe.as_json(recipe.base()) | {"train": {"epochs": 2}}


@pytest.fixture
def kept(tmp_path):
    logits = np.random.default_rng(0).normal(size=(N, 15)).astype(np.float32)
    result = OutOfSample(np.arange(N), logits, [Scores(0.5, 1.25, 0.1), Scores(0.75, 1.0, 0.2)])
    crossvalidation.save(tmp_path / "kept.json", result, SETTINGS, DATA)
    return tmp_path / "kept.json", result


def test_the_same_training_gets_the_same_numbers(kept):
    path, result = kept
    loaded = crossvalidation.load(path, SETTINGS, DATA, FOLDS)
    np.testing.assert_array_equal(loaded.rows, result.rows)
    np.testing.assert_array_equal(loaded.logits, result.logits)
    assert loaded.epochs == result.epochs


def test_another_recipe_trains_its_own_folds(kept):
    path, _ = kept
    assert crossvalidation.load(path, {**SETTINGS, "seed": 1}, DATA, FOLDS) is None
    assert crossvalidation.load(path.with_name("none.json"), SETTINGS, DATA, FOLDS) is None


def test_other_drawings_are_refused(kept):
    path, _ = kept
    other = Dataset(DATA.ink, DATA.labels, DATA.writers, DATA.writer_names, "another")
    with pytest.raises(UserError, match=r"the drawings have changed since .* was written: use another --workdir"):
        crossvalidation.load(path, SETTINGS, other, FOLDS)


@pytest.mark.parametrize(
    "change",
    [
        {"logits": [[0.0] * 15]}, {"logits": [[0.0] * 14] * N}, {"logits": "x"}, {"logits": None},
        {"epochs": [[1, 1, 1]]}, {"epochs": [[1, 1], [1, 1]]}, {"epochs": 5}, {"epochs": [["x"] * 3] * 2},
    ],
)  # fmt: skip
def test_damage_is_one_line(kept, change):
    path, _ = kept
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=r"kept\.json is damaged: delete it to train the folds again"):
        crossvalidation.load(path, SETTINGS, DATA, FOLDS)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 100_000, '{"digest": "digest"', "\0"])
def test_what_is_no_result_is_one_line(kept, content):
    path, _ = kept
    path.write_text(content)
    with pytest.raises(UserError, match="is damaged"):
        crossvalidation.load(path, SETTINGS, DATA, FOLDS)
