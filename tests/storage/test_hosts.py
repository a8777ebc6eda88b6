"""Addresses that a URL in data may not lead to."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator_audio.storage.hosts import PrivateHostError, check_public, is_private_literal, is_public

NETWORKS = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"]
spellings = st.sampled_from([lambda n: str(n), hex, lambda n: f"0{n:o}", lambda n: str(ipaddress.IPv4Address(n))])


@given(st.sampled_from(NETWORKS).flatmap(lambda network: st.ip_addresses(network=network)))
def test_addresses_of_private_networks(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not is_public(str(address)) and is_private_literal(str(address))


@given(st.ip_addresses(v=4), spellings)
def test_an_address_is_what_it_is_however_it_is_written(address: ipaddress.IPv4Address, spelling: object) -> None:
    written = spelling(int(address))  # type: ignore[operator]
    assert socket.inet_aton(written) == address.packed
    assert is_private_literal(written) is not is_public(str(address))
    for inside in (f"::ffff:{address}", str(ipaddress.ip_address((0x2002 << 112) | (int(address) << 80)))):
        assert is_public(inside) is is_public(str(address))


def test_names_are_looked_up() -> None:
    with pytest.raises(PrivateHostError, match="private, loopback or link-local"):
        check_public("127.1")
    check_public("host-that-is-not-there.invalid")
    check_public("8.8.8.8")
    assert not is_private_literal("host-that-is-not-there.invalid")
