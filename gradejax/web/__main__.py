"""Serves the pages: draw, guess, browse.

    python -m gradejax.web
    python -m gradejax.web --host=0.0.0.0                # for a class: prints a code and a QR code
    python -m gradejax.web --store=mongodb://localhost/tbs --workdir=runs/best

On another address than loopback an access code is asked for; without --access-code one is made. A code in the
environment, GRADEJAX_ACCESS_CODE, is seen by nobody who lists the machine's processes.
"""

import errno
import gc
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from absl import flags

from gradejax import cli, interrupted
from gradejax.errors import UserError
from gradejax.stores import Store, open_store, store_uri
from gradejax.web.access import Access, new_code

try:
    import segno
    import uvicorn

    from gradejax.web.app import create_app
    from gradejax.web.connections import Connection
    from gradejax.web.crowd import Crowd
    from gradejax.web.guard import is_loopback
    from gradejax.web.guessing import Model
    from gradejax.web.leaving import GRACE_SECONDS, Server
    from gradejax.web.sessions import sessions_file
except ModuleNotFoundError as error:
    sys.exit(f"error: the pages need {error.name}: pip install -e '.[web]'")

try:
    import resource
except ModuleNotFoundError:  # on Windows, where nothing limits the number of connections
    resource = None

_FILES = 8192
_CONNECTIONS = 6144
"""The rest of the files is for the store and for what is being read."""

FLAGS = flags.FlagValues()
flags.DEFINE_string("store", None, "Address of the store, sqlite:///… or mongodb://…", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "The run whose model guesses; else the newest", flag_values=FLAGS)
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for the whole network", flag_values=FLAGS)
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any free one", 0, 65535, flag_values=FLAGS)
flags.DEFINE_string("access-code", None, "Asked for at the door; made where it is needed", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected {arguments[0]!r}; python -m gradejax.web --help shows the flags")
    given = FLAGS["access-code"].value or os.environ.get("GRADEJAX_ACCESS_CODE")
    code = given or (None if is_loopback(FLAGS.host) else new_code())
    uri = store_uri(FLAGS.store)
    # A page has its own patience, and knows what to say meanwhile.
    with closing(open_store(uri, patience=0)) as store:
        _serve(store, Access(code, sessions_file(uri)) if code else None, code)


def _serve(store: Store, access: Access | None, code: str | None) -> None:
    model = Model(Path(FLAGS.workdir) if FLAGS.workdir else None)
    listeners = _listen(FLAGS.host, FLAGS.port)
    try:
        model.get()
    except UserError:
        if FLAGS.workdir:
            raise
    app = create_app(store, model=model, access=access)
    config = uvicorn.Config(
        app,
        http=partial(Connection, crowd=Crowd(_allow_connections())),
        ws="none",
        log_config=None,  # the command's own; uvicorn's needs a standard output
        log_level="error",  # of each request that is none there would be a warning
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who sends X-Forwarded-For would choose the address that wrong codes are counted for
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    try:
        _welcome(_address(FLAGS.host, listeners), code)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot print the address and the code: {error.strerror}") from None
    gc.freeze()  # else each full collection looks through all of JAX: 100 ms in which nobody is answered
    # How long a thread that decodes pictures waits to get Python's lock back while requests are read.
    sys.setswitchinterval(0.0005)
    try:
        Server(config).run(sockets=listeners)
    except KeyboardInterrupt:
        store.close()
        interrupted()  # Python's own end would wait for threads that wait for a store that does not answer


def _listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each address that `host` stands for, all on the same port."""
    listeners: list[socket.socket] = []
    refusal: OSError | None = None
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host's name"
        raise UserError(f"cannot listen on --host={host}: {reason}") from None
    for family, _, _, _, (address, _, *scope) in dict.fromkeys(found):
        both = address == "::" and socket.has_dualstack_ipv6()
        try:
            listener = _bound(family, (address, listeners[0].getsockname()[1] if listeners else port, *scope), both)
        except OSError as error:
            refusal = error
        else:
            listeners.append(listener)
    if not listeners or (refusal is not None and refusal.errno == errno.EADDRINUSE):
        if refusal.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken: try another --port")
        reason = refusal.strerror.partition(" (")[0]
        raise UserError(f"cannot listen on --host={host} --port={port}: {reason}")
    return listeners


def _bound(family: int, address: tuple, both: bool) -> socket.socket:
    # Not socket.create_server, which would lose an IPv6 address's zone.
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _allow_connections() -> int:
    """How many connections there may be; where a process may open fewer files, as many files as that needs."""
    if resource is None:
        return _CONNECTIONS
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(most, _FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    return wanted * _CONNECTIONS // _FILES


def _address(host: str, listeners: list[socket.socket]) -> str:
    """Where others find this server: for a wildcard, the address that this machine has towards the network."""
    listener = listeners[0]
    bound, port = listener.getsockname()[:2]
    if ipaddress.ip_address(bound).is_unspecified:
        host = next(filter(lambda one: _answers(one, port), _own_addresses()), socket.gethostname())
    # RFC 6874: the zone of an address follows %25.
    return f"http://[{host.replace('%', '%25')}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _own_addresses() -> Iterator[str]:
    # Connecting sends nothing here; these are the networks that RFC 5737 and 3849 keep for examples.
    for family, outside in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((outside, 9))
            yield probe.getsockname()[0]


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def _welcome(address: str, code: str | None) -> None:
    if code and sys.stdout is None:
        raise UserError("standard output is closed, so nobody would see the access code")
    print(_printable(f"gradejax is at {address}"), flush=True)
    if code:
        # Behind the # it stays in the browser: no server and no log sees it.
        invitation = f"{address}#code={quote(code, safe='')}"
        print(_printable(f"access code: {code}\n{invitation}\n"), flush=True)
        picture = StringIO()
        # In blocks where the terminal's encoding has them, else in the colours of its ground.
        segno.make(invitation, error="m").terminal(picture, compact=_printable("▀▄█") == "▀▄█")
        print(picture.getvalue(), end="", flush=True)


def _printable(text: str) -> str:
    """`text` with a question mark for each character that standard output's encoding does not have."""
    encoding = (sys.stdout and sys.stdout.encoding) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


if __name__ == "__main__":
    cli.run(main, FLAGS)
