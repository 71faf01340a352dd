"""Why a training failed, in the teacher's language: what ordinary use meets. All else is said as in the terminal."""

import re

from gradejax.web.languages import Text

_KNOWN = {
    r"no drawings tagged (?P<tags>.+) in (?P<store>\S+); the tags there: none": Text("server.none-tagged-or-any"),
    r"no drawings tagged (?P<tags>.+) in (?P<store>\S+); the tags there: (?P<others>.+)": Text("server.none-tagged"),
    r"no drawings in (?P<store>\S+): import some .*": Text("server.no-drawings"),
    r"all of these drawings are tagged (?P<tag>\S+), which keeps .*": Text("server.all-in-test-set"),
    r"a split by writer needs drawings by two writers or more.*": Text("server.one-writer"),
    r"no drawing of (?P<grades>.+) among the (?P<drawings>\d+) to train on: .*": Text("server.lacks-grades"),
    r"none of the (?P<drawings>\d+) drawings to validate on shows a grade: .*": Text("server.no-grade-to-validate"),
}
"""What an error of `gradejax.main` looks like → the same, in each language."""


def explained(error: str) -> Text | str:
    """Returns the error that ended a training, in each language if it is a known one."""
    for pattern, text in _KNOWN.items():
        if found := re.fullmatch(pattern, error):
            return Text(text.key, **found.groupdict())
    return error
