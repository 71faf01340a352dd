"""Serving the pages until somebody stops it: sockets, connections, and what the terminal says."""

import gc
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from io import StringIO
from pathlib import Path

import uvicorn

from gradejax import interrupted
from gradejax.errors import UserError
from gradejax.scales import Scale
from gradejax.stores import Store, open_store, store_uri
from gradejax.web.access import Access
from gradejax.web.addresses import listen, url_of
from gradejax.web.app import create_app
from gradejax.web.connections import Connection
from gradejax.web.crowd import Crowd
from gradejax.web.guard import is_loopback
from gradejax.web.invitation import Invitation
from gradejax.web.model import Model
from gradejax.web.proxy import PublicAddress, public_address, trusted_proxies
from gradejax.web.roles import Role
from gradejax.web.sessions import sessions_file
from gradejax.web.shutdown import GRACE_SECONDS, Server

try:
    import resource
except ModuleNotFoundError:  # on Windows, which does not limit the number of connections
    resource = None

_MAX_FILES = 8192
_MAX_CONNECTIONS = 6144
"""Leaves some of the files for the store, and for pages being read."""


def serve(
    *,
    store: str | None,
    scale: Scale | None,
    workdir: Path | None,
    host: str,
    port: int,
    pupils_code: str | None,
    teachers_code: str | None,
    public_url: str | None,
    proxies: str,
    retention: timedelta | None,
    whole_minutes: bool,
) -> None:
    """Serves the pages.

    Args:
        store: the store's address; None for the usual one.
        scale: as in `open_store`.
        workdir: the run whose model guesses; None for the newest finished one.
        host: the name or address to listen on. Unless it is loopback, everybody needs a code.
        port: 0 for any free one.
        pupils_code: None if it shall be generated, should codes be needed.
        teachers_code: likewise.
        public_url: the pages' address at a reverse proxy, whose visitors need a code; None without one.
        proxies: addresses and networks, separated by commas, whose word is taken for whom a request comes from.
        retention: the age at which drawings are erased; None keeps them.
        whole_minutes: whether the dates of drawings are kept to the minute only.

    Raises:
        UserError: if something in the arguments is wrong.
    """
    uri = store_uri(store)
    access = None
    public = None if public_url is None else public_address(public_url)
    trusted = trusted_proxies(proxies)
    if public or pupils_code is not None or teachers_code is not None or not is_loopback(host):
        access = Access(pupils_code, teachers_code, sessions_file(uri))
    # No patience: a page waits by itself, and tells the visitor meanwhile.
    with closing(open_store(uri, patience=0, scale=scale)) as opened:
        shows_teachers_code = teachers_code is None
        _serve(opened, uri, workdir, host, port, access, public, trusted, retention, whole_minutes, shows_teachers_code)


def _serve(
    store: Store,
    uri: str,
    workdir: Path | None,
    host: str,
    port: int,
    access: Access | None,
    public: PublicAddress | None,
    proxies: str,
    retention: timedelta | None,
    whole_minutes: bool,
    shows_teachers_code: bool,
) -> None:
    model = Model(workdir, lambda: store.scale)
    listeners = listen(host, port)
    try:
        model.get()
    except UserError:
        if workdir:
            raise
    here = url_of(host, listeners)
    invitation = Invitation(public.url if public else here, access.codes[Role.PUPIL] if access else None)
    app = create_app(
        store, model=model, access=access, invited=invitation, uri=uri, public=public, retention=retention,
        whole_minutes=whole_minutes,
    )  # fmt: skip
    config = uvicorn.Config(
        app,
        http=partial(Connection, crowd=Crowd(_raise_file_limit())),  # pyright: ignore[reportArgumentType]
        ws="none",
        log_config=None,  # uvicorn's needs a standard output
        log_level="error",  # uvicorn would warn about every malformed request
        access_log=False,
        server_header=False,
        proxy_headers=public is not None,
        forwarded_allow_ips=proxies,  # from elsewhere, a forged X-Forwarded-For would evade the limit on wrong codes
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _welcome(here, invitation, access, shows_teachers_code)
    gc.freeze()  # else each full collection walks through all of JAX: 100 ms in which nobody is answered
    # How long a thread that decodes pictures waits for the GIL while requests are read.
    sys.setswitchinterval(0.0005)
    try:
        Server(config, app.state.events.close_all).run(sockets=listeners)
    except KeyboardInterrupt:
        store.close()
        interrupted()  # Python's own exit would join threads that wait for a store that does not answer


def _raise_file_limit() -> int:
    """Lets the process open as many files as it may use; returns the most connections that allows."""
    if resource is None:
        return _MAX_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted * _MAX_CONNECTIONS // _MAX_FILES


def _welcome(here: str, invitation: Invitation, access: Access | None, shows_teachers_code: bool) -> None:
    print(f"gradejax is at {here}", flush=True)
    if access is None:
        return
    teachers = access.codes[Role.TEACHER] if shows_teachers_code else "the one that you chose"
    print(f"access code for pupils: {invitation.code}\nteacher's code: {teachers}", flush=True)
    qr_code = StringIO()
    # In block characters if the terminal's encoding has them, else in background colours.
    invitation.qr_code().terminal(qr_code, compact=_can_print("▀▄█"))
    print(f"for pupils' phones: {invitation.link}\n\n{qr_code.getvalue()}", end="", flush=True)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
