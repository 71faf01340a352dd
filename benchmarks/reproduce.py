"""What a training brings again, bit for bit or nearly, when one thing about it changes.

    python -m benchmarks.reproduce [--store=URI] [--recipes=cnn,mlp] [--epochs=3] [--only=again,…] [--out=FOLDER]
    python -m benchmarks.reproduce [--store=URI] --against=FOLDER

Each row is a training in a process of its own, compared with the first: digests of the decoded drawings, of the split
and order, of the first epoch's distorted batches and of the final parameters, and how far numbers are off. Other
processors are imitated: XLA, NumPy, OpenBLAS and OpenCV are told to do without some of this one's instructions, and XLA
to use more threads than there are cores. Other versions need an environment of their own: --out keeps the first row of
one, and --against compares this one's with it. docs/reproducibility.md has the results.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from benchmarks.run import machine, say
from benchmarks.workers import ask
from gradejax import cli
from gradejax.data import exchange
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query, open_store

DRAWINGS, WRITERS = 450, 30


class Condition(NamedTuple):
    """What is different about a training.

    Attributes:
        says: for the table.
        tasks: of `benchmarks.retrain`, one after the other in the same folder.
        environment: variables set for its process.
    """

    says: str
    tasks: tuple[str, ...] = ("alone",)
    environment: Mapping[str, str] = MappingProxyType({})


def _old_processor() -> dict[str, str]:
    simd = np.show_config(mode="dicts")["SIMD Extensions"]  # pyright: ignore[reportOptionalSubscript]
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(simd.get("found", ())),
        "OPENBLAS_CORETYPE": "Nehalem",
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
        "OPENCV_IPP": "disabled",
    }


def _xla(isa: str) -> Condition:
    return Condition(f"XLA with {isa}", environment={"XLA_FLAGS": f"--xla_cpu_max_isa={isa}"})


CONDITIONS = {
    "again": Condition("again"),
    "resumed": Condition("cut off and resumed", ("cut_off", "alone")),
    "core": Condition("on one core", ("one_core",)),
    "threads": Condition("with 8 threads", environment={"NPROC": "8"}),
    "avx2": _xla("AVX2"),
    "avx": _xla("AVX"),
    "sse": _xla("SSE4_2"),
    "old": Condition("older NumPy, OpenCV code", environment=_old_processor()),
    "group": Condition("in a group of two", ("in_group",)),
    "reversed": Condition("imported in reverse"),
}

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)
flags.DEFINE_list("recipes", ["cnn", "mlp"], "Recipes in configs/ to train.", flag_values=_FLAGS)
flags.DEFINE_integer("epochs", 3, "Epochs of each training.", 2, flag_values=_FLAGS)
flags.DEFINE_list("only", list(CONDITIONS), f"Rows to measure: any of {', '.join(CONDITIONS)}.", flag_values=_FLAGS)
flags.DEFINE_string(
    "out", None, "Folder for the table as JSON, and for the arrays of its first row.", flag_values=_FLAGS
)
flags.DEFINE_string(
    "against", None, "What --out wrote in another environment; it is the first row.", flag_values=_FLAGS
)


def main(arguments: list[str]) -> None:
    """Trains under each condition and prints a table for each recipe."""
    if unknown := [*arguments, *(name for name in _FLAGS.only if name not in CONDITIONS)]:
        raise UserError(f"no row is called {unknown[0]!r}: --only takes any of {', '.join(CONDITIONS)}")
    about = machine(os.getloadavg())
    out = Console(width=None if os.isatty(1) else 140)
    out.print(f"{about['processor']}, {about['cores']} cores, {about['versions']}", highlight=False)
    tables = {}
    with tempfile.TemporaryDirectory(prefix="gradejax-reproduce-") as name:
        folder = Path(name)
        store = _FLAGS.store or _generated(folder)
        for recipe in _FLAGS.recipes:
            rows = partial(_rows_against, Path(_FLAGS.against)) if _FLAGS.against else _rows
            tables[recipe] = list(rows(folder, recipe, store))
            out.print(_table(f"{recipe}, {_FLAGS.epochs} epochs", tables[recipe]))
        if _FLAGS.out:
            _keep(folder, Path(_FLAGS.out), {**about, "epochs": _FLAGS.epochs, "tables": tables})


def _generated(folder: Path) -> str:
    uri = f"sqlite:///{folder}/drawings.db"
    with closing(open_store(uri)) as store:
        exchange.fill(store, write_drawings(DRAWINGS, writers=WRITERS))
    return uri


def _reversed(folder: Path, uri: str) -> str:
    """A copy of the store whose drawings were imported in reverse."""
    copy = f"sqlite:///{folder}/reversed.db"
    if not (folder / "reversed.db").exists():
        with closing(open_store(uri)) as store, closing(open_store(copy)) as other:
            exchange.fill(other, reversed(list(store.find(Query()))))
    return copy


def _rows(folder: Path, recipe: str, store: str) -> Iterator[dict]:
    """A training for each condition, compared with one that nothing is special about."""
    first = _trained(folder, recipe, "once", Condition("once"), store)
    arrays = _arrays(folder / f"{recipe} once")
    yield first
    for name in _FLAGS.only:
        row = _trained(
            folder, recipe, name, CONDITIONS[name], _reversed(folder, store) if name == "reversed" else store
        )
        # With other drawings in each place a difference would mean nothing.
        if row["order"] == first["order"] and name != "reversed":
            row |= _differences(arrays, _arrays(folder / f"{recipe} {name}"))
        yield row


def _rows_against(kept: Path, folder: Path, recipe: str, store: str) -> Iterator[dict]:
    """The first row of another environment, and a training in this one."""
    try:
        table = json.loads((kept / "table.json").read_text())
        there, epochs = table["tables"][recipe][0], table["epochs"]
        arrays = _arrays(kept / recipe)
    except (OSError, KeyError, ValueError):
        raise UserError(f"{kept} has no {recipe}: make it with --out={kept} --recipes={recipe}") from None
    if epochs != _FLAGS.epochs:
        raise UserError(f"{kept} has trainings of {epochs} epochs: add --epochs={epochs}")
    yield {**there, "condition": "there"}
    here = _trained(folder, recipe, "once", Condition("here"), store)
    if here["n_validation"] != there["n_validation"]:
        raise UserError(f"{kept} was made with another store: name it with --store")
    yield here | _differences(arrays, _arrays(folder / f"{recipe} once"))


def _trained(folder: Path, recipe: str, name: str, condition: Condition, store: str) -> dict:
    say(f"{recipe} {condition.says}")
    own = folder / f"{recipe} {name}"
    (own / "run").mkdir(parents=True)
    answer = {}
    for task in condition.tasks:
        answer = ask(
            "retrain", task, own, recipe, str(_FLAGS.epochs), store, JAX_PLATFORMS="cpu", **condition.environment
        )
    return {"condition": condition.says, **answer}


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "arrays.npz") as file:
        return dict(file)


def _differences(first: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> dict:
    """How far a training's numbers are from those of the first: the largest difference of each array."""
    names = [name for name in first if name in other]
    differences = {name: np.abs(np.subtract(first[name], other[name], dtype=np.float64)) for name in names}
    guesses = first["logits"].argmax(axis=1) != other["logits"].argmax(axis=1)
    return {
        "largest": {name: float(difference.max()) for name, difference in differences.items()},
        "pixels": {name: float((differences[name] > 0).mean()) for name in ("drawings", "batches")},
        "other_guesses": int(guesses.sum()),
    }


def _table(title: str, rows: list[dict]) -> Table:
    table = Table("condition", title=f"{title}, {rows[0]['n_validation']} validation drawings", title_justify="left")
    for name in ("drawings", "order", "batches", "parameters"):
        table.add_column(name)
    for name in ("accuracy", "pixels off", "parameters off", "logits off", "other guesses"):
        table.add_column(name, justify="right")
    for row in rows:
        digests = [row.get(name, "")[:7] for name in ("drawings", "order", "batches", "parameters")]
        off = [""] * 4
        if largest := row.get("largest"):
            parameters = largest.get("parameters")
            off = [
                f"{row['pixels']['batches']:.2%} by {largest['batches']:.0f}" if largest["batches"] else "0",
                "" if parameters is None else f"{parameters:.2g}",
                f"{largest['logits']:.2g}",
                str(row["other_guesses"]),
            ]
        table.add_row(row["condition"], *digests, f"{row['accuracy']:.2%}", *off)
    return table


def _keep(folder: Path, out: Path, table: dict) -> None:
    for recipe in table["tables"]:
        (out / recipe).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{recipe} once" / "arrays.npz", out / recipe)
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    cli.run(main, _FLAGS)
