import pytest
from hypothesis import given
from hypothesis import strategies as st

from gifchat_chassis.client_address import TrustedProxies, network_of, rate_limit_key, trusted_networks

PROXIES = TrustedProxies("127.0.0.1, ::1,10.0.0.0/8")


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "198.51.100.7, 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "1.1.1.1,198.51.100.7 , 10.1.2.3", "198.51.100.7"),
        ("127.0.0.1", "127.0.0.1, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "evil, 198.51.100.7", "198.51.100.7"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", " , ", "127.0.0.1"),
        ("::1", "2001:db8::7, ::1", "2001:db8::7"),
        ("unknown", "198.51.100.7", "unknown"),
    ],
)
def test_the_address_is_the_last_one_outside_our_proxies(peer: str, forwarded_for: str | None, address: str) -> None:
    assert PROXIES.client_address(peer, forwarded_for) == address


@given(st.text(max_size=40), st.sampled_from(["127.0.0.1", "10.0.0.1", "192.0.2.1"]))
def test_a_client_cannot_choose_its_address(forged: str, peer: str) -> None:
    real = "198.51.100.7"
    if peer == "192.0.2.1":
        assert PROXIES.client_address(peer, forged) == peer
    else:
        assert PROXIES.client_address(peer, f"{forged}, {real}") == real
        assert PROXIES.client_address(peer, f"{forged}, {real}, 10.3.3.3") == real


@given(st.text(max_size=60))
def test_parsing_a_header_never_raises(forwarded_for: str) -> None:
    PROXIES.client_address("127.0.0.1", forwarded_for)


def test_without_proxies_no_header_is_trusted() -> None:
    assert TrustedProxies("").client_address("127.0.0.1", "198.51.100.7") == "127.0.0.1"


def test_networks_lose_their_host_bits() -> None:
    networks = trusted_networks(" 127.0.0.1, 172.16.0.1/12,,::1 ")
    assert [str(network) for network in networks] == ["127.0.0.1/32", "172.16.0.0/12", "::1/128"]


@pytest.mark.parametrize("proxies", ["nginx", "127.0.0.1,*", "10.0.0.0/33", "127.0.0.1 10.0.0.1"])
def test_names_and_wildcards_are_not_networks(proxies: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 network"):
        trusted_networks(proxies)


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_rate_limits_count_by_ipv4_address_or_ipv6_network(host: str, key: str) -> None:
    assert rate_limit_key(host) == key


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.77", "203.0.113.0"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
        ("::ffff:203.0.113.77", "203.0.113.0"),
        ("unknown", "-"),
    ],
)
def test_logs_can_name_the_network_instead(address: str, network: str) -> None:
    assert network_of(address) == network
