"""Drawings in and out of a store, counted, generated, checked, audited and erased.

    python -m gradejax.data import FILE|FOLDER [--tags=a,b] [--as-no-grade]
        FILE is NDJSON (what mongoexport writes), JSON documents one after another or arrays of them, gzipped or not;
        - is standard input. --tags are added to each drawing's own. With --as-no-grade drawings of anything else, such
        as F or 7+, become drawings of no grade: training teaches the model to reject such drawings.
        FOLDER holds PNG files and needs --tags. The grade is the name of the file's folder (A+, Aplus, a_plus,
        B-minus, …, no grade) or of the file, apart from a number or a copy mark (A+_0017.png, Bminus (3).png). A file
        is refused if its name is ambiguous, or its folder's name disagrees.
        Drawings that the store already holds stay as they are. Bad ones are refused with their reasons. The command
        fails if it could read nothing, or if a file is truncated; what comes before is imported.
    python -m gradejax.data export FILE [--tags=a,b]
        writes NDJSON that import reads back unchanged, excluded drawings too; FILE - is standard output.
    python -m gradejax.data backup FILE
        writes everything to a new file, even while drawings are saved: from SQLite another store, for
        --store=sqlite:///FILE; from MongoDB NDJSON, for import. docs/backup.md says how to restore it.
    python -m gradejax.data stats
        prints how many drawings there are of each tag and grade.
    python -m gradejax.data generate N [--seed=0] [--writers=30]
        adds N synthetic drawings; the same seed and writers make the same drawings.
    python -m gradejax.data check
        lists invalid documents, drawings with exactly the same ink, and blank ones; fails if there are any, or if a
        SQLite file is damaged.
    python -m gradejax.data audit [--tags=a,b] [--out=FILE]
        looks for wrong labels with five networks, each of which reads the drawings of writers that it was not trained
        on; also for near-duplicates and for drawings that look like another writer's. It prints the most suspect, draws
        them in FILE's .png (audit.png without --out), and writes NDJSON to FILE, most suspect first: _id, label, guess,
        score. About a minute for 2,000 drawings on two cores.
    python -m gradejax.data relabel FILE
        reads back what audit wrote: a drawing whose label still is label gets guess, and keeps the earlier one in its
        history. Look at the drawings first, and delete the lines that you disagree with.
    python -m gradejax.data erase --writer=NAME | --tags=a,b | --before=YYYY-MM-DD [--dry-run] [--yes]
        erases drawings for good, excluded ones too: from the store, from caches, and from the lists and pictures of
        runs in this folder. Several filters together select what matches all of them. It asks twice, unless --yes says
        that you are sure; --dry-run only counts. It prints what it cannot reach; docs/privacy.md says more.

All take --store, the address of the drawings. import, stats, generate, check and audit take --scale, the scale of the
grades, which the store keeps: letters (the default), us, german, french, spanish, swiss, danish, ib, or labels of your
own, such as poor,fair,good. A store whose drawings have other labels is left as it is.
"""

from absl import flags

from gradejax import cli
from gradejax.data.backup import back_up
from gradejax.data.check import check
from gradejax.data.erasing import erase
from gradejax.data.exporting import export_drawings
from gradejax.data.generate import generate
from gradejax.data.importing import import_drawings
from gradejax.data.relabel import relabel
from gradejax.data.stats import print_stats
from gradejax.errors import UserError
from gradejax.stores import store_uri

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)
cli.define_scale(_FLAGS)
flags.DEFINE_list(
    "tags", [], "import: adds these; export, audit, erase: only drawings with one of these.", flag_values=_FLAGS
)
flags.DEFINE_integer("seed", 0, "generate: another seed makes other drawings.", 0, flag_values=_FLAGS)
flags.DEFINE_integer("writers", 30, "generate: how many synthetic writers.", 1, flag_values=_FLAGS)
flags.DEFINE_bool(
    "as-no-grade", False, "import: takes drawings of anything else as drawings of no grade.", flag_values=_FLAGS
)
flags.DEFINE_string("out", "", "audit: the NDJSON file for relabel.", flag_values=_FLAGS)
flags.DEFINE_string("writer", "", "erase: drawings by this writer.", flag_values=_FLAGS)
flags.DEFINE_string("before", "", "erase: drawings made before this day (UTC), YYYY-MM-DD.", flag_values=_FLAGS)
flags.DEFINE_bool("dry-run", False, "erase: only counts.", flag_values=_FLAGS)
flags.DEFINE_bool("yes", False, "erase: does not ask.", flag_values=_FLAGS)

# Each command's operands and the flags it takes besides --store.
_COMMANDS: dict[str, tuple[str, set[str]]] = {
    "import": ("FILE|FOLDER", {"tags", "scale", "as-no-grade"}),
    "export": ("FILE", {"tags"}),
    "backup": ("FILE", set()),
    "stats": ("", {"scale"}),
    "generate": ("N", {"scale", "seed", "writers"}),
    "check": ("", {"scale"}),
    "audit": ("", {"tags", "scale", "out"}),
    "relabel": ("FILE", set()),
    "erase": ("", {"writer", "tags", "before", "dry-run", "yes"}),
}


def main(arguments: list[str]) -> None:
    """Runs the command that the first argument names."""
    name, *operands = arguments or [""]
    if name not in _COMMANDS:
        raise UserError(f"choose one of {', '.join(_COMMANDS)}: python -m gradejax.data --help")
    operand, allowed = _COMMANDS[name]
    if len(operands) != len(operand.split()):
        raise UserError(f"write python -m gradejax.data {name} {operand}".rstrip())
    for flag in set().union(*(taken for _, taken in _COMMANDS.values())) - allowed:
        if _FLAGS[flag].present:
            raise UserError(f"{name} takes no --{flag}")
    uri, tags, scale = store_uri(_FLAGS.store), tuple(_FLAGS.tags), cli.scale(_FLAGS)
    match arguments:
        case ["import", source]:
            import_drawings(uri, source, tags, scale=scale, as_no_grade=bool(_FLAGS["as-no-grade"].value))
        case ["export", target]:
            export_drawings(uri, target, tags)
        case ["backup", target]:
            back_up(uri, target)
        case ["stats"]:
            print_stats(uri, scale)
        case ["generate", count]:
            generate(uri, count, _FLAGS.seed, _FLAGS.writers, scale)
        case ["check"]:
            check(uri, scale)
        case ["audit"]:
            with cli.importing():
                from gradejax.data.audit import audit  # imports JAX, which the other commands need not wait for
            audit(uri, tags, _FLAGS.out, scale)
        case ["relabel", source]:
            relabel(uri, source)
        case ["erase"]:
            dry_run, sure = bool(_FLAGS["dry-run"].value), bool(_FLAGS.yes)
            erase(uri, _FLAGS.writer, tags, _FLAGS.before, dry_run=dry_run, sure=sure)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
