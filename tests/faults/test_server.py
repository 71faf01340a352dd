"""The pages' server is killed, and its disk fills up: every drawing it confirmed is there, once, byte for byte."""

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import cv2
import numpy as np
from waiting import wait_until

from gradejax.drawings import Drawing, new_id
from gradejax.stores import Query, open_store


class Crowd:
    """People who save one drawing after another, each repeatedly until it is confirmed."""

    def __init__(self, people: int, web, message: Callable[[Drawing], dict], draw: Callable[..., Drawing]):
        self.sent: dict[str, bytes] = {}
        self.answered: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.lost = 0  # requests without an answer
        self._web = web
        self._message = message
        self._drawings = [draw() for _ in range(300)]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._draw, args=(n,)) for n in range(people)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until everybody's last drawing is confirmed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def wait_for(self, answers: int) -> None:
        goal = len(self.answered) + answers
        wait_until(lambda: len(self.answered) >= goal, 120)

    def _draw(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._stop.is_set():
            drawing = chance.choice(self._drawings)
            body = self._message(drawing) | {"id": new_id()}
            self.sent[body["id"]] = drawing.png
            while True:
                try:
                    status, _, _ = self._web.ask("POST", "/api/drawings", body)
                except (OSError, HTTPException):
                    self.lost += 1
                    time.sleep(chance.uniform(0.05, 0.2))
                    continue
                self.answers[status] += 1
                if status == 201:
                    break
                time.sleep(chance.uniform(0.05, 0.2))
            self.answered.add(body["id"])
            time.sleep(chance.uniform(0, 0.2))


def kept(path: Path) -> dict[str, bytes]:
    """Checks the file, and that each id occurs once; returns the pictures by id."""
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = open_store(f"sqlite:///{path}")
    drawings = list(store.find(Query(deleted=None)))
    assert store.count(Query(deleted=None)) == len(drawings)  # none is unreadable
    store.close()
    pictures = {drawing.id: drawing.png for drawing in drawings}
    assert len(pictures) == len(drawings)
    return pictures


def test_a_killed_server_has_kept_what_it_confirmed(serve, how_often, message, draw, tmp_path):
    path = tmp_path / "grades.db"
    web = serve(f"--store=sqlite:///{path}")
    chance = random.Random(0)
    with Crowd(how_often.people, web, message, draw) as crowd:
        for _ in range(how_often.kills):
            crowd.wait_for(answers=50)
            time.sleep(chance.uniform(0, 0.5))
            web.kill()
            answered = set(crowd.answered)
            assert answered <= kept(path).keys()
            web.start()
    assert crowd.answered == crowd.sent.keys()
    assert kept(path) == crowd.sent
    print(
        f"killed {how_often.kills} times under {how_often.people} people: {len(crowd.sent)} drawings saved, "
        f"{crowd.lost} requests without an answer, 0 lost, 0 doubled"
    )


def test_a_full_disk_is_reported_and_loses_nothing(serve, how_often, message, draw, small_disk):
    path = small_disk / "grades.db"
    web = serve(f"--store=sqlite:///{path}")
    ballast = small_disk / "ballast"
    noise = np.random.default_rng(0)
    saved: dict[str, bytes] = {}
    refused = 0

    def save(picture: bytes, id: str) -> bool:
        status, _, answer = web.ask("POST", "/api/drawings", message(draw(png=picture)) | {"id": id})
        if status == 201:
            saved[id] = picture
            return True
        assert (status, b"disk is full" in answer) == (507, True), answer
        return False

    # Each round has less ballast than the one before, so that each has room for some drawings.
    rounds = how_often.kills
    for turn in range(rounds):
        ballast.write_bytes(bytes(int(1.5 * 2**20 * (1 - turn / rounds))))
        while True:
            id = new_id()
            _, png = cv2.imencode(".png", noise.integers(0, 255, (60, 60), np.uint8))
            if not save(png.tobytes(), id):
                break
        refused += 1
        for _ in range(3):  # it stays refused
            refused += not save(png.tobytes(), id)
        status, _, _ = web.ask("GET", "/api/drawings")
        assert status == 200
        for one, picture in list(saved.items())[-5:]:
            assert web.ask("GET", f"/api/picture?id={one}")[2] == picture
        ballast.unlink()
        assert save(png.tobytes(), id)
        assert kept(path) == saved
    # Killed while the disk is full, it still starts and reads.
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert not save(png.tobytes(), new_id())
    web.kill()
    web.start()
    assert web.ask("GET", "/api/drawings")[0] == 200
    ballast.unlink()
    assert save(png.tobytes(), new_id())
    assert kept(path) == saved
    print(
        f"disk full {rounds + 1} times: {len(saved)} drawings saved, {refused + 1} refused with 507, 0 lost, 0 doubled"
    )
