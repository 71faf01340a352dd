"""Serves the pages: draw, guess, browse, models.

    python -m gradejax.web
    python -m gradejax.web --host=0.0.0.0                # for a class: prints a code and a QR code
    python -m gradejax.web --store=mongodb://localhost/tbs --workdir=runs/best

On any address but loopback, visitors need an access code; without --access-code one is generated. A code in the
environment variable GRADEJAX_ACCESS_CODE does not show in the machine's list of processes.
"""

import gc
import os
import sys
from contextlib import closing
from functools import partial
from io import StringIO
from urllib.parse import quote

from absl import flags

from gradejax import cli, interrupted
from gradejax.errors import UserError
from gradejax.stores import Store, open_store, store_uri
from gradejax.web.access import Access, new_code

try:
    import segno
    import uvicorn

    from gradejax.web.addresses import listen, url_of
    from gradejax.web.app import create_app
    from gradejax.web.connections import Connection
    from gradejax.web.crowd import Crowd
    from gradejax.web.guard import is_loopback
    from gradejax.web.model import Model
    from gradejax.web.sessions import sessions_file
    from gradejax.web.shutdown import GRACE_SECONDS, Server
except ModuleNotFoundError as error:
    sys.exit(f"error: the pages need {error.name}: pip install 'gradejax[web]'")

try:
    import resource
except ModuleNotFoundError:  # on Windows, which does not limit the number of connections
    resource = None

_MAX_FILES = 8192
_MAX_CONNECTIONS = 6144
"""Leaves some of the files for the store, and for pages being read."""

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)
cli.define_workdir(_FLAGS, "The run whose model guesses; by default the one chosen on the pages, else the best.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for the whole network.", flag_values=_FLAGS)
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any free one.", 0, 65535, flag_values=_FLAGS)
flags.DEFINE_string(
    "access-code", None, "Code that visitors must enter; generated if needed and not given.", flag_values=_FLAGS
)


def main(arguments: list[str]) -> None:
    """Serves until it is interrupted."""
    if arguments:
        raise UserError(f"unexpected {arguments[0]!r}; python -m gradejax.web --help shows the flags")
    chosen = _FLAGS["access-code"].value or os.environ.get("GRADEJAX_ACCESS_CODE")
    code = chosen or (None if is_loopback(_FLAGS.host) else new_code())
    uri = store_uri(_FLAGS.store)
    # No patience: a page waits by itself, and tells the visitor meanwhile.
    with closing(open_store(uri, patience=0)) as store:
        _serve(store, uri, Access(code, sessions_file(uri)) if code else None, code)


def _serve(store: Store, uri: str, access: Access | None, code: str | None) -> None:
    model = Model(cli.workdir(_FLAGS))
    listeners = listen(_FLAGS.host, _FLAGS.port)
    try:
        model.get()
    except UserError:
        if _FLAGS.workdir:
            raise
    config = uvicorn.Config(
        create_app(store, model=model, access=access, uri=uri),
        http=partial(Connection, crowd=Crowd(_raise_file_limit())),  # pyright: ignore[reportArgumentType]
        ws="none",
        log_config=None,  # uvicorn's needs a standard output
        log_level="error",  # uvicorn would warn about every malformed request
        access_log=False,
        server_header=False,
        proxy_headers=False,  # a forged X-Forwarded-For would evade the limit on wrong codes
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _welcome(url_of(_FLAGS.host, listeners), code)
    gc.freeze()  # else each full collection walks through all of JAX: 100 ms in which nobody is answered
    # How long a thread that decodes pictures waits for the GIL while requests are read.
    sys.setswitchinterval(0.0005)
    try:
        Server(config).run(sockets=listeners)
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


def _welcome(url: str, code: str | None) -> None:
    print(f"gradejax is at {url}", flush=True)
    if code:
        # The part after # stays in the browser: no server or log sees it.
        invitation = f"{url}#code={quote(code, safe='')}"
        print(f"access code: {code}\n{invitation}\n", flush=True)
        qr_code = StringIO()
        # In block characters if the terminal's encoding has them, else in background colours.
        segno.make(invitation, error="m").terminal(qr_code, compact=_can_print("▀▄█"))
        print(qr_code.getvalue(), end="", flush=True)


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


if __name__ == "__main__":
    cli.run(main, _FLAGS)
