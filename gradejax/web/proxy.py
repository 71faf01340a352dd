"""Behind a reverse proxy: the address that visitors use, and whose word about them is taken."""

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from gradejax.errors import UserError


class PublicAddress(NamedTuple):
    """Where visitors find the pages.

    Attributes:
        origin: scheme, host and port, as browsers write them.
        path: the first page's; begins and ends with a slash.
    """

    origin: str
    path: str = "/"

    @property
    def url(self) -> str:
        """The first page's URL."""
        return self.origin + self.path


def public_address(url: str) -> PublicAddress:
    """Returns the address in `--public-url`. Raises UserError unless it is that of a page."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query or parts.fragment:
        raise UserError(f"--public-url={url} is not the address of a page: write https://school.example/gradejax/")
    # Browsers leave the usual port out of an origin.
    usual = {"http": 80, "https": 443}[parts.scheme]
    netloc = (f"[{host}]" if ":" in host else host) + ("" if port in (None, usual) else f":{port}")
    return PublicAddress(f"{parts.scheme}://{netloc}", f"{parts.path.rstrip('/')}/")


def trusted_proxies(addresses: str) -> str:
    """Returns the addresses and networks in `--trusted-proxies`; raises UserError for anything else."""
    for address in addresses.split(","):
        try:
            ipaddress.ip_network(address.strip())
        except ValueError:
            raise UserError(
                f"--trusted-proxies={addresses} holds {address.strip()!r}, which is neither an address nor a network:"
                " write 127.0.0.1,10.0.0.0/8"
            ) from None
    return addresses
