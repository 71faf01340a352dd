"""`python -m gradejax.data stats`: how many drawings there are of each tag and grade."""

from collections import Counter
from contextlib import closing

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradejax.drawings import printable
from gradejax.progress import progress
from gradejax.scales import NO_GRADE, Scale
from gradejax.stores import Query, open_store

_MOST_TAGS = 200  # a table of 10,000 rows takes minutes, and nobody reads it
_CONSOLE_WIDTH = 200  # even on a narrower terminal: a truncated number would be wrong


def print_stats(uri: str, scale: Scale | None = None) -> None:
    """Prints a table of the drawings in the store at `uri`; `scale` as in `open_store`."""
    with closing(open_store(uri, scale=scale)) as store, progress("counting", None):
        summary, excluded = store.summary(), store.count(Query(deleted=True))
        uri, scale = store.uri, store.scale
    by_tag: dict[str, Counter[str]] = {}
    overall: Counter[str] = Counter()
    for (tags, label), n in summary.items():
        label = label if label in scale.all_labels else "other"
        overall[label] += n
        for tag in tags:
            by_tag.setdefault(tag, Counter())[label] += n
    if not summary and not excluded:
        print(f"{uri} is empty: python -m gradejax.data import FILE, or generate 2250, fills it")
        return
    Console(width=_CONSOLE_WIDTH).print(_table(by_tag, overall, scale), highlight=False)
    if len(by_tag) > _MOST_TAGS:
        print(f"and {len(by_tag) - _MOST_TAGS:,} more tags with fewer drawings")
    print(f"A drawing with several tags counts in several rows, and once in the total. Excluded: {excluded}")


def _table(by_tag: dict[str, Counter[str]], overall: Counter[str], scale: Scale) -> Table:
    labels = [*scale.labels, *(label for label in (NO_GRADE, "other") if overall[label])]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("tag", "total", overflow="fold", max_width=24)
    for label in labels:
        table.add_column(label, str(overall[label]), justify="right")
    table.add_column("all", str(overall.total()), justify="right")
    most_used = sorted(by_tag, key=lambda tag: by_tag[tag].total(), reverse=True)[:_MOST_TAGS]
    for tag in sorted(most_used):
        counts = by_tag[tag]
        table.add_row(Text(printable(tag)), *(str(counts[label] or "·") for label in labels), str(counts.total()))
    return table
