"""The sockets that the server listens on, and the address that others reach it at."""

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

from gradejax.errors import UserError


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens a listening socket for each address of `host`, all on the same port.

    Args:
        host: a name or an address; empty for all IPv4 addresses of this machine.
        port: 0 for any free one.

    Raises:
        UserError: if the port is taken, or `host` cannot be listened on.
    """
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    try:
        addresses = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise UserError(f"cannot listen on --host={host}: {reason}") from None
    for family, _, _, _, (address, _, *scope) in dict.fromkeys(addresses):
        dual_stack = address == "::" and socket.has_dualstack_ipv6()
        shared_port = listeners[0].getsockname()[1] if listeners else port
        try:
            listeners.append(_bind(family, (address, shared_port, *scope), dual_stack))
        except OSError as error:
            failure = error
    if failure is not None and failure.errno == errno.EADDRINUSE:
        raise UserError(f"port {port} is taken: try another --port")
    if failure is not None and not listeners:
        reason = str(failure.strerror).partition(" (")[0]
        raise UserError(f"cannot listen on --host={host} --port={port}: {reason}")
    return listeners


def url_of(host: str, listeners: list[socket.socket]) -> str:
    """Returns the URL to give to others; for a wildcard host, with this machine's address in the network."""
    address, port = listeners[0].getsockname()[:2]
    if ipaddress.ip_address(address).is_unspecified:
        reachable = (own for own in _own_addresses() if _answers(own, port))
        host = next(reachable, socket.gethostname())
    # RFC 6874: %25 separates an address from its zone.
    return f"http://[{host.replace('%', '%25')}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _bind(family: int, address: tuple, dual_stack: bool) -> socket.socket:
    # Not socket.create_server, which would drop an IPv6 address's zone.
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let another program share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual_stack)
        listener.bind(address)
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _own_addresses() -> Iterator[str]:
    # Connecting a datagram socket sends nothing; RFC 5737 and RFC 3849 reserve these addresses for examples.
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
