"""Bad documents: each is a drawing or refused with a reason, quickly and in little memory.

GRADEJAX_FAULTS=long tries more than ten thousand.
"""

import base64
import io
import json
import os
import random
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import pymongo
import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mangle import bombs, edited, mangled, real_pngs

from gradejax.data import exchange, ndjson
from gradejax.data.extended_json import MAX_DOCUMENT_BYTES
from gradejax.drawings import Drawing, from_document, to_document
from gradejax.errors import BadDrawing
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS
from gradejax.stores import open_store

GRADES = LETTERS.labels

LONG = os.environ.get("GRADEJAX_FAULTS") == "long"
HERE = Path(__file__).parent
SECONDS, MEGABYTES = 5.0, 300  # at most 0.6 s on a free core; a slow machine must not fail, and a quadratic time does
"""The most processor time and memory that one drawing may take."""
COSTS = ("cpu", "megabytes")

# Each example measures its own processor time; Hypothesis's deadline would include that of other processes.
at_length = settings(
    max_examples=3000 if LONG else 150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not LONG,
)


def fit_to_be_read(reason: str) -> bool:
    return bool(reason) and "\n" not in reason and len(reason) < 200 and reason.encode() is not None


def examined(parts: list[tuple[bytes, bytes]], folder: Path) -> list[dict]:
    """Returns the verdicts of `examine.py` in a separate process; fails if a part ends the process."""
    with (folder / "parts").open("wb") as file:
        for kind, content in parts:
            file.write(struct.pack(">Ic", len(content), kind) + content)
    with (folder / "parts").open("rb") as file, (folder / "errors").open("wb") as errors:
        # The timeout stops a process that hangs; the process itself measures each part.
        done = subprocess.run(
            [sys.executable, HERE / "examine.py"], stdin=file, stdout=subprocess.PIPE, stderr=errors, timeout=600
        )
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if len(verdicts) < len(parts):
        (folder / "fatal").write_bytes(parts[len(verdicts)][1])
        errors_text = (folder / "errors").read_text(errors="replace")[-2000:]
        pytest.fail(f"status {done.returncode} at part {len(verdicts)}, kept in {folder / 'fatal'}: {errors_text}")
    return verdicts


def cheap_and_explained(verdicts: list[dict], names: list[str]) -> Counter[str]:
    """Checks that each kept to the limits and each refusal has a reason; returns how many had each outcome."""
    outcomes: Counter[str] = Counter()
    for name, verdict in zip(names, verdicts, strict=True):
        assert verdict["cpu"] < SECONDS, (name, verdict)
        assert verdict["megabytes"] < MEGABYTES, (name, verdict)
        for reason in verdict["outcomes"]:
            assert reason is None or fit_to_be_read(reason), (name, reason)
            outcomes[reason or "a drawing"] += 1
    worst = [max((verdict[what], name) for name, verdict in zip(names, verdicts, strict=True)) for what in COSTS]
    print(f"{outcomes.total():,} examined, {outcomes['a drawing']:,} drawings; at most", *worst)
    return outcomes


def test_mangled_pictures(tmp_path):
    rng = random.Random(1)
    whole = real_pngs(30 if LONG else 6)
    parts = [(b"P", mangled(rng.choice(whole), rng)) for _ in range(8000 if LONG else 500)]
    outcomes = cheap_and_explained(examined(parts, tmp_path), [f"number {n}" for n in range(len(parts))])
    # Both outcomes occur, in several variants.
    assert outcomes["a drawing"] > len(parts) // 20
    assert len(outcomes) > 10


def test_whole_pictures_of_every_kind_are_drawings(tmp_path):
    whole = real_pngs(3)
    outcomes = cheap_and_explained(
        examined([(b"P", png) for png in whole], tmp_path), list(map(str, range(len(whole))))
    )
    assert outcomes == {"a drawing": len(whole)}


def test_pictures_crafted_to_take_long(tmp_path):
    pngs = bombs()
    cheap_and_explained(examined([(b"P", png) for png in pngs.values()], tmp_path), list(pngs))


def line(drawing: Drawing, **changes: object) -> bytes:
    out = io.BytesIO()
    ndjson.write(out, [drawing])
    return json.dumps({**json.loads(out.getvalue()), **changes}).encode()


def test_mangled_lines(tmp_path):
    """Lines of NDJSON with damaged bytes, or with a value of another type in one field."""
    rng = random.Random(2)
    whole = list(write_drawings(30, seed=3))
    values = [None, True, 0, -1, 2**70, 1e308, "", "A", "\0", "\ud800", [], [[]], {}, {"$oid": 5}, {"$date": "soon"},
              {"$date": {"$numberLong": "9" * 30}}, {"$numberDecimal": "NaN"}, {"$ref": "a", "$id": 1}, {"$minKey": 1},
              {"$binary": {"base64": "", "subType": "99"}}, {"$code": "A"}, {"$code": "A", "$scope": {}},
              {"$uuid": "x"}, [{"label": "A", "date": None}], [[{"x": 1}]], [[{"x": 1, "y": True}]],
              ["a"] * 40, "x" * 500]  # fmt: skip
    fields = ["_id", "tags", "label", "data", "date", "writer", "strokes", "history", "deleted", "more"]
    parts = []
    for _ in range(3000 if LONG else 400):
        drawing = rng.choice(whole)
        if rng.random() < 0.5:
            parts.append((b"L", edited(line(drawing), rng)))
        else:
            parts.append((b"L", line(drawing, **{rng.choice(fields): rng.choice(values)})))
    outcomes = cheap_and_explained(examined(parts, tmp_path), [repr(content[-200:]) for _, content in parts])
    assert outcomes["a drawing"] > len(parts) // 20
    assert len(outcomes) > 10


def test_documents_crafted_to_take_long(tmp_path):
    (drawing,) = write_drawings(1)
    size = 2**24
    fields = [("tags", item, size // (len(item) + 1)) for item in ("[]", "{}", "0", '"a"', '{"$numberDecimal":"1"}')]
    fields.append(("history", '{"label":"A","date":{"$date":0}}', 400_000))
    fields.append(
        ("strokes", '{"x":{"$numberDouble":"1.5"},"y":{"$numberDouble":"1.5"},"t":{"$numberInt":"1"}}', 50_000)
    )
    parts = []
    for field, item, n in fields:
        items = "[" + ",".join([item] * n) + "]"
        many = f"[{items}]" if field == "strokes" else items
        parts.append(line(drawing)[:-1] + f', "{field}": {many}}}'.encode())
    parts.append(line(drawing)[:-1] + b', "deep": ' + b"[" * size)
    parts.append(line(drawing)[:-1] + b', "keys": {%s}}' % b",".join(b'"%d":1' % n for n in range(size // 12)))
    parts.append(b"x" * (MAX_DOCUMENT_BYTES + 1))
    parts.append(line(drawing, data="A" * size))
    parts.append(line(drawing, label="A" * size))
    parts.append(line(drawing, label="\\" * size))
    names = [*(item for _, item, _ in fields), "deep", "keys", "too long", "data", "label", "escapes"]
    both = [(b"L", part) for part in parts] + [(b"L", b"[" + part + b"]") for part in parts]
    outcomes = cheap_and_explained(examined(both, tmp_path), names + [f"{name} in an array" for name in names])
    assert outcomes["a drawing"] == 2, "only the longest allowed strokes are valid"


SCALARS = st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=30) | st.datetimes()
KEYS = st.text(max_size=8) | st.sampled_from("xy")
JSON = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
PNG = real_pngs(1)[0]
TEXT = base64.b64encode(PNG).decode()
POINT = st.fixed_dictionaries({"x": st.floats() | st.integers(), "y": st.floats()})
NEAR = {
    "_id": st.just(ObjectId("65a000000000000000000001")) | st.text(max_size=250),
    "tags": st.lists(st.text(max_size=210), max_size=40),
    "label": st.sampled_from(GRADES) | st.text(max_size=3),
    "data": st.sampled_from([TEXT, PNG, TEXT[:-4], TEXT + "=", PNG[:-1]]),
    "date": st.datetimes(min_value=datetime(1, 1, 1), timezones=st.none() | st.timezones()),
    "writer": st.none() | st.text(max_size=210),
    "strokes": st.lists(st.lists(POINT, max_size=3)),
    "history": st.lists(st.fixed_dictionaries({"label": st.text(max_size=5), "date": st.datetimes()}), max_size=3),
    "deleted": st.none() | st.datetimes(),
}  # fmt: skip


def judged(document: object) -> None:
    began = time.process_time()
    try:
        drawing = from_document(document)
    except BadDrawing as error:
        assert fit_to_be_read(str(error))
    else:
        assert from_document(to_document(drawing)) == drawing
    assert time.process_time() - began < SECONDS


@at_length
@given(st.fixed_dictionaries({}, optional={name: near | JSON for name, near in NEAR.items()}))
def test_documents_of_anything(document):
    judged(document)


@at_length
@given(st.fixed_dictionaries(NEAR), st.sampled_from(list(NEAR)), JSON)
def test_documents_with_one_field_of_anything(document, field, value):
    judged({**document, field: value})


@pytest.mark.parametrize("field", [*NEAR, "more"])
def test_lists_in_lists_of_any_depth(field):
    """Python's recursion limit is near a thousand, and parsing reaches it at another depth than validation."""
    (drawing,) = write_drawings(1)
    good = line(drawing)
    lines = [good[:-1] + b', "%s": %s%s}' % (field.encode(), b"[" * n, b"]" * n) for n in range(900, 1010)]
    for _, read in exchange.from_file(io.BytesIO(b"\n".join(lines))):
        try:
            read()
        except BadDrawing as error:
            assert fit_to_be_read(str(error))


def test_fuzzing_the_decoder(tmp_path):
    """Coverage-guided, for inputs that the fuzzers above do not try."""
    pytest.importorskip("atheris", reason="atheris has no wheel for this platform")
    runs = 30_000 if LONG else 500
    fuzzer = [sys.executable, HERE / "fuzz_decoder.py", f"-runs={runs}", "-seed=1", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        # By a shell, because Linux counts the parent's memory towards the child's peak, which is limited.
        ["sh", "-c", '"$@"; exit $?', "sh", *fuzzer],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=1200,
    )  # fmt: skip
    log = done.stderr.decode(errors="replace")
    assert done.returncode == 0, log[-3000:]
    assert f"Done {runs} runs" in log


DAMAGES = [{"label": "F"}, {"label": None}, {"tags": []}, {"tags": "7b"}, {"date": "soon"}, {"data": "no base64!"},
           {"data": TEXT[: len(TEXT) // 8 * 4]}, {"strokes": [5]}, {"history": 5}, {"writer": 5}]  # fmt: skip


@pytest.fixture(scope="module")
def good() -> list[Drawing]:
    return list(write_drawings(2000 if LONG else 200, seed=5))


def test_good_documents_next_to_bad_ones_in_a_file(tmp_path, store, good):
    rng = random.Random(3)
    lines = []
    for number, drawing in enumerate(good):
        lines.append(line(drawing))
        if number % 9 == 8:
            bad = line(drawing, **rng.choice(DAMAGES))
            lines.append(rng.choice((bad, bad[: len(bad) // 2], b"\xff" + bad)))
    file = tmp_path / "mixed.ndjson"
    file.write_bytes(b"\n".join(lines) + b"\n")
    outcome = exchange.Outcome()
    with file.open("rb", buffering=0) as opened:
        exchange.load(store, exchange.from_file(opened), outcome)
    assert (outcome.imported, outcome.refused.total()) == (len(good), len(good) // 9)
    assert list(store.find()) == good


def test_good_documents_next_to_bad_ones_in_a_store(any_store_uri, good):
    """Every tenth document is damaged in the database itself, where nothing validates it."""
    drawings = good[: len(good) // 2]
    store = open_store(any_store_uri)
    store.add(drawings)
    damaged = [drawing.id for drawing in drawings[9::10]]
    if any_store_uri.startswith("sqlite"):
        damages = [
            "label = 'F'",
            "png = x'00'",
            "tags = '[]'",
            "date = 'soon'",
            "png = substr(png, 1, 60)",
            "strokes = '[5]'",
        ]
        with sqlite3.connect(any_store_uri.removeprefix("sqlite:///")) as connection:
            for number, id in enumerate(damaged):
                connection.execute(f"UPDATE drawing SET {damages[number % len(damages)]} WHERE id = ?", (id,))
    else:
        with pymongo.MongoClient(any_store_uri) as client:
            grades = client.get_default_database()["grades"]
            for number, id in enumerate(damaged):
                grades.update_one({"_id": ObjectId(id)}, {"$set": DAMAGES[number % len(DAMAGES)]})
    refused = {}
    valid = list(store.find(refused=lambda id, reason: refused.update({id: str(reason)})))
    store.close()
    assert valid == [drawing for drawing in drawings if drawing.id not in damaged]
    assert sorted(refused) == sorted(damaged)
    assert all(map(fit_to_be_read, refused.values()))
