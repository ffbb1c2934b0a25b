"""What the benchmark prints if no GIF Chat runs at the address, and how it reacts to rate limits."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gifchat_cli.bench.visitor import BadAddressError, FrontDoor, RefusedError
from gifchat_cli.ports import free_port

Answer = tuple[int, dict[str, str], Any]


@contextmanager
def answering(*answers: Answer, addresses: list[str] | None = None) -> Iterator[str]:
    """Start a server that gives these answers in turn and then repeats the last one. Yields its URL.

    `addresses` gets the client's address of each request.
    """
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def answer(self) -> None:
            if addresses is not None:
                addresses.append(self.client_address[0])
            status, headers, content = left.pop(0) if len(left) > 1 else left[0]
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_without_a_server_the_error_has_a_remedy() -> None:
    with (
        FrontDoor(f"http://127.0.0.1:{free_port()}") as door,
        pytest.raises(
            BadAddressError, match=r"Nothing answers on .*: start a cluster with `gifchat up`, or name one with --url"
        ),
    ):
        door.check()


@pytest.mark.parametrize("answer", [(404, {}, {"detail": "Not Found"}), (200, {}, [1]), (200, {}, "hello")])
def test_another_server_is_not_taken_for_gif_chat(answer: Answer) -> None:
    with (
        answering(answer) as url,
        FrontDoor(url) as door,
        pytest.raises(BadAddressError, match=r"is not GIF Chat .* give the address of its front door with --url"),
    ):
        door.check()


def test_a_rate_limited_session_request_is_retried() -> None:
    limited: Answer = (429, {"Retry-After": "0"}, {"title": "Too many requests. Slow down."})
    with (
        answering(limited, limited, (200, {"Set-Cookie": "gifchat_session=abc; Path=/"}, {})) as url,
        FrontDoor(url) as door,
    ):
        assert door.new_session() == "gifchat_session=abc"


def test_a_refusal_says_why() -> None:
    with (
        answering((422, {}, {"title": "The input is not valid."})) as url,
        FrontDoor(url) as door,
        pytest.raises(RefusedError, match=r"POST /api/v1/session: 422 The input is not valid\."),
    ):
        door.new_session()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_on_loopback_every_owner_has_an_address_of_its_own(host: str) -> None:
    addresses: list[str] = []
    done: Answer = (201, {"Set-Cookie": "gifchat_session=abc; Path=/"}, {"_id": "a" * 24})
    with answering(done, addresses=addresses) as url, FrontDoor(url.replace("127.0.0.1", host)) as door:
        first, second = door.new_room("one", 10), door.new_room("two", 10)
        door.post(first, "hello", "m1")
        door.post(second, "hello", "m2")
    one, two = addresses[0], addresses[2]
    assert one != two
    assert addresses == [one, one, two, two, one, two]
