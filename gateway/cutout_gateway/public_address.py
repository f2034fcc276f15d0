"""Whether an address is on the public internet: everything that is not is refused to URLs that callers name.

The lists are IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), multicast (RFC 5771,
RFC 4291) and the one metadata service with a public address.
"""

from __future__ import annotations

import ipaddress

_REFUSED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network, and the unspecified address
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT; a metadata service too
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's own services, reached from inside its virtual machines
        "169.254.0.0/16",  # link-local; most metadata services
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a metadata service too
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # automatic multicast tunnelling
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: IPv6 addresses that are handed out for the internet. What lies outside is unspecified, loopback, IPv4-mapped,
#: NAT64 (64:ff9b::), discard, unique local, link-local, site-local or multicast.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")

_REFUSED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments; Teredo carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Whether the IPv4 or IPv6 address, as text, is one of the public internet; False for what is no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv4Address):
        return not any(parsed in network for network in _REFUSED_V4)
    if parsed.scope_id is not None:
        return False
    return parsed in _GLOBAL_V6 and not any(parsed in network for network in _REFUSED_V6)
