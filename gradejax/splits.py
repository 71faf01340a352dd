"""Which drawings are trained on, and which are held out."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int

from gradejax.dataset import Dataset
from gradejax.errors import UserError


@dataclass(frozen=True)
class Split:
    """A dataset's rows, ascending, in parts.

    Attributes:
        train: trained on; drawings of no grade too.
        validation: grades, scored after each epoch. They are not trained on; only with folds they are, and then the
            folds' networks score them.
        test: grades, scored once, after the last epoch; often empty.
        others: drawings of no grade that are held out with `validation`; they tell how many of their kind are rejected.
            Those that would be held out with `test` are not used.
    """

    train: Int[np.ndarray, " n_train"]
    validation: Int[np.ndarray, " n_validation"]
    test: Int[np.ndarray, " n_test"]
    others: Int[np.ndarray, " n_others"] = field(default_factory=lambda: np.empty(0, int))


def split(
    dataset: Dataset,
    how: str,
    validation_fraction: float,
    seed: int,
    test_fraction: float = 0.0,
    train_drawings: int = 0,
) -> Split:
    """Divides a dataset.

    Args:
        dataset: the drawings.
        how: `writer` holds out whole writers, so that validation is on people the model has not seen. `random` holds
            out drawings at random, `sequential` those inserted last; these two exist to show what they hide.
        validation_fraction: of the writers, or of the drawings; between 0 and 1.
        seed: of everything drawn at random here.
        test_fraction: of the writers. They are set aside before the rest is divided, so that `how` does not change
            who they are.
        train_drawings: how many drawings to train on. A larger number contains those of a smaller one; 0 means all.

    Raises:
        UserError: when a part would be empty, or the training part lacks a grade.
    """
    if not 0 < validation_fraction < 1:
        raise UserError(f"data.validation_fraction is {validation_fraction}: it must lie between 0 and 1")
    is_test = _test_part(dataset, test_fraction, seed)
    rest = np.flatnonzero(~is_test)
    held_out = _held_out(dataset.writers[rest], how, validation_fraction, np.random.default_rng((seed, 0x5011)))
    train = _train_part(dataset, rest[~held_out], train_drawings, seed)
    return _split(dataset, train, rest[held_out], is_test)


def folds(
    dataset: Dataset, how: str, n: int, seed: int, test_fraction: float = 0.0, train_drawings: int = 0
) -> list[Split]:
    """Divides a dataset `n` times: each drawing that is not a test drawing is in one validation part.

    Args:
        dataset: the drawings.
        how: as in `split`. `writer` deals whole writers to the folds, about as many to each; `sequential` makes each
            fold of drawings inserted one after another.
        n: 2 or more.
        seed: as in `split`.
        test_fraction: as in `split`; all folds have the same test part.
        train_drawings: of each fold.

    Raises:
        UserError: as `split` does, or when there are fewer writers, or drawings, than folds.
    """
    is_test = _test_part(dataset, test_fraction, seed)
    rest = np.flatnonzero(~is_test)
    _check_how(how)
    units = np.unique(dataset.writers[rest], return_inverse=True)[1] if how == "writer" else np.arange(len(rest))
    n_units = int(units.max()) + 1
    if n_units < n:
        name = "writers" if how == "writer" else "drawings"
        raise UserError(f"{n} folds need as many {name}, and here are {n_units}: lower data.folds")
    order = np.arange(n_units)
    if how != "sequential":
        order = np.random.default_rng((seed, 0x5013)).permutation(n_units)
    fold_of = np.empty(n_units, int)
    for fold, part in enumerate(np.array_split(order, n)):
        fold_of[part] = fold
    of_drawing = fold_of[units]
    trains = (_train_part(dataset, rest[of_drawing != fold], train_drawings, seed) for fold in range(n))
    return [_split(dataset, train, rest[of_drawing == fold], is_test) for fold, train in enumerate(trains)]


def undivided(dataset: Dataset, seed: int, test_fraction: float = 0.0, train_drawings: int = 0) -> Split:
    """What to train on when folds have said how well that works: all that they hold out, which is validated on, too.

    The arguments are those of `folds`.
    """
    is_test = _test_part(dataset, test_fraction, seed)
    rest = np.flatnonzero(~is_test)
    return _split(dataset, _train_part(dataset, rest, train_drawings, seed), rest, is_test)


def _split(dataset: Dataset, train: np.ndarray, held_out: np.ndarray, is_test: np.ndarray) -> Split:
    """The split with these rows to train on, those to validate on, and as booleans `(n,)` those to test on."""
    is_grade = dataset.labels >= 0
    validation = held_out[is_grade[held_out]]
    if not validation.size:
        raise UserError(f"none of the {len(held_out)} drawings to validate on shows a grade: collect more")
    return Split(train, validation, np.flatnonzero(is_test & is_grade), held_out[~is_grade[held_out]])


def _test_part(dataset: Dataset, fraction: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Which drawings are by test writers."""
    everyone = np.unique(dataset.writers)
    if not fraction:
        return np.zeros(len(dataset), bool)
    if len(everyone) < 3:
        raise UserError(
            "data.test_fraction needs drawings by three writers or more: collect some by others, or leave it at 0"
        )
    order = np.random.default_rng((seed, 0x7E57)).permutation(everyone)
    return np.isin(dataset.writers, order[: min(_share(len(everyone), fraction), len(everyone) - 2)])


def _train_part(dataset: Dataset, train: np.ndarray, n: int, seed: int) -> np.ndarray:
    """`n` of the drawings `train`, or all if `n` is 0; raises UserError if they lack a grade."""
    labels, grades = dataset.labels[train], dataset.scale.labels
    missing = np.flatnonzero(np.bincount(labels[labels >= 0], minlength=len(grades)) == 0)
    if missing.size:
        names = ", ".join(grades[index] for index in missing)
        raise UserError(
            f"no drawing of {names} among the {len(train)} to train on: every grade needs some "
            "(see `python -m gradejax.data stats`)"
        )
    if n:
        train = np.sort(np.random.default_rng((seed, 0x5012)).permutation(train)[:n])
    return train


def _check_how(how: str) -> None:
    if how not in ("writer", "random", "sequential"):
        raise UserError(f"no split is called {how!r}: data.split is one of writer, random, sequential")


def _held_out(writers: Int[np.ndarray, " n"], how: str, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Which of the drawings by `writers` are validated on, as booleans `(n,)`."""
    n = len(writers)
    _check_how(how)
    if how == "writer":
        names = np.unique(writers)
        if len(names) < 2:
            raise UserError(
                "a split by writer needs drawings by two writers or more, and here they are all by one: "
                "collect some by others, or see what --config.data.split=random hides"
            )
        return np.isin(writers, rng.permutation(names)[: _share(len(names), fraction)])
    if n < 2:
        raise UserError("a split needs two drawings or more, and here is one: collect some first")
    order = rng.permutation(n) if how == "random" else np.arange(n)
    held_out = np.zeros(n, bool)
    held_out[order[n - _share(n, fraction) :]] = True
    return held_out


def _share(n: int, fraction: float) -> int:
    """That fraction of `n`, but at least one and not all."""
    return min(max(round(n * fraction), 1), n - 1)
