"""What the routes share: objects in the application's state, and how a route asks for one."""

from typing import Annotated, Any

from fastapi import Depends, Request

from gradejax.stores import Store
from gradejax.web.languages import LANGUAGE
from gradejax.web.workers import Workers


def from_state(name: str) -> Any:
    """Returns the dependency on `app.state.<name>`, which `create_app` sets."""

    async def dependency(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(dependency)


async def _language(request: Request) -> str:
    return request.scope[LANGUAGE]


LanguageDep = Annotated[str, Depends(_language)]
"""The language to answer in."""
StoreDep = Annotated[Store, from_state("store")]
StoreWorkersDep = Annotated[Workers, from_state("store_workers")]
"""The threads that ask the store: one that hangs holds up neither the pages nor a guess."""
