"""The API and the pages' routes, as a client sees them."""

import asyncio
import base64
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx2 as httpx
import numpy as np
import pytest
from bson import json_util
from starlette.testclient import TestClient

from gradejax.drawings import from_document, new_id
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import encode_png
from gradejax.recogniser import Recogniser, load, load_shipped
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query, Store, open_store
from gradejax.web import dates
from gradejax.web import model as models
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.model import Model
from gradejax.web.pages import PAGES, STATIC
from gradejax.web.roles import Role

GRADES = LETTERS.labels

DRAWINGS = list(write_drawings(45, seed=7, writers=3))
CODE = "seven-bees"
TEACHERS_CODE = "three-wise-owls"


def message(drawing=DRAWINGS[0], **changes) -> dict:
    """Returns what the page sends for a drawing."""
    return {
        "id": new_id(),
        "tags": ["7b"],
        "label": drawing.label,
        "data": base64.b64encode(drawing.png).decode(),
        "date": "2026-03-01T10:00:00.123Z",
        "writer": "hand-1",
        "strokes": [[{"x": 1.5, "y": 2, "t": 0, "pressure": 0.5}, {"x": 3, "y": 4, "t": 16, "pressure": 0.5}]],
    } | changes


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("shared")
    store = open_store(f"sqlite:///{folder}/grades.db")
    store.add(DRAWINGS)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)  # where no trained model is
        app = create_app(store, model=Model(None))
        with TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False) as client:
            yield client


@pytest.fixture
def unchanged(shared: TestClient) -> Iterator[TestClient]:
    """A client over DRAWINGS for all the tests whose requests must not change them."""
    store = shared.app.state.store
    before = store.fingerprint()
    yield shared
    assert store.fingerprint() == before


def test_a_save_answers_when_the_store_has_it(client: TestClient, store: Store):
    sent = message()
    answer = client.post("/api/drawings", json=sent)
    assert answer.status_code == 201
    assert answer.json()["id"] == sent["id"]
    with_its_own_connection = open_store(store.uri)
    kept = with_its_own_connection.get(sent["id"])
    with_its_own_connection.close()
    assert kept.png == DRAWINGS[0].png
    assert (kept.tags, kept.label, kept.writer) == (("7b",), DRAWINGS[0].label, "hand-1")
    assert kept.date == datetime(2026, 3, 1, 10, 0, 0, 123000, UTC)
    assert kept.strokes == sent["strokes"]
    assert client.get("/api/picture", params={"id": sent["id"]}).content == kept.png


def test_the_same_drawing_twice_is_one(client: TestClient, store: Store):
    sent = message()
    for _ in range(2):
        assert client.post("/api/drawings", json=sent).status_code == 201
    store.relabel([sent["id"]], "E-")  # and a page that lost the answer sends it again
    assert client.post("/api/drawings", json=sent).status_code == 201
    assert store.count() == 1
    assert store.get(sent["id"]).label == "E-"


@pytest.mark.parametrize("changes", [{"data": "another"}, {"label": "E-"}, {"tags": ["8c"]}, {"writer": "hand-2"}])
def test_an_id_belongs_to_one_drawing(client: TestClient, store: Store, changes: dict):
    sent = message()
    assert client.post("/api/drawings", json=sent).status_code == 201
    if "data" in changes:
        changes = {"data": message(DRAWINGS[1])["data"]}
    answer = client.post("/api/drawings", json=sent | changes)
    assert answer.status_code == 409
    assert "new one" in answer.json()["detail"]
    assert client.post("/api/drawings", json=sent | changes | {"id": new_id()}).status_code == 201
    assert store.count() == 2


@pytest.mark.anyio
async def test_of_several_drawings_with_one_id_one_is_saved_and_the_others_refused(store: Store):
    transport = httpx.ASGITransport(create_app(store, model=Model(None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        sent = [message(drawing, id="0" * 24) for drawing in DRAWINGS[:20]]
        answers = await asyncio.gather(*(client.post("/api/drawings", json=one) for one in sent))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
    (kept,) = store.find()
    (winner,) = [one for one, answer in zip(sent, answers, strict=True) if answer.status_code == 201]
    assert winner["data"] == base64.b64encode(kept.png).decode()


def test_a_date_stays_as_the_client_said_unless_it_cannot_be(client: TestClient, store: Store):
    now = datetime.now(UTC).replace(microsecond=0)
    for date in (now - timedelta(days=9000), now - timedelta(days=5), now + timedelta(days=2)):
        sent = message(date=date.isoformat())
        assert client.post("/api/drawings", json=sent).status_code == 201
        assert store.get(sent["id"]).date == date
    for date in ("2999-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"):
        sent = message(date=date)
        assert client.post("/api/drawings", json=sent).status_code == 201
        assert store.get(sent["id"]).date <= datetime.now(UTC)


def test_a_server_whose_clock_is_decades_slow_keeps_the_dates_and_says_so(
    client: TestClient, store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    class Slow(datetime):
        @classmethod
        def now(cls, zone=None):
            return super().now(zone) - timedelta(days=25 * 365)

    monkeypatch.setattr(dates, "datetime", Slow)
    for date in ["2026-11-26T10:00:00.123Z"] * 3 + ["2999-01-01T00:00:00Z"]:
        assert client.post("/api/drawings", json=message(date=date)).status_code == 201
    *drawn, absurd = [drawing.date for drawing in store.find()]
    assert drawn == [datetime(2026, 11, 26, 10, 0, 0, 123000, UTC)] * 3
    assert absurd.year == 2026
    assert caplog.text.count("this machine's clock is wrong") == 1


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Inserts a chunk after the PNG's header."""
    chunk = len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)
    return png[:33] + chunk + png[33:]


def test_what_the_ink_does_not_need_is_not_stored(client: TestClient, store: Store):
    png = with_chunk(DRAWINGS[0].png, b"tEXt", b"Comment\0" + b"x" * 600_000)
    sent = message(data=_base64(png))
    assert client.post("/api/drawings", json=sent).status_code == 201
    assert store.get(sent["id"]).png == DRAWINGS[0].png
    assert client.post("/api/drawings", json=sent).status_code == 201  # it is recognised when sent again


def test_names_are_bounded_together(client: TestClient):
    assert client.post("/api/drawings", json=message(tags=[f"{i:016}" for i in range(31)])).status_code == 201
    answer = client.post("/api/drawings", json=message(tags=[f"{i:0200}" for i in range(3)]))
    assert answer.status_code == 422
    assert "500 characters" in answer.json()["detail"]


PNG = DRAWINGS[0].png
NOISE = np.random.default_rng(0).integers(0, 256, (600, 600), np.uint8)


def without_pixels(png: bytes) -> bytes:
    """Replaces the pixel data with garbage that has a correct checksum."""
    content = b"no zlib stream"
    chunk = len(content).to_bytes(4) + b"IDAT" + content + zlib.crc32(b"IDAT" + content).to_bytes(4)
    return png[:33] + chunk + png[-12:]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"data": base64.b64encode(b"GIF89a, not at all a picture of that kind").decode()}, "not a PNG"),
        ({"data": base64.b64encode(PNG[:200]).decode()}, "damaged PNG"),
        ({"data": base64.b64encode(PNG[:33] + PNG[-12:]).decode()}, "PNG"),  # no pixels
        ({"data": base64.b64encode(without_pixels(PNG)).decode()}, "pixels cannot be read"),
        ({"data": base64.b64encode(encode_png(NOISE)).decode()}, "bytes"),
        ({"data": "<svg>"}, "not base64"),
        ({"data": base64.b64encode(encode_png(np.zeros((2000, 2000), np.uint8))).decode()}, "2000 x 2000"),
        ({"label": "F"}, "label"),
        ({"label": {"$ne": None}}, "label"),
        ({"tags": []}, "tags"),
        ({"tags": {"$gt": ""}}, "tags"),
        ({"tags": [" "]}, "tag"),
        ({"id": "../../etc/passwd"}, "id"),
        ({"id": {"$ne": None}}, "id"),
        ({"date": "yesterday"}, "date"),
        ({"date": 1772359200}, "date"),
        ({"writer": 7}, "writer"),
        ({"writer": "\ud800"}, "half a character"),
        ({"tags": ["7b", "\ud83d"]}, "half a character"),
        ({"strokes": [[{"x": "1", "y": 2}]]}, "strokes"),
        ({"strokes": [[{"x": 1e400, "y": 2}]]}, "strokes"),
        ({"strokes": [[{"x": 1, "y": 2}] * 2600] * 2}, "5,000 points"),
        ({"deleted": "2026-03-01T10:00:00Z"}, "deleted"),
    ],
)
def test_what_is_not_a_drawing_is_refused_with_a_reason(unchanged: TestClient, changes: dict, reason: str):
    body = json.dumps(message(**changes))  # Infinity and half a surrogate pair pass here; a client would stop them
    answer = unchanged.post("/api/drawings", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert reason in answer.json()["detail"]


@pytest.mark.anyio
async def test_good_drawings_are_saved_beside_bad_ones(store: Store):
    sent = [message(drawing) for drawing in DRAWINGS]
    for bad in sent[::3]:
        bad["data"] = base64.b64encode(PNG[:200]).decode()
    transport = httpx.ASGITransport(create_app(store, model=Model(None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answers = await asyncio.gather(*(client.post("/api/drawings", json=one) for one in sent))
    assert [answer.status_code for answer in answers] == [422, 201, 201] * (len(sent) // 3)
    saved = {one["id"] for one, answer in zip(sent, answers, strict=True) if answer.status_code == 201}
    assert {drawing.id for drawing in store.find()} == saved


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_a_megabyte_is_refused(unchanged: TestClient, announced: bool):
    body = b'{"id": "' + b"a" * 2**20 + b'"}'
    pieces = body if announced else (body[i : i + 65536] for i in range(0, len(body), 65536))
    answer = unchanged.post("/api/drawings", content=pieces, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "1 MB" in answer.json()["detail"]


def test_reading_stops_at_the_limit(client: TestClient):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 65536
            yield b" " * 65536

    # The test client gathers the body before it asks: so the application is asked here.
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/drawings",
        "raw_path": b"/api/drawings",
        "query_string": b"",
    }
    scope["headers"] = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    pieces, sent = endless(), []

    async def receive():
        return {"type": "http.request", "body": next(pieces), "more_body": True}

    async def send(part):
        sent.append(part)

    asyncio.run(client.app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert read <= 2**20 + 2 * 65536


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_another_origin_changes_and_reads_nothing(unchanged: TestClient, headers: dict):
    assert unchanged.post("/api/drawings", json=message(), headers=headers).status_code == 403
    assert unchanged.get("/api/drawings", headers=headers).status_code == 403


def test_ones_own_origin_and_a_link_are_let_through(client: TestClient):
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/api/drawings", json=message(), headers=own).status_code == 201
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200


def test_a_form_of_another_page_is_not_json(unchanged: TestClient):
    body = httpx.Request("POST", "http://x", json=message()).content
    assert unchanged.post("/api/drawings", content=body, headers={"Content-Type": "text/plain"}).status_code == 422


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", ""])
def test_loopback_answers_to_its_own_names_only(unchanged: TestClient, host: str):
    assert unchanged.get("/", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LocalHost", "localhost.", "127.0.0.1", "[::1]:8000", "[::1%25lo]:8000"]
)
def test_loopback_has_several_names(unchanged: TestClient, host: str):
    assert unchanged.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/../setup.cfg"])
def test_a_path_that_climbs_leads_nowhere(unchanged: TestClient, path: str):
    answer = unchanged.get(path)
    assert answer.status_code == 404
    assert answer.json()["detail"]


def test_every_answer_carries_the_headers(unchanged: TestClient):
    for path in [*PAGES, "/static/draw.js", "/api/status", "/nowhere"]:
        headers = unchanged.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_head_answers_as_get_does(unchanged: TestClient):
    for path in [*PAGES, "/static/draw.js", "/api/status", f"/api/picture?id={DRAWINGS[0].id}", "/api/export"]:
        head, whole = unchanged.head(path), unchanged.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == whole.headers
    assert unchanged.head("/nowhere").status_code == 404


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_odd_methods_are_refused(unchanged: TestClient, method: str):
    for path in [*PAGES, "/static/draw.js", "/api/status", "/nowhere"]:
        answer = unchanged.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD, POST"
        assert "content-security-policy" in answer.headers


def test_a_fault_of_the_server_is_answered_and_logged_once(client: TestClient, store: Store, caplog, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise OverflowError("planted")

    monkeypatch.setattr(store, "get", broken)
    for _ in range(20):
        answer = client.get("/api/picture?id=x")
        assert answer.status_code == 500
        assert answer.json()["detail"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "planted" not in answer.text
    assert caplog.text.count("OverflowError: planted") == 1


def test_nothing_is_fetched_from_elsewhere():
    for file in STATIC.glob("*.*"):
        text = file.read_text()
        assert "//cdn" not in text
        assert 'src="http' not in text
        assert "<script>" not in text
        assert " style=" not in text


# A class, with a code.


@pytest.fixture
def at_the_door(store: Store) -> TestClient:
    return TestClient(
        create_app(store, model=Model(None), access=Access(CODE, TEACHERS_CODE)), base_url="http://class.test"
    )


def test_without_the_code_nothing_works(at_the_door: TestClient, store: Store):
    inside = [*PAGES, "/openapi.json", "/nowhere"]
    inside += create_app(store, model=Model(None)).openapi()["paths"]
    needed_at_the_door = {"style.css", "sign-in.js", "language.js", "choose-language.js", "icon.svg"}
    files = [file.relative_to(STATIC) for file in STATIC.rglob("*.*") if file.name not in needed_at_the_door]
    tried = [(path, method) for path in inside for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")]
    tried += [(f"/static/{file}", method) for file in files for method in ("GET", "POST")]
    for path, method in tried:
        answer = at_the_door.request(method, path, headers={"Accept": "*/*"})
        assert answer.status_code == 401, (method, path)
        assert CODE not in answer.text
    for file in needed_at_the_door:
        assert at_the_door.get(f"/static/{file}").status_code == 200


def test_a_stranger_is_shown_where_to_sign_in(at_the_door: TestClient):
    answer = at_the_door.get("/browse", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert "Access code" in answer.text


def test_the_code_opens_the_door(at_the_door: TestClient):
    answer = at_the_door.post("/sign-in", json={"code": CODE})
    assert (answer.status_code, answer.json()) == (200, {"role": "pupil"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert CODE not in cookie
    assert at_the_door.get("/").status_code == 200
    assert at_the_door.post("/api/drawings", json=message(tags=["class"])).status_code == 201


def test_no_other_cookie_opens_it(at_the_door: TestClient):
    for cookie in ("", "x", CODE, "0" * 64, "é", '"', ";=;", "9999999999.a.b", "." * 5000):
        headers = {"Cookie": f"gradejax_session={cookie}".encode()}
        assert at_the_door.get("/api/status", headers=headers).status_code == 401, cookie


def test_other_cookies_do_no_harm(at_the_door: TestClient):
    """Cookies ignore ports: other servers under the same host name set their own."""
    at_the_door.post("/sign-in", json={"code": CODE})
    ours = f"gradejax_session={at_the_door.cookies['gradejax_session']}"
    at_the_door.cookies.clear()
    for line in (
        f'a b={{"c": 1}}; {ours}',
        f"gradejax_session=stale; {ours}",
        f"{ours}; gradejax_session=",
        f";;{ours};",
    ):
        assert at_the_door.get("/api/status", headers={"Cookie": line}).status_code == 200, line


def test_a_code_may_be_typed_as_phones_do(at_the_door: TestClient):
    for typed in (CODE, CODE.upper(), f" {CODE} ", "Ｓeven-bees"):
        assert at_the_door.post("/sign-in", json={"code": typed}).json() == {"role": "pupil"}, typed
    # Case does not matter in the teacher's code either.
    assert at_the_door.post("/sign-in", json={"code": TEACHERS_CODE.title()}).json() == {"role": "teacher"}


@pytest.mark.parametrize("code", ["", "short", " seven-bees", "seven\nbees", "e\u0301" * 3, "1234567"])
def test_a_code_that_is_too_easy_to_guess(code: str):
    with pytest.raises(UserError, match=r"--access-code .* at least 6 .* 8 digits"):
        Access(code, TEACHERS_CODE)
    with pytest.raises(UserError, match=r"--teacher-code .* at least 6 .* 8 digits"):
        Access(CODE, code)


@pytest.mark.parametrize("same", [CODE, CODE.upper()])
def test_the_two_codes_differ(same: str):
    with pytest.raises(UserError, match="must differ"):
        Access(CODE, same)


def test_a_session_survives_a_restart_and_another_code_ends_those_of_its_role(tmp_path: Path):
    file = tmp_path / "grades.db-sessions"
    begun = Access(CODE, TEACHERS_CODE, file).sessions
    cookies = {role: begun.begin(role) for role in Role}
    assert file.stat().st_mode & 0o777 == 0o600
    assert CODE not in file.read_text()

    def signed_in(*codes: str) -> set[Role]:
        sessions = Access(*codes, file).sessions
        return {session.role for cookie in cookies.values() if (session := sessions.find(cookie))}

    assert signed_in(CODE, TEACHERS_CODE) == {Role.PUPIL, Role.TEACHER}
    assert signed_in("eight-wasps", TEACHERS_CODE) == {Role.TEACHER}
    assert signed_in(CODE, "eight-wasps") == {Role.PUPIL}
    assert signed_in(TEACHERS_CODE, CODE) == set()
    assert signed_in(CODE, TEACHERS_CODE) == {Role.PUPIL, Role.TEACHER}


def test_a_session_keeps_its_role():
    sessions = Access(CODE, TEACHERS_CODE).sessions
    assert sessions.find(sessions.begin(Role.PUPIL).replace("pupil", "teacher")) is None


def test_a_session_expires(monkeypatch: pytest.MonkeyPatch):
    sessions = Access(CODE, TEACHERS_CODE).sessions
    monkeypatch.setattr("gradejax.web.sessions.COOKIE_SECONDS", 0)
    assert sessions.find(sessions.begin(Role.PUPIL)) is None


def test_signing_out_ends_every_copy_of_the_cookie(at_the_door: TestClient, tmp_path: Path, store: Store):
    file = tmp_path / "sessions"
    access = Access(CODE, TEACHERS_CODE, file)
    client = TestClient(create_app(store, model=Model(None), access=access), base_url="http://class.test")
    client.post("/sign-in", json={"code": CODE})
    copied = {"Cookie": f"gradejax_session={client.cookies['gradejax_session']}"}
    answer = client.post("/sign-out")
    assert answer.status_code == 204
    assert answer.headers["clear-site-data"] == '"cache"'
    assert "gradejax_session" not in client.cookies
    for _ in range(2):
        assert client.get("/api/status", headers=copied).status_code == 401
        # Not after a restart either.
        restarted = create_app(store, model=Model(None), access=Access(CODE, TEACHERS_CODE, file))
        client = TestClient(restarted, base_url="http://class.test")
    assert client.post("/sign-out").status_code == 401


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 100_000, b'{"key": "00", "ended": []}', b'{"key": 7, "ended": 1}']
)
def test_a_file_that_holds_no_key_is_replaced(tmp_path: Path, content: bytes):
    file = tmp_path / "sessions"
    file.write_bytes(content)
    file.chmod(0o600)
    cookie = Access(CODE, TEACHERS_CODE, file).sessions.begin(Role.PUPIL)
    assert Access(CODE, TEACHERS_CODE, file).sessions.find(cookie) is not None


def test_the_file_of_one_code_for_all_is_read(tmp_path: Path):
    """As earlier versions wrote it: who signed out stays out."""
    file = tmp_path / "sessions"
    ended = f"{int(time.time()) + 3600}.{'ab' * 16}"
    file.write_text(json.dumps({"key": "07" * 32, "ended": [ended, "1.ab"]}))
    file.chmod(0o600)
    Access(CODE, TEACHERS_CODE, file)
    assert json.loads(file.read_text()) == {"key": "07" * 32, "ended": [ended]}


def test_a_key_that_others_may_have_read_is_replaced(tmp_path: Path):
    file = tmp_path / "sessions"
    cookie = Access(CODE, TEACHERS_CODE, file).sessions.begin(Role.PUPIL)
    file.chmod(0o644)
    assert Access(CODE, TEACHERS_CODE, file).sessions.find(cookie) is None
    assert file.stat().st_mode & 0o777 == 0o600
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(elsewhere)
    Access(CODE, TEACHERS_CODE, file)
    assert not file.is_symlink()


def test_sessions_work_without_a_place_to_keep_the_key(tmp_path: Path):
    (tmp_path / "file").touch()
    sessions = Access(CODE, TEACHERS_CODE, tmp_path / "file" / "sessions").sessions
    assert sessions.find(sessions.begin(Role.PUPIL)) is not None


def test_browsers_cache_nothing_that_needs_the_code(at_the_door: TestClient, store: Store):
    store.add(DRAWINGS[:1])
    at_the_door.post("/sign-in", json={"code": TEACHERS_CODE})
    for path in [*PAGES, "/api/status", "/api/drawings", f"/api/picture?id={DRAWINGS[0].id}", "/api/export", "/no"]:
        assert at_the_door.get(path).headers["cache-control"] == "no-store", path


# Browsing.


@pytest.fixture
def full(client: TestClient, store: Store) -> TestClient:
    store.add(DRAWINGS)
    return client


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [drawing["id"] for drawing in answer.json()["drawings"]]


def test_pages_lead_through_all_drawings_newest_first(unchanged: TestClient):
    seen, after = [], {}
    for _ in range(4):
        shelf = unchanged.get("/api/drawings", params={"limit": 13} | after)
        seen += ids(shelf)
        after = {"after": shelf.json()["next"]}
    assert seen == [drawing.id for drawing in reversed(DRAWINGS)]
    assert after == {"after": None}


def test_filters(full: TestClient, store: Store):
    def shown(**params) -> set[str]:
        shelf = full.get("/api/drawings", params=params | {"limit": 500})
        assert shelf.json()["total"] == len(ids(shelf))
        return set(ids(shelf))

    def meant(condition) -> set[str]:
        return {drawing.id for drawing in DRAWINGS if condition(drawing)}

    store.add([from_document({"_id": new_id(), "tags": ["7b"], "label": "A", "data": _base64(PNG), "date": _DATE})])
    assert shown(tag="synthetic") == meant(lambda drawing: True)
    assert len(shown(tag=["synthetic", "7b"])) == len(DRAWINGS) + 1
    assert shown(label="B+") == meant(lambda drawing: drawing.label == "B+")
    assert shown(writer=DRAWINGS[0].writer) == meant(lambda drawing: drawing.writer == DRAWINGS[0].writer)
    middle = sorted(drawing.date for drawing in DRAWINGS)[20]
    assert shown(since=middle.isoformat(), tag="synthetic") == meant(lambda drawing: drawing.date >= middle)
    assert shown(until=middle.isoformat()) == meant(lambda drawing: drawing.date < middle)
    assert shown(tag="none") == set()
    for no_moment in ("0.024", "1772359200", "2026-03-01", "2026-03-01T10:00:00"):
        assert full.get("/api/drawings", params={"until": no_moment}).status_code == 422
    for path in ("/api/drawings", "/api/export"):
        assert full.get(path, params={"writer": ["one", "another"]}).status_code == 422
    assert full.get("/api/drawings", params={"label": "F"}).status_code == 422
    assert full.get("/api/drawings", params={"label[$ne]": "A"}).status_code == 422


_DATE = datetime.now(UTC) - timedelta(days=1)


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def test_relabel_exclude_restore(full: TestClient, store: Store):
    selected = [drawing.id for drawing in DRAWINGS if drawing.label == "C"]
    assert full.post("/api/drawings/relabel", json={"ids": selected, "label": "D"}).json() == {"changed": len(selected)}
    shown = full.get("/api/drawings", params={"label": "D", "limit": 500}).json()["drawings"]
    assert {one["id"]: one["earlier"] for one in shown if one["earlier"]} == {id: ["C"] for id in selected}
    assert full.post("/api/drawings/put-aside", json={"ids": selected}).json() == {"changed": len(selected)}
    assert ids(full.get("/api/drawings", params={"aside": True})) == selected[::-1]
    assert store.count() == full.get("/api/status").json()["total"] == len(DRAWINGS) - len(selected)
    assert full.post("/api/drawings/restore", json={"ids": selected}).json() == {"changed": len(selected)}
    assert store.count() == full.get("/api/status").json()["total"] == len(DRAWINGS)


def test_all_ids_that_match_are_listed_page_by_page(client: TestClient, store: Store):
    store.add(replace(DRAWINGS[i % len(DRAWINGS)], id=new_id(), strokes=None) for i in range(4500))
    of_a = [drawing.id for drawing in store.find(Query(label="A"), newest_first=True, pictures=False)]

    def listed(**params: str) -> list[dict]:
        rows, after = [], {}
        while True:
            page = client.get("/api/drawings/ids", params=params | after).json()
            assert len(page["drawings"]) <= 2000
            rows += page["drawings"]
            if page["next"] is None:
                return rows
            after = {"after": page["next"]}

    assert [one["id"] for one in listed(label="A")] == of_a
    everything = listed()
    assert len({one["id"] for one in everything}) == len(everything) == 4500
    assert client.get("/api/drawings/ids", params={"after": "unknown"}).status_code == 404


@pytest.mark.parametrize("selection", [{"ids": []}, {"ids": {"$ne": None}}, {"ids": [{"$gt": ""}]}, {}])
def test_a_selection_is_a_list_of_ids(unchanged: TestClient, selection: dict):
    for path in ("put-aside", "restore"):
        assert unchanged.post(f"/api/drawings/{path}", json=selection).status_code == 422
    assert unchanged.post("/api/drawings/relabel", json=selection | {"label": "A"}).status_code == 422


def test_counts(unchanged: TestClient):
    of_each = dict.fromkeys(GRADES, len(DRAWINGS) // 15)
    counts = unchanged.get("/api/counts").json()
    assert counts == {
        "grades": of_each,
        "tags": [{"tag": "synthetic", "grades": of_each}],
        "more_tags": 0,
        "waiting": 0,
    }
    status = unchanged.get("/api/status").json()
    assert (status["total"], status["grades"]) == (len(DRAWINGS), of_each)


def test_the_download_is_what_is_filtered_and_can_be_read_back(unchanged: TestClient):
    answer = unchanged.get("/api/export", params={"writer": DRAWINGS[0].writer})
    assert "attachment" in answer.headers["content-disposition"]
    read = [from_document(json_util.loads(line)) for line in answer.text.splitlines()]
    assert read == [drawing for drawing in DRAWINGS if drawing.writer == DRAWINGS[0].writer]


@pytest.mark.parametrize("id", ["unknown", "../../setup.cfg", "\0", "x" * 201, "$where"])
def test_no_picture_for_an_unknown_id(unchanged: TestClient, id: str):
    assert unchanged.get(f"/api/picture?id={quote(id)}").status_code in (404, 422)


EXTREMES = [
    *("0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-23:59", "9999-12-31T23:59:59.999999-23:59"),
    *("9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "\0"),
    *("", "nan", "-inf", "1e400", "9" * 5000, "\ufeff", "\ud800", "x" * 300, "true", "[]", "null", "disagreement"),
]


@pytest.mark.parametrize(
    "path", ["/api/drawings", "/api/drawings/ids", "/api/export", "/api/picture", "/api/status", "/api/counts"]
)
def test_every_parameters_extremes_are_answered_in_a_line(unchanged: TestClient, path: str):
    schema = unchanged.get("/openapi.json").json()["paths"][path]["get"]
    for name in [*(one["name"] for one in schema.get("parameters", [])), "unknown"]:
        for value in EXTREMES:
            answer = unchanged.get(f"{path}?{name}={quote(value, errors='surrogatepass')}")
            assert answer.status_code in (200, 404, 409, 422, 503), (name, value, answer.text)
            if answer.status_code != 200:
                assert len(answer.json()["detail"].splitlines()) == 1
    many = unchanged.get(f"{path}?" + "&".join(f"x{i}=1" for i in range(6000)))
    assert (many.status_code, many.json()["detail"]) == (422, "There are more than 64 parameters.")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"NaN", b"[" * 100_000, b'{"a":' * 30_000, b'{"ids": ' + b"9" * 100_000 + b"}", b"\xff\xfe\0"),
        *(b'{"\\ud800": 1}', b'{"a\\n\\u0000b": 1}', b"{%s}" % b",".join(b'"%d":0' % i for i in range(50_000))),
        *(
            b'{"ids": [%s]}' % b",".join([b"1"] * 100_000),
            b'{"ids": ["a"], "label": {"$ne": "A"}}',
            b'{"ids": ["\\ud800"]}',
        ),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_every_bodys_extremes_are_answered_in_a_line(unchanged: TestClient, body: bytes):
    for path in ("", "/relabel", "/put-aside", "/restore"):
        for kind in (
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json; charset=x",
        ):
            answer = unchanged.post(f"/api/drawings{path}", content=body, headers={"Content-Type": kind})
            assert answer.status_code in (400, 413, 422), answer.text
            assert len(answer.json()["detail"].splitlines()) == 1
            assert len(answer.content) < 400


def test_every_answer_is_bounded(client: TestClient, store: Store):
    """Whatever the store holds: an import may have longer tags than a page would send."""
    tags = [tuple(f"{drawing}-{i}-" + "x" * 190 for i in range(32)) for drawing in range(100)]
    store.add([replace(DRAWINGS[0], id=new_id(), tags=its_tags) for its_tags in tags])
    for path in ("/api/status", "/api/counts", "/api/drawings?limit=500"):
        assert len(client.get(path).content) < 500_000, path
    assert client.get("/api/counts").json()["more_tags"] == 3200 - 300
    seen, after = [], {}
    while after is not None:
        shelf = client.get("/api/drawings", params={"limit": 500} | after)
        assert len(shelf.content) < 500_000
        seen += ids(shelf)
        after = shelf.json()["next"] and {"after": shelf.json()["next"]}
    assert seen == [drawing.id for drawing in store.find(newest_first=True)]


def test_a_download_of_large_drawings_is_whole(client: TestClient, store: Store):
    """Larger than anything a page sends: they are sent one at a time."""
    noise = np.random.default_rng(1).integers(0, 256, (1400, 1400), np.uint8)
    large = [replace(one, id=new_id(), png=encode_png(noise)) for one in DRAWINGS[:4]]
    store.add([*DRAWINGS[:10], *large, *DRAWINGS[10:]])
    lines = client.get("/api/export").text.splitlines()
    assert [from_document(json_util.loads(line)) for line in lines] == list(store.find())
    picture = client.get("/api/picture", params={"id": large[0].id})
    assert picture.content == large[0].png
    assert picture.headers["content-length"] == str(len(picture.content))
    assert picture.headers["cache-control"] == "no-store"


# With a model.


@pytest.fixture
def guessing(store: Store, run: Path) -> TestClient:
    store.add(DRAWINGS)
    return TestClient(create_app(store, model=Model(run)), base_url="http://localhost")


def test_the_guess_is_the_models(guessing: TestClient, run: Path):
    recogniser = load(run)
    assert guessing.get("/api/status").json()["model"] == "run"
    for drawing in DRAWINGS[:5]:
        guesses = guessing.post("/api/guess", json={"data": _base64(drawing.png)}).json()["guesses"]
        confidences = recogniser.probabilities([drawing.png])[0]
        assert [one["label"] for one in guesses] == [recogniser.labels[i] for i in np.argsort(-confidences)[:5]]
        np.testing.assert_allclose([one["confidence"] for one in guesses], np.sort(confidences)[::-1][:5], rtol=1e-3)


def test_blank_paper_and_a_dot_are_rejected_and_grades_are_not(guessing: TestClient, store: Store):
    dot = np.zeros((280, 280), np.uint8)
    dot[130:150, 130:150] = 255
    blank = np.zeros_like(dot)
    answers = [guessing.post("/api/guess", json={"data": _base64(encode_png(ink))}).json() for ink in (blank, dot)]
    assert [answer["is_grade"] for answer in answers] == [False, False]
    assert all(len(answer["guesses"]) == 5 for answer in answers)
    accepted = [guessing.post("/api/guess", json={"data": _base64(one.png)}).json()["is_grade"] for one in DRAWINGS]
    assert np.mean(accepted) > 0.8
    # The gallery says so too.
    id = new_id()
    store.add([replace(DRAWINGS[0], id=id, png=encode_png(dot))])
    assert {one["id"]: one["is_grade"] for one in doubtful(guessing)}[id] is False


def test_no_grade_is_doubted_as_far_as_a_grade_is_likely(guessing: TestClient, store: Store, run: Path):
    guessing.post("/api/drawings/relabel", json={"ids": [DRAWINGS[0].id], "label": NO_GRADE})
    (shown,) = [one for one in doubtful(guessing) if one["label"] == NO_GRADE]
    likeliest = load(run).probabilities([DRAWINGS[0].png]).max()
    assert shown["confidence"] == pytest.approx(1 - likeliest, abs=1e-3)
    assert guessing.get("/api/counts").json()["grades"][NO_GRADE] == 1
    assert [one["id"] for one in doubtful(guessing, label=NO_GRADE)] == [DRAWINGS[0].id]


@pytest.mark.anyio
async def test_simultaneous_guesses_are_not_mixed_up(store: Store, run: Path):
    recogniser = load(run)
    best = [recogniser.labels[row.argmax()] for row in recogniser.probabilities([one.png for one in DRAWINGS])]
    pictures = [_base64(drawing.png) for drawing in DRAWINGS]
    pictures.insert(3, _base64(PNG[:200]))
    transport = httpx.ASGITransport(create_app(store, model=Model(run)))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answers = await asyncio.gather(*(client.post("/api/guess", json={"data": one}) for one in pictures))
    assert answers.pop(3).status_code == 422
    assert [answer.json()["guesses"][0]["label"] for answer in answers] == best


@pytest.fixture
def without_model(store: Store) -> TestClient:
    return TestClient(create_app(store, model=Model(Path("nowhere"))), base_url="http://localhost")


def test_without_a_model_the_command_is_named(without_model: TestClient):
    client = without_model
    answer = client.post("/api/guess", json={"data": _base64(PNG)})
    assert answer.status_code == 503
    assert "python -m gradejax.main --config=configs/cnn.py" in answer.json()["detail"]
    assert "python -m gradejax.main --config=configs/cnn.py" in client.get("/api/status").json()["model_missing"]


def test_until_there_is_a_run_the_shipped_recogniser_guesses(
    client: TestClient, store: Store, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And then the run does, without a restart."""
    monkeypatch.setattr(models, "_LOOK_SECONDS", 0.0)
    store.add(DRAWINGS)

    def check(model: Recogniser, name: str, by: str) -> None:
        status = client.get("/api/status").json()
        assert (status["model"], status["model_missing"]) == (name, None)
        assert ("UNIPEN" in (status["trained_on"] or "")) == (name == "shipped")
        answer = client.post("/api/guess", json={"data": _base64(DRAWINGS[0].png)}).json()
        assert answer["is_shipped"] == (name == "shipped")
        likeliest = model.probabilities([DRAWINGS[0].png]).max()
        assert answer["guesses"][0]["confidence"] == pytest.approx(float(likeliest), rel=1e-3)
        confidences = model.probabilities([drawing.png for drawing in DRAWINGS])
        expected = {
            drawing.id: float(row[model.labels.index(drawing.label)])
            for drawing, row in zip(DRAWINGS, confidences, strict=True)
        }
        assert {one["id"]: one["confidence"] for one in doubtful(client)} == pytest.approx(expected, rel=1e-3)
        assert client.get("/api/drawings", params={"by": "disagreement"}).json()["ranked_by"] == by

    check(load_shipped(), "shipped", "the recogniser that comes with gradejax")
    (tmp_path / "runs" / "broken").mkdir(parents=True)
    (tmp_path / "runs" / "broken" / "summary.json").write_text("{}")
    check(load_shipped(), "shipped", "the recogniser that comes with gradejax")
    (tmp_path / "runs" / "mine").symlink_to(run)
    check(load(run), "run", "the model run")


def doubtful(client: TestClient, **params) -> list[dict]:
    """Returns all drawings by disagreement, page by page, once the model has judged them."""
    deadline = time.monotonic() + 30
    seen, after = [], {}
    while True:
        shelf = client.get("/api/drawings", params={"by": "disagreement", "limit": 20} | params | after).json()
        if shelf["done"] is not None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
            continue
        seen += shelf["drawings"]
        if shelf["next"] is None:
            return seen
        after = {"after": shelf["next"]}


def test_wrong_labels_come_first(guessing: TestClient, store: Store, run: Path):
    recogniser = load(run)

    def belief(id: str) -> float:
        drawing = store.get(id)
        return float(recogniser.probabilities([drawing.png])[0][recogniser.labels.index(drawing.label)])

    first = doubtful(guessing)
    assert {one["id"] for one in first} == {drawing.id for drawing in DRAWINGS}
    beliefs = [belief(one["id"]) for one in first]
    np.testing.assert_allclose([one["confidence"] for one in first], beliefs, rtol=1e-3)
    np.testing.assert_allclose(beliefs, sorted(beliefs), rtol=1e-3)
    # A corrected drawing moves down; an excluded one is gone.
    corrected, gone = first[0], first[1]["id"]
    store.relabel([corrected["id"]], corrected["guess"])
    store.exclude([gone])
    again = doubtful(guessing)
    assert gone not in {one["id"] for one in again}
    assert again[0]["id"] != corrected["id"]
    assert len(doubtful(guessing, label="A")) == store.count(Query(label="A"))


def test_by_guess(guessing: TestClient):
    whole = doubtful(guessing)
    seen = {one["id"]: one["guess"] if one["is_grade"] else NO_GRADE for one in whole}
    for guess in {*seen.values()}:
        expected = [id for id, its in seen.items() if its == guess]
        shelf = guessing.get("/api/drawings", params={"guess": guess, "limit": 500}).json()
        assert ([one["id"] for one in shelf["drawings"]], shelf["total"]) == (expected, len(expected))
        listing = guessing.get("/api/drawings/ids", params={"guess": guess}).json()["drawings"]
        assert [(one["id"], one["guess"]) for one in listing] == [(id, guess) for id in expected]
    assert guessing.get("/api/drawings", params={"guess": "F"}).status_code == 422


def test_by_disagreement_needs_a_model(without_model: TestClient):
    answer = without_model.get("/api/drawings", params={"by": "disagreement"})
    assert answer.status_code == 503
    assert "gradejax.main" in answer.json()["detail"]
