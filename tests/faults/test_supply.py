"""Dependencies are declared with bounds, and nothing that gradejax reads is ever executed."""

import ast
import configparser
import json
import shutil
import subprocess
import sys
import textwrap
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from strangers import save_model

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "gradejax").rglob("*.py"))
RUN_WHAT_THEY_READ = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "torch"}


def declared() -> dict[str, list[Requirement]]:
    """The requirements in setup.cfg, by extra; the package's own under ''."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    groups = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in lines.strip().splitlines() if not line.startswith("#")]
        for extra, lines in groups.items()
    }


class RuntimeImports(ast.NodeVisitor):
    """Collects the packages that a module imports, anywhere but in `if TYPE_CHECKING`."""

    def __init__(self) -> None:
        self.packages: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.packages |= {alias.name.split(".")[0] for alias in node.names}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.packages.add(node.module.split(".")[0])


def imported(module: Path) -> set[str]:
    imports = RuntimeImports()
    imports.visit(ast.parse(module.read_text()))
    return imports.packages


def test_every_requirement_has_a_lower_bound():
    for extra, requirements in declared().items():
        for requirement in requirements:
            assert any(bound.operator in (">=", "==", "~=") for bound in requirement.specifier), (
                extra,
                str(requirement),
            )


def test_every_import_is_a_requirement_and_every_requirement_imported():
    groups = declared()
    distributions = {package: {name.lower().replace("_", "-") for name in names}
                     for package, names in packages_distributions().items()}  # fmt: skip
    core = {requirement.name.lower().replace("_", "-") for requirement in groups[""]}
    web = core | {requirement.name.lower().replace("_", "-") for requirement in groups["web"]}
    used = set()
    for module in MODULES:
        allowed = web if "web" in module.parts else core
        if "ablate" in module.parts:  # the command says how to install ray
            allowed = core | {requirement.name for requirement in groups["ray"]}
        if "notebook" in module.parts:
            allowed = core | {requirement.name for requirement in groups["notebook"]}
        if module.name == "onnx.py":
            allowed = core | {requirement.name for requirement in groups["onnx"]}
        for package in imported(module) - sys.stdlib_module_names - {"gradejax"}:
            providers = distributions[package] & allowed  # bson comes with pymongo
            assert providers, f"{module} imports {package}, which setup.cfg does not name"
            used |= providers
    # uvicorn imports two of these itself, and JAX the others.
    assert web - used <= {"httptools", "uvloop", "jaxlib", "flatbuffers"}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_executes_what_it_reads(module):
    assert not imported(module) & RUN_WHAT_THEY_READ
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "compile", "__import__", "os.system", "os.popen"), ast.unparse(node)
            assert not any(word.arg in ("allow_pickle", "shell") for word in node.keywords), ast.unparse(node)


# For a separate process, because an audit hook cannot be removed.
LOADER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    import jax
    from gradejax import recogniser
    from gradejax.errors import UserError

    jax.numpy.zeros(3).block_until_ready()
    watching, seen = False, []

    def hook(event, arguments):
        if watching and event in WATCHED:
            seen.append((event, str(arguments)[:200]))

    WATCHED = {"pickle.find_class", "marshal.loads", "os.system", "os.exec", "os.fork", "os.posix_spawn",
               "subprocess.Popen", "os.remove"}
    sys.addaudithook(hook)
    watching = True
    for workdir in sys.argv[1:]:
        try:
            recogniser.load(Path(workdir))
        except UserError as error:
            print("refused:", " ".join(str(error).split()))
        else:
            print("loaded")
    watching = False
    print("seen:", [event for event in seen if "__pycache__" not in event[1] and event[0] != "marshal.loads"])
    """
)


def load_in_a_process(*workdirs: Path) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADER, *map(str, workdirs)], capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *outcomes, seen = done.stdout.splitlines()
    return outcomes, seen


def test_a_strangers_model_runs_no_code(tmp_path):
    """Intact checkpoints of strange models, and checkpoints with a pickle in place of each file in turn."""
    marker = tmp_path / "marker"
    pickled = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()  # what pickle.loads would run
    source = f"import os; os.system('touch {marker}')"
    command = f"os.system('touch {marker}')"
    workdirs = [save_model(tmp_path / "honest")]
    strange = [
        {"model": {"name": "os.system", "command": f"touch {marker}"}},
        {"model": {"name": "__import__('os')." + command}},
        {"model": {"name": "mlp", "__class__": "os.system", "hidden": [8]}},
        {"model": {"name": "mlp", "hidden": [command], "dropout": [0.1]}},
        {"model": {"name": "mlp", "hidden": [10**9], "dropout": [0.1]}},
        {"model": {"name": "mlp", "hidden": [-1], "dropout": [0.1]}},
        {"model": {"name": ["mlp"]}},
        {"model": [command]},
        {"size": command},
        {"size": 10**9},
        {"labels": 5},
    ]
    for number, about in enumerate(strange):
        workdirs.append(save_model(tmp_path / f"strange-{number}", **about))
    files = [path for path in (tmp_path / "honest").rglob("*") if path.is_file()]
    for number, file in enumerate(files):
        workdir = shutil.copytree(tmp_path / "honest", tmp_path / f"pickle-{number}")
        (workdir / "config.json").write_text(json.dumps({"model": {"name": source}, "config": source}))
        (workdir / "config.py").write_text(source)
        (workdir / "sitecustomize.py").write_text(source)
        (workdir / file.relative_to(tmp_path / "honest")).write_bytes(pickled)
        workdirs.append(workdir)
    everywhere = shutil.copytree(tmp_path / "honest", tmp_path / "everywhere")
    for file in (path for path in everywhere.rglob("*") if path.is_file()):
        file.write_bytes(pickled)
    workdirs.append(everywhere)

    outcomes, seen = load_in_a_process(*workdirs)
    assert not marker.exists()
    assert seen == "seen: []"
    assert outcomes[0] == "loaded"
    assert all(outcome.startswith("refused: ") for outcome in outcomes[1 : len(strange) + 1]), outcomes
    assert outcomes[-1].startswith("refused: checkpoint") and "damaged" in outcomes[-1]
    assert len(outcomes) == len(workdirs)
