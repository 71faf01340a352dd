"""The README's blocks can be pasted: those that take less than a minute are run, in order, in a copy of the project."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"(?:<!-- (?P<why_not>.*?) -->\n)?```bash\n(?P<commands>.*?)```", re.DOTALL)


def blocks() -> list[tuple[str | None, str]]:
    found = [(match["why_not"], match["commands"]) for match in BLOCK.finditer((ROOT / "README.md").read_text())]
    assert len(found) == (ROOT / "README.md").read_text().count("```bash")
    return found


def test_the_quick_blocks_do_what_they_show(tmp_path):
    for name in ("configs", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    environment = {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    run = [commands for why_not, commands in blocks() if why_not is None]
    assert len(run) >= 3
    for commands in run:
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "runs" / "class" / "summary.json").exists()


def test_the_blocks_left_out_say_why():
    assert {why_not for why_not, _ in blocks()} <= {None, "takes longer", "needs a server", "runs until stopped"}


def test_every_file_named_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert not missing
