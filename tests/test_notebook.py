"""The quickstart runs from its first cell to its last; the widgets' side of the kernel."""

import ast
import base64
import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gradejax.errors import BadDrawing, StoreError, UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import encode_png
from gradejax.notebook import Guess, Pad
from gradejax.stores import open_store

QUICKSTART = Path(__file__).parent.parent / "notebooks" / "quickstart.ipynb"
POINTS = [[{"x": 60, "y": 220, "t": 0, "pressure": 0.5}, {"x": 160, "y": 50, "t": 90, "pressure": 0.5}]]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The code cells of the quickstart by their ids, after all of them have been run in an empty folder."""
    import nbformat  # takes two seconds, for which no other test need wait
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("quickstart") / "notebooks"
    folder.mkdir()
    notebook = nbformat.read(QUICKSTART, as_version=4)
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(folder)}}).execute()
    return {cell["id"]: cell for cell in notebook.cells if cell.cell_type == "code"}


def said(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def shown(cell: Any) -> list[str]:
    """The kinds of what a cell shows."""
    return [kind for output in cell.outputs for kind in output.get("data", {})]


def test_it_runs_to_its_end(cells: dict[str, Any]):
    assert said(cells["generate"]).splitlines()[-1] == "added 1800, already there 0"
    accuracy = re.match(r"(\d\d\.\d)% of the held-out drawings are read correctly", said(cells["score"]))
    assert float(accuracy[1]) > 70
    assert re.search(r"For other writers like these it is \d\d\.\d% to \d+\.\d%", said(cells["score"]))
    assert shown(cells["train"]).count("image/png") == 1  # the curves of the last epoch have replaced the others
    assert "image/png" in shown(cells["score"])
    assert "application/vnd.jupyter.widget-view+json" in shown(cells["pad"])
    assert "application/vnd.jupyter.widget-view+json" in shown(cells["guess"])
    assert re.search(r"drawn: \S+, read: .+, confidence: \d+%", said(cells["read"]))


def test_it_is_kept_without_what_it_printed():
    content = json.loads(QUICKSTART.read_text())
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [cell["id"] for cell in code if cell["outputs"] or cell["execution_count"]] == []
    assert [cell["id"] for cell in content["cells"] if cell["metadata"]] == []
    assert set(content["metadata"]) == {"kernelspec", "language_info"}


def test_it_uses_only_the_librarys_face():
    content = json.loads(QUICKSTART.read_text())
    source = "\n".join("".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code")
    tree = ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {name for name in modules if name.startswith("gradejax")} == {"gradejax", "gradejax.notebook"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gradejax"
    }
    assert used == {"open_store", "train", "load"}


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Sends a command to a widget, as its page does, and returns the answer."""

    def ask(widget: Pad | Guess, name: str, message: dict[str, Any]) -> dict[str, Any]:
        answers: list[dict[str, Any]] = []
        monkeypatch.setattr(widget, "send", lambda content, buffers: answers.append(content))
        widget._handle_custom_msg({"kind": "anywidget-command", "id": "1", "name": name, "msg": message}, [])
        (answer,) = answers
        return answer["response"]

    return ask


def drawing(label: str = "B-", **changes: object) -> dict[str, Any]:
    """A drawing as the pad sends it: a diagonal line."""
    ink = np.zeros((280, 280), np.uint8)
    cv2.line(ink, (60, 220), (160, 50), 255, 20)
    data = base64.b64encode(encode_png(ink)).decode()
    return {"label": label, "data": data, "strokes": POINTS, **changes}


def test_a_pad_saves_what_is_drawn(tmp_path: Path, ask):
    uri = f"sqlite:///{tmp_path}/class.db"
    pad = Pad(uri, ["7b", "monday"], writer="ann")
    assert ask(pad, "_save", drawing()) == {}
    assert (pad.saved, pad.counts["B-"], sum(pad.counts.values())) == (1, 1, 1)
    with closing(open_store(uri)) as store:
        (saved,) = store.find()
    assert (saved.label, saved.tags, saved.writer) == ("B-", ("7b", "monday"), "ann")
    assert [list(stroke) for stroke in saved.strokes] == POINTS


def test_a_pad_counts_what_the_store_has(tmp_path: Path):
    with closing(open_store(f"sqlite:///{tmp_path}/class.db")) as store:
        store.add(write_drawings(20, writers=2))
        pad = Pad(store)
    assert list(pad.counts)[:3] == ["A+", "A", "A-"]
    assert (pad.counts["A+"], pad.counts["E-"], pad.saved) == (2, 1, 0)


def test_what_is_no_drawing_is_refused_in_a_sentence(tmp_path: Path, ask):
    pad = Pad(f"sqlite:///{tmp_path}/class.db")
    blank = {**drawing(), "data": drawing()["data"][:60]}
    assert "error" in ask(pad, "_save", blank)
    assert ask(pad, "_save", drawing("F")) == {"error": "unknown label 'F', a grade of us"}
    assert ask(pad, "_save", drawing(strokes=[[{"x": "?"}]])) == {
        "error": "a stroke's point is not {x, y, t, pressure}"
    }
    assert (pad.saved, sum(pad.counts.values())) == (0, 0)


def test_while_the_store_is_away_a_pad_says_so(mortal_mongodb, ask):
    uri = f"{mortal_mongodb.uri}gradejax?serverSelectionTimeoutMS=500"
    with closing(open_store(uri, patience=0.5)) as store:
        pad = Pad(store)
        mortal_mongodb.kill()
        assert "127.0.0.1" in ask(pad, "_save", drawing())["error"]
        assert pad.saved == 0
        mortal_mongodb.start()
        assert ask(pad, "_save", drawing()) == {}
        assert pad.saved == store.count() == 1


def test_a_pad_that_cannot_save_is_not_made(tmp_path: Path):
    with pytest.raises(StoreError, match="sqlite:///"):
        Pad("class.db")
    with pytest.raises(BadDrawing, match="no tags"):
        Pad(f"sqlite:///{tmp_path}/class.db", [])


def test_a_guess_reads_what_is_drawn(ask):
    guess = Guess("shipped")
    assert guess.source.startswith("the recogniser that comes with gradejax")
    png = (Path(__file__).parent / "b-minus.png").read_bytes()
    read = ask(guess, "_read", {"data": base64.b64encode(png).decode()})
    assert read["grade"] == "B-"
    assert [len(read["likeliest"]), read["likeliest"][0][0]] == [5, "B-"]
    assert ask(guess, "_read", {"data": "?"}) == {"error": "not base64"}


def test_without_a_run_of_that_name_there_is_no_guess():
    with pytest.raises(UserError, match="no run in nowhere"):
        Guess("nowhere")


def test_without_anywidget_the_error_says_what_to_install():
    program = (
        "import sys; sys.modules['anywidget'] = None\n"
        "from gradejax.errors import UserError\n"
        "try: import gradejax.notebook\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "widgets need anywidget: pip install -e '.[notebook]'\n"


def test_the_widgets_load_nothing():
    """All that their modules import is in them."""
    elsewhere = re.compile(r"^\s*import\b|\bimport\(|\bfetch\(", re.MULTILINE)
    for widget in (Pad, Guess):
        assert not elsewhere.search(str(widget._esm))
        assert "url(" not in str(widget._css) and "@import" not in str(widget._css)
