"""Likely mislabels are ranked however many ask, whatever changes meanwhile, and while the store does not answer."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pymongo
import pytest
from waiting import wait_until

from gradejax import audits
from gradejax.drawings import Drawing
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import IN_USE, Query, Store, open_store
from gradejax.web import judgements, ranking
from gradejax.web import ranked as ranked_module
from gradejax.web.judgements import Judgements
from gradejax.web.model import Model
from gradejax.web.ranked import Ranked
from gradejax.web.ranking import Rankings

GRADES = LETTERS.labels

DRAWINGS = list(write_drawings(40, seed=5))


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return Model(run)


@pytest.fixture
def store(store: Store) -> Store:
    store.add(DRAWINGS)
    return store


@pytest.fixture
def rankings(store: Store, model: Model, tmp_path: Path) -> Iterator[Rankings]:
    rankings = Rankings(store, model, tmp_path / "kept")
    with rankings.open():
        yield rankings


def ranked(rankings: Rankings, query: Query = IN_USE) -> list[Ranked]:
    """Asks for a ranking until it is finished, as a page does."""
    wait_until(lambda: rankings.ranking(query, refresh=True).finished)
    return rankings.page(rankings.ranking(query, refresh=False), None, 1000)


def ids(judged: list[Ranked]) -> list[str]:
    return [one.drawing.id for one in judged]


def test_hundreds_of_queries_start_one_thread_and_block_nobody(rankings: Rankings):
    ranked(rankings)
    before = threading.active_count()
    most = 0
    for n in range(400):
        rankings.ranking(Query(writer=f"writer {n}"), refresh=True)
        most = max(most, threading.active_count())
    assert most <= before + 1
    assert len(ranked(rankings, Query(label="A"))) == sum(drawing.label == "A" for drawing in DRAWINGS)


def test_an_audit_comes_before_the_model(rankings: Rankings, store: Store, tmp_path: Path, monkeypatch):
    """Its confidences rank the drawings that it has seen; the model's rank the others."""
    monkeypatch.chdir(tmp_path)
    ranked(rankings, Query(label="A"))
    assert str(rankings.ranking(Query(label="A"), refresh=False).ranked_by).startswith("the model ")
    confidences = np.zeros((len(DRAWINGS) - 1, len(GRADES)))
    confidences[:, GRADES.index("E-")] = 1
    confidences[np.arange(len(confidences)), [GRADES.index(one.label) for one in DRAWINGS[1:]]] = np.linspace(0, 1, 39)
    audits.save(store.uri, [one.id for one in DRAWINGS[1:]], confidences)
    order = ranked(rankings)
    assert [id for id in ids(order) if id != DRAWINGS[0].id] == [one.id for one in DRAWINGS[1:]]
    assert str(rankings.ranking(IN_USE, refresh=False).ranked_by).startswith("the audit of 20")


def test_an_abandoned_query_is_dropped(rankings: Rankings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranked_module, "_ABANDONED_SECONDS", 0.0)
    rankings.ranking(IN_USE, refresh=True)
    wait_until(lambda: rankings._worker is None)
    monkeypatch.undo()
    assert not rankings.ranking(IN_USE, refresh=False).finished  # it was dropped, and begins again
    assert len(ranked(rankings)) == len(DRAWINGS)


def test_memory_is_bounded(rankings: Rankings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(judgements, "_MAX_REMEMBERED", 10)
    for drawing in DRAWINGS[:12]:
        ranked(rankings, Query(writer=drawing.writer, label=drawing.label))
    assert len(rankings._rankings) <= ranking._MAX_RANKINGS
    whole = ranked(rankings)
    assert sorted(ids(whole)) == sorted(drawing.id for drawing in DRAWINGS)
    assert len(rankings._judgements) == 10
    monkeypatch.setattr(ranking, "_MAX_JUDGEMENTS", 50)
    assert len(ranked(rankings, Query(deleted=False, until=whole[0].drawing.date.max))) == len(DRAWINGS)
    assert sum(one.size for one in rankings._rankings.values()) <= 50


def test_another_picture_under_the_same_id_is_judged_anew(mongodb_uri: str, model: Model, tmp_path: Path):
    store = open_store(mongodb_uri)
    store.add(DRAWINGS)
    rankings = Rankings(store, model, tmp_path)
    before = {one.drawing.id: one.confidence for one in ranked(rankings)}
    first, other = DRAWINGS[0], DRAWINGS[1]
    with pymongo.MongoClient(mongodb_uri) as client:
        grades = client.get_default_database()["grades"]
        pictures = {document["_id"]: document["data"] for document in grades.find()}
        object_ids = {str(id): id for id in pictures}
        data = pictures[object_ids[other.id]]
        grades.update_one({"_id": object_ids[first.id]}, {"$set": {"data": data}})
    recogniser = model.get()[1]
    expected = recogniser.probabilities([other.png])[0][recogniser.labels.index(first.label)]

    def confidences() -> dict[str, float]:
        return {one.drawing.id: one.confidence for one in ranked(rankings)}

    wait_until(lambda: confidences()[first.id] == pytest.approx(float(expected), rel=1e-3))
    after = confidences()
    assert {id for id in before if before[id] != pytest.approx(after[id], rel=1e-3)} <= {first.id}
    store.close()


class Slow:
    """A store that can be blocked, and records what it is asked."""

    def __init__(self, store: Store):
        self._store = store
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked: list[str] = []
        self.pictures_asked = 0

    def find(self, *args: object, pictures: bool = True, **options: object) -> Iterator[Drawing]:
        self.pictures_asked += pictures
        return self._ask("find")(*args, pictures=pictures, **options)

    def _ask(self, name: str) -> Any:
        self.asked.append(name)
        assert self.go_on.wait(60)
        return getattr(self._store, name)


# Python 3.12 and later look for a protocol's members in the class.
for member in {*vars(Store), *Store.__annotations__} - {"find"}:
    if not member.startswith("_"):
        setattr(Slow, member, property(partial(Slow._ask, name=member)))


def test_an_unchanged_slow_store_is_not_asked_again(
    store: Store, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ranking, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(ranking, "_REST", 1e9)
    slow = Slow(store)
    rankings = Rankings(slow, model, tmp_path)
    first = ranked(rankings)
    slow.asked.clear()
    assert ranked(rankings) == first
    assert slow.asked == []
    # Changes by this server show at once.
    corrected = first[0]
    chosen = [corrected.drawing.id]
    rankings.edit(chosen, lambda: store.relabel(chosen, corrected.guess))
    again = ranked(rankings)
    assert again[0] != corrected
    assert [one.drawing.label for one in again if one.drawing.id == corrected.drawing.id] == [corrected.guess]


def test_changes_by_others_in_a_slow_store_show_a_little_later_and_nobody_waits(
    store: Store, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ranking, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(ranking, "_REST", 0)
    slow = Slow(store)
    rankings = Rankings(slow, model, tmp_path)
    first = ranked(rankings)
    slow.go_on.clear()
    store.exclude([first[0].drawing.id])  # as another program does
    assert ranked(rankings) == first  # although the store does not answer
    slow.go_on.set()
    wait_until(lambda: len(ranked(rankings)) == len(first) - 1)


def test_an_excluded_drawing_is_not_ranked(rankings: Rankings, store: Store):
    first = ranked(rankings)
    store.exclude(ids(first[:3]))
    assert ids(ranked(rankings)) == ids(first[3:])
    store.restore(ids(first[:3]))
    assert ids(ranked(rankings)) == ids(first)
    assert np.all(np.diff([one.confidence for one in ranked(rankings)]) >= 0)


def test_a_page_after_an_id_that_is_not_ranked_is_empty(rankings: Rankings, store: Store):
    store.add([other := replace(DRAWINGS[0], id="another")])
    whole = ranked(rankings)
    ranking = rankings.ranking(IN_USE, refresh=False)
    assert ids(rankings.page(ranking, ids(whole)[4], 3)) == ids(whole)[5:8]
    assert other.id in ids(whole)
    assert rankings.page(ranking, "nowhere", 3) == []


def judged_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the drawings that the network judges from now on."""
    ids: list[str] = []
    add = Judgements.add

    def recorded(self: Judgements, id: str, *args: object) -> None:
        ids.append(id)
        add(self, id, *args)

    monkeypatch.setattr(Judgements, "add", recorded)
    return ids


def kept_file(folder: Path) -> Path:
    wait_until(lambda: len(list(folder.glob("*.safetensors"))) == 1)
    return next(folder.glob("*.safetensors"))


def test_an_edit_moves_drawings_without_judging_or_reading_them(
    rankings: Rankings, store: Store, monkeypatch: pytest.MonkeyPatch
):
    first = ranked(rankings)
    computed = rankings.ranking(IN_USE, refresh=False)
    judged = judged_ids(monkeypatch)
    corrected, *gone = ids(first)[:4]
    assert rankings.edit(gone, lambda: store.exclude(gone)) == 3
    guess = first[0].guess
    rankings.edit([corrected], lambda: store.relabel([corrected], guess))
    # A page that is being read goes on behind the drawing that it ended with.
    page = rankings.page(computed, gone[0], 1000)
    assert ids(page) == ids(first)[4:]
    again = ranked(rankings)
    assert rankings.ranking(IN_USE, refresh=False) is computed
    assert sorted(ids(again)) == sorted(set(ids(first)) - set(gone))
    assert np.all(np.diff([one.confidence for one in again]) >= 0)
    assert [one.drawing.label for one in again if one.drawing.id == corrected] == [guess]
    rankings.edit(gone, lambda: store.restore(gone))
    rankings.edit([corrected], lambda: store.relabel([corrected], first[0].drawing.label))
    assert ids(ranked(rankings)) == ids(first)
    assert rankings.ranking(IN_USE, refresh=False) is computed
    assert judged == []


def test_an_edit_moves_drawings_into_and_out_of_a_filter(rankings: Rankings, store: Store):
    whole, of_a = ranked(rankings), ranked(rankings, Query(label="A"))
    other = next(one for one in whole if one.drawing.label == "B")
    rankings.edit([other.drawing.id], lambda: store.relabel([other.drawing.id], "A"))
    assert sorted(ids(ranked(rankings, Query(label="A")))) == sorted([*ids(of_a), other.drawing.id])
    rankings.edit(ids(of_a), lambda: store.relabel(ids(of_a), "B"))
    assert ids(ranked(rankings, Query(label="A"))) == [other.drawing.id]


def test_a_drawing_saved_during_an_edit_is_ranked(rankings: Rankings, store: Store):
    first = ranked(rankings)
    chosen = [first[0].drawing.id]

    def exclude_while_another_is_saved() -> int:
        store.add([replace(DRAWINGS[3], id="another")])
        return store.exclude(chosen)

    rankings.edit(chosen, exclude_while_another_is_saved)
    assert sorted(ids(ranked(rankings))) == sorted({*ids(first), "another"} - set(chosen))


def test_a_ranking_survives_a_restart(store: Store, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Unchanged drawings are neither judged nor read again; new ones are judged."""
    with (rankings := Rankings(store, model, tmp_path / "kept")).open():
        first = ranked(rankings)
        rankings.edit(ids(first)[:2], lambda: store.exclude(ids(first)[:2]))
        file = kept_file(tmp_path / "kept")
        wait_until(lambda: rankings._worker is None)
    assert file.stat().st_mode & 0o077 == 0
    content = file.read_bytes()
    assert not any(drawing.png[40:80] in content or drawing.writer.encode() in content for drawing in DRAWINGS)
    judged = judged_ids(monkeypatch)
    with (rankings := Rankings(slow := Slow(store), model, tmp_path / "kept")).open():
        slow.pictures_asked = 0
        again = ranked(rankings)
        assert (judged, slow.pictures_asked) == ([], 0)
        assert ids(again) == ids(first)[2:]
        np.testing.assert_allclose([one.confidence for one in again], [one.confidence for one in first[2:]], rtol=1e-5)
        store.add([replace(DRAWINGS[0], id="another")])
        assert len(ranked(rankings)) == len(first) - 1
    assert judged == ["another"]


def test_another_models_judgements_and_damaged_ones_are_not_used(
    store: Store, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def rank_anew(model: Model) -> list[Ranked]:
        with (rankings := Rankings(store, model, tmp_path / "kept")).open():
            result = ranked(rankings)
            kept_file(tmp_path / "kept")
            wait_until(lambda: rankings._worker is None)
        return result

    first = rank_anew(model)
    judged = judged_ids(monkeypatch)
    monkeypatch.chdir(tmp_path)  # without a run: the shipped recogniser
    assert [one.confidence for one in rank_anew(Model(None))] != [one.confidence for one in first]
    assert len(judged) == len(DRAWINGS)
    file = kept_file(tmp_path / "kept")
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 1000, whole[:-7]):
        file.write_bytes(damaged)
        judged.clear()
        assert len(rank_anew(Model(None))) == len(judged) == len(DRAWINGS)


def test_erased_drawings_leave_what_is_kept(store: Store, model: Model, tmp_path: Path):
    with (rankings := Rankings(store, model, tmp_path / "kept")).open():
        ranked(rankings)
        file = kept_file(tmp_path / "kept")
        wait_until(lambda: rankings._worker is None)
    first, second = DRAWINGS[0].id, DRAWINGS[1].id
    assert first.encode() in file.read_bytes() and second.encode() in file.read_bytes()
    judgements.erase(store.uri, [first, "nowhere"], tmp_path / "kept")
    assert first.encode() not in file.read_bytes()
    # One that another program erases is forgotten with the next ranking, whichever that is.
    with store._connection() as connection:
        connection.execute("DELETE FROM drawing WHERE id = ?", (second,))
    with (rankings := Rankings(store, model, tmp_path / "kept")).open():
        ranked(rankings, Query(label=DRAWINGS[2].label))
        wait_until(lambda: second.encode() not in file.read_bytes())
    assert DRAWINGS[3].id.encode() in file.read_bytes()


def test_drawings_that_the_model_takes_for_a_label(rankings: Rankings):
    whole = ranked(rankings)
    ranking = rankings.ranking(IN_USE, refresh=False)
    seen = [NO_GRADE if not one.is_grade else one.guess for one in whole]
    for guess in set(seen):
        expected = [one.drawing.id for one, its in zip(whole, seen, strict=True) if its == guess]
        assert ids(rankings.page(ranking, None, 1000, guess)) == expected
        assert list(ranking.ids(guess)) == expected
