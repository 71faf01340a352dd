"""How fast gradejax is, relative to Keras, PyTorch and the machine's own matrix product.

    python -m benchmarks.run [--drawings=FILE.ndjson] [--only=cnn,mlp] [--out=FILE.json] [--plot=docs/growth.png]

Each measurement runs in a process of its own. Rounds alternate between all parties, so that changes in the machine's
load affect all alike; a ratio is one of medians over all rounds. A row whose peer is not installed (`pip install -e
'.[bench]'`) is skipped. Without --drawings, as many synthetic drawings as real ones are used. The server of the pages
has its own benchmark, `python -m benchmarks.web`.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import accuracy, growth, start
from benchmarks.rows import Row, augmentation_rows, epoch_rows, gpu_rows, loading_rows, not_installed
from benchmarks.workers import ask, recipe
from gradejax import cli, prepare, splits
from gradejax.data import exchange
from gradejax.errors import UserError
from gradejax.hands import synthetic
from gradejax.stores import Query, open_store

ROWS = ("cnn", "mlp", "augmentation", "loading", "start", "accuracy", "growth", "gpu")
DRAWINGS, WRITERS = 2198, 55
"""As many as in the real set."""
EPOCHS = {
    "cnn": {"ours epochs": 12, "keras_peer epochs": 7, "torch_peer epochs": 10, "torch_peer compiled": 10},
    "mlp": {"ours epochs": 60, "keras_peer epochs": 12, "torch_peer epochs": 40, "torch_peer compiled": 40},
}

_FLAGS = flags.FlagValues()
flags.DEFINE_string("drawings", None, "NDJSON file of drawings; synthetic ones by default.", flag_values=_FLAGS)
flags.DEFINE_list("only", list(ROWS), f"Rows to measure: any of {', '.join(ROWS)}.", flag_values=_FLAGS)
flags.DEFINE_integer("rounds", 3, "How often each measurement is repeated.", 1, 100, flag_values=_FLAGS)
flags.DEFINE_string("out", None, "JSON file for all measurements.", flag_values=_FLAGS)
flags.DEFINE_string("plot", None, "PNG file for the growth of time and memory.", flag_values=_FLAGS)

console = Console(stderr=True)


def main(arguments: list[str]) -> None:
    """Measures the rows that the flags ask for and prints the table."""
    if unknown := [*arguments, *(name for name in _FLAGS.only if name not in ROWS)]:
        raise UserError(f"no row is called {unknown[0]!r}: --only takes any of {', '.join(ROWS)}")
    began, load = time.perf_counter(), os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="gradejax-bench-") as name:
        folder = Path(name)
        drawings = fill(folder, _FLAGS.drawings)
        samples = measure_in_rounds(folder)
        rows, other = measure_rows(folder, samples)
    about = {
        "machine": machine(load),
        "drawings": drawings,
        "rounds": _FLAGS.rounds,
        "seconds": time.perf_counter() - began,
    }
    show(rows, other, about)
    if _FLAGS.plot and "growth" in other:
        growth.plot(other["growth"], Path(_FLAGS.plot))
    if _FLAGS.out:
        with_verdicts = [{**row._asdict(), "verdict": row.verdict()} for row in rows]
        content = {**about, "rows": with_verdicts, **other, "samples": samples}
        Path(_FLAGS.out).write_text(json.dumps(content, indent=1) + "\n")


def say(text: str) -> None:
    """Prints the time and what is being done."""
    console.print(f"{time.strftime('%H:%M:%S')} {text}", highlight=False)


def fill(folder: Path, drawings: str | None) -> str:
    """Writes the drawings to `grades.db` and, as arrays with the rows to train on, to NumPy files.

    Args:
        folder: for these files.
        drawings: an NDJSON file; None for synthetic drawings.

    Returns:
        A description of the drawings.
    """
    store = open_store(f"sqlite:///{folder}/grades.db")
    if drawings:
        say(f"importing {drawings}")
        try:
            with Path(drawings).open("rb", buffering=0) as file:
                exchange.load(store, exchange.from_file(file), exchange.Outcome())
        except OSError as error:
            raise UserError(f"cannot read {drawings}: {error.strerror}") from None
    else:
        say(f"generating {DRAWINGS:,} drawings")
        exchange.fill(store, synthetic.write_drawings(DRAWINGS, writers=WRITERS))
    data = prepare.load(store, Query(), recipe("cnn").data.size, None)
    store.close()
    rows = splits.split(data, "random", 0.2, 0).train
    for name, array in {"ink": data.ink, "labels": data.labels, "rows": rows}.items():
        np.save(folder / f"{name}.npy", array)
    return f"{len(data):,} {'drawings of ' + drawings if drawings else 'synthetic drawings'}, {len(rows):,} to train on"


def measure_in_rounds(folder: Path) -> dict[str, list[dict]]:
    """Runs the workers in turn, for several rounds; returns their answers by `PARTY TASK [MODEL]`."""
    tasks = []
    for model in ("cnn", "mlp"):
        trainings = list(EPOCHS[model]) if model in _FLAGS.only else []
        # The time to an accuracy is compared with Keras's epochs.
        if model == "cnn" and "accuracy" in _FLAGS.only and not trainings:
            trainings = ["keras_peer epochs"]
        tasks += [(*training.split(), model, str(EPOCHS[model][training])) for training in trainings]
    if "cnn" in _FLAGS.only:
        tasks.append(("ours", "product"))
    if "augmentation" in _FLAGS.only:
        tasks += [("ours", "augmentation"), ("keras_peer", "augmentation")]
    if "loading" in _FLAGS.only:
        tasks.append(("ours", "loading"))
    samples = defaultdict(list)
    for number in range(_FLAGS.rounds):
        for party, task, *more in tasks:
            if party != "ours" and not_installed(party):
                continue
            name = " ".join([task, *more[:1]])
            say(f"round {number + 1} of {_FLAGS.rounds}: {party.removesuffix('_peer')} {name}")
            # On the CPU even if there is a GPU, like the peers.
            answer = ask(party, task, folder, *more, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
            samples[f"{party} {name}"].append(answer)
    return dict(samples)


def measure_rows(folder: Path, samples: dict[str, list[dict]]) -> tuple[list[Row], dict]:
    """The rows that the flags ask for, from `samples` and further measurements, which are returned, too."""
    rows, other = [], {}
    for model in ("cnn", "mlp"):
        if model in _FLAGS.only:
            rows += epoch_rows(samples, model)
    if "augmentation" in _FLAGS.only:
        rows += augmentation_rows(samples, folder)
    if "loading" in _FLAGS.only:
        rows += loading_rows(samples)
    if "start" in _FLAGS.only:
        say("start-up")
        rows += start.rows(folder, _FLAGS.rounds)
    if "accuracy" in _FLAGS.only:
        other["seconds_to_accuracy"] = accuracy.measure(folder, say)
        rows += accuracy.rows(other["seconds_to_accuracy"], samples)
    if "growth" in _FLAGS.only:
        say("growth, up to 1,000,000 drawings")
        other["growth"] = growth.measure(folder)
        rows += [Row(*row) for row in growth.rows(other["growth"])]
    if "gpu" in _FLAGS.only:
        chosen = ask("ours", "backend", folder)
        if chosen["backend"] == "cpu":
            rows.append(Row("CNN epoch on a GPU", skipped="no GPU here"))
        else:
            say(f"on {chosen['device']}")
            rows += gpu_rows(folder, chosen["device"], 10 * EPOCHS["cnn"]["ours epochs"], _FLAGS.rounds)
    return rows, other


def machine(load: tuple[float, float, float]) -> dict:
    """What the benchmark runs on. `load` is the load average before it began."""
    cpuinfo = Path("/proc/cpuinfo")
    models = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    versions = {"python": platform.python_version()}
    for name in ("jax", "flax", "numpy", "opencv-python-headless", "keras", "tensorflow-cpu", "tensorflow", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    processor = models[0].partition(": ")[2] if models else platform.processor()
    return {"processor": processor, "cores": os.cpu_count(), "load_before": load, "versions": versions}


def show(rows: list[Row], other: dict, about: dict) -> None:
    """Prints the tables to standard output."""
    table = Table(
        "row", title=f"{about['drawings']}; {about['machine']['processor']}, {about['machine']['cores']} cores"
    )
    for name in ("ours", "peer", "ratio", "target"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2g}" if row.ratio < 0.01 else f"{row.ratio:.2f}"
        target = "" if row.target is None else f"{row.sign} {row.target:g}"
        table.add_row(row.row, row.ours, row.peer, ratio, target, escape(row.verdict()))
    out = Console(width=None if sys.stdout.isatty() else 140)
    out.print(table)
    if "growth" in other:
        out.print(growth.table(other["growth"]))


if __name__ == "__main__":
    cli.run(main, _FLAGS)
