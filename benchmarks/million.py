"""How the stores, the commands and the pages grow with the number of drawings.

    python -m benchmarks.million [--sizes=2000,20000,200000,1000000] [--store=sqlite|ferretdb] [--json=FILE]

For each size it makes a file of so many drawings, imports it into a new store, and measures the commands and their
memory, the store's own methods, and the pages' requests to a server. The table is Markdown; below it stands what grows
worse than linearly, and which page takes more than 300 ms. A million drawings take an hour and 20 GB below --folder.

FerretDB is the one on the PATH, or in tests/ferretdb (CONTRIBUTING.md says how to build it).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from absl import flags

from benchmarks import many, pages
from benchmarks.workers import ROOT
from gradejax import cli
from gradejax.data import ndjson
from gradejax.errors import UserError
from gradejax.stores import Query, open_store

MAX_PAGE_SECONDS = 0.3
_LINEAR = 1.25
"""What grows by less than this, beyond the number of drawings, counts as linear: measurements vary as much."""
_NOTICED = 0.05  # seconds; what takes less is not said to grow
_STARTING_SECONDS = 30.0
_PAUSE = 0.01  # seconds between two looks at a command

_FLAGS = flags.FlagValues()
flags.DEFINE_list("sizes", ["2000", "20000", "200000", "1000000"], "Numbers of drawings.", flag_values=_FLAGS)
flags.DEFINE_enum("store", "sqlite", ["sqlite", "ferretdb"], "Which store.", flag_values=_FLAGS)
flags.DEFINE_string("folder", None, "Where the drawings lie meanwhile; among the temporary files by default.",
                    flag_values=_FLAGS)  # fmt: skip
flags.DEFINE_string("json", None, "File to write the measurements to.", flag_values=_FLAGS)

Measurements = dict[str, dict[str, float]]
"""Of one size: seconds of each command, method and page, and the memory of processes in GB, each by name."""


def main(arguments: list[str]) -> None:
    """Measures each size, the smallest first, and prints the table."""
    if arguments or not all(size.isdecimal() and int(size) >= 20 for size in _FLAGS.sizes):
        raise UserError("write the sizes, of 20 or more, as --sizes=2000,20000")
    measured: dict[int, Measurements] = {}
    for n in sorted(map(int, _FLAGS.sizes)):
        with tempfile.TemporaryDirectory(prefix="gradejax-bench-", dir=_FLAGS.folder) as name:
            folder = Path(name)
            with ferretdb(folder) if _FLAGS.store == "ferretdb" else sqlite(folder) as uri:
                measured[n] = measure(uri, n, folder)
        if _FLAGS.json:
            Path(_FLAGS.json).write_text(json.dumps(measured, indent=1) + "\n")
    print(table(measured), *remarks(measured), sep="\n")


def measure(uri: str, n: int, folder: Path) -> Measurements:
    """Fills the store `uri` with `n` drawings, and measures."""
    say(f"{n:,}: writing the file")
    file = folder / "drawings.ndjson"
    with file.open("wb") as out:
        ndjson.write(out, many.drawings(n))
    commands: dict[str, float] = {}
    memory: dict[str, float] = {}

    def run(name: str, *arguments: str) -> None:
        say(f"{n:,}: {name}")
        commands[name], memory[name] = _run("gradejax.data", arguments[0], f"--store={uri}", *arguments[1:], at=folder)

    run("import", "import", str(file))
    file.unlink()
    run("stats", "stats")
    run("check", "check")
    run("export", "export", str(file))
    file.unlink()
    say(f"{n:,}: the store's methods")
    methods = measure_methods(uri)
    say(f"{n:,}: the pages")
    shown = pages.measure(uri, n, folder)
    commands["first ranking"], memory["the pages' server"] = shown.ranking_seconds, shown.peak_gb
    run("erase a writer", "erase", f"--writer={many.writer_of(n // 2)}", "--yes")
    return {"commands": commands, "methods": methods, "pages": shown.seconds, "memory": memory}


def measure_methods(uri: str) -> dict[str, float]:
    """Seconds of a store's methods that read all of it."""
    with closing(open_store(uri)) as store:
        methods: dict[str, Callable[[], object]] = {
            "fingerprint": store.fingerprint,
            "count": store.count,
            "count the excluded": lambda: store.count(Query(deleted=True)),
            "count a grade": lambda: store.count(Query(label="B+")),
            "count by tag and grade": store.summary,
        }
        return {name: _seconds(method) for name, method in methods.items()}


def table(measured: Mapping[int, Measurements]) -> str:
    """The measurements as a table in Markdown: a row for each, a column for each size."""
    sizes = list(measured)
    lines = [
        "| | " + " | ".join(f"{n:,}" for n in sizes) + " | growth |",
        "|---|" + "--:|" * (len(sizes) + 1),
        _row("import, drawings a second", [f"{n / measured[n]['commands']['import']:,.0f}" for n in sizes], ""),
    ]
    for group in ("commands", "methods", "pages"):
        for name in measured[sizes[0]][group]:
            seconds = [measured[n][group][name] for n in sizes]
            lines.append(_row(name, list(map(_duration, seconds)), f"{max(_growths(sizes, seconds)):.2f}"))
    for name in measured[sizes[0]]["memory"]:
        memory = [f"{measured[n]['memory'][name]:.2f} GB" for n in sizes]
        lines.append(_row(f"memory: {name}", memory, ""))
    return "\n".join(lines)


def remarks(measured: Mapping[int, Measurements]) -> list[str]:
    """A line for each thing that grows worse than linearly, and for each page that takes too long."""
    sizes, lines = list(measured), []
    for group in ("commands", "methods", "pages"):
        for name in measured[sizes[0]][group]:
            seconds = [measured[n][group][name] for n in sizes]
            growth = max(_growths(sizes, seconds))
            if growth > _LINEAR and max(seconds) > _NOTICED:
                lines.append(f"worse than linear: {name}, {growth:.2f}")
    for n in sizes:
        slow = {name: s for name, s in measured[n]["pages"].items() if s > MAX_PAGE_SECONDS}
        lines += [f"over {1000 * MAX_PAGE_SECONDS:.0f} ms at {n:,}: {name}, {_duration(s)}" for name, s in slow.items()]
    return lines or ["nothing grows worse than linearly, and every page takes less than 300 ms"]


def say(text: str) -> None:
    """Prints the time and what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def sqlite(folder: Path) -> Iterator[str]:
    """The address of a new SQLite store."""
    yield f"sqlite:///{folder}/grades.db"


@contextmanager
def ferretdb(folder: Path) -> Iterator[str]:
    """The address of a new store in a FerretDB server of its own."""
    program = shutil.which("ferretdb") or str(ROOT / "tests" / "ferretdb" / "ferretdb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "ferretdb"
    data.mkdir()
    try:
        server = subprocess.Popen(
            [program, f"-address=127.0.0.1:{port}", f"-dir={data}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"{program} cannot be started ({error.strerror}): build it, see CONTRIBUTING.md") from None
    try:
        uri = f"mongodb://127.0.0.1:{port}/"
        with closing(open_store(uri, patience=_STARTING_SECONDS)) as store:
            store.count()
        yield uri
    finally:
        server.terminate()
        server.wait()


def _run(module: str, *arguments: str, at: Path) -> tuple[float, float]:
    """Runs a command; returns its seconds and its peak memory in GB."""
    began, peak = time.perf_counter(), 0.0
    with (at / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=at, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        while process.poll() is None:
            peak = max(peak, pages.peak_gb(process.pid))
            time.sleep(_PAUSE)
    seconds = time.perf_counter() - began
    if process.returncode:
        last = (at / "errors").read_text().strip().splitlines()[-1:]
        raise UserError(f"{module} {' '.join(arguments)} failed: {''.join(last)}")
    return seconds, peak


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _growths(sizes: Sequence[int], seconds: Sequence[float]) -> list[float]:
    """How much more each grows than the number of drawings, from each size to the next; 1 is linear."""
    steps = zip(sizes, sizes[1:], seconds, seconds[1:], strict=False)
    return [(after / before) / (more / n) for n, more, before, after in steps] or [1.0]


def _row(name: str, cells: Sequence[str], growth: str) -> str:
    return f"| {name} | {' | '.join(cells)} | {growth} |"


def _duration(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


if __name__ == "__main__":
    cli.run(main, _FLAGS)
