"""ES modules as one script: a page that is opened from a disk cannot load any, for a file has no origin."""

import re
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from importlib.resources import files
from importlib.resources.abc import Traversable

_IMPORT = re.compile(r'^import (?:\{ (?P<names>[\w, ]+) \}|(?P<default>\w+)) from "\./(?P<file>[\w./-]+)";\n', re.M)
_EXPORT = re.compile(r"^export (?=(?:const|function|class) (\w+))", re.M)
_DEFAULT = re.compile(r"export\s*\{\s*(\w+) as default\s*\};?")


PAGES = files("gradejax.web").joinpath("static")
"""The files of the server's pages."""


def reader(own: Traversable) -> Callable[[str], str]:
    """Returns the function that reads the text of a file in the folder `own`, else of that name among `PAGES`."""

    def read(name: str) -> str:
        file = own / name
        return (file if file.is_file() else PAGES / name).read_text("utf-8")

    return read


def as_one(read: Callable[[str], str], main: str) -> str:
    """Joins modules to one: each becomes a function that is called once, those that it imports before it.

    It knows the ways to import and export that the modules of gradejax use.

    Args:
        read: returns the source of a file.
        main: the file of the module that imports the others.
    """
    sources: dict[str, str] = {}
    imported: dict[str, list[str]] = {}
    waiting = [main]
    while waiting:
        file = waiting.pop()
        sources[file] = read(file)
        imported[file] = [each["file"] for each in _IMPORT.finditer(sources[file])]
        waiting += [each for each in imported[file] if each not in sources]
    return "".join(_called(file, sources[file]) for file in TopologicalSorter(imported).static_order())


def _called(file: str, source: str) -> str:
    source = _IMPORT.sub(lambda each: f"const {_pattern(each)} = {_name(each['file'])};\n", source)
    return f"const {_name(file)} = (() => {{\n{_without_exports(source)}\n}})();\n"


def _pattern(found: re.Match[str]) -> str:
    return f"{{ {found['names']} }}" if found["names"] else f"{{ default: {found['default']} }}"


def _without_exports(source: str) -> str:
    return f"{_DEFAULT.sub('', _EXPORT.sub('', source)).rstrip()}\nreturn {{ {', '.join(_exported(source))} }};"


def _exported(source: str) -> Iterator[str]:
    yield from _EXPORT.findall(source)
    yield from (f"default: {name}" for name in _DEFAULT.findall(source))


def _name(file: str) -> str:
    return "$" + re.sub(r"\W", "_", file.removesuffix(".js"))
