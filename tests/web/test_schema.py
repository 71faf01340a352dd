"""The API against its own schema: no request that schemathesis generates may break or contradict it."""

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store
from gradejax.web.app import create_app
from gradejax.web.model import Model

OPERATIONS = [
    "POST /api/drawings",
    "POST /api/drawings/take-back",
    "POST /api/guess",
    "GET /api/status",
    "GET /api/drawings",
    "GET /api/drawings/ids",
    "GET /api/picture",
    "POST /api/drawings/relabel",
    "POST /api/drawings/put-aside",
    "POST /api/drawings/restore",
    "POST /api/drawings/erase",
    "POST /api/mine",
    "POST /api/mine/erase",
    "POST /api/drawings/hold",
    "GET /api/counts",
    "GET /api/export",
    "GET /api/invitation",
    "GET /api/invitation.svg",
    "GET /api/models",
    "GET /api/models/run",
    "GET /api/models/export",
    "POST /api/models/use",
    "POST /api/models/test",
    "GET /api/models/training",
    "POST /api/models/training",
    "POST /api/models/training/cancel",
    "GET /api/tags",
    "POST /api/tags",
    "POST /api/tags/rename",
    "POST /api/tags/undo",
    "POST /api/scale",
    "POST /api/collection",  # last: while it is paused, nothing is saved
]
WITHOUT_INPUT = [
    *(f"GET /api/{name}" for name in ("status", "counts", "invitation", "invitation.svg", "tags")),
    *("GET /api/models", "GET /api/models/training", "POST /api/models/training/cancel"),
]
NOT_TRIED = [(label, GenerationMode.NEGATIVE) for label in WITHOUT_INPUT]
NOT_TRIED += [("POST /api/models/training", GenerationMode.POSITIVE)]  # each would begin a training
# A schema says "a PNG as base64" or "an existing id" only in words: requests may match it and still be refused.
LEFT_OUT = [positive_data_acceptance]

is_valid = partial(jsonschema_rs.is_valid, validate_formats=True)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Iterator[schemathesis.BaseSchema]:
    folder = tmp_path_factory.mktemp("schema")
    store = open_store(f"sqlite:///{folder}/grades.db")
    store.add(write_drawings(15, seed=3))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)  # what is erased and trained must not be the developer's
        app = create_app(store, model=Model(run))
        yield schemathesis.openapi.from_asgi("/openapi.json", app, headers={"Host": "localhost"})
    store.close()


def test_every_operation_is_tried(api: schemathesis.BaseSchema):
    assert {operation.ok().label for operation in api.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("label", "mode"),
    [(label, mode) for label in OPERATIONS for mode in GenerationMode if (label, mode) not in NOT_TRIED],
)
def test_every_answer_is_as_the_schema_says(api: schemathesis.BaseSchema, label: str, mode: GenerationMode):
    operation = next(one.ok() for one in api.get_all_operations() if one.ok().label == label)

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(case: schemathesis.Case) -> None:
        response = case.call(headers={"Host": "localhost"})
        # A body over the limit is refused before it is compared with the schema.
        may_be_valid = response.status_code == 413 or is_valid_as_sent(operation, response.request.url)
        case.validate_response(response, excluded_checks=LEFT_OUT + [negative_data_rejection] * may_be_valid)

    check()


def is_valid_as_sent(operation: schemathesis.APIOperation, url: str) -> bool:
    """Whether what an address asks is as the schema says. In an address all is text: the number 8 becomes a tag there,
    and one tag a list."""
    asked = parse_qs(urlsplit(url).query, keep_blank_values=True)
    parameters = {one["name"]: one["schema"] for one in operation.definition.raw.get("parameters", [])}
    return bool(asked) and all(
        name in parameters and any(is_valid(parameters[name], value) for value in readings(texts))
        for name, texts in asked.items()
    )


def readings(texts: list[str]) -> Iterator[object]:
    """What the values of a parameter may mean: several of them only a list."""
    yield texts
    if len(texts) == 1:
        yield texts[0]
        with suppress(ValueError):
            yield json.loads(texts[0])  # a number, true or false
