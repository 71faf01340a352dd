"""Judges the drawings of a query; only pictures that may have changed since they were judged are read."""

from collections.abc import Generator
from dataclasses import replace
from itertools import islice

import numpy as np

from gradejax.drawings import Drawing
from gradejax.errors import BadDrawing
from gradejax.recogniser import Recogniser
from gradejax.stores import Query, Store
from gradejax.threads import parallel_map
from gradejax.web.judgements import Judgements
from gradejax.web.model import Judgement, Model, judge_ink

_DECODED_TOGETHER = 32  # drawings
_JUDGED_TOGETHER = 16
"""Drawings in one call of the network, for which a guess may have to wait: 5 ms on two cores. One call for 256 takes
190 ms, twice as long for each drawing: its numbers do not fit into the cores' caches."""


def judged(
    store: Store, query: Query, model: Model, recogniser: Recogniser, judgements: Judgements
) -> Generator[tuple[Drawing, Judgement | None]]:
    """Judges drawings while nobody waits for a guess, and adds to `judgements` what is new.

    Args:
        store: holds the drawings.
        query: which ones.
        model: knows whether somebody waits for a guess.
        recogniser: judges; the one that `judgements` was told to use.
        judgements: those that are known.

    Yields:
        Each drawing, without its picture and strokes, and its judgement; None if the picture cannot be read.
    """
    last = None
    for drawing in store.find(query, pictures=False):
        judgement = judgements.trusted(drawing.id)
        if judgement is None:
            break
        yield drawing, judgement
        last = drawing.id
    else:
        return

    def known_or_ink(drawing: Drawing) -> Judgement | np.ndarray | None:
        judgement = judgements.of(drawing.id, drawing.png)
        if judgement is not None:
            return judgement
        model.wait_for_urgent()
        try:
            return recogniser.ink(drawing.png)
        except BadDrawing:
            return None

    drawings = store.find(query, after=last, strokes=False)
    batches = iter(lambda: list(islice(drawings, _DECODED_TOGETHER)), [])
    for batch, looks in parallel_map(lambda batch: list(map(known_or_ink, batch)), batches):
        inks = [look for look in looks if isinstance(look, np.ndarray)]
        new: list[Judgement] = []
        for start in range(0, len(inks), _JUDGED_TOGETHER):
            model.wait_for_urgent()
            new += judge_ink(recogniser, inks[start : start + _JUDGED_TOGETHER])
        unused = iter(new)
        for drawing, look in zip(batch, looks, strict=True):
            if isinstance(look, np.ndarray):
                look = next(unused)
                judgements.add(drawing.id, drawing.png, look)
            yield replace(drawing, png=b""), look
