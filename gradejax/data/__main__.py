"""Drawings in, out, counted, made and examined.

    python -m gradejax.data import FILE|FOLDER [--tags=a,b]
        FILE is NDJSON (what mongoexport writes), JSON documents one after another or arrays of them, gzipped or not;
        - is standard input. --tags are added to each drawing's own.
        FOLDER holds PNG files and needs --tags. The grade is the name of the folder that a file lies in (A+, Aplus,
        a_plus, B-minus, …) or the file's, but for a number or a mark of a copy (A+_0017.png, Bminus (3).png). A name
        that may be a grade and may be none is refused, and so is a file that its folder disagrees with.
        A drawing that the store holds already is left as it is. Bad ones are refused with their reasons; the command
        fails where nothing could be read, and where a file broke off: what is whole is imported first.
    python -m gradejax.data export FILE [--tags=a,b]
        writes NDJSON that import reads back unchanged, drawings put aside included; FILE - is standard output.
    python -m gradejax.data backup FILE
        writes everything to a new file, also while drawings are saved: a SQLite store as another one, to be used with
        --store=sqlite:///FILE, and MongoDB as NDJSON for import. docs/backup.md says how to put it back.
    python -m gradejax.data stats
        prints how many drawings there are of each tag and grade.
    python -m gradejax.data generate N [--seed=0] [--writers=30]
        adds N drawings made by a model of the hand; the same seed and writers give the same drawings.
    python -m gradejax.data check
        lists documents that are no drawings, drawings with exactly the same ink, and blank ones; fails if it finds any,
        or damage to a SQLite file.

All take --store, the address of the drawings.
"""

from gradejax.threads import parallel_map
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, TypeVar
from unicodedata import category

from absl import flags
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from gradejax import cli
from gradejax.data import exchange, folders
from gradejax.drawings import Drawing
from gradejax.errors import BadDrawing, StoreError, UserError
from gradejax.grades import GRADES
from gradejax.ink import decode_ink
from gradejax.stores import Query, Store, open_store, store_uri
from gradejax.stores.sqlite import SqliteStore
from gradejax.hands.synthetic import write_drawings

logger = logging.getLogger("gradejax.data")

_FLAGS = flags.FlagValues()
flags.DEFINE_string("store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=_FLAGS)
flags.DEFINE_list("tags", [], "import: adds these; export: only drawings with one of these.", flag_values=_FLAGS)
flags.DEFINE_integer("seed", 0, "generate: another seed makes other drawings.", 0, flag_values=_FLAGS)
flags.DEFINE_integer("writers", 30, "generate: by how many made-up hands.", 1, flag_values=_FLAGS)

_Item = TypeVar("_Item")
_SECONDS_BETWEEN_LINES = 10.0
_MOST_TAGS = 200
"""In a table: the most used; nobody reads more, and drawing 10,000 rows takes minutes."""
_BLANK = 32  # ink nowhere above this is what compression and paper leave, not a pen


def main(arguments: list[str]) -> None:
    """Does what the first argument names; raises UserError where that is nothing, or cannot be done."""
    commands: dict[str, tuple[Callable[..., None], str, set[str]]] = {
        "import": (_import, "FILE|FOLDER", {"tags"}),
        "export": (_export, "FILE", {"tags"}),
        "backup": (_backup, "FILE", set()),
        "stats": (_stats, "", set()),
        "generate": (_generate, "N", {"seed", "writers"}),
        "check": (_check, "", set()),
    }
    name, *operands = arguments or [""]
    if name not in commands:
        raise UserError(f"say one of {', '.join(commands)}: python -m gradejax.data --help")
    run, operand, takes = commands[name]
    if len(operands) != len(operand.split()):
        raise UserError(f"write python -m gradejax.data {name} {operand}".rstrip())
    for flag in {"tags", "seed", "writers"} - takes:
        if _FLAGS[flag].present:
            raise UserError(f"{name} takes no --{flag}")
    run(*operands)


def _import(name: str) -> None:
    path, tags = Path(name), tuple(_FLAGS.tags)
    if not name:
        raise UserError("import what? The name of the file or folder is empty")
    if name == "-" and sys.stdin is None:
        raise UserError("standard input is closed")
    if name != "-" and not path.exists():
        raise UserError(f"there is no file or folder {name}")
    if name != "-" and path.is_dir() and not tags:
        raise UserError(f"say to whom the drawings in {name} belong: --tags=name,…")
    outcome = exchange.Outcome()
    with _store() as store, _progress() as progress:
        try:
            if name == "-":
                exchange.load(store, _told(exchange.from_file(sys.stdin.buffer.raw, tags)), outcome)
            elif path.is_dir():
                sources = folders.from_folder(path, tags)
                exchange.load(store, _told(progress.track(sources, description="importing")), outcome)
            else:
                with path.open("rb", buffering=0) as file:
                    size = path.stat().st_size  # 0 for a pipe
                    followed = progress.wrap_file(file, size, description="importing") if size else file
                    exchange.load(store, _told(exchange.from_file(followed, tags)), outcome)
        except OSError as error:
            raise UserError(f"{name} cannot be read: {error.strerror}") from error
        except StoreError as error:
            raise StoreError(f"{error}; imported {outcome.imported} so far, the same command goes on") from error
        except KeyboardInterrupt:
            logger.warning("imported %d so far; the same command goes on", outcome.imported)
            raise
    _tell(outcome, "standard input" if name == "-" else name)


def _tell(outcome: exchange.Outcome, name: str) -> None:
    refused = outcome.refused.total()
    for place, reason in outcome.first_refused:
        logger.warning("refused %s: %s", _shown(place), reason)
    if refused > len(outcome.first_refused):
        for reason, n in outcome.refused.most_common(20):
            logger.warning("refused %d: %s", n, reason)
    print(f"imported {outcome.imported}, already there {outcome.already_there}, refused {refused}")
    if not outcome.imported and not outcome.already_there:
        raise UserError(f"no drawing in {name}: " + ("every document was refused" if refused else "it holds none"))
    if outcome.broken_off:
        raise UserError(f"{name} is not whole, and what follows is lost: {outcome.broken_off}")


def _shown(text: str) -> str:
    """`text` that people wrote, so that it moves no cursor and is one line."""
    return "".join(ascii(c)[1:-1] if category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)


def _export(name: str) -> None:
    if not name:
        raise UserError("export to which file? Its name is empty; - is standard output")
    query = Query(tags=tuple(_FLAGS.tags), deleted=None)
    refused: Counter[str] = Counter()
    with _store() as store, _progress() as progress:
        _refuse_own_file(store, Path(name))
        total = store.count(query)
        if not total:
            raise UserError(f"no such drawings in {store.uri}: python -m gradejax.data stats lists its tags")
        drawings = store.find(query, refused=lambda _, reason: refused.update([str(reason)]))
        followed = _told(progress.track(drawings, total, description="exporting"))
        try:
            with _written_whole(name) as file:
                n = exchange.write(file, followed)
                _tell_left_out(refused)
                if not n:
                    raise UserError(f"nothing was exported: all {refused.total():,} documents are no drawings")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}") from error
    logger.info("exported %d", n)


def _backup(name: str) -> None:
    path = Path(name)
    if os.path.lexists(path):
        raise UserError(f"{name} is there already, and a backup replaces nothing: name another file")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    everything = Query(deleted=None)
    refused: Counter[str] = Counter()
    with _store() as store, _progress() as progress:
        try:
            if isinstance(store, SqliteStore):
                task = progress.add_task("copying")
                store.file.copy_to(unfinished, lambda done, total: progress.update(task, completed=done, total=total))
                with closing(open_store(f"sqlite:///{unfinished}")) as copy:
                    n = copy.count(everything)
            else:
                total = store.count(everything)
                drawings = store.find(everything, refused=lambda _, reason: refused.update([str(reason)]))
                with open(unfinished, "xb", opener=lambda file, how: os.open(file, how, 0o600)) as file:
                    n = exchange.write(file, _told(progress.track(drawings, total, description="copying")))
                    file.flush()
                    os.fsync(file.fileno())
            if not n:
                raise UserError(f"there are no drawings in {store.uri}: nothing to back up")
            unfinished.rename(path)
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                unfinished.unlink()
    _tell_left_out(refused)
    print(f"{n} drawings backed up to {name}")


def _tell_left_out(refused: Counter[str]) -> None:
    for reason, n in refused.most_common(20):
        logger.warning("left out %d that are no drawings: %s", n, reason)


def _refuse_own_file(store: Store, path: Path) -> None:
    own = store.uri.removeprefix("sqlite:///")
    if own != store.uri and any(path.resolve() == Path(own + suffix).resolve() for suffix in ("", "-wal", "-shm")):
        raise UserError(f"{path} is the store itself: export to another file")


def _stats() -> None:
    with _store() as store:
        summary, aside = store.summary(), store.count(Query(deleted=True))
        uri = store.uri
    by_tag: dict[str, Counter[str]] = {}
    overall: Counter[str] = Counter()
    for (tags, label), n in summary.items():
        label = label if label in GRADES else "other"
        overall[label] += n
        for tag in tags:
            by_tag.setdefault(tag, Counter())[label] += n
    if not summary and not aside:
        print(f"{uri} is empty: python -m gradejax.data import FILE, or generate 2250, fills it")
        return
    labels = [*GRADES, *(["other"] if overall["other"] else [])]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("tag", "total", overflow="fold", max_width=24)
    for label in labels:
        table.add_column(label, str(overall[label]), justify="right")
    table.add_column("all", str(overall.total()), justify="right")
    most_used = sorted(by_tag, key=lambda tag: by_tag[tag].total(), reverse=True)[:_MOST_TAGS]
    for tag in sorted(most_used):
        counts = by_tag[tag]
        table.add_row(Text(_shown(tag)), *(str(counts[label] or "·") for label in labels), str(counts.total()))
    # As wide as it is, also on a narrower terminal: a number cut short would be a lie.
    Console(width=200).print(table, highlight=False)
    if len(by_tag) > _MOST_TAGS:
        print(f"and {len(by_tag) - _MOST_TAGS:,} more tags that fewer drawings have")
    print(f"A drawing with several tags is in several rows, and once in the total. Put aside: {aside}")


def _generate(operand: str) -> None:
    if not operand.isdecimal() or not 0 < int(operand) <= 10**7:
        raise UserError(f"how many is {operand!r}? Write python -m gradejax.data generate 2250")
    n = int(operand)
    with _store() as store, _progress() as progress:
        drawings = write_drawings(n, seed=_FLAGS.seed, writers=_FLAGS.writers)
        added = exchange.fill(store, _told(progress.track(drawings, n, description="drawing")))
    print(f"added {added}, already there {n - added}")


def _check() -> None:
    findings: list[str] = []
    first_with: dict[bytes, str] = {}
    n: Counter[str] = Counter()

    def found(kind: str, line: str) -> None:
        n[kind] += 1
        findings.append(line)

    with _store() as store, _progress() as progress:
        if isinstance(store, SqliteStore) and (damage := store.file.damage()):
            print("\n".join(f"damaged: {line}" for line in damage))
            raise UserError(f"{store.uri} is damaged: put a backup in its place, as docs/backup.md says")
        everything = Query(deleted=None)
        drawings = store.find(everything, refused=lambda id, reason: found("bad", f"bad {_shown(id)}: {reason}"))
        followed = _told(progress.track(drawings, store.count(everything), description="checking"))
        for drawing, ink in parallel_map(_seen, followed):
            if isinstance(ink, BadDrawing):
                found("bad", f"bad {_shown(drawing.id)}: {ink}")
            elif drawing.deleted is None:
                if ink == b"":
                    found("blank", f"blank {_shown(drawing.id)}")
                elif first_with.setdefault(ink, drawing.id) != drawing.id:
                    found("duplicate", f"duplicate {_shown(drawing.id)}: the same ink as {_shown(first_with[ink])}")
        uri = store.uri
    for line in findings:
        print(line)
    if findings:
        raise UserError(f"{uri}: " + ", ".join(f"{n[kind]} {kind}" for kind in ("bad", "duplicate", "blank")))
    print(f"{uri}: nothing wrong")


def _seen(drawing: Drawing) -> bytes | BadDrawing:
    """A digest of the drawing's ink and its shape; empty where it is blank."""
    try:
        ink = decode_ink(drawing.png)
    except BadDrawing as error:
        return error
    if ink.max() <= _BLANK:
        return b""
    digest = blake2b(repr(ink.shape).encode(), digest_size=16)
    digest.update(ink)
    return digest.digest()


@contextmanager
def _store() -> Iterator[Store]:
    store = open_store(store_uri(_FLAGS.store))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere, where `_told` writes lines."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal, redirect_stdout=False) as progress:
        yield progress


def _told(items: Iterable[_Item]) -> Iterator[_Item]:
    """`items`, with a line in the log now and then where there is no bar."""
    said = time.monotonic()
    for n, item in enumerate(items):
        if not sys.stderr.isatty() and time.monotonic() - said > _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            logger.info("%d so far", n)
        yield item


@contextmanager
def _written_whole(name: str) -> Iterator[BinaryIO]:
    """The file `name` to write to, which appears under that name when it is complete; `-` is standard output."""
    path = Path(name)
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():  # a pipe or device; for a folder open() says so
        with path.open("wb") as file:
            yield file
    else:
        path = path.resolve()
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with unfinished.open("xb") as file:
                yield file
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
