"""Synthetic drawings: reproducible, balanced, legible, and by writers who differ from one another."""

import itertools
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from gradejax.drawings import from_document, is_object_id, to_document
from gradejax.hands.allographs import ALLOGRAPHS
from gradejax.hands.canvas import ink_strokes
from gradejax.hands.movement import move
from gradejax.hands.others import OTHERS
from gradejax.hands.plans import plan_strokes
from gradejax.hands.slips import SLIPS, slip
from gradejax.hands.synthetic import write_drawings, written_grades, written_others
from gradejax.ink import decode_ink
from gradejax.resampling import resample
from gradejax.scales import LETTERS

GRADES = LETTERS.labels
PLAIN = "ABCDE"


@pytest.fixture(scope="module")
def drawings():
    """The fifteen grades, each by 20 writers."""
    return list(write_drawings(300, seed=3, writers=20))


@pytest.fixture(scope="module")
def others():
    """Drawings by 20 writers of what is not a grade, several of each kind."""
    return list(written_others(300, seed=3, writers=20))


def test_the_same_seed_gives_the_same_documents(drawings):
    again = list(write_drawings(40, seed=3, writers=20))
    assert [to_document(drawing) for drawing in again] == [to_document(drawing) for drawing in drawings[:40]]


@pytest.mark.parametrize("other", [{"seed": 0, "writers": 20}, {"seed": 4, "writers": 20}])
def test_another_seed_gives_other_drawings_by_other_writers(drawings, other):
    for field in ("id", "png", "writer"):
        assert not {getattr(d, field) for d in write_drawings(40, **other)} & {getattr(d, field) for d in drawings}


def test_another_number_of_writers_gives_other_ids(drawings):
    # The drawings differ, and a store ignores a drawing whose id it already has.
    assert not {d.id for d in write_drawings(20, seed=3, writers=7)} & {d.id for d in drawings}


@settings(deadline=None)
@given(number=st.integers(0, 299))
def test_a_drawing_depends_on_its_number_only(drawings, number):
    assert list(write_drawings(1, seed=3, writers=20, first=number)) == [drawings[number]]


def test_drawings_show_what_was_written(drawings):
    for drawing, written in zip(drawings, written_grades(40, seed=3, writers=20), strict=False):
        assert (drawing.label, drawing.writer, drawing.strokes) == written


def test_drawings_are_generated_lazily():
    endless = write_drawings(10**12)
    assert [drawing.label for drawing in itertools.islice(endless, 3)] == ["A+", "A", "A-"]


@pytest.mark.parametrize("writers", [1, 4, 10, 15])
def test_every_writer_writes_each_grade_equally_often(writers):
    written = Counter((one.writer, one.name) for one in written_grades(15 * writers, writers=writers))
    assert set(written) == {(f"synthetic-{index:03d}", grade) for index in range(writers) for grade in GRADES}
    assert set(written.values()) == {1}


@settings(deadline=None)
@given(n=st.integers(1, 60), first=st.integers(0, 240))
def test_grades_are_as_even_as_possible(drawings, n, first):
    counts = Counter(drawing.label for drawing in drawings[first : first + n])
    assert max(counts.values()) - min(counts[grade] for grade in GRADES) <= 1


def test_drawings_are_documents_as_the_page_saves_them(drawings):
    assert len({drawing.id for drawing in drawings}) == len({drawing.png for drawing in drawings}) == len(drawings)
    assert [drawing.id for drawing in drawings] == sorted(drawing.id for drawing in drawings)
    for drawing in drawings:
        assert from_document(to_document(drawing)) == drawing
        assert is_object_id(drawing.id)
        assert drawing.tags == ("synthetic",)


def test_the_ink_is_on_the_canvas(drawings):
    for drawing in drawings:
        ink = decode_ink(drawing.png)
        assert ink.shape == (280, 280)
        assert 0.04 < (ink > 127).mean() < 0.3
        assert not ink[:2].any() and not ink[-2:].any() and not ink[:, :2].any() and not ink[:, -2:].any()


def test_inking_the_strokes_again_gives_the_picture(drawings):
    for drawing in drawings[::10]:
        assert np.array_equal(ink_strokes(drawing.strokes), decode_ink(drawing.png))


def test_the_pen_moves_at_a_human_speed(drawings):
    for drawing in drawings:
        points = [point for stroke in drawing.strokes for point in stroke]
        t = [point["t"] for point in points]
        assert t[0] == 0
        assert all(before < after for before, after in itertools.pairwise(t))
        assert 200 < t[-1] < 10_000
        assert all(0 < point["pressure"] <= 1 for point in points)


_PLANS = [plan for forms in (ALLOGRAPHS | OTHERS).values() for _, plan in forms]


@settings(deadline=None)
@given(plan=st.sampled_from(_PLANS), name=st.sampled_from(sorted(SLIPS)), seed=st.integers(0, 2**32))
def test_a_slip_leaves_the_character_where_it_is(plan, name, seed):
    form = plan_strokes(plan)
    slipped = slip(form, {name: 1.0}, np.random.default_rng(seed))
    before, after = (np.concatenate([move(stroke, 0.0, 0.3)[:, :2] for stroke in f]) for f in (form, slipped))
    assert np.isfinite(after).all()
    assert (after.min(axis=0) > before.min(axis=0) - 0.35).all() and (
        after.max(axis=0) < before.max(axis=0) + 0.35
    ).all()
    assert len(slipped) - len(form) in {"break": {0, 1}, "retrace": {1}, "dot": {1}}.get(name, {0})
    assert np.array_equal(np.concatenate(plan_strokes(plan)), np.concatenate(form))  # the form is unchanged


def test_nothing_slips_with_probability_zero():
    form = plan_strokes(_PLANS[0])
    assert slip(form, dict.fromkeys(SLIPS, 0.0), np.random.default_rng(0)) == form


@settings(deadline=None)
@given(bend=st.floats(-300, 300), seed=st.integers(0, 2**32))
def test_a_broken_arc_is_the_arc_with_a_gap(bend, seed):
    whole = np.array([[0.1, 0.2, 0.0], [0.9, 0.7, bend]])
    first, second = slip([whole], {"break": 1.0}, np.random.default_rng(seed))
    assert np.array_equal(first[0], whole[0]) and np.array_equal(second[-1, :2], whole[-1, :2])
    path, piece = move(whole, 0.0, 20.0)[:, :2], move(first, 0.0, 0.3)[:, :2]
    assert np.hypot(*(piece[:, None] - path).transpose(2, 0, 1)).min(axis=1).max() < 0.02
    assert first[1, 2] / bend + second[1, 2] / bend < 1 if abs(bend) > 1 else True


def test_a_line_is_as_wide_as_the_pen_and_has_round_ends():
    line = ink_strokes([[{"x": 100, "y": 140}, {"x": 200, "y": 140}]]) / 255
    assert line[:, 150].sum() == pytest.approx(20, abs=0.5)
    assert line.sum() == pytest.approx(20 * 100 + np.pi * 10**2, rel=0.02)
    rows, columns = np.indices(line.shape) + 0.5
    assert (line * columns).sum() / line.sum() == pytest.approx(150, abs=0.2)
    assert (line * rows).sum() / line.sum() == pytest.approx(140, abs=0.2)


@pytest.mark.parametrize("stroke", [[(50, 90)], [(50, 90), (50, 90)]])
def test_a_tap_is_a_dot(stroke):
    dot = ink_strokes([[{"x": x, "y": y} for x, y in stroke], []])
    assert dot.sum() / 255 == pytest.approx(np.pi * 10**2, rel=0.03)


def test_ink_scales_with_the_picture():
    stroke = [{"x": 30, "y": 40}, {"x": 200, "y": 100}, {"x": 120, "y": 240}]
    small = ink_strokes([[{axis: place / 4 for axis, place in point.items()} for point in stroke]], size=70, width=5)
    assert np.abs(resample(ink_strokes([stroke]), 70).astype(int) - small).max() < 90


def test_others_are_reproducible_and_depend_on_their_number_only(others):
    assert list(written_others(40, seed=3, writers=20)) == others[:40]
    assert list(written_others(3, seed=3, writers=20, first=200)) == others[200:203]
    another_seed = written_others(40, seed=4, writers=20)
    assert not any(first.strokes == second.strokes for first in another_seed for second in others)


def test_others_include_letters_from_f_and_digits_but_no_grade(others):
    names = Counter(other.name.rstrip("+-") for other in others)
    assert set("FGHIJKLMNOPQRSTUVWXYZ0123456789") < set(names)
    assert not {other.name for other in others} & set(GRADES)
    assert {other.name[-1] for other in others} > {"+", "-"}
    assert len({repr(other.strokes) for other in others}) == len(others)


def test_others_are_by_the_writers_of_the_grades(drawings, others):
    assert {other.writer for other in others} == {drawing.writer for drawing in drawings}


def test_the_ink_of_others_is_on_the_canvas(others):
    for other in others[::5]:
        ink = ink_strokes(other.strokes)
        assert ink.any() and not ink[:2].any() and not ink[-2:].any() and not ink[:, :2].any() and not ink[:, -2:].any()


def test_a_reader_of_print_can_read_the_letters(drawings):
    printed = _shapes([_print(letter, font, style) for font, style in _FONTS for letter in PLAIN])
    written = [drawing for drawing in drawings if len(drawing.label) == 1]
    nearest = (_shapes([decode_ink(drawing.png) for drawing in written]) @ printed.T).argmax(axis=1)
    right = np.array([PLAIN[i % 5] == drawing.label for i, drawing in zip(nearest, written, strict=True)])
    # Chance is 20%; this reader reads 86% of the real letters of Chars74K.
    assert right.mean() > 0.75
    for letter in PLAIN:
        assert right[[drawing.label == letter for drawing in written]].mean() > 0.5, letter


def test_a_reader_of_the_letters_can_read_print(drawings):
    written = [drawing for drawing in drawings if len(drawing.label) == 1]
    shapes = _shapes([decode_ink(drawing.png) for drawing in written])
    printed = _shapes([_print(letter, font, style) for font, style in _FONTS for letter in PLAIN])
    right = [PLAIN[i % 5] == written[j].label for i, j in enumerate((printed @ shapes.T).argmax(axis=1))]
    assert np.mean(right) > 0.8


def test_signs_are_right_of_the_letter_and_differ_in_shape(drawings):
    shapes = {"+": [], "-": []}
    for drawing in drawings:
        count, _, boxes, middles = cv2.connectedComponentsWithStats((decode_ink(drawing.png) > 127).astype(np.uint8))
        if drawing.label[1:] and count > 2:  # otherwise the sign touches the letter
            _, _, width, height, _ = boxes[1 + middles[1:, 0].argmax()]
            shapes[drawing.label[1:]].append(height / width)
    assert len(shapes["+"]) > 80 and len(shapes["-"]) > 80
    # The pen may leave a hook at an end of a minus.
    assert np.quantile(shapes["-"], 0.9) < 0.6 < np.quantile(shapes["+"], 0.05)


def test_some_signs_touch_their_letter(drawings):
    pieces = {"+": [], "-": []}
    for drawing in drawings:
        if drawing.label[0] in "BCD" and drawing.label[1:]:
            count, _ = cv2.connectedComponents((decode_ink(drawing.png) > 127).astype(np.uint8))
            pieces[drawing.label[1:]].append(count - 1)
    for counts in pieces.values():
        assert 0 < np.mean(np.array(counts) == 1) < 0.5


def test_a_writers_letters_resemble_each_other():
    letters = [written for written in written_grades(600, writers=20, seed=1) if len(written.name) == 1]
    writers = np.array([written.writer for written in letters])
    labels = np.array([written.name for written in letters])
    shapes = _shapes([ink_strokes(written.strokes) for written in letters])
    similarity = shapes @ shapes.T
    same_letter = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    same_writer = writers[:, None] == writers
    assert similarity[same_letter & same_writer].mean() > similarity[same_letter & ~same_writer].mean() + 0.1


_FONTS = [
    (font, style) for font in ("DejaVu Sans", "DejaVu Serif", "STIXGeneral") for style in ("normal", "italic")
]  # shipped with matplotlib


def _print(letter, font, style):
    outlines = TextPath((30, 0), letter, size=150, prop=FontProperties(family=font, style=style)).to_polygons()
    ink = np.zeros((280, 280), np.uint8)
    return cv2.fillPoly(ink, [np.rint(outline * (1, -1) + (0, 200)).astype(np.int32) for outline in outlines], 255)


def _shapes(inks):
    """Each picture's ink stretched to the same box, slightly blurred, as a vector of mean 0 and length 1."""
    shapes = []
    for ink in inks:
        x, y, width, height = cv2.boundingRect((ink > 127).astype(np.uint8))
        box = cv2.resize(ink[y : y + height, x : x + width], (20, 20), interpolation=cv2.INTER_AREA)
        shapes.append(cv2.GaussianBlur(box, (0, 0), 1).astype(float).ravel())
    shapes = np.array(shapes) - np.mean(shapes, axis=1, keepdims=True)
    return shapes / np.linalg.norm(shapes, axis=1, keepdims=True)
