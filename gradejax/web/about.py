"""Which run a recogniser is of, and how good it is, in each language."""

from gradejax.results import Result
from gradejax.web.languages import Text


def about(name: str, result: Result | None) -> Text:
    """Says what `results.sentence` does."""
    if result is None:
        return Text("server.about-unknown", name=name)
    points = 100 * result.accuracy
    if result.interval is None:
        accuracy = Text("server.accuracy", points=points)
    else:
        low, high = result.interval
        accuracy = Text("server.accuracy-between", points=points, low=100 * low, high=100 * high)
    if result.split == "writer":
        return Text("server.about-unseen", name=name, accuracy=accuracy, n=result.n_val)
    return Text("server.about-seen", name=name, accuracy=accuracy, n=result.n_val)
