import json

import pytest

from gifchat_cli.kinds import Kind
from gifchat_cli.logs import LineSplitter, Prefixes, for_terminal


def test_lines_are_complete_for_any_chunking() -> None:
    splitter = LineSplitter()
    assert list(splitter.feed(b"one\ntw")) == [b"one"]
    assert list(splitter.feed(b"o\n\nthree")) == [b"two", b""]
    assert list(splitter.end()) == [b"three"]
    assert list(splitter.end()) == []


def test_an_endless_line_is_cut() -> None:
    splitter = LineSplitter()
    assert list(splitter.feed(b"x" * 20_000)) == [b"x" * 20_000]
    assert list(splitter.feed(b"\n")) == [b""]


@pytest.mark.parametrize("kind", [Kind.GATEWAY, Kind.ROOMS_API, Kind.WEB, Kind.NGINX])
def test_lines_of_our_services_are_shown_unchanged(kind: Kind) -> None:
    assert for_terminal(kind, "hello") == "hello"
    assert for_terminal(kind, "   ") is None


def test_only_errors_of_mongodb_are_shown() -> None:
    entry = {"s": "I", "c": "NETWORK", "msg": "Connection accepted", "attr": {"port": 1}}
    assert for_terminal(Kind.MONGODB, json.dumps(entry)) is None
    assert for_terminal(Kind.MONGODB, json.dumps({**entry, "s": "E"})) == 'E NETWORK: Connection accepted {"port": 1}'
    assert for_terminal(Kind.MONGODB, "mongod: error while loading shared libraries") is not None


def test_only_warnings_of_valkey_are_shown() -> None:
    assert for_terminal(Kind.VALKEY, "19381:M 24 Nov 2026 11:50:44.002 * Ready to accept connections tcp") is None
    assert for_terminal(Kind.VALKEY, "19381:M 24 Nov 2026 11:50:44.002 # Out of memory") is not None
    assert (
        for_terminal(Kind.VALKEY, "19381:M 24 Nov 2026 11:50:44.002 # Valkey is now ready to exit, bye bye...") is None
    )


def test_a_process_keeps_its_colour() -> None:
    prefixes = Prefixes(colored=True)
    first = prefixes.line("gateway-1", "a")
    prefixes.line("gateway-2", "b")
    assert first.startswith("\x1b[36mgateway-1   │\x1b[0m")
    assert prefixes.line("gateway-1", "a") == first
    assert Prefixes(colored=False).line("web", "c") == "web         │ c"
