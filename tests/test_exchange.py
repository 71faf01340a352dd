"""Import and export: files as other programs write them, and the command as a user types it."""

import codecs
import gzip
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest
from bson import json_util
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_until

from gradejax.data import exchange, folders, ndjson
from gradejax.data.extended_json import MAX_DOCUMENT_BYTES
from gradejax.drawings import Drawing, to_document
from gradejax.errors import BadDrawing
from gradejax.ink import decode_ink, encode_png
from gradejax.scales import LETTERS
from gradejax.stores import Query, open_store

GRADES = LETTERS.labels

PNG = encode_png(np.eye(20, dtype=np.uint8) * 255)
NOBODY_THERE = "mongodb://anna:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"
CANONICAL = json_util.CANONICAL_JSON_OPTIONS
RELAXED = json_util.RELAXED_JSON_OPTIONS


def read(content: bytes, tags: tuple[str, ...] = ()) -> list[Drawing | str]:
    """The drawings in `content`, with `place: reason` for each refused document."""
    return [attempt(place, reading) for place, reading in exchange.from_file(io.BytesIO(content), tags)]


def attempt(place, reading) -> Drawing | str:
    try:
        return reading()
    except BadDrawing as error:
        return f"{place}: {error}"


def written(drawings) -> bytes:
    file = io.BytesIO()
    assert ndjson.write(file, drawings) == file.getvalue().count(b"\n")
    return file.getvalue()


def as_json(drawing: Drawing, options=RELAXED, **changes) -> str:
    return json_util.dumps({**to_document(drawing), **changes}, json_options=options)


def run(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess:
    done = forked.run(folder, "data", *arguments, environment=environment(), said=said)
    assert "Traceback" not in done.stderr
    return done


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}


def succeeds(*arguments, said: str = "") -> str:
    done = run(*arguments, said=said)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*arguments, said: str = "") -> str:
    """The error message."""
    done = run(*arguments, said=said)
    assert done.returncode != 0
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    return last.removeprefix("error: ")


class TestFiles:
    def test_mongoexport_canonical_and_relaxed_lines_and_arrays(self, draw):
        date = datetime(2026, 11, 24, 10, 15, 0, 7000, UTC)
        drawings = [
            draw(date=date, strokes=[[{"x": 1, "y": 0.5, "t": 3.0}]], history=({"label": "A", "date": date},)),
            draw(date=datetime(1, 1, 2, tzinfo=UTC), deleted=date, writer="ann"),
            draw(id="text", tags=("ü", "[{")),
        ]
        for options in (CANONICAL, RELAXED):
            documents = [as_json(drawing, options) for drawing in drawings]
            indented = json.dumps([json.loads(document) for document in documents], indent=2)
            for text in (
                "\n".join(documents),
                "\r\n\r\n".join(["", *documents, ""]),
                "\ufeff" + "\n".join(documents),
                f"[{','.join(documents)}]\n",
                indented,
                "\ufeff \n" + indented.replace("\n", "\r\n"),
            ):
                assert read(text.encode()) == drawings

    def test_tags_are_added_to_each_drawings_own(self, draw):
        text = "\n".join([as_json(draw(tags=("a",))), as_json(draw(), tags=[]), as_json(draw(), tags=None)])
        without = json.loads(as_json(draw()))
        del without["tags"]
        assert [drawing.tags for drawing in read(f"{text}\n{json.dumps(without)}".encode(), ("b", "a"))[:2]] == [
            ("a", "b"),
            ("b", "a"),
        ]
        assert read(json.dumps(without).encode(), ("b",))[0].tags == ("b",)
        assert read(json.dumps(without).encode()) == ["line 1: no tags"]

    def test_a_document_without_an_id_gets_the_same_id_each_time(self, draw):
        document = json.loads(as_json(draw()))
        del document["_id"]
        first, second, other = read(
            f"{json.dumps(document)}\n{json.dumps(document)}\n{json.dumps({**document, 'label': 'E'})}".encode()
        )
        assert first == second
        assert other.id != first.id

    def test_invalid_lines_are_named_and_the_others_read(self, draw):
        good = as_json(draw())
        lines = [
            good,
            "{",
            "",
            '{"a": "\xff"}',
            as_json(draw(), label="F"),
            "5",
            '{"_id": {"$oid": 5}}',
            '{"date": {"$date": "soon"}}',
            '{"date": {"$date": {"$numberLong": "99999999999999999999"}}}',
            '{"strokes": {"$numberDecimal": "x"}}',
            "[" * 100_000,
            as_json(draw(), date=5),
            good,
        ]
        results = read("\n".join(lines).encode("latin-1"))
        assert isinstance(results[0], Drawing) and isinstance(results[-1], Drawing)
        assert results[1:-1] == [
            "line 2: not JSON",
            "line 4: not UTF-8",
            "line 5: unknown label 'F', a grade of us",
            "line 6: not a document",
            "line 7: not extended JSON",
            "line 8: not extended JSON",
            results[7],
            "line 10: not extended JSON",
            results[9],
            "line 12: date is not a date",
        ]
        assert results[7] in ("line 9: not extended JSON", "line 9: no tags")
        assert results[9].startswith("line 11: not ")

    def test_what_other_programs_write(self, draw):
        drawings = [draw(), draw(tags=("{", '"}', "\\")), draw()]
        documents = [as_json(drawing) for drawing in drawings]
        pretty = [json.dumps(json.loads(document), indent=2) for document in documents]
        lines = "\n".join(documents)
        ways = {
            "arrays, one a line": "\n".join(f"[{document}]" for document in documents).encode(),
            "arrays beside each other": f"[][{documents[0]}]  [{documents[1]},{documents[2]}][]".encode(),
            "documents over several lines": "\n".join(pretty).encode(),
            "the same, indented": "\n".join("  " + text.replace("\n", "\n  ") for text in pretty).encode(),
            "over several lines and not": f"{pretty[0]}\n\n{documents[1]}\n{pretty[2]}\n".encode(),
            "UTF-16 with a mark": lines.encode("utf-16"),
            "UTF-16 without": f"[{','.join(documents)}]".encode("utf-16-be"),
            "UTF-16 of Windows": codecs.BOM_UTF16_LE + lines.replace("\n", "\r\n").encode("utf-16-le"),
            "gzipped": gzip.compress(lines.encode()),
            "gzipped twice": gzip.compress(lines[:900].encode()) + gzip.compress(lines[900:].encode()),
            "gzipped array": gzip.compress(f"\ufeff[{','.join(pretty)}]".encode()),
        }  # fmt: skip
        for way, content in ways.items():
            assert read(content) == drawings, way

    def test_a_truncated_file_is_read_to_where_it_ends(self, draw):
        drawings = [draw(), draw()]
        one, other = (as_json(drawing) for drawing in drawings)
        pretty = json.dumps(json.loads(other), indent=2)
        early = "not JSON: the file ends early"
        for content, place in [
            (f"{one}\n{other[:-1]}", "line 2"),
            (f"{one}\n{other[:60]}", "line 2"),
            (f"{one}\n{pretty[:-5]}", "line 2"),
            (f"[{one}]\n[{other[:90]}", "entry 2 and all that follows"),
            (f"[{one}]\n[", "entry 2 and all that follows"),
        ]:
            assert read(content.encode()) == [drawings[0], f"{place}: {early}"], content[-20:]
        assert read(f"[{one}] {other}".encode()) == [drawings[0], "the text after the array: it is not another array"]
        broken = f"{one}\n{pretty[:200]}\n{other}\n"
        assert read(broken.encode()) == [drawings[0], "line 2: not JSON", drawings[1]]
        packed = gzip.compress(f"{one}\n{other}\n".encode())
        damaged = packed[:60] + bytes([packed[60] ^ 255]) + packed[61:]
        assert read(packed[:-3])[-1] == "the rest: the gzip file ends early"
        assert read(damaged)[-1].startswith("the rest: the gzip file")

    def test_a_gzip_bomb_is_not_unpacked(self):
        deflate = zlib.compressobj(wbits=31)
        bomb = b"".join(deflate.compress(b"\n" * 2**20) for _ in range(40)) + deflate.flush()
        assert read(bomb) == ["the rest: the gzip file unpacks to more than 250 times its size"]

    def test_lone_surrogates_are_refused_with_a_reason(self, draw):
        good = json.loads(as_json(draw()))
        half = "\ud800"
        for change in ({"label": half}, {"tags": [half]}, {"writer": half}, {"_id": half}, {"strokes": [[{half: 1}]]},
                       {"history": [{"label": half, "date": good["date"]}]}, {"date": {"$date": half}}):  # fmt: skip
            (result,) = read(json.dumps({**good, **change}).encode())
            assert isinstance(result, str)
            result.encode()
        (result,) = read(json.dumps({**good, half: half}).encode())
        assert isinstance(result, Drawing)

    def test_a_line_too_long_is_refused_and_the_next_is_read(self, draw):
        drawing = draw()
        content = b'{"a": "' + b"x" * (MAX_DOCUMENT_BYTES * 2 + 5) + b'"}\n' + as_json(drawing).encode()
        assert read(content) == ["line 1: a document of more than 32 MB", drawing]

    def test_invalid_entries(self, draw):
        good, drawing = as_json(one := draw()), one
        assert read(f"[5, {good}, [], {good}]".encode()) == [
            "entry 1: not a document",
            drawing,
            "entry 3: not a document",
            drawing,
        ]
        assert read(b"[]") == read(b" [ ] ") == read(b"") == read(b"\n\n") == []
        for cut_off in (f"[{good}", f"[{good},", f"[{good}, {good[:50]}", f"[{good}, {good[:-1]}"):
            assert read(cut_off.encode()) == [drawing, "entry 2 and all that follows: not JSON: the file ends early"]
        for broken in (f"[{good} 5 {good}]", f"[{good}, }}, {good}]", f"[{good},,{good}]"):
            assert read(broken.encode()) == [drawing, "entry 2 and all that follows: not JSON"]
        assert read(b'[{"tags": ["\xff"]}, 5]') == ["entry 1: not UTF-8", "entry 2: not a document"]
        assert read(b"[" * 100_000)[0].startswith("entry 1 and all that follows: not ")

    @pytest.mark.parametrize("size", [*range(2**16 - 12, 2**16 + 4), 2**17, 300_000])
    def test_entries_may_end_anywhere(self, size):
        # The first entry's end, a number, and a letter of two bytes fall on each place where a read may end.
        content = json.dumps(["x" * size, 12345, "é", 6], ensure_ascii=False).encode()
        assert read(content) == [f"entry {number}: not a document" for number in (1, 2, 3, 4)]

    JSON = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    )

    @given(st.lists(JSON, max_size=5), st.sampled_from([None, 0, 3]), st.booleans())
    def test_every_entry_of_an_array_is_seen(self, values, indent, ascii):
        text = json.dumps(values, indent=indent, ensure_ascii=ascii)
        places = [place for place, _ in exchange.from_file(io.BytesIO(text.encode(errors="surrogatepass")))]
        assert places == [f"entry {number}" for number in range(1, len(values) + 1)]

    @given(st.binary(max_size=60) | st.text('[]{},:"1aé \n', max_size=40).map(str.encode))
    def test_any_bytes_are_drawings_or_refused(self, content):
        assert all(isinstance(result, str) for result in read(content))

    def test_a_stream_is_read_as_it_arrives(self, draw):
        class Endless(io.RawIOBase):
            def readable(self):
                return True

            def readinto(self, buffer):
                buffer[:4] = b"{ }\n"
                return 4

        places = [place for place, _ in islice(exchange.from_file(Endless()), 5)]
        assert places == [f"line {number}" for number in range(1, 6)]

    def test_only_a_few_documents_are_read_ahead(self, tmp_path, draw):
        store, waiting = open_store(f"sqlite:///{tmp_path}/a.db"), []

        def sources():
            for number in range(1, 1501):
                yield f"line {number}", draw
                waiting.append(number - store.count())

        exchange.load(store, sources(), outcome := exchange.Outcome())
        assert outcome == exchange.Outcome(imported=1500)
        assert max(waiting) < 700
        store.close()

    def test_a_picture_that_cannot_be_decoded_is_refused(self, tmp_path, draw, capfd):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        damaged = draw(png=PNG[:33] + PNG[33:].replace(PNG[41:50], bytes(9), 1))
        empty_data = draw(png=PNG[:33] + PNG[-12:])
        sources = exchange.from_file(io.BytesIO(written([empty_data, damaged, good := draw()])))
        exchange.load(store, sources, outcome := exchange.Outcome())
        assert list(store.find()) == [good]
        assert outcome.imported == 1
        assert outcome.first_refused == [
            ("line 1", "damaged PNG: it has no pixels"),
            ("line 2", "damaged PNG: a checksum is wrong"),
        ]
        assert capfd.readouterr().err == ""  # nothing from OpenCV
        store.close()

    POINT = st.fixed_dictionaries(
        {"x": st.floats(-1e14, 1e14), "y": st.integers(-(10**14), 10**14)}, optional={"pressure": st.floats(0, 1)}
    )
    DATE = st.datetimes(timezones=st.just(UTC)).map(
        lambda date: date.replace(microsecond=date.microsecond // 1000 * 1000)
    )
    NAME = st.text(min_size=1, max_size=200).filter(lambda name: name.isprintable() and name.strip())
    DRAWING = st.builds(
        Drawing,
        id=st.from_regex("[0-9a-f]{24}", fullmatch=True) | NAME,
        tags=st.lists(NAME, min_size=1, max_size=4, unique=True).map(tuple),
        label=st.sampled_from(GRADES),
        png=st.just(PNG),
        date=DATE,
        writer=st.none() | NAME,
        strokes=st.none() | st.lists(st.lists(POINT, max_size=3), max_size=3),
        history=st.lists(st.fixed_dictionaries({"label": st.sampled_from(GRADES), "date": DATE}), max_size=2).map(
            tuple
        ),
        deleted=st.none() | DATE,
    )

    @given(st.lists(DRAWING, max_size=3))
    def test_an_export_reads_back_unchanged(self, drawings):
        assert read(written(drawings)) == drawings


@pytest.mark.parametrize(
    ("name", "grade"),
    [
        *[(grade, grade) for grade in GRADES],
        *[("a+", "A+"), ("Aplus", "A+"), ("A_plus", "A+"), ("a-plus", "A+"), ("B PLUS", "B+"), ("C-minus", "C-")],
        *[("Cminus", "C-"), ("d_Minus", "D-"), ("A+_0017", "A+"), ("A_0017", "A"), ("E-_3", "E-"), ("e 12", "E")],
        *[("Bminus (3)", "B-"), ("B (3)", "B"), ("Aplus0017", "A+"), ("E7", "E"), ("C−", "C-"), (" A+ ", "A+")],
        *[("A +", "A+"), ("A -", "A-"), ("A _+", "A+"), ("B_+_01", "B+"), ("A plus", "A+"), ("a - minus", "A-")],
        *[(f"B{sign}", "B-") for sign in "−–—﹣－‐‑⁻"], *[(f"B{sign}_2", "B+") for sign in "＋⁺﹢➕"], ("Ｃ＋", "C+"),
        *[("A+ (2)", "A+"), ("A+ - Copy", "A+"), ("A+ - Copy (2)", "A+"), ("A+ copy 3", "A+"), ("A - Copy", "A")],
        *[("A- - Copy", "A-"), ("A+_IMG_20260301_101500", "A+"), ("A+ 2026-03-01 10.15.00", "A+"), ("B DSC01234", "B")],
        *[("F", None), ("AB", None), ("", None), ("apple", None), ("Amin", None), ("b3f9", None), ("IMG_A+", None)],
        *[("Ω", None), ("C.old", None), ("a surplus", None), ("Anna", None), ("A'", None), ("aplusb", None)],
    ],
)  # fmt: skip
def test_a_grade_in_a_name(name, grade):
    assert folders.label_in(name) == grade


@pytest.mark.parametrize(
    "name", ["A-1", "A−1", "A - 1", "B_-_01", "A+-", "A++", "A+/-", "B+ Anna", "C-.old", "e-mail", "A-copy", "A plus B"]
)
def test_an_ambiguous_name_is_refused(name):
    with pytest.raises(BadDrawing, match="may or may not be a grade"):
        folders.label_in(name)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        """Pictures labelled by folder and by file name, and other files."""
        folder = tmp_path / "pictures"
        pictures: Iterator[bytes] = (encode_png(np.eye(side, dtype=np.uint8) * 255) for side in range(5, 50))
        for name in ("A+/1.png", "A+/a+_2.png", "Bminus/ann/x.PNG", "C_plus (2).png", "D.png"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(next(pictures))
        (folder / "E-.png").write_bytes(b"no picture")
        (folder / "portrait.png").write_bytes(PNG)
        (folder / "notes.txt").write_text("not a picture, nor named like one")
        return folder

    def test_grades_dates_and_ids(self, folder):
        os.utime(folder / "D.png", (1_700_000_000, 1_700_000_000.25))
        found = {place: attempt(place, reading) for place, reading in folders.from_folder(folder, ("7b", "x"))}
        bad = {place: found.pop(place) for place in ("E-.png", "portrait.png")}
        assert bad == {
            "E-.png": "E-.png: not a PNG",
            "portrait.png": "portrait.png: no grade in the name of the file or its folder",
        }
        assert {place: drawing.label for place, drawing in found.items()} == {
            "A+/1.png": "A+",
            "A+/a+_2.png": "A+",
            "Bminus/ann/x.PNG": "B-",
            "C_plus (2).png": "C+",
            "D.png": "D",
        }
        assert {drawing.tags for drawing in found.values()} == {("7b", "x")}
        assert found["D.png"].date == datetime.fromtimestamp(1_700_000_000.25, UTC)
        again = {place: attempt(place, reading) for place, reading in folders.from_folder(folder, ("7b",))}
        assert {drawing.id for drawing in found.values()} == {again[place].id for place in found}
        assert len({drawing.id for drawing in found.values()}) == 5

    def test_each_refused_file_is_named(self, tmp_path):
        top = tmp_path / "top"
        names = ["A +/1.png", "B/C-.png", "B_+_01.png", "A-/a-1.png", "E/photo.JPG", "D/Thumbs.db", "__MACOSX/A/1.png"]
        names += [".hidden/A/1.png", "D/._A+.png", "D/.A.png", "Be\u0302te C/C.png", "D/e.png"]
        for number, name in enumerate(names):
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_bytes(encode_png(np.eye(number + 5, dtype=np.uint8) * 255))
        (tmp_path / "elsewhere" / "2").mkdir(parents=True)
        (tmp_path / "elsewhere" / "2" / "1.png").write_bytes(PNG)
        (top / "A +" / "linked").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "2" / "back").symlink_to(top)
        (top / "D" / "broken.png").symlink_to("nowhere")
        os.mkfifo(top / "D" / "pipe.png")
        found = {place: attempt(place, reading) for place, reading in folders.from_folder(top, ("x",))}
        labels = {place: drawing.label for place, drawing in found.items() if isinstance(drawing, Drawing)}
        assert labels == {"A +/1.png": "A+", "A +/linked/2/1.png": "A+", "B_+_01.png": "B+", "Be\u0302te C/C.png": "C"}
        reasons = {place: said.split(": ", 1)[1] for place, said in found.items() if place not in labels}
        assert reasons == {
            "A +/linked/2/back": "a link to a folder that has already been read",
            "A-/a-1.png": "'a-1' may or may not be a grade: write it as A+ or A+_01",
            "B/C-.png": "its folder says B and its name C-",
            "D/broken.png": "cannot be read: No such file or directory",
            "D/e.png": "its folder says D and its name E",
            "D/pipe.png": "not a file",
            "E/photo.JPG": "only PNG is read: save it as PNG",
        }

    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "A").mkdir(mode=0)
        tmp_path.chmod(0o755)
        monkeypatch.chdir(tmp_path)  # the user nobody cannot traverse the folders above
        root = os.geteuid() == 0
        if root:  # root may read everything
            os.seteuid(65534)
        try:
            ((place, read),) = folders.from_folder(Path(), ("x",))
        finally:
            if root:
                os.seteuid(0)
        assert attempt(place, read) == "A: cannot be read: Permission denied"

    def test_the_command(self, folder):
        first = run(folder.parent, "import", "pictures", "--tags=7b", "--store=sqlite:///a.db")
        assert (first.returncode, first.stdout) == (0, "imported 5, already there 0, refused 2\n")
        assert "refused E-.png: not a PNG" in first.stderr
        (folder / "A+").rename(folder / "aplus")
        again = succeeds(folder.parent, "import", "pictures/", "--store=sqlite:///a.db", "--tags", "7b")
        assert again == "imported 0, already there 5, refused 2\n"
        assert succeeds(folder.parent, "import", "pictures/aplus", "--tags=x", "--store=sqlite:///b.db").startswith(
            "imported 2, "
        )
        assert "--tags=" in fails(folder.parent, "import", "pictures")


class TestCommand:
    def test_out_of_one_store_and_into_another(self, tmp_path, any_store_uri, draw):
        date = datetime(2026, 11, 24, 1, 2, 3, 4000, UTC)
        drawings = [draw(tags=("a",), date=date, strokes=[[{"x": 1, "y": 0.1}], []]), draw(tags=("b", "c"), writer="w")]
        drawings += [draw(id="mine", tags=("c",), deleted=date, history=({"label": "C", "date": date},))]
        store = open_store(any_store_uri)
        store.add(drawings)
        done = run(tmp_path, "export", "all.ndjson", f"--store={any_store_uri}")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "exported 3\n")
        succeeds(tmp_path, "export", "--tags=c", "c.ndjson", f"--store={any_store_uri}")
        out = succeeds(tmp_path, "export", "-", f"--store={any_store_uri}")
        assert out == (tmp_path / "all.ndjson").read_text()
        assert sorted(path.name for path in tmp_path.glob("*nd*")) == ["all.ndjson", "c.ndjson"]
        copies = open_store(f"sqlite:///{tmp_path}/copy.db")
        done = succeeds(tmp_path, "import", "c.ndjson", "--store=sqlite:///copy.db")
        assert done == "imported 2, already there 0, refused 0\n"
        assert list(copies.find(Query(deleted=None))) == drawings[1:]
        done = succeeds(tmp_path, "import", "all.ndjson", "--store=sqlite:///copy.db", "--tags=new")
        assert done == "imported 1, already there 2, refused 0\n"
        assert copies.get(drawings[0].id) == replace(drawings[0], tags=("a", "new"))
        assert list(store.find(Query(deleted=None))) == drawings
        for opened in (store, copies):
            opened.close()

    def test_refused_documents_are_logged_with_reasons_and_lines(self, tmp_path, draw):
        lines = [as_json(draw()), "{", *[as_json(draw(), label="F")] * 30]
        (tmp_path / "some.ndjson").write_text("\n".join(lines))
        done = run(tmp_path, "import", "some.ndjson", "--store=sqlite:///a.db")
        assert (done.returncode, done.stdout) == (0, "imported 1, already there 0, refused 31\n")
        assert "refused line 2: not JSON\nrefused line 3: unknown label 'F', a grade of us\n" in done.stderr
        assert "refused 30: unknown label 'F', a grade of us" in done.stderr
        (tmp_path / "none.ndjson").write_text("\n".join(lines[1:]))
        reason = fails(tmp_path, "import", "none.ndjson", "--store=sqlite:///a.db")
        assert reason == "no drawings in none.ndjson: every document was refused"
        (tmp_path / "empty").touch()
        assert fails(tmp_path, "import", "empty") == "no drawings in empty: there is nothing to import"

    def test_ctrl_c_keeps_what_was_written(self, tmp_path, draw):
        lines = [as_json(draw()) + "\n" for _ in range(1200)]
        os.mkfifo(tmp_path / "pipe")
        process = subprocess.Popen(
            [sys.executable, "-m", "gradejax.data", "import", "pipe", "--store=sqlite:///a.db"],
            cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True,
            # A background job of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        with (tmp_path / "pipe").open("w") as pipe:
            pipe.writelines(lines)
            pipe.flush()
            wait_until(lambda: store.count() >= 1000)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.splitlines()[-2:] == ["imported 1000 so far; the same command continues", "error: interrupted"]
        assert store.count() == 1000
        (tmp_path / "file").write_text("".join(lines))
        assert succeeds(tmp_path, "import", "file", "--store=sqlite:///a.db").startswith(
            "imported 200, already there 1000, refused 0"
        )
        store.close()

    def test_generate_and_stats(self, tmp_path):
        for expected in ("added 30, already there 0\n", "added 0, already there 30\n"):
            assert succeeds(tmp_path, "generate", "30", "--writers=2", "--store=sqlite:///a.db") == expected
        succeeds(tmp_path, "generate", "15", "--seed=7", "--store=sqlite:///a.db")
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        store.exclude([next(store.find()).id])
        table = succeeds(tmp_path, "stats", "--store=sqlite:///a.db")
        row = next(line for line in table.splitlines() if "synthetic" in line).split()
        assert [row[0], row[-1], sum(map(int, row[1:-1]))] == ["synthetic", "44", 44]
        assert table.splitlines()[1].split() == ["tag", *GRADES, "all"]
        assert table.endswith("Excluded: 1\n")
        store.close()

    def test_stats_of_an_empty_store_say_how_to_fill_it(self, tmp_path):
        assert "python -m gradejax.data import FILE" in succeeds(tmp_path, "stats")
        assert (tmp_path / "data" / "grades.db").exists()

    def test_check_lists_each_problem(self, tmp_path, draw):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        blank, one, bad = draw(png=encode_png(np.zeros((28, 28), np.uint8))), draw(), draw()
        recompressed = cv2.imencode(".png", 255 - decode_ink(one.png), [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        same = draw(png=recompressed.tobytes())
        store.add([draw(), one])
        assert succeeds(tmp_path, "check", "--store=sqlite:///a.db") == "sqlite:///a.db: nothing wrong\n"
        store.add([blank, same, bad, excluded := draw(png=one.png)])
        store.exclude([excluded.id])
        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute("UPDATE drawing SET label = 'F' WHERE id = ?", (bad.id,))
        done = run(tmp_path, "check", "--store=sqlite:///a.db")
        assert done.returncode == 1
        assert sorted(done.stdout.splitlines()) == [
            f"bad {bad.id}: unknown label 'F', a grade of us",
            f"blank {blank.id}",
            f"duplicate {same.id}: the same ink as {one.id}",
        ]
        assert done.stderr == "error: sqlite:///a.db: 1 bad, 1 duplicate, 1 blank\n"
        store.close()

    def test_export_leaves_out_and_logs_invalid_documents(self, tmp_path, draw):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        store.add([good := draw(), draw()])
        store.close()
        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute("UPDATE drawing SET png = x'00' WHERE seq = 2")
        done = run(tmp_path, "export", "-", "--store=sqlite:///a.db")
        assert done.returncode == 0
        assert read(done.stdout.encode()) == [good]
        assert "left out 1 invalid documents: not a PNG" in done.stderr

    def test_an_export_of_nothing_leaves_the_old_one(self, tmp_path, draw):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        store.add([draw()])
        (tmp_path / "old.ndjson").write_text("the old one")
        (tmp_path / "old.ndjson").chmod(0o640)
        succeeds(tmp_path, "export", "old.ndjson", "--store=sqlite:///a.db")
        assert (tmp_path / "old.ndjson").stat().st_mode & 0o777 == 0o640
        whole = (tmp_path / "old.ndjson").read_text()
        with sqlite3.connect(tmp_path / "a.db") as connection:
            connection.execute("UPDATE drawing SET png = x'00'")
        assert "all 1 documents are invalid" in fails(tmp_path, "export", "old.ndjson", "--store=sqlite:///a.db")
        assert (tmp_path / "old.ndjson").read_text() == whole
        for own in ("a.db", "./a.db", "a.db-wal"):
            assert "is the store itself" in fails(tmp_path, "export", own, "--store=sqlite:///a.db")
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".old")]
        store.close()

    def test_standard_input(self, tmp_path, draw):
        drawings = [draw(), draw()]
        assert succeeds(tmp_path, "import", "-", "--store=sqlite:///a.db", said=written(drawings).decode()) == (
            "imported 2, already there 0, refused 0\n"
        )
        assert fails(tmp_path, "import", "-") == "no drawings in standard input: there is nothing to import"
        out = succeeds(tmp_path, "export", "-", "--store=sqlite:///a.db")
        assert read(out.encode()) == drawings

    def test_importing_a_truncated_file_fails(self, tmp_path, draw):
        whole = written([draw() for _ in range(40)])
        cut = {
            "lines": whole[:-70],
            "array": b"[" + whole.strip().replace(b"\n", b","),
            "gz": gzip.compress(whole)[:-20],
        }
        for kind, content in cut.items():
            (tmp_path / kind).write_bytes(content)
            done = run(tmp_path, "import", kind, f"--store=sqlite:///{kind}.db")
            n = {"lines": 39, "array": 40}.get(kind)
            assert done.returncode == 1
            assert n is None or done.stdout == f"imported {n}, already there 0, refused 1\n"
            assert re.search(f"error: {kind} is incomplete, and the rest is lost: .* ends early", done.stderr)

    def test_tags_are_text_in_the_table_and_not_too_many(self, tmp_path, draw):
        store = open_store(f"sqlite:///{tmp_path}/a.db")
        store.add([draw(tags=("[/3a]", "[red]8c[/red]", "کلاس\u200cها")) for _ in range(2)])
        store.add([draw(tags=tuple(f"{n} {m} {'x' * 190}" for m in range(32))) for n in range(60)])
        table = succeeds(tmp_path, "stats", "--store=sqlite:///a.db")
        for tag in ("[/3a]", "[red]8c[/red]", "کلاس\u200cها"):
            assert tag in table
        assert "and 1,723 more tags with fewer drawings" in table
        store.close()

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            (["import", "", "--tags=a"], "The name of the file or folder is empty"),
            (["import", "pictures", "--tags=7b,quarantine"], "--tags=quarantine: only gradejax gives this tag"),
            (["export", ""], "Its name is empty"),
            (["generate", "-5"], "Unknown command line flag"),
            (["generate", "²"], "'²' is not a number from 1"),
            ([], r"choose one of import, .*, audit, relabel, erase: python -m gradejax\.data --help"),
            (["improt", "x"], "choose one of import, export"),
            (["import"], r"write python -m gradejax\.data import FILE\|FOLDER"),
            (["stats", "x"], r"write python -m gradejax\.data stats$"),
            (["import", "nowhere"], "there is no file or folder nowhere"),
            (["stats", "--seed=3"], "stats takes no --seed"),
            (["generate", "many"], "'many' is not a number from 1"),
            (["generate", "0"], "'0' is not a number from 1"),
            (["generate", "5", "--writers=0"], "writers"),
            (["export", "x.ndjson"], "no such drawings in sqlite:///data/grades.db"),
            (
                ["export", "nowhere/x.ndjson", "--store=sqlite:///some.db"],
                "cannot be written: No such",
            ),
            (["export", "/dev/full", "--store=sqlite:///some.db"], "/dev/full cannot be written: No space left"),
            (["export", ".", "--store=sqlite:///some.db"], r"\. cannot be written: Is a directory"),
            (["import", "some.db", "--store=sqlite:///some.db"], "no drawings in some.db: every document was refused"),
            (["stats", "--store=grades.db"], "for a file write sqlite:///grades.db"),
            (
                ["stats", "--store=mongodb://anna:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"],
                "cannot reach MongoDB",
            ),
            (["stats", "--stroe=x"], "stroe"),
        ],
    )
    def test_a_users_mistake_is_one_line(self, tmp_path, draw, arguments, reason):
        if "--store=sqlite:///some.db" in arguments:
            store = open_store(f"sqlite:///{tmp_path}/some.db")
            store.add([draw()])
            store.close()
        line = fails(tmp_path, *arguments)
        assert re.search(reason, line), line
        assert "secret" not in line

    def test_the_help_names_each_command_and_flag(self, tmp_path):
        text = succeeds(tmp_path, "--help")
        for word in (
            "import FILE|FOLDER",
            "export FILE",
            "stats",
            "generate N",
            "check",
            "--store",
            "--tags",
            "--seed",
        ):
            assert word in text
