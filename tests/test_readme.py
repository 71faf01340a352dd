"""The README is short, its quick blocks run in order in a copy of the project, and all links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")) + [ROOT / "experiments" / "README.md"]
BLOCK = re.compile(r"(?:<!-- (?P<why_not>.*?) -->\n)?```bash\n(?P<commands>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_it_can_be_read_in_five_minutes():
    assert len(README.split()) <= 1000


def blocks() -> list[tuple[str | None, str]]:
    """Each block's reason not to be run here, and its commands."""
    matches = [(match["why_not"], match["commands"]) for match in BLOCK.finditer(README)]
    assert len(matches) == README.count("```bash")
    return matches


def test_the_quick_blocks_do_what_they_show(tmp_path):
    for name in ("configs", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()  # the environment of the tests is used
    environment = {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    # A few drawings say as well as thousands that the commands fit together.
    quick = [re.sub(r"generate \d+", "generate 300", commands) for why_not, commands in blocks() if why_not is None]
    assert len(quick) >= 3
    for commands in quick:
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "runs" / "class" / "summary.json").exists()


def test_the_blocks_left_out_say_why():
    assert {why_not for why_not, _ in blocks()} <= {None, "takes longer", "needs a network", "runs until stopped"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    """To a file, for on the site a folder has no page, and to one that `make docs` copies."""
    (copied,) = re.findall(r"cp -R (.+) \.cache", (ROOT / "Makefile").read_text())
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = page.parent / path if path else page
        assert target.is_file(), f"{link} in {page}"
        assert target.resolve().relative_to(ROOT).parts[0] in copied.split(), f"{link} in {page}"
        if anchor:
            assert anchor in anchors(target), f"{link} in {page}"


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as repository pages and the site both make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_reference_covers_every_module():
    named = set(re.findall(r"^::: (\S+)$", "\n".join(page.read_text() for page in PAGES), re.MULTILINE))
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "gradejax").rglob("*.py")
    } - {"gradejax"}
    packages = {name for name in named if (ROOT / name.replace(".", "/")).is_dir()}
    assert {module for module in modules if module not in named and module.rpartition(".")[0] not in packages} == set()
    assert named <= modules
