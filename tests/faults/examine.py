"""Examines drawings one after another in a separate process, and prints each outcome and its cost.

    python examine.py < parts > lines

A part is its length in four bytes, `P` for a PNG or `L` for lines of NDJSON, and the content. A line of output is JSON:
`outcomes`, for each document the reason for its refusal, or null; `cpu`, in seconds; `megabytes`, by how much the peak
of memory exceeded the memory in use before.
"""

import io
import json
import struct
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gradejax.data.exchange import from_file
from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing
from gradejax.ink import decode_ink, encode_png
from gradejax.resampling import resample

_DATE = datetime(2026, 11, 24, tzinfo=UTC)


def outcome(read: Callable[[], Drawing]) -> str | None:
    """Why a document is refused; None if it is a drawing that can be decoded and resampled."""
    try:
        resample(decode_ink(read().png), 28)
    except BadDrawing as error:
        return str(error)
    return None


def examine(kind: bytes, content: bytes) -> tuple[list[str | None], float]:
    """The outcomes, and the processor time in seconds."""
    began = time.process_time()
    if kind == b"P":
        outcomes = [outcome(lambda: from_document({"tags": ["a"], "label": "A", "date": _DATE, "data": content}))]
    else:
        outcomes = [outcome(read) for _, read in from_file(io.BytesIO(content))]
    return outcomes, time.process_time() - began


def _memory() -> tuple[int, int]:
    """Kilobytes: the peak since it was last cleared, and now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]), int(status["VmRSS"].split()[0])


def main() -> None:
    # Libraries allocate some memory once, which is not the first drawing's.
    warm = encode_png(resample(decode_ink((Path(__file__).parents[1] / "b-minus.png").read_bytes()), 28))
    examine(b"P", warm)
    while head := sys.stdin.buffer.read(5):
        length, kind = struct.unpack(">Ic", head)
        # Clears the peak: https://docs.kernel.org/filesystems/proc.html
        Path("/proc/self/clear_refs").write_text("5")
        _, before = _memory()
        content = sys.stdin.buffer.read(length)
        outcomes, cpu = examine(kind, content)
        if cpu > 2.5:  # perhaps on a busy core: the quickest of three counts
            cpu = min(cpu, *(examine(kind, content)[1] for _ in range(2)))
        peak, _ = _memory()
        print(json.dumps({"outcomes": outcomes, "cpu": cpu, "megabytes": (peak - before) * 1024 / 1e6}), flush=True)


if __name__ == "__main__":
    main()
