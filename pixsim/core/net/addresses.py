"""Which addresses we connect to: public unicast ones, and what the operator allows."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pixsim.core.patterns import pattern

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

# IPv6 that is routed on the Internet; site-local, v4-compatible, NAT64 and future ranges are not.
GLOBAL_UNICAST = IPv6Network("2000::/3")

# Accepted by `is_global` of some Python version, although no server outside has such an address.
DENIED: tuple[IPNetwork, ...] = (
    IPv4Network("100.64.0.0/10"),  # carrier NAT, with Alibaba's metadata service
    IPv4Network("168.63.129.16/32"),  # Azure's host agent
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv6Network("2001::/23"),  # protocol assignments: Teredo, ORCHID, benchmarks
    IPv6Network("2002::/16"),  # 6to4: any IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation
)

match_entry = pattern(
    r"(?:\[(?P<v6>[^\]]+)\]|(?P<plain>[^\[\]:]+))(?::(?P<port>\d{1,5}))?",
    longest=300,
    method="fullmatch",
)

# Where clouds hand out credentials, beside link-local addresses: no hint says how to allow these.
NEVER_ADVISED: tuple[IPNetwork, ...] = (
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("192.0.0.192/32"),  # Oracle
    IPv6Network("fd00:ec2::/32"),  # Amazon
    IPv6Network("fd20:ce::/32"),  # Google
)


@dataclass(frozen=True, slots=True)
class Allowance:
    """An address range that the operator opened, on one port or (None) on all."""

    network: IPNetwork
    port: int | None

    def covers(self, ip: IPAddress, port: int) -> bool:
        return self.port in (None, port) and ip in self.network


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Decides about every connection just before it is made.

    Public unicast addresses are open on `ports`; `allowances` come first and win.
    """

    ports: frozenset[int]
    allowances: tuple[Allowance, ...] = ()

    # Factories

    @classmethod
    def from_settings(cls) -> Self:
        """Read CRAWL_ALLOWED_PORTS and CRAWL_ALLOWED_PRIVATE.

        Raises ImproperlyConfigured for an entry that is no address, network or address:port.
        """
        return cls.parse(ports=settings.CRAWL_ALLOWED_PORTS, allow=settings.CRAWL_ALLOWED_PRIVATE)

    @classmethod
    def parse(cls, *, ports: Iterable[int] = (80, 443), allow: Iterable[str] = ()) -> Self:
        """`allow` in the forms of CRAWL_ALLOWED_PRIVATE: `127.0.0.1`, `10.0.0.0/8`,
        `127.0.0.1:8765`, `[::1]:8765`, `localhost:8765`."""
        return cls(
            frozenset(int(port) for port in ports),
            tuple(allowance for entry in allow for allowance in parse_allowance(entry)),
        )

    # Queries

    def refusal(self, ip: str, port: int) -> str | None:
        """Why we do not connect to this address, in words, or None."""
        try:
            address = unwrap(ip_address(ip.partition("%")[0]))
        except ValueError:
            return f"{ip} is not an IP address"
        if any(allowance.covers(address, port) for allowance in self.allowances):
            return None
        if not is_public(address):
            text = f"{address} is not a public address"
            if address.is_link_local or any(address in network for network in NEVER_ADVISED):
                return f"{text}: what answers there hands out the machine's secrets"
            hint = f"an operator can allow it: CRAWL_ALLOWED_PRIVATE={_entry(address, port)}"
            return f"{text}; {hint}"
        if port not in self.ports:
            return (
                f"port {port} is not allowed; an operator can add it to CRAWL_ALLOWED_PORTS "
                f"({', '.join(map(str, sorted(self.ports)))})"
            )
        return None


def is_public(ip: IPAddress) -> bool:
    """Whether `ip` is an ordinary unicast address of the Internet."""
    if ip.version == 6 and ip not in GLOBAL_UNICAST:
        return False
    return ip.is_global and not ip.is_multicast and not any(ip in network for network in DENIED)


def unwrap(ip: IPAddress) -> IPAddress:
    """The IPv4 address inside an IPv4-mapped one, which is where a connection really goes."""
    return getattr(ip, "ipv4_mapped", None) or ip


def parse_allowance(entry: str) -> list[Allowance]:
    """One entry of CRAWL_ALLOWED_PRIVATE; `localhost` stands for both loopback addresses."""
    text = entry.strip()
    network, port = text, None
    if text.count(":") < 2 or text.startswith("["):
        match = match_entry(text)
        if match is None:
            raise _not_an_address(entry)
        network = match["v6"] or match["plain"]
        port = int(match["port"]) if match["port"] else None
    names = ["127.0.0.1", "::1"] if network == "localhost" else [network]
    try:
        return [Allowance(ip_network(name, strict=False), port) for name in names]
    except ValueError as exc:
        raise _not_an_address(entry) from exc


def _not_an_address(entry: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"CRAWL_ALLOWED_PRIVATE: {entry!r} is not an address, a network, or one with a port "
        "(127.0.0.1, 10.0.0.0/8, 127.0.0.1:8765, [::1]:8765, localhost:8765)"
    )


def _entry(ip: IPAddress, port: int) -> str:
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"
