"""The teacher's pages Class and Models in another language than English, and why a training failed."""

import ast
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CODE, TEACHERS_CODE, serve
from playwright.sync_api import Page, expect
from test_class import at_class
from test_languages import SEEN, assert_no_english

from gradejax import prepare, recipe
from gradejax.dataset import TEST_TAG
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Store
from gradejax.web.failures import explained
from gradejax.web.languages import LANGUAGES, TEXTS, Text

GRADES = LETTERS.labels


def check(page: Page) -> None:
    """Looks at all of a page, also at what it hides at the moment."""
    assert_no_english(page, "fr")
    assert [text for text in page.evaluate(SEEN) if re.search(r"\d%|\d\.\d+ %", text)] == []  # it is “97,4 %”


def finished(folder: Path, run: Path, accuracy: float, age: int) -> None:
    """Copies `run` to `folder`, as if it were so accurate."""
    shutil.copytree(run, folder)
    file = folder / "summary.json"
    summary = json.loads(file.read_text()) | {"val_accuracy": accuracy, "val_interval": [accuracy - 0.01, accuracy]}
    file.write_text(json.dumps(summary))
    written = file.stat().st_mtime - age
    os.utime(file, (written, written))


def test_class_and_models_are_french(tmp_path: Path, run: Path, open_page: Callable[..., Page]):
    finished(tmp_path / "runs/best", run, 0.974, age=20)
    finished(tmp_path / "runs/newest", run, 0.9, age=10)
    codes = f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}"
    with serve(tmp_path, "--host=0.0.0.0", *codes) as server:
        server.store.add(write_drawings(30, seed=6))
        server.store.add(replace(one, label=NO_GRADE) for one in write_drawings(2, seed=7))
        page = open_page(f"{at_class(server)}/class#code={TEACHERS_CODE}", locale="fr-FR")
        expect(page.locator("#total")).to_have_text("32")
        expect(page.locator("#heading")).to_have_text("Participe !")
        page.get_by_role("button", name="Suspendre la collecte").click()
        expect(page.locator("#paused")).to_contain_text("En pause.")
        page.get_by_role("button", name="Étiquettes").click()
        page.get_by_label("Nouvelle étiquette").fill("7b")
        page.get_by_role("button", name="Proposer").click()
        expect(page.locator("#offering-note")).to_have_text("7b est proposée.")
        check(page)
        page.goto(f"{at_class(server)}/models?run=best")
        expect(page.locator("#about")).to_contain_text("97,4 % (96,4 à 97,4 %)")
        expect(page.locator("#why")).to_contain_text("est moins bon (90,0 % contre 97,4 %)")
        expect(page.locator("#runs tbody tr").nth(1)).to_contain_text("97,4 % (96,4 à 97,4 %)")
        expect(page.locator("#detail-heading")).to_have_text("best")
        expect(page.locator("#detail .pair svg")).to_have_count(2)
        page.locator("#detail summary").click()
        check(page)


def test_the_recipes_are_described_as_their_files_say():
    for name, file in recipe.SHIPPED.items():
        docstring = ast.get_docstring(ast.parse(file.read_bytes()))
        assert docstring
        assert TEXTS["en"][f"recipe.{name}"] == docstring.partition("\n")[0]


def failure(store: Store, tags: str = "") -> str:
    config = recipe.base()
    config.data.tags = tags
    config.model.name, config.model.hidden, config.model.dropout = "mlp", (8,), (0.1,)
    config.seed = 1  # of two writers, the second is validated on
    with pytest.raises(UserError) as raised:
        prepare.prepare(config, store)
    return str(raised.value)


def test_why_a_training_fails_in_ordinary_use_is_said_in_each_language(store: Store):
    errors = [failure(store), failure(store, "9z")]
    store.add([replace(one, tags=(TEST_TAG,)) for one in write_drawings(3, seed=1, writers=1)])
    errors += [failure(store), failure(store, "9z")]
    store.add([replace(one, label="A") for one in write_drawings(3, seed=2, writers=1)])
    errors.append(failure(store))
    store.add([replace(one, label=NO_GRADE, writer="a") for one in write_drawings(1, seed=3)])
    errors.append(failure(store))
    graded = zip(write_drawings(len(GRADES), seed=4, writers=1), GRADES, strict=True)
    store.add([replace(one, label=grade, writer="synthetic-2-000") for one, grade in graded])
    errors.append(failure(store))
    texts = [explained(error) for error in errors]
    assert list(map(str, texts)) == errors  # in English, as the command says it
    for text in texts:
        assert isinstance(text, Text)
        assert len({text.to(language) for language in LANGUAGES}) == len(LANGUAGES)
    assert len({text.key for text in texts if isinstance(text, Text)}) == len(errors)
    assert explained("no config best.py") == "no config best.py"
