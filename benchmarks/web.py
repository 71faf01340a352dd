"""How fast the pages' server answers guesses, and a class that saves all at once, also while it trains; on loopback.

    python -m benchmarks.web [--workdir=DIR] [--store=URI] [--seconds=10] [--json=FILE]

A real server over a new SQLite file, or over --store, to which a few thousand drawings are added; the people are
coroutines that share its cores. They measure latency from the moment a request was due, so that a late answer also
counts as late for everybody who waited behind it. The training (configs/cnn.py) is begun as on the Models page, and
cancelled in the end.
"""

import asyncio
import base64
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from gradejax import cli
from gradejax.drawings import Drawing, new_id
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

GUESSERS = 20
SAVERS = 200
SAVES_PER_SECOND = 300
LIVE_PAGES = 6
STROKE_SECONDS = (0.25, 0.75)
"""Between one person's strokes, each of which asks for a guess."""

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model guesses; the newest finished one by default.")
flags.DEFINE_string("store", None, "Address of the store; a new SQLite file by default.", flag_values=_FLAGS)
flags.DEFINE_float("seconds", 10, "How long each load lasts.", 0.5, 60, flag_values=_FLAGS)
flags.DEFINE_string("json", None, "File to write the measurements to.", flag_values=_FLAGS)


class Person:
    """One connection, kept open as a browser does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> "Person":
        """Opens a connection to the server on `port`."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def get(self, path: str) -> int:
        """Returns the answer's status, once all of it has arrived."""
        status, _ = await self.ask("GET", path)
        return status

    async def post(self, path: str, body: bytes) -> int:
        """Posts `body` and returns the answer's status, once all of it has arrived."""
        status, _ = await self.ask("POST", path, body)
        return status

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Makes a request and returns the answer's status and body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].partition(b"\r\n")[0])
        return int(answer.split(None, 2)[1]), await self._reader.readexactly(length)


async def crowd(port: int, people: int, act: Callable[[Person, random.Random], Awaitable[None]]) -> None:
    """Lets many people `act` at the same time."""
    persons = [await Person.connect(port) for _ in range(people)]
    await asyncio.gather(*(act(person, random.Random(i)) for i, person in enumerate(persons)))


async def measure_guesses(port: int, people: int, bodies: list[bytes], seconds: float) -> list[float]:
    """Measures each guess, in milliseconds. One person alone asks again at once; several pause between strokes."""
    latencies: list[float] = []

    async def draw(person: Person, chance: random.Random) -> None:
        if people > 1:
            await asyncio.sleep(chance.uniform(0, STROKE_SECONDS[1]))
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            if await person.post("/api/guess", chance.choice(bodies)) != 200:
                raise UserError("a guess failed")
            latencies.append(1000 * (time.perf_counter() - start))
            if people > 1:
                await asyncio.sleep(chance.uniform(*STROKE_SECONDS))

    await crowd(port, people, draw)
    return latencies


async def measure_saves(
    port: int, messages: list[dict], seconds: float, *, together: bool
) -> tuple[list[float], dict[str, str], float]:
    """Measures each save.

    Args:
        port: the server's.
        messages: what to save.
        seconds: how long to go on.
        together: everybody saves once, at the same moment; else each at a steady pace, out of step with the others.

    Returns:
        The milliseconds of each save, the picture under each id that was saved, and the seconds it all took.
    """
    latencies: list[float] = []
    saved: dict[str, str] = {}
    pace = SAVERS / SAVES_PER_SECOND
    gate = time.perf_counter() + 1
    bodies = [json.dumps(message | {"id": "%s"}) for message in messages]

    async def draw(person: Person, chance: random.Random) -> None:
        rounds = 1 if together else round(seconds / pace)
        first = gate if together else gate + chance.uniform(0, pace)
        for turn in range(rounds):
            id, index = new_id(), chance.randrange(len(messages))
            body = bodies[index].replace("%s", id).encode()
            due = first + turn * pace
            await asyncio.sleep(due - time.perf_counter())
            if await person.post("/api/drawings", body) == 201:
                saved[id] = messages[index]["data"]
                latencies.append(1000 * (time.perf_counter() - due))

    await crowd(port, SAVERS, draw)
    return latencies, saved, time.perf_counter() - gate


async def watch(port: int, *, pictures: bool) -> None:
    """Follows what the class does, as a page that shows it live; the one for the projector also loads pictures."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    loader = await Person.connect(port)
    while line := await reader.readline():
        if pictures and line.startswith(b'data: {"id"'):
            await loader.get(f"/api/picture?id={json.loads(line[6:])['id']}")
    raise UserError("a stream of events ended")


async def measure_saves_watched(
    port: int, messages: list[dict], seconds: float
) -> tuple[list[float], dict[str, str], float]:
    """Measures each save, at a steady pace, while LIVE_PAGES show the class live, one of them on a projector."""
    pages = [asyncio.create_task(watch(port, pictures=page == 0)) for page in range(LIVE_PAGES)]
    try:
        measured = await measure_saves(port, messages, seconds, together=False)
        if any(page.done() for page in pages):
            raise UserError("a page that shows the class live lost its stream")
        return measured
    finally:
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)


async def begin_training(port: int) -> None:
    """Begins a training and waits until it trains."""
    person = await Person.connect(port)
    status, answer = await person.ask("POST", "/api/models/training", b'{"recipe": "cnn"}')
    if status != 200:
        raise UserError(f"no training could be begun: {answer.decode()}")
    while json.loads(answer)["phase"] == "preparing":
        await asyncio.sleep(1)
        _, answer = await person.ask("GET", "/api/models/training")


async def cancel_training(port: int) -> None:
    """Cancels the training. Raises UserError if it has ended by itself, for then nothing was measured."""
    status, answer = await (await Person.connect(port)).ask("POST", "/api/models/training/cancel", b"{}")
    if status != 200 or not json.loads(answer)["cancelled"]:
        raise UserError("the training ended too early; see runs/")


def message(drawing: Drawing) -> dict:
    """Returns what the page sends for a drawing."""
    return {
        "tags": ["benchmark"],
        "label": drawing.label,
        "data": base64.b64encode(drawing.png).decode(),
        "date": drawing.date.isoformat(),
        "writer": drawing.writer,
        "strokes": drawing.strokes,
    }


def measure(uri: str, workdir: str | None, seconds: float) -> dict[str, float]:
    """Starts a server and returns all measurements."""
    messages = [message(drawing) for drawing in write_drawings(150, seed=4)]
    pictures = [json.dumps({"data": one["data"]}).encode() for one in messages]
    command = [sys.executable, "-m", "gradejax.web", "--port=0", f"--store={uri}"]
    server = subprocess.Popen(
        [*command, f"--workdir={workdir}"] if workdir else command, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        greeting = server.stdout.readline()
        if not greeting:
            raise UserError("the server did not start")
        port = int(greeting.rstrip("/\n").rpartition(":")[2])
        alone = asyncio.run(measure_guesses(port, 1, pictures, min(seconds, 3)))
        many = asyncio.run(measure_guesses(port, GUESSERS, pictures, seconds))
        paced, saved, lasted = asyncio.run(measure_saves(port, messages, seconds, together=False))
        watched, saved_watched, _ = asyncio.run(measure_saves_watched(port, messages, seconds))
        burst, saved_together, _ = asyncio.run(measure_saves(port, messages, seconds, together=True))
        asyncio.run(begin_training(port))
        busy_guesses = asyncio.run(measure_guesses(port, GUESSERS, pictures, seconds))
        busy, saved_meanwhile, _ = asyncio.run(measure_saves(port, messages, seconds, together=False))
        asyncio.run(cancel_training(port))
    finally:
        server.terminate()
        server.wait()
    store = open_store(uri)
    everything = saved | saved_watched | saved_together | saved_meanwhile
    kept = {id: store.get(id) for id in everything}
    store.close()
    sent = 3 * SAVERS * round(seconds * SAVES_PER_SECOND / SAVERS) + SAVERS
    return {
        "guess_median_ms": float(np.median(alone)),
        "guess_p99_ms_20_people": float(np.percentile(many, 99)),
        "guess_median_ms_20_people": float(np.median(many)),
        "saves_per_second": len(paced) / lasted,
        "save_median_ms_200_people": float(np.median(paced)),
        "save_p99_ms_200_people": float(np.percentile(paced, 99)),
        "save_p99_ms_live_pages": float(np.percentile(watched, 99)),
        "save_median_ms_live_pages": float(np.median(watched)),
        "save_p99_live_pages_ratio": float(np.percentile(watched, 99) / np.percentile(paced, 99)),
        "save_p99_ms_same_moment": float(np.percentile(burst, 99)),
        "guess_p99_ms_while_training": float(np.percentile(busy_guesses, 99)),
        "save_p99_ms_while_training": float(np.percentile(busy, 99)),
        "saves_refused": sent - len(everything),
        "saves_lost": sum(
            one is None or base64.b64encode(one.png).decode() != everything[id] for id, one in kept.items()
        ),
    }


TARGETS = {
    "guess_median_ms": ("a guess, one person, median", "ms", "<", 10),
    "guess_p99_ms_20_people": (f"a guess, {GUESSERS} people, 99th percentile", "ms", "<", 25),
    "saves_per_second": (f"saves, {SAVERS} people", "/s", ">", 0.97 * SAVES_PER_SECOND),
    "save_p99_ms_200_people": (f"a save, {SAVERS} people, 99th percentile", "ms", "<", 250),
    "save_p99_ms_live_pages": (f"the same, {LIVE_PAGES} pages show the class live", "ms", "<", 250),
    "save_p99_live_pages_ratio": ("against none", "times", "<", 2),
    "save_p99_ms_same_moment": (f"a save, {SAVERS} in the same moment, 99th percentile", "ms", "<", 250),
    "guess_p99_ms_while_training": (
        f"a guess, {GUESSERS} people, while a training runs, 99th percentile",
        "ms",
        "<",
        25,
    ),
    "save_p99_ms_while_training": (f"a save, {SAVERS} people, while a training runs, 99th percentile", "ms", "<", 250),
    "saves_refused": ("failed saves", "", "<", 1),
    "saves_lost": ("saves confirmed but not in the store", "", "<", 1),
}


def main(arguments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        measurements = measure(_FLAGS.store or f"sqlite:///{folder}/benchmark.db", _FLAGS.workdir, _FLAGS.seconds)
    table = Table("", "measured", "target")
    missed = []
    for name, (title, unit, sign, target) in TARGETS.items():
        met = measurements[name] < target if sign == "<" else measurements[name] > target
        missed += [] if met else [title]
        table.add_row(title, f"{measurements[name]:.1f} {unit}", f"{sign} {target:g} {unit}{'' if met else '  MISSED'}")
    Console().print(table)
    if _FLAGS.json:
        Path(_FLAGS.json).write_text(json.dumps(measurements, indent=2) + "\n")
    if missed:
        raise UserError(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    cli.run(main, _FLAGS)
