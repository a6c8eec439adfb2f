"""Lists of addresses: as they are kept, and who is in them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from techstone.core.networks import NetworkInvalid, Networks, compile_list, normalise


@pytest.mark.parametrize(
    ("entries", "kept"),
    [
        (("192.0.2.1",), ("192.0.2.1",)),
        (("192.0.2.1/32", " 192.0.2.1 "), ("192.0.2.1",)),
        (("192.0.2.77/24",), ("192.0.2.0/24",)),
        (("192.0.2.0/255.255.255.0",), ("192.0.2.0/24",)),
        (("2001:DB8:0::/32", "2001:db8::1"), ("2001:db8::/32", "2001:db8::1")),
        (("::ffff:192.0.2.1", "::ffff:192.0.2.0/120"), ("192.0.2.1", "192.0.2.0/24")),
        (("0.0.0.0/0", "::/0"), ("0.0.0.0/0", "::/0")),
    ],
)
def test_entry_is_kept_in_one_form(entries: tuple[str, ...], kept: tuple[str, ...]) -> None:
    """By its first address; each once; an IPv4 address is one, however it is written."""
    assert normalise(entries) == kept
    assert normalise(kept) == kept


@pytest.mark.parametrize(
    "entry", ["", "ann", "192.0.2.256", "192.0.2.0/33", "192.0.2", "2001:db8::/129", "1", "*", "::g"]
)
def test_what_is_no_network_is_told_by_its_place(entry: str) -> None:
    """Counted from 0; and in a list to be asked it admits nobody."""
    with pytest.raises(NetworkInvalid) as caught:
        normalise(("192.0.2.1", entry))
    assert caught.value.place == 1
    assert compile_list((entry,)) == Networks((), ())


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.9", True),
        ("::192.0.2.9", False),
        ("2001:db8:ffff::", True),
        ("2001:db9::", False),
        ("10.1.1.1", True),
        ("10.1.1.2", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("unix", False),
    ],
)
def test_address_is_looked_for_in_every_network(address: str, *, admitted: bool) -> None:
    """Of its own version; an IPv4 address in an IPv6 socket's form is looked for among those of IPv4."""
    assert compile_list(("192.0.2.0/24", "2001:db8::/32", "10.1.1.1")).admit(address) == admitted


def test_everybody_is_who_has_an_address() -> None:
    """Of the version that is named; what is no address is in no network, however wide."""
    assert compile_list(("0.0.0.0/0",)).admit("198.51.100.1")
    assert not compile_list(("0.0.0.0/0",)).admit("2001:db8::1")
    assert not compile_list(("0.0.0.0/0", "::/0")).admit("unix")


@given(st.lists(st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str), max_size=4), st.ip_addresses().map(str))
def test_list_admits_whom_the_library_would(entries: list[str], address: str) -> None:
    """The comparison of numbers is that of `ipaddress`."""
    asked = ipaddress.ip_address(address)
    mapped = asked.ipv4_mapped if isinstance(asked, ipaddress.IPv6Address) else None
    networks = [f"{entry}/{9}" for entry in entries]
    kept = [ipaddress.ip_network(network) for network in normalise(networks)]
    assert compile_list(networks).admit(address) == any((mapped or asked) in network for network in kept)
