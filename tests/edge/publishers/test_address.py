"""Ways in which people write where a broker is."""

from __future__ import annotations

import pytest

from oahega_edge.publishers.broker import Address, BrokerOptions, read_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("broker", Address("broker", 1883)),
        ("broker.lan:1884", Address("broker.lan", 1884)),
        ("10.0.0.4", Address("10.0.0.4", 1883)),
        ("::1", Address("::1", 1883)),
        ("[::1]", Address("::1", 1883)),
        ("[fe80::1%eth0]:1884", Address("fe80::1%eth0", 1884)),
        ("mqtt://broker", Address("broker", 1883)),
        ("MQTT://broker:1884/", Address("broker", 1884)),
        ("mqtts://broker", Address("broker", 8883, encrypted=True)),
        ("tcp://[::1]:1884", Address("::1", 1884)),
        ("küche.local", Address("küche.local", 1883)),
    ],
)
def test_an_address_is_understood(text: str, expected: Address) -> None:
    assert read_address(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":1883", "broker:0", "broker:70000", "broker:mqtt", "[::1", "[::1]x", "a b", "1:2:3", "x/y"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        read_address(text)


@pytest.mark.parametrize("text", ["mqtt://me:secret@broker", "me:secret@broker:1883"])
def test_a_password_in_an_address_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="holds a user name") as caught:
        read_address(text)

    assert "secret" not in str(caught.value)


def test_an_ipv6_address_is_told_apart_from_its_port() -> None:
    assert BrokerOptions(host="::1", port=1884).address == "[::1]:1884"
