from ipaddress import IPv4Address, IPv6Address

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from pixsim.core.net import AddressPolicy, address_refusal
from pixsim.core.net.addresses import is_public

FORBIDDEN_IPV4 = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.9 192.0.2.1 192.88.99.1
    192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
    255.255.255.255
"""
FORBIDDEN_IPV6 = """
    :: ::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:100.64.0.1
    ::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:2::1
    2001:20::1 2001:db8::1 2002:a9fe:a9fe::1 2002:808:808::1 3fff::1 5f00::1 fc00::1
    fd00:ec2::254 fe80::1 fe80::1%eth0 fe80::1%25eth0 fec0::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("ip", f"{FORBIDDEN_IPV4} {FORBIDDEN_IPV6}".split())
def test_addresses_of_no_public_server_are_refused(ip: str) -> None:
    assert "is not a public address" in str(AddressPolicy.parse().refusal(ip, 443))


@pytest.mark.parametrize(
    ("ip", "is_advised"),
    [
        ("10.1.2.3", True),
        ("192.168.0.1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("100.100.100.200", False),
        ("fd00:ec2::254", False),
        ("fe80::1", False),
    ],
)
def test_nobody_is_advised_to_allow_an_address_that_hands_out_secrets(ip, is_advised) -> None:
    assert ("CRAWL_ALLOWED_PRIVATE" in AddressPolicy.parse().refusal(ip, 80)) == is_advised


@pytest.mark.parametrize(
    "ip", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8"]
)
def test_public_addresses_are_open_on_the_web_ports_only(ip: str) -> None:
    policy = AddressPolicy.parse(ports=[80, 443])
    assert policy.refusal(ip, 80) is None
    assert policy.refusal(ip, 443) is None
    assert "CRAWL_ALLOWED_PORTS" in str(policy.refusal(ip, 22))
    assert AddressPolicy.parse(ports=[8080]).refusal(ip, 8080) is None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_its_mapped_form(ip: IPv4Address) -> None:
    policy = AddressPolicy.parse()
    assert (policy.refusal(str(ip), 80) is None) == (policy.refusal(f"::ffff:{ip}", 80) is None)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_calls_special(ip: IPv4Address | IPv6Address) -> None:
    special = (
        ip.is_private
        or ip.is_multicast
        or ip.is_reserved
        or ip.is_loopback
        or ip.is_link_local
        or ip.is_unspecified
        or getattr(ip, "is_site_local", False)
    )
    assert not (special and is_public(ip))


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("127.0.0.1", [("127.0.0.1", 22), ("::ffff:127.0.0.1", 9)], [("127.0.0.2", 80)]),
        ("127.0.0.0/8", [("127.9.9.9", 1234)], [("128.0.0.1", 1234), ("::1", 80)]),
        ("127.0.0.1:8765", [("127.0.0.1", 8765)], [("127.0.0.1", 80), ("127.0.0.2", 8765)]),
        ("10.1.0.0/16:8080", [("10.1.2.3", 8080)], [("10.1.2.3", 80), ("10.2.0.1", 8080)]),
        ("::1", [("::1", 5)], [("::2", 5), ("127.0.0.1", 80)]),
        ("[::1]:8765", [("::1", 8765)], [("::1", 80), ("127.0.0.1", 8765)]),
        ("[fd00::/8]:80", [("fd12::1", 80)], [("fd12::1", 81), ("fe80::1", 80)]),
        (" localhost:8765 ", [("127.0.0.1", 8765), ("::1", 8765)], [("127.0.0.1", 80)]),
        ("8.8.8.8:8080", [("8.8.8.8", 8080)], [("8.8.4.4", 8080)]),
    ],
)
def test_the_operator_opens_an_address_on_one_port_or_on_all(
    entry: str, allowed: list[tuple[str, int]], refused: list[tuple[str, int]]
) -> None:
    policy = AddressPolicy.parse(allow=[entry])
    assert [policy.refusal(*address) for address in allowed] == [None] * len(allowed)
    assert all(policy.refusal(*address) for address in refused)


@pytest.mark.parametrize(
    "entry", ["", "intranet", "127.0.0.1:", "127.0.0.1:http", "10.0.0.0/33", "[::1", "1.2.3", ":80"]
)
def test_a_misspelt_allowance_is_named(entry: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="CRAWL_ALLOWED_PRIVATE"):
        AddressPolicy.parse(allow=[entry])


def test_a_refusal_names_the_entry_that_would_lift_it() -> None:
    for ip in ("127.0.0.1", "fd00::7"):
        refusal = str(AddressPolicy.parse().refusal(ip, 8765))
        entry = refusal.rpartition("CRAWL_ALLOWED_PRIVATE=")[2]
        assert AddressPolicy.parse(allow=[entry]).refusal(ip, 8765) is None


def test_the_policy_follows_the_settings(settings) -> None:
    settings.CRAWL_ALLOWED_PORTS = [8443]
    settings.CRAWL_ALLOWED_PRIVATE = ["10.0.0.5:99"]
    policy = AddressPolicy.from_settings()
    assert policy.refusal("8.8.8.8", 8443) is None
    assert policy.refusal("8.8.8.8", 443)
    assert policy.refusal("10.0.0.5", 99) is None


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/a.png",
        "javascript:alert(1)",
        "//example.org/a.png",
        "/etc/passwd",
        "asset",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "http://LOCALHOST./",
        "http://a.localhost/",
        "http://10.0.0.8/a.png",
        "http://[::1]/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://1.1.1.1:22/",
    ],
)
def test_an_address_that_is_never_fetched_is_refused_by_its_text(url: str) -> None:
    policy = AddressPolicy.parse()
    assert address_refusal(url, policy=policy)


def test_an_address_that_may_be_fetched_is_not_looked_up() -> None:
    policy = AddressPolicy.parse(allow=["127.0.0.1:8765", "169.254.1.1"])
    for url in (
        "https://example.org/a.png",
        "http://no-such-name.invalid/",
        "http://1.1.1.1/a.png",
        "http://127.0.0.1:8765/a.png",
        "http://localhost:8765/",
        "http://169.254.1.1/",
    ):
        assert address_refusal(url, policy=policy) is None, url


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
    ],
)
def test_nobody_is_advised_to_allow_where_clouds_hand_out_credentials(ip: str) -> None:
    refusal = AddressPolicy.parse().refusal(ip, 80)
    assert refusal
    assert "CRAWL_ALLOWED_PRIVATE" not in refusal
