"""How time and memory grow with the number of drawings; `benchmarks.run` starts each size in a process of its own.

    python -m benchmarks.growth train FOLDER N

It trains the MLP, whose little arithmetic per drawing would be the first to reveal a slow supply of batches. The
drawings are distorted copies of the real ones in a file, like a cache of decoded drawings.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from rich.table import Table

from benchmarks.workers import answer, ask, read_drawings
from gradejax.augment import DistortionRanges, random_affines, warp
from gradejax.ink_file import InkFile

SIZES = {2_000: 30, 20_000: 6, 200_000: 3, 1_000_000: 2}
"""Epochs for each number of drawings. The first epoch is not counted."""
MAX_GB, MAX_SLOWDOWN = 1.2, 1.1
"""Targets: memory, and time per drawing relative to the smallest set."""
_DRAWINGS_PER_WRITE = 20_000
_OURS, _FILE, _TARGET = "#0072B2", "#56B4E9", "#D55E00"


def measure(folder: Path) -> list[dict]:
    """For each of SIZES: seconds per epoch and the memory of the process in GB."""
    write(folder, max(SIZES))
    measurements = []
    for drawings in SIZES:
        memory = ask("growth", "train", folder, str(drawings), JAX_PLATFORMS="cpu")
        seconds = float(np.median(memory.pop("epochs")[1:]))
        each = 1e6 * seconds / drawings
        measurements.append({"drawings": drawings, "seconds": seconds, "microseconds_each": each, **memory})
    (folder / "growth-ink").unlink()
    return measurements


def write(folder: Path, n: int) -> None:
    """Writes `n` drawings as raw bytes to `growth-ink` and their labels to `growth-labels.npy`."""
    ink, labels, _ = read_drawings(folder)
    rng = np.random.default_rng(0)
    rows = np.resize(np.arange(len(ink)), n)
    np.save(folder / "growth-labels.npy", labels[rows])
    with (folder / "growth-ink").open("wb") as file:
        for part in np.split(rows, range(_DRAWINGS_PER_WRITE, n, _DRAWINGS_PER_WRITE)):
            maps = random_affines(rng, len(part), ink.shape[1], DistortionRanges(rotation=10, shift=0.1, zoom=0.1))
            warp(ink[part], maps).tofile(file)


def train(folder: Path, n: str) -> dict:
    """Seconds of each epoch over the first `n` drawings, and the process's peak memory in GB."""
    from benchmarks import ours  # imports JAX, which the plotting process does not need

    labels = np.load(folder / "growth-labels.npy")[: int(n)]
    side = read_drawings(folder)[0].shape[1]
    ink = InkFile.open(folder / "growth-ink", (len(labels), side, side))
    samples = []
    training = ours.fit("mlp", ink, labels, np.arange(len(labels)), SIZES[int(n)], lambda: samples.append(memory()))
    return {
        "epochs": training["seconds"],
        "peak_gb": memory()["VmHWM"],
        "anonymous_gb": max(sample["RssAnon"] for sample in samples),
        "mapped_gb": max(sample["RssFile"] for sample in samples),
    }


def memory() -> dict[str, float]:
    """GB of this process: the peak so far (VmHWM), its own memory (RssAnon), and pages of mapped files (RssFile).

    The kernel can reclaim pages of mapped files at any time.
    """
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 / 1e9 for line in lines if line[-1] == "kB"}


def rows(measurements: Sequence[dict]) -> list[tuple]:
    """Rows for the benchmark's table: name, ours, peer, ratio, sign, target."""
    smallest, largest = measurements[0], measurements[-1]
    slowdown = largest["microseconds_each"] / smallest["microseconds_each"]
    return [
        (
            f"memory, training on {largest['drawings']:,} drawings, GB", f"{largest['peak_gb']:.2f} GB",
            f"{largest['anonymous_gb']:.2f} unmapped", largest["peak_gb"], "<=", MAX_GB,
        ),
        (
            f"time per drawing, {largest['drawings']:,} and {smallest['drawings']:,}",
            f"{largest['microseconds_each']:.1f} µs", f"{smallest['microseconds_each']:.1f} µs",
            slowdown, "<=", MAX_SLOWDOWN,
        ),
    ]  # fmt: skip


def table(measurements: Sequence[dict]) -> Table:
    """Time and memory as a table."""
    table = Table(title="MLP by the number of drawings", title_justify="left")
    for name in ("drawings", "epoch", "per drawing", "peak memory", "its own", "mapped files"):
        table.add_column(name, justify="right")
    for one in measurements:
        gigabytes = (f"{one[key]:.2f} GB" for key in ("peak_gb", "anonymous_gb", "mapped_gb"))
        each = f"{one['microseconds_each']:.1f} µs"
        table.add_row(f"{one['drawings']:,}", f"{one['seconds']:.2f} s", each, *gigabytes)
    return table


def plot(measurements: Sequence[dict], path: Path) -> None:
    """Plots time and memory over the number of drawings."""
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    drawings = [one["drawings"] for one in measurements]
    names = [f"{n // 10**6} M" if n >= 10**6 else f"{n // 1000} k" for n in drawings]
    with matplotlib.rc_context({**style, "axes.titlelocation": "left", "legend.frameon": False}):  # pyright: ignore[reportArgumentType]
        figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
        time, memory = figure.subplots(1, 2)

        seconds = [one["seconds"] for one in measurements]
        smallest = measurements[0]["seconds"] / measurements[0]["drawings"]
        ideal = [smallest * n for n in drawings]
        time.loglog(drawings, ideal, color="0.7", linestyle=(0, (4, 3)), label="proportional to the smallest")
        time.loglog(drawings, seconds, color=_OURS, marker="o", label="measured")
        for one in measurements:
            label = f"{one['seconds']:.2g} s, {one['microseconds_each']:.0f} µs each"
            right = one["drawings"] >= 10**5
            time.annotate(
                label, (one["drawings"], one["seconds"]), (-8, 6) if right else (8, -12),
                textcoords="offset points", ha="right" if right else "left", fontsize=9, color=_OURS,
            )  # fmt: skip
        time.set(title="Time per epoch of the MLP", xlabel="drawings")
        time.set_xticks(drawings, names)
        time.margins(y=0.12)
        time.xaxis.set_minor_locator(NullLocator())
        time.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        time.grid(axis="y", alpha=0.25)
        time.legend(loc="lower right", fontsize=9)

        places = np.arange(len(measurements))
        own = np.array([one["anonymous_gb"] for one in measurements])
        mapped = np.array([one["mapped_gb"] for one in measurements])
        memory.bar(places, own, 0.6, color=_OURS, label="its own")
        memory.bar(places, mapped, 0.6, own, color=_FILE, label="mapped files, which the kernel can reclaim")
        for place, top in zip(places, own + mapped, strict=True):
            memory.annotate(f"{top:.2f}", (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=9)
        memory.axhline(MAX_GB, color=_TARGET, linewidth=1, linestyle=(0, (4, 3)))
        memory.annotate(
            f"target {MAX_GB} GB", (-0.4, MAX_GB), (0, 3), textcoords="offset points", color=_TARGET, fontsize=9
        )
        memory.set(title="Memory of the process (GB)", xlabel="drawings", ylim=(0, 2.1 * MAX_GB / 1.5))
        memory.set_xticks(places, names)
        memory.grid(axis="y", alpha=0.25)
        memory.set_axisbelow(True)
        memory.legend(loc="upper left", fontsize=9)
        figure.savefig(path)


if __name__ == "__main__":
    answer({"train": train}, sys.argv)
