"""The rows of the benchmark's table, from what the workers answered."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.workers import ask
from gradejax.errors import UserError

WARM_UP = 3
"""Epochs at the start that are not counted, because of compilation."""

Samples = Mapping[str, Sequence[dict]]
"""Answers of a worker to `PARTY TASK [MODEL]`, one for each round."""


class Row(NamedTuple):
    """A row of the table. The target is met if `ratio` is at least (`>=`) or at most (`<=`) `target`."""

    row: str
    ours: str = ""
    peer: str = ""
    ratio: float | None = None
    sign: str = ""
    target: float | None = None
    skipped: str = ""

    def verdict(self) -> str:
        """`met`, `MISSED`, why the row was skipped, or nothing if there is no target."""
        if self.skipped:
            return f"skipped: {self.skipped}"
        if self.ratio is None or self.target is None:
            return ""
        met = self.ratio >= self.target if self.sign == ">=" else self.ratio <= self.target
        return "met" if met else "MISSED"


def not_installed(peer: str) -> str:
    """Why a peer cannot be measured; empty if it can."""
    packages = {"keras_peer": ("tensorflow", "keras"), "torch_peer": ("torch",)}[peer]
    missing = [name for name in packages if not find_spec(name)]
    return f"no {missing[0]} here: pip install -e '.[bench]'" if missing else ""


def median(answers: Sequence[dict], key: str) -> float:
    """The median over all rounds; of epochs, without the first `WARM_UP` of each round."""
    skip = WARM_UP if key == "seconds" else 0
    return float(np.median(np.concatenate([np.ravel(answer[key])[skip:] for answer in answers])))


def epoch_rows(samples: Samples, model: str) -> list[Row]:
    """Training epochs, with augmentation, against the peers'; for the CNN also against the matrix product."""
    ours = samples[f"ours epochs {model}"]
    seconds, is_cnn = median(ours, "seconds"), model == "cnn"
    peers = (
        ("Keras", "keras_peer", "epochs", 2.0 if is_cnn else 8.0),
        ("PyTorch", "torch_peer", "epochs", 1.8 if is_cnn else 2.0),
        ("PyTorch, compiled", "torch_peer", "compiled", 1.5),
    )
    rows = []
    for name, peer, task, target in peers:
        title = f"{model.upper()} epoch, {name}"
        if reason := not_installed(peer):
            rows.append(Row(title, f"{seconds:.3f} s", skipped=reason))
            continue
        theirs = samples[f"{peer} {task} {model}"]
        if theirs[0]["parameters"] != ours[0]["parameters"]:
            raise UserError(f"{peer}'s {model} is another network: {theirs[0]['parameters']:,} parameters")
        peer_seconds = median(theirs, "seconds")
        rows.append(Row(title, f"{seconds:.3f} s", f"{peer_seconds:.3f} s", peer_seconds / seconds, ">=", target))
    if is_cnn:
        speed = ours[0]["gflop"] / seconds
        product = float(np.median([max(answer.values()) for answer in samples["ours product"]]))
        rows.append(
            Row("CNN epoch, of the matrix product's speed", f"{speed:.0f} GFLOP/s", f"{product:.0f} GFLOP/s",
                speed / product, ">=", 0.55)
        )  # fmt: skip
    return rows


def augmentation_rows(samples: Samples, folder: Path) -> list[Row]:
    """The speed of distortion in one thread, and whether the pictures are the same as Keras's."""
    ours = median(samples["ours augmentation"], "images_per_second")
    speed, difference = "augmentation, one thread, Keras", "augmentation, largest difference from Keras"
    if reason := not_installed("keras_peer"):
        return [Row(speed, f"{ours:,.0f} images/s", skipped=reason), Row(difference, skipped=reason)]
    theirs = median(samples["keras_peer augmentation"], "images_per_second")
    ask("ours", "images", folder, JAX_PLATFORMS="cpu")
    largest = ask("keras_peer", "images", folder)["largest_difference"]
    return [
        Row(speed, f"{ours:,.0f} images/s", f"{theirs:,.0f} images/s", ours / theirs, ">=", 20.0),
        Row(difference, "of full ink", "", largest, "<=", 2e-3),
    ]


def loading_rows(samples: Samples) -> list[Row]:
    """Loading drawings without and with a cache."""
    one_by_one, cold, warm = (median(samples["ours loading"], key) for key in ("one_by_one", "cold", "warm"))
    return [
        Row("loading, cold, OpenCV one by one", f"{cold:.2f} s", f"{one_by_one:.2f} s", one_by_one / cold, ">=", 2.0),
        Row("loading, cached, in ms", f"{1000 * warm:.1f} ms", "", 1000 * warm, "<=", 50.0),
    ]


def gpu_rows(folder: Path, device: str, epochs: int, rounds: int) -> list[Row]:
    """An epoch of the CNN on a GPU, called `device`, and its speed relative to the GPU's matrix product."""
    answers = [ask("ours", "epochs", folder, "cnn", str(epochs)) for _ in range(rounds)]
    seconds = median(answers, "seconds")
    product = ask("ours", "product", folder)["xla"]
    speed = answers[0]["gflop"] / seconds
    return [
        Row(f"CNN epoch on {device}", f"{1000 * seconds:.1f} ms"),
        Row("its images per second", f"{answers[0]['images'] / seconds:,.0f}"),
        Row("500 epochs", f"{500 * seconds:.1f} s"),
        Row("of its matrix product's speed", f"{speed:,.0f} GFLOP/s", f"{product:,.0f} GFLOP/s", speed / product),
    ]
