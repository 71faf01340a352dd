"""What pip installs: the one command, and a wheel that trains without the checkout."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

import gradejax
from gradejax.__main__ import _COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy: setuptools would reuse what earlier builds left in the checkout."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in ("gradejax", "configs"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    # The backend itself, as pip would call it, without pip's download of another setuptools.
    program = f"from setuptools import build_meta; build_meta.build_wheel({str(target)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel in it and nothing else; the libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def gradejax_command(*arguments: str, cwd: Path, path: Path = ROOT) -> subprocess.CompletedProcess:
    """Runs what the console script runs, with the package from `path`."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env=environment(path),
        capture_output=True,
        text=True,
        timeout=300,
    )


SCRIPT = "import sys; sys.argv[0] = '/usr/bin/gradejax'; from gradejax.__main__ import main; sys.exit(main())"


def environment(path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("GRADEJAX_STORE", "PYTHONSAFEPATH")}
    return kept | {"PYTHONPATH": str(path)}


class TestCommand:
    def test_help_lists_the_commands(self, tmp_path):
        done = gradejax_command("--help", cwd=tmp_path)
        assert done.returncode == 0
        assert all(f"\n    {name} " in done.stdout for name in _COMMANDS)

    def test_version(self, tmp_path):
        assert gradejax_command("--version", cwd=tmp_path).stdout == f"gradejax {gradejax.__version__}\n"

    @pytest.mark.parametrize("arguments", [(), ("trian",), ("--config=cnn",), ("evil\n\x1b[2J",)])
    def test_an_unknown_command_is_one_line(self, arguments, tmp_path):
        done = gradejax_command(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert "\x1b" not in done.stderr and "train, data" in done.stderr

    @pytest.mark.parametrize("name", ["predict", "data"])
    def test_a_command_helps_as_its_module_does(self, name, tmp_path):
        module = f"gradejax.{_COMMANDS[name][0]}"
        done = gradejax_command(name, "--help", cwd=tmp_path)
        of_module = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            cwd=tmp_path,
            env=environment(ROOT),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, of_module.stdout, of_module.stderr)
        assert f"python -m {module}" in done.stdout

    @pytest.mark.parametrize(
        ("arguments", "status", "says"),
        [
            (("predict",), 1, "which drawings?"),
            (("train", "--config=cnn", "--epochs=3"), 2, "epochs"),
            (("data", "stats", "--store=ftp://x"), 1, "sqlite:///"),
        ],
    )
    def test_mistakes_end_as_in_the_module(self, arguments, status, says, tmp_path):
        done = gradejax_command(*arguments, cwd=tmp_path)
        assert done.returncode == status
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr

    @pytest.mark.parametrize("start", [["-c", SCRIPT], ["-m", "gradejax"]])
    def test_ctrl_c_while_a_command_imports(self, start, tmp_path):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *start, "train", "--config=cnn"],
            cwd=tmp_path, env=environment(ROOT), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        for line in process.stderr:
            if line.endswith("| numpy\n") or line.rstrip().endswith(" numpy"):
                process.send_signal(signal.SIGINT)
                break
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130
        assert rest.splitlines()[-1] == "error: interrupted"
        assert "Traceback" not in rest


class TestWheel:
    def test_every_package_is_listed(self):
        listed = ConfigParser()
        listed.read(ROOT / "setup.cfg")
        folders = {path.parent.relative_to(ROOT) for path in (ROOT / "gradejax").rglob("*.py")}
        packages = {".".join(folder.parts) for folder in folders} | {"gradejax.configs"}
        assert set(listed["options"]["packages"].split()) == packages

    def test_holds_every_file_of_the_package(self, wheel):
        names = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gradejax").rglob("*") if path.is_file()}
        expected = {name for name in names if "__pycache__" not in name}
        expected |= {f"gradejax/configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
        with zipfile.ZipFile(wheel) as archive:
            held = {name for name in archive.namelist() if ".dist-info/" not in name}
            scripts = archive.read(f"gradejax-{gradejax.__version__}.dist-info/entry_points.txt").decode()
        assert held == expected
        assert "gradejax = gradejax.__main__:main" in scripts

    def test_trains_outside_the_checkout(self, installed, tmp_path):
        def command(*arguments: str) -> subprocess.CompletedProcess:
            done = gradejax_command(*arguments, cwd=tmp_path, path=installed)
            assert done.returncode == 0, done.stderr
            return done

        command("data", "generate", "75")
        small = ("--config.data.size=16", "--config.model.hidden=(64,)", "--config.model.dropout=(0.1,)")
        command("train", "--config=mlp", "--config.train.epochs=1", *small, "--workdir=run")
        assert (tmp_path / "run" / "summary.json").is_file()
        done = command("predict", "--workdir=run", str(ROOT / "tests" / "b-minus.png"))
        assert len(done.stdout.splitlines()) == 1
        where = "import gradejax, gradejax.recipe; print(gradejax.__file__, gradejax.recipe.SHIPPED['cnn'])"
        done = subprocess.run(
            [sys.executable, "-c", where], cwd=tmp_path, env=environment(installed), capture_output=True, text=True
        )
        assert done.stdout.split() == [f"{installed}/gradejax/__init__.py", f"{installed}/gradejax/configs/cnn.py"]
