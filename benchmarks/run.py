"""How fast gradejax is, as ratios to Keras, to PyTorch and to the machine's own matrix product.

    python -m benchmarks.run [--drawings=FILE.ndjson] [--only=cnn,mlp] [--out=FILE.json] [--plot=docs/growth.png]

Everything runs on this machine in one go, each measurement in a process of its own, and in rounds that take all parties
in turn, so that the machine's moods hit all alike; a ratio is one of medians over all rounds. A row whose peer is not
installed (`pip install -e '.[bench]'`) is skipped. Without --drawings the drawings are made up, as many as the real
ones. The pages' server has a benchmark of its own, `python -m benchmarks.web`.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from benchmarks import growth
from benchmarks.workers import ROOT, ask, recipe
from gradejax import cli, prepare, splits
from gradejax.data import exchange
from gradejax.errors import UserError
from gradejax.hands import synthetic
from gradejax.stores import Query, open_store

ROWS = ("cnn", "mlp", "augmentation", "loading", "start", "accuracy", "growth", "gpu")
DRAWINGS, WRITERS = 2198, 55
"""As in the real set."""
EPOCHS = {
    ("ours", "cnn"): 12, ("keras_peer", "cnn"): 7, ("torch_peer", "cnn"): 10,
    ("ours", "mlp"): 60, ("keras_peer", "mlp"): 12, ("torch_peer", "mlp"): 40,
}  # fmt: skip
WARM_UP = 3
"""Epochs left out, compilation among them."""
ACCURACY, SEEDS, KERAS_EPOCHS = 0.989, (0, 1, 2), 30

FLAGS = flags.FlagValues()
flags.DEFINE_string("drawings", None, "NDJSON file with the drawings; else made-up ones", flag_values=FLAGS)
flags.DEFINE_list("only", list(ROWS), f"Which rows: some of {', '.join(ROWS)}", flag_values=FLAGS)
flags.DEFINE_integer("rounds", 3, "How often each measurement is taken", 1, 100, flag_values=FLAGS)
flags.DEFINE_string("out", None, "JSON file for all figures", flag_values=FLAGS)
flags.DEFINE_string("plot", None, "PNG file for how time and memory grow", flag_values=FLAGS)

console = Console(stderr=True)


class Row(NamedTuple):
    """A line of the table. `ratio` is the figure that is held against the target: at least (>=) or at most (<=) it."""

    row: str
    ours: str = ""
    peer: str = ""
    ratio: float | None = None
    sign: str = ""
    target: float | None = None
    skipped: str = ""

    def verdict(self) -> str:
        if self.skipped:
            return f"skipped: {self.skipped}"
        if self.target is None:
            return ""
        met = self.ratio >= self.target if self.sign == ">=" else self.ratio <= self.target
        return "met" if met else "MISSED"


def main(arguments: list[str]) -> None:
    if unknown := [*arguments, *(name for name in FLAGS.only if name not in ROWS)]:
        raise UserError(f"no row is called {unknown[0]!r}: --only takes some of {', '.join(ROWS)}")
    began, load = time.perf_counter(), os.getloadavg()
    with tempfile.TemporaryDirectory(prefix="gradejax-bench-") as name:
        folder = Path(name)
        source = fill(folder, FLAGS.drawings)
        samples = rounds(folder)
        rows, figures = [], {}
        for model in ("cnn", "mlp"):
            if model in FLAGS.only:
                rows += epoch_rows(samples, model)
        if "augmentation" in FLAGS.only:
            rows += augmentation_rows(samples, folder)
        if "loading" in FLAGS.only:
            rows += loading_rows(samples)
        if "start" in FLAGS.only:
            rows.append(start_row())
        if "accuracy" in FLAGS.only:
            found, figures["seconds_to_accuracy"] = accuracy_rows(samples, folder)
            rows += found
        if "growth" in FLAGS.only:
            tell("how it grows: up to 1,000,000 drawings")
            figures["growth"] = growth.measure(folder)
            rows += [Row(*line) for line in growth.judged(figures["growth"])]
        if "gpu" in FLAGS.only:
            rows += gpu_rows(folder)
    about = {
        "machine": machine(load),
        "drawings": source,
        "rounds": FLAGS.rounds,
        "seconds": time.perf_counter() - began,
    }
    show(rows, figures, about)
    if FLAGS.plot and "growth" in figures:
        growth.plot(figures["growth"], Path(FLAGS.plot))
    if FLAGS.out:
        told = [{**row._asdict(), "verdict": row.verdict()} for row in rows]
        Path(FLAGS.out).write_text(json.dumps({**about, "rows": told, **figures, "samples": samples}, indent=1) + "\n")


def tell(what: str) -> None:
    console.print(f"{time.strftime('%H:%M:%S')} {what}", highlight=False)


def fill(folder: Path, drawings: str | None) -> str:
    """Puts the drawings into `grades.db` and, as arrays with the rows to train on, beside it; what they are."""
    store = open_store(f"sqlite:///{folder}/grades.db")
    if drawings:
        tell(f"importing {drawings}")
        try:
            with Path(drawings).open("rb") as file:
                exchange.load(store, exchange.from_file(file), exchange.Outcome())
        except OSError as error:
            raise UserError(f"cannot read {drawings}: {error.strerror}") from None
    else:
        tell(f"making up {DRAWINGS:,} drawings")
        exchange.fill(store, synthetic.write_drawings(DRAWINGS, writers=WRITERS))
    data = prepare.load(store, Query(), recipe("cnn").data.size, None)
    store.close()
    rows = splits.split(data, "random", 0.2, 0).train
    for name, array in {"ink": data.ink, "labels": data.labels, "rows": rows}.items():
        np.save(folder / f"{name}.npy", array)
    return f"{len(data):,} {'drawings of ' + drawings if drawings else 'made-up drawings'}, {len(rows):,} to train on"


def missing(peer: str) -> str:
    """Why a peer is not measured; empty where it is."""
    absent = [
        name for name in {"keras_peer": ("tensorflow", "keras"), "torch_peer": ("torch",)}[peer] if not find_spec(name)
    ]
    return f"no {absent[0]} here: pip install -e '.[bench]'" if absent else ""


def rounds(folder: Path) -> dict[str, list[dict]]:
    """All that is measured in turns: the answers of each worker, a round at a time."""
    turns = []
    for model in ("cnn", "mlp"):
        # The time to an accuracy is held against Keras's epochs.
        wanted = ["ours", "keras_peer", "torch_peer"] if model in FLAGS.only else []
        if model == "cnn" and "accuracy" in FLAGS.only and not wanted:
            wanted = ["keras_peer"]
        turns += [(party, "epochs", model, str(EPOCHS[party, model])) for party in wanted]
    if "cnn" in FLAGS.only:
        turns.append(("ours", "product"))
    if "augmentation" in FLAGS.only:
        turns += [("ours", "augmentation"), ("keras_peer", "augmentation")]
    if "loading" in FLAGS.only:
        turns.append(("ours", "loading"))
    samples = defaultdict(list)
    for number in range(FLAGS.rounds):
        for party, what, *more in turns:
            if party != "ours" and missing(party):
                continue
            tell(f"round {number + 1} of {FLAGS.rounds}: {party.removesuffix('_peer')} {' '.join([what, *more[:1]])}")
            # On the processor even where there is a GPU: the peers are.
            samples[" ".join([party, what, *more[:1]])].append(
                ask(party, what, folder, *more, JAX_PLATFORMS="cpu", CUDA_VISIBLE_DEVICES="")
            )
    return dict(samples)


def median(answers: list[dict], key: str) -> float:
    """Over all rounds; of epochs, those after the first few."""
    skip = WARM_UP if key == "seconds" else 0
    return float(np.median(np.concatenate([np.ravel(answer[key])[skip:] for answer in answers])))


def epoch_rows(samples: dict[str, list[dict]], model: str) -> list[Row]:
    """Training epochs with augmentation against the peers', and the CNN's against the matrix product."""
    ours = samples[f"ours epochs {model}"]
    seconds, name = median(ours, "seconds"), model.upper()
    targets = {"keras_peer": (2.0 if model == "cnn" else 8.0), "torch_peer": (1.6 if model == "cnn" else 2.0)}
    rows = []
    for peer, target in targets.items():
        title = f"{name} epoch, {peer.removesuffix('_peer').replace('keras', 'Keras').replace('torch', 'PyTorch')}"
        if reason := missing(peer):
            rows.append(Row(title, f"{seconds:.3f} s", skipped=reason))
            continue
        theirs = samples[f"{peer} epochs {model}"]
        if theirs[0]["parameters"] != ours[0]["parameters"]:
            raise UserError(f"{peer}'s {model} is another network: {theirs[0]['parameters']:,} parameters")
        took = median(theirs, "seconds")
        rows.append(Row(title, f"{seconds:.3f} s", f"{took:.3f} s", took / seconds, ">=", target))
    if model == "cnn":
        reached = ours[0]["gflop"] / seconds
        product = float(np.median([max(answer.values()) for answer in samples["ours product"]]))
        rows.append(
            Row("CNN epoch, of the matrix product's speed", f"{reached:.0f} GFLOP/s", f"{product:.0f} GFLOP/s",
                reached / product, ">=", 0.55)
        )  # fmt: skip
    return rows


def augmentation_rows(samples: dict[str, list[dict]], folder: Path) -> list[Row]:
    """Speed in one thread, and whether the pictures are the same."""
    ours = median(samples["ours augmentation"], "images_per_second")
    told = f"{ours:,.0f} images/s"
    speed, same = "augmentation, one thread, Keras", "augmentation, largest difference from Keras"
    if reason := missing("keras_peer"):
        return [Row(speed, told, skipped=reason), Row(same, skipped=reason)]
    theirs = median(samples["keras_peer augmentation"], "images_per_second")
    ask("ours", "images", folder, JAX_PLATFORMS="cpu")
    difference = ask("keras_peer", "images", folder)["largest_difference"]
    return [
        Row(speed, told, f"{theirs:,.0f} images/s", ours / theirs, ">=", 20.0),
        Row(same, "of full ink", "", difference, "<=", 2e-3),
    ]


def loading_rows(samples: dict[str, list[dict]]) -> list[Row]:
    one_by_one, cold, warm = (median(samples["ours loading"], key) for key in ("one_by_one", "cold", "warm"))
    return [
        Row("loading, cold, decoding one by one", f"{cold:.2f} s", f"{one_by_one:.2f} s", one_by_one / cold, ">=", 2.0),
        Row("loading, cached, in ms", f"{1000 * warm:.1f} ms", "", 1000 * warm, "<=", 50.0),
    ]


def start_row() -> Row:
    """From typing `python -m gradejax.main --help` to its end: imports and reading the command line."""
    tell("start-up")
    took = []
    for _ in range(FLAGS.rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gradejax.main", "--help"], cwd=ROOT, capture_output=True, check=True)
        took.append(time.perf_counter() - began)
    return Row("start-up (--help)", f"{np.median(took):.2f} s")


def accuracy_rows(samples: dict[str, list[dict]], folder: Path) -> tuple[list[Row], dict[str, list[float | None]]]:
    """From typing the command to 98.9% on unseen writers: the median of a few seeds, on a machine that has never run
    it and on one that has. `None` among the seconds is a seed that did not get there."""
    took = {"cold": [], "warm": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(dir=folder) as home:
            for when in took:
                tell(f"to {ACCURACY:.1%} on unseen writers, seed {seed}, {when}")
                took[when].append(seconds_to_accuracy(folder / "grades.db", Path(home), when, seed))
    reason = missing("keras_peer")
    rows = []
    for when, seconds in took.items():
        title = f"command to {ACCURACY:.1%}, {when}, {KERAS_EPOCHS} epochs of Keras"
        middle = float(np.median([np.inf if one is None else one for one in seconds]))
        ours = f"{middle:.1f} s" if np.isfinite(middle) else "not reached"
        if reason:
            rows.append(Row(title, ours, skipped=reason))
        else:
            theirs = KERAS_EPOCHS * median(samples["keras_peer epochs cnn"], "seconds")
            rows.append(Row(title, ours, f"{theirs:.1f} s", theirs / middle, ">=", 1.0))
    return rows, took


def seconds_to_accuracy(store: Path, home: Path, name: str, seed: int) -> float | None:
    """Starts the command in the folder `home`, whose caches are its own, and waits for the epoch."""
    ours = ("GRADEJAX_STORE", "JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    arguments = [f"--config={ROOT}/configs/cnn.py", f"--store=sqlite:///{store}", f"--workdir={name}"]
    history, place = home / name / "metrics.jsonl", 0
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradejax.main", *arguments, f"--config.seed={seed}"], cwd=home,
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            ended = process.poll() is not None
            now = time.perf_counter()
            text = history.read_text() if history.exists() else ""
            whole = text.rfind("\n") + 1
            if any(json.loads(line)["val_accuracy"] >= ACCURACY for line in text[place:whole].splitlines()):
                return now - began
            place = whole
            if ended:
                if process.returncode:
                    raise UserError(f"`python -m gradejax.main {' '.join(arguments)}` failed")
                return None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()


def gpu_rows(folder: Path) -> list[Row]:
    """An epoch of the CNN on a GPU, where there is one, with what is left of its matrix product's speed."""
    found = ask("ours", "backend", folder)
    if found["backend"] == "cpu":
        return [Row("CNN epoch on a GPU", skipped="no GPU here")]
    tell(f"on {found['device']}")
    answers = [ask("ours", "epochs", folder, "cnn", str(10 * EPOCHS["ours", "cnn"])) for _ in range(FLAGS.rounds)]
    seconds = median(answers, "seconds")
    product = ask("ours", "product", folder)["xla"]
    reached = answers[0]["gflop"] / seconds
    return [
        Row(f"CNN epoch on {found['device']}", f"{1000 * seconds:.1f} ms"),
        Row("its images a second", f"{answers[0]['images'] / seconds:,.0f}"),
        Row("500 of them", f"{500 * seconds:.1f} s"),
        Row("of its matrix product's speed", f"{reached:,.0f} GFLOP/s", f"{product:,.0f} GFLOP/s", reached / product),
    ]


def machine(load: tuple[float, float, float]) -> dict:
    """What the figures were measured on. `load`: how busy it was before."""
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


def show(rows: list[Row], figures: dict, about: dict) -> None:
    """The tables, on standard output."""
    table = Table(
        "row", title=f"{about['drawings']}; {about['machine']['processor']}, {about['machine']['cores']} cores"
    )
    for name in ("ours", "peer", "ratio", "target"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2g}" if row.ratio < 0.01 else f"{row.ratio:.2f}"
        target = "" if row.target is None else f"{row.sign} {row.target:g}"
        table.add_row(row.row, row.ours, row.peer, ratio, target, row.verdict())
    out = Console(width=None if sys.stdout.isatty() else 140)
    out.print(table)
    if "growth" in figures:
        out.print(growth.table(figures["growth"]))


if __name__ == "__main__":
    cli.run(main, FLAGS)
