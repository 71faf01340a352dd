"""How time and memory grow with the number of drawings; `benchmarks.run` starts each size in a process of its own.

    python -m benchmarks.growth train FOLDER N

The MLP is trained: with the least arithmetic to a drawing it is the one that would show a slow supply first. The
drawings are the real ones distorted over and over, in a memory-mapped file as a cache of decoded drawings is.
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

SIZES = {2_000: 30, 20_000: 6, 200_000: 3, 1_000_000: 2}
"""Drawings, and epochs over them; the first is left out."""
MOST_MEMORY, MOST_SLOWER = 1.5, 1.1
"""Of GB, and of the smallest set's time to a drawing."""
_TOGETHER = 20_000
_OURS, _FILE, _LIMIT = "#0072B2", "#56B4E9", "#D55E00"


def measure(folder: Path) -> list[dict]:
    """For each of SIZES: seconds of an epoch and the process's memory in GB."""
    write(folder, max(SIZES))
    found = []
    for drawings in SIZES:
        told = ask("growth", "train", folder, str(drawings), JAX_PLATFORMS="cpu")
        seconds = float(np.median(told.pop("epochs")[1:]))
        found.append({"drawings": drawings, "seconds": seconds, "microseconds_each": 1e6 * seconds / drawings, **told})
    (folder / "growth-ink").unlink()
    return found


def write(folder: Path, n: int) -> None:
    """`n` drawings as raw bytes in `growth-ink`, their labels in `growth-labels.npy`."""
    ink, labels, _ = read_drawings(folder)
    rng = np.random.default_rng(0)
    rows = np.resize(np.arange(len(ink)), n)
    np.save(folder / "growth-labels.npy", labels[rows])
    with (folder / "growth-ink").open("wb") as file:
        for some in np.split(rows, range(_TOGETHER, n, _TOGETHER)):
            maps = random_affines(rng, len(some), ink.shape[1], DistortionRanges(rotation=10, shift=0.1, zoom=0.1))
            file.write(warp(ink[some], maps))


def train(folder: Path, n: str) -> dict:
    """Seconds of each epoch over the first `n` drawings, and the most memory in GB that the process held meanwhile."""
    from benchmarks import ours  # imports JAX, which the process that draws the plot has no use for

    labels = np.load(folder / "growth-labels.npy")[: int(n)]
    side = read_drawings(folder)[0].shape[1]
    ink = np.memmap(folder / "growth-ink", np.uint8, mode="r", shape=(len(labels), side, side))
    held = []
    told = ours.fit("mlp", ink, labels, np.arange(len(labels)), SIZES[int(n)], lambda: held.append(memory()))
    return {
        "epochs": told["seconds"],
        "peak_gb": memory()["VmHWM"],
        "anonymous_gb": max(one["RssAnon"] for one in held),
        "mapped_gb": max(one["RssFile"] for one in held),
    }


def memory() -> dict[str, float]:
    """GB this process holds in all, at most so far (VmHWM), of its own (RssAnon), and of mapped files (RssFile).

    Pages of mapped files are the kernel's to take back whenever it needs the memory.
    """
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0].rstrip(":"): int(line[1]) * 1024 / 1e9 for line in lines if line[-1] == "kB"}


def judged(found: Sequence[dict]) -> list[tuple]:
    """The benchmark's rows: name, ours, peer, ratio, sign, target."""
    smallest, largest = found[0], found[-1]
    slower = largest["microseconds_each"] / smallest["microseconds_each"]
    return [
        (
            f"memory, training on {largest['drawings']:,} drawings, GB", f"{largest['peak_gb']:.2f} GB",
            f"{largest['anonymous_gb']:.2f} unmapped", largest["peak_gb"], "<=", MOST_MEMORY,
        ),
        (
            f"time to a drawing, {largest['drawings']:,} and {smallest['drawings']:,}",
            f"{largest['microseconds_each']:.1f} µs", f"{smallest['microseconds_each']:.1f} µs",
            slower, "<=", MOST_SLOWER,
        ),
    ]  # fmt: skip


def table(found: Sequence[dict]) -> Table:
    table = Table(title="MLP by the number of drawings", title_justify="left")
    for name in ("drawings", "epoch", "a drawing", "memory, peak", "of its own", "of mapped files"):
        table.add_column(name, justify="right")
    for one in found:
        gigabytes = (f"{one[key]:.2f} GB" for key in ("peak_gb", "anonymous_gb", "mapped_gb"))
        each = f"{one['microseconds_each']:.1f} µs"
        table.add_row(f"{one['drawings']:,}", f"{one['seconds']:.2f} s", each, *gigabytes)
    return table


def plot(found: Sequence[dict], path: Path) -> None:
    """Time and memory side by side, over the number of drawings."""
    style = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold"}
    drawings = [one["drawings"] for one in found]
    names = [f"{n // 10**6} M" if n >= 10**6 else f"{n // 1000} k" for n in drawings]
    with matplotlib.rc_context({**style, "axes.titlelocation": "left", "legend.frameon": False}):
        figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
        time, memory = figure.subplots(1, 2)

        seconds = [one["seconds"] for one in found]
        smallest = found[0]["seconds"] / found[0]["drawings"]
        ideal = [smallest * n for n in drawings]
        time.loglog(drawings, ideal, color="0.7", linestyle=(0, (4, 3)), label="in proportion to the smallest")
        time.loglog(drawings, seconds, color=_OURS, marker="o", label="measured")
        for one in found:
            label = f"{one['seconds']:.2g} s, {one['microseconds_each']:.0f} µs each"
            right = one["drawings"] >= 10**5
            time.annotate(
                label, (one["drawings"], one["seconds"]), (-8, 6) if right else (8, -12),
                textcoords="offset points", ha="right" if right else "left", fontsize=9, color=_OURS,
            )  # fmt: skip
        time.set(title="Time of an epoch of the MLP", xlabel="drawings")
        time.set_xticks(drawings, names)
        time.xaxis.set_minor_locator(NullLocator())
        time.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} s"))
        time.grid(axis="y", alpha=0.25)
        time.legend(loc="lower right", fontsize=9)

        places = np.arange(len(found))
        own = np.array([one["anonymous_gb"] for one in found])
        mapped = np.array([one["mapped_gb"] for one in found])
        memory.bar(places, own, 0.6, color=_OURS, label="of its own")
        memory.bar(places, mapped, 0.6, own, color=_FILE, label="mapped files, the kernel's to take back")
        for place, top in zip(places, own + mapped, strict=True):
            memory.annotate(f"{top:.2f}", (place, top), (0, 3), textcoords="offset points", ha="center", fontsize=9)
        memory.axhline(MOST_MEMORY, color=_LIMIT, linewidth=1, linestyle=(0, (4, 3)))
        memory.annotate(
            f"limit {MOST_MEMORY} GB", (-0.4, MOST_MEMORY), (0, 3), textcoords="offset points", color=_LIMIT, fontsize=9
        )
        memory.set(title="Memory of the process, GB", xlabel="drawings", ylim=(0, 2.1 * MOST_MEMORY / 1.5))
        memory.set_xticks(places, names)
        memory.grid(axis="y", alpha=0.25)
        memory.set_axisbelow(True)
        memory.legend(loc="upper left", fontsize=9)
        figure.savefig(path)


if __name__ == "__main__":
    answer({"train": train}, sys.argv)
