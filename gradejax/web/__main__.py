"""Serves the pages: draw, guess, browse.

    python -m gradejax.web
    python -m gradejax.web --host=0.0.0.0                # for a class: prints a code and a QR code
    python -m gradejax.web --store=mongodb://localhost/tbs --workdir=runs/best

On another address than loopback an access code is asked for; without --access-code one is made.
"""

import errno
import gc
import os
import socket
import sys
from pathlib import Path

from absl import flags

from gradejax import command
from gradejax.errors import UserError
from gradejax.stores import open_store, store_uri
from gradejax.web.access import Access, new_code

try:
    import segno
    import uvicorn

    from gradejax.web.app import create_app
    from gradejax.web.connections import Connection
    from gradejax.web.guard import is_loopback
    from gradejax.web.guessing import Model
    from gradejax.web.leaving import GRACE_SECONDS, Server
except ModuleNotFoundError as error:
    sys.exit(f"error: the pages need {error.name}: pip install -e '.[web]'")

try:
    import resource
except ModuleNotFoundError:  # on Windows, where nothing limits the number of connections
    resource = None

_CONNECTIONS = 8192

FLAGS = flags.FlagValues()
flags.DEFINE_string("store", None, "Address of the store, sqlite:///… or mongodb://…", flag_values=FLAGS)
flags.DEFINE_string("workdir", None, "The run whose model guesses; else the newest", flag_values=FLAGS)
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for the whole network", flag_values=FLAGS)
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any free one", 0, 65535, flag_values=FLAGS)
flags.DEFINE_string("access-code", None, "Asked for at the door; made where it is needed", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    if arguments:
        raise UserError(f"unexpected {arguments[0]!r}; python -m gradejax.web --help shows the flags")
    code = FLAGS["access-code"].value or (None if is_loopback(FLAGS.host) else new_code())
    access = Access(code) if code else None
    store = open_store(store_uri(FLAGS.store), patience=0)  # a page has its own, and knows what to say meanwhile
    model = Model(Path(FLAGS.workdir) if FLAGS.workdir else None)
    listener = _listen(FLAGS.host, FLAGS.port)
    try:
        model.get()
    except UserError:
        if FLAGS.workdir:
            raise
    app = create_app(store, model=model, access=access)
    _welcome(_address(FLAGS.host, listener.getsockname()[1]), code)
    config = uvicorn.Config(
        app,
        http=Connection,
        log_level="error",  # of each request that is none there would be a warning
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who sends X-Forwarded-For would choose the address that waits for a wrong code
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    _allow_many_connections()
    gc.freeze()  # else each full collection looks through all of JAX: 100 ms in which nobody is answered
    # How long a thread that decodes pictures waits to get Python's lock back while requests are read.
    sys.setswitchinterval(0.0005)
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        store.close()
        print("error: interrupted", file=sys.stderr, flush=True)
        os._exit(130)  # or Python would wait for threads that wait for a store that does not answer
    finally:
        store.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is taken: try another --port") from None
        reason = error.strerror.partition(" (")[0]
        raise UserError(f"cannot listen on --host={host} --port={port}: {reason}") from None


def _allow_many_connections() -> None:
    """A process may open 1,024 files at first, or fewer: a class and as many idle connections would use them up."""
    if resource is not None:
        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _CONNECTIONS if most == resource.RLIM_INFINITY else min(most, _CONNECTIONS)
        if now != resource.RLIM_INFINITY:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def _address(host: str, port: int) -> str:
    """Where others find this server: for a wildcard, the address that this machine has towards the network."""
    if host in ("0.0.0.0", "::"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))  # sends nothing; RFC 5737's example network
                host = probe.getsockname()[0]
            except OSError:
                host = socket.gethostname()
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _welcome(address: str, code: str | None) -> None:
    print(f"gradejax is at {address}", flush=True)
    if code:
        # Behind the # it stays in the browser: no server and no log sees it.
        invitation = f"{address}#code={code}"
        print(f"access code: {code}\n{invitation}\n", flush=True)
        segno.make(invitation, error="m").terminal(compact=True)
        sys.stdout.flush()


if __name__ == "__main__":
    command.run(main, FLAGS)
