"""Which hosts a URL that stands in data may lead to."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from typing import Any

NAT64 = ipaddress.ip_network("64:ff9b::/96")
REFUSED = "its address is a private, loopback or link-local one"


class PrivateHostError(OSError):
    """A host has an address that is not a public one."""

    def __init__(self) -> None:
        super().__init__(REFUSED)  # the same for all addresses of a host, so that aiohttp passes it on as it is


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet.

    Example:
        >>> [is_public(a) for a in ("93.184.215.14", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1")]
        [True, False, False, False, False]
    """
    ip: Any = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 6:
        in_nat64 = ipaddress.ip_address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or in_nat64 or ip
    return bool(ip.is_global) and not ip.is_multicast


def is_private_literal(host: str) -> bool:
    """Whether a host is written as an address that is not public, in any of the spellings that connecting accepts.

    Example:
        >>> [is_private_literal(host) for host in ("127.0.0.1", "2130706433", "0x7f.1", "localhost", "8.8.8.8")]
        [True, True, True, True, False]
    """
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with suppress(ValueError):
        return not is_public(host)
    with suppress(OSError, UnicodeEncodeError):  # decimal, hexadecimal, octal and shortened forms
        return not is_public(socket.inet_ntoa(socket.inet_aton(host)))
    return False


def check_public(host: str) -> None:
    """Check the addresses of a host; one that is not known passes, as nothing can connect to it.

    Raises:
        PrivateHostError: one of them is not public.
    """
    with suppress(socket.gaierror, UnicodeError):
        if not all(is_public(str(found[4][0])) for found in socket.getaddrinfo(host, None)):
            raise PrivateHostError


async def public_client(**arguments: Any) -> Any:
    """A client of aiohttp that connects to public addresses only.

    The address is looked at when a connection is made: after the name was resolved, and for every redirect.
    """
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_public_socket), **arguments)


def _public_socket(address_info: Any) -> socket.socket:
    family, kind, protocol, _, address = address_info
    if not is_public(str(address[0])):
        raise PrivateHostError
    return socket.socket(family, kind, protocol)
