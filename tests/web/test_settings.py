"""A class's settings, in their file: kept for the next start, whatever has become of the file."""

import json
from pathlib import Path

import pytest

from gradejax.web.settings import ClassSettings, Settings, settings_file

CHANGES = {"tags": ("7b", "8c"), "free_tags": True, "renamed": {"7x": "7b"}, "paused": True}


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/grades.db"


def test_settings_survive_a_restart(uri: str, tmp_path: Path):
    assert Settings(uri).now == ClassSettings()
    Settings(uri).change(**CHANGES)
    assert Settings(uri).now == ClassSettings(**CHANGES)
    (file,) = tmp_path.iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("grades.db-settings.json", 0o600)
    Settings(uri).change(paused=False)
    assert Settings(uri).now == ClassSettings(**CHANGES | {"paused": False})


def test_classes_in_mongodb_have_settings_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    Settings("mongodb://localhost/one").change(paused=True)
    assert Settings("mongodb://localhost/one").now.paused
    assert not Settings("mongodb://localhost/other").now.paused


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"tags": "7b"}', b'{"tags": [""]}', b'{"paused": 1}', b'{"renamed": {"a": 1}}'],
)
def test_a_damaged_file_counts_as_none_and_the_log_says_so_once(
    uri: str, content: bytes, caplog: pytest.LogCaptureFixture
):
    file = settings_file(uri)
    file.write_bytes(content)
    settings = Settings(uri)
    assert settings.now == ClassSettings()
    assert len(caplog.messages) == 1 and f"{file} is damaged" in caplog.text
    settings.change(tags=("7b",))
    assert Settings(uri).now.tags == ("7b",)


def test_a_huge_file_is_not_read(uri: str, caplog: pytest.LogCaptureFixture):
    settings_file(uri).write_text(json.dumps({"paused": True}) + " " * 2**21)
    assert not Settings(uri).now.paused
    assert "damaged" in caplog.text


def test_a_collection_that_an_earlier_version_paused_is_paused(uri: str, tmp_path: Path):
    (tmp_path / "grades.db-paused").touch()
    settings = Settings(uri)
    assert settings.now.paused
    settings.change(paused=False)
    assert not Settings(uri).now.paused  # only once


def test_without_a_folder_to_write_to_settings_last_until_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "occupied").touch()
    settings = Settings(f"sqlite:///{tmp_path}/occupied/grades.db")
    settings.change(paused=True)
    assert settings.now.paused
    assert "occupied/grades.db-settings.json" in caplog.text
