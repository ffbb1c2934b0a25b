"""The pages and their files, through the real nginx with our template, from a real web and a real rooms-api."""

import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gifchat_cli.blueprint import NGINX_TEMPLATE
from gifchat_cli.ports import free_port
from gifchat_cli.prerequisites import find_nginx
from gifchat_cli.servers.nginx import Nginx, Upstreams
from gifchat_cli.servers.readiness import NotReadyError, get_health
from gifchat_testkit.servers import running
from gifchat_testkit.services import Service, running_service

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

FILE = re.compile(r'(?:src|href)="(/static/[^"]+)"')
IMPORT = re.compile(r'from "([^"]+)"')
PASSWORD = "meow meow"


@dataclass(frozen=True)
class FrontDoor:
    url: str
    web: Service
    cache: Path

    def asked_of_web(self) -> float:
        """Return how many requests web has answered, without probes and this one."""
        return sum(
            float(line.rpartition(" ")[2])
            for line in httpx.get(f"{self.web.url}/metrics").text.splitlines()
            if line.startswith("http_requests_total{") and "/health/" not in line and "/metrics" not in line
        )

    def kept(self) -> list[bytes]:
        """Return every file of nginx's cache: the key, the headers and the body of an answer."""
        return [path.read_bytes() for path in self.cache.rglob("*") if path.is_file()]

    def browser(self, **headers: str) -> httpx.Client:
        accept = {"accept": "text/html", "accept-encoding": "gzip, deflate, br", "accept-language": "ko"}
        return httpx.Client(base_url=self.url, headers={**accept, "origin": self.url, **headers})


@pytest.fixture(scope="module")
def door(mongo_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontDoor]:
    work_dir = tmp_path_factory.mktemp("front-door")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        rooms_api = stack.enter_context(
            running_service(
                "gifchat_rooms_api",
                work_dir,
                MONGO_URL=mongo_url,
                MONGO_DATABASE=f"test_{secrets.token_hex(6)}",
                REDIS_URL=valkey_url,
                ALLOWED_ORIGINS=url,
            )
        )
        web = stack.enter_context(
            running_service(
                "gifchat_web", work_dir, ROOMS_API_URL=rooms_api.url, REDIS_URL=valkey_url, ALLOWED_ORIGINS=url
            )
        )
        nginx = Nginx(
            binary=find_nginx(),
            template=NGINX_TEMPLATE,
            port=port,
            internal_port=free_port(),
            work_dir=work_dir,
            access_log=work_dir / "access.log",
            max_files=1_024,
            ipv6=False,
        )
        nginx.write_config(Upstreams(gateways=[free_port()], rooms_api=[rooms_api.port], web=[web.port]))
        stack.enter_context(running("nginx", nginx.command(), work_dir, lambda: wait_until_ready(port)))
        yield FrontDoor(url, web, work_dir / "cache")


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            get_health(port, "/health/live")
        except NotReadyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def create(browser: httpx.Client, **form: str) -> str:
    answer = browser.post("/room", data={"title": "우리 방", "max": "10", **form})
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


def data_of(page: httpx.Response) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page.text, re.DOTALL)
    assert found, page.text
    data: dict[str, Any] = json.loads(found[1])
    return data


def files_of(browser: httpx.Client, page: httpx.Response) -> dict[str, httpx.Response]:
    """Fetch every file that a page needs, as a browser does: what it links to, and what its modules import."""
    answers: dict[str, httpx.Response] = {}
    wanted = [httpx.URL(browser.base_url).join(path) for path in FILE.findall(page.text)]
    while wanted:
        url = wanted.pop()
        if url.path in answers:
            continue
        answer = answers[url.path] = browser.get(url)
        assert answer.status_code == 200, url
        if url.path.endswith(".js"):
            wanted += [url.join(target) for target in IMPORT.findall(answer.text)]
    return answers


def test_no_static_file_reaches_web_once_it_is_warm(door: FrontDoor) -> None:
    encodings = ["gzip, deflate, br", "gzip", "identity", "br", "gzip;q=0", "GZIP;q=0.5, *"]
    with door.browser() as browser:
        page = browser.get("/")
        first = files_of(browser, page)
        for encoding in encodings:
            browser.get(next(iter(first)), headers={"accept-encoding": encoding})
    assert len(first) > 15, "a page has more than 15 files"
    with door.browser() as plain:
        plain.headers["accept-encoding"] = "identity"
        unpacked = files_of(plain, page)
    before = door.asked_of_web()
    for encoding in encodings:
        with door.browser() as browser:
            browser.headers["accept-encoding"] = encoding
            again = files_of(browser, page)
        assert {path: answer.content for path, answer in again.items()} == {
            path: answer.content for path, answer in first.items()
        }
    for path, answer in first.items():
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers.get_list("vary") == ["Accept-Encoding"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "set-cookie" not in answer.headers
        assert "content-encoding" not in unpacked[path].headers
        if len(answer.content) > 1_000:
            assert answer.headers["content-encoding"] == "gzip"
    assert httpx.get(f"{door.url}{next(iter(first))}", headers={"if-none-match": "*"}).status_code in (200, 304)
    assert door.asked_of_web() == before


def test_a_client_that_refuses_gzip_does_not_spoil_the_file_for_others(door: FrontDoor) -> None:
    with door.browser() as browser:
        version = FILE.findall(browser.get("/").text)[0].split("/")[2]
        unused = f"/static/{version}/vendor/socket.io-client-4.8.4/LICENSE"
        before = door.asked_of_web()
        for encoding in ("gzip;q=0", "deflate, gzip; q=0.0, br", "identity"):
            answer = browser.get(unused, headers={"accept-encoding": encoding})
            assert "content-encoding" not in answer.headers, encoding
        assert browser.get(unused, headers={"accept-encoding": "gzip;q=0.5"}).headers["content-encoding"] == "gzip"
    assert door.asked_of_web() == before + 2, "once plain and once with gzip"


def test_a_repeated_file_is_304_from_nginx(door: FrontDoor) -> None:
    with door.browser() as browser:
        path, answer = next(iter(files_of(browser, browser.get("/")).items()))
        before = door.asked_of_web()
        again = browser.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert door.asked_of_web() == before


def test_a_file_that_does_not_exist_or_has_another_hash_is_not_kept(door: FrontDoor) -> None:
    with door.browser() as browser:
        path = FILE.findall(browser.get("/").text)[0]
        other = re.sub(r"/static/\w+/", "/static/0000000000000000/", path)
        for unkept, status in ((f"{path}.missing", 404), (other, 200)):
            before = door.asked_of_web()
            for _ in range(2):
                assert browser.get(unkept).status_code == status
            assert door.asked_of_web() == before + 2, unkept


def test_each_session_gets_its_own_page_through_the_cache(door: FrontDoor) -> None:
    with door.browser() as alice, door.browser() as bob:
        room = create(alice)
        identities = [client.get("/api/v1/session").json() for client in (alice, bob)]
        assert identities[0] != identities[1]
        for _ in range(2):
            for path in ("/", room, "/room", "/nowhere"):
                for client, identity, other in zip((alice, bob), identities, identities[::-1], strict=True):
                    page = client.get(path)
                    assert data_of(page)["you"] == identity
                    assert other["color"] not in page.text.partition("</header>")[0].partition("<header")[2]
                    assert page.headers["cache-control"] == "private, no-cache"
                    assert "set-cookie" not in page.headers
            files_of(alice, alice.get(room))
        with door.browser() as newcomer:
            newcomers = [newcomer.get("/") for _ in range(2)]
        assert "set-cookie" in newcomers[0].headers
        assert data_of(newcomers[0])["you"] == data_of(newcomers[1])["you"]
        assert data_of(newcomers[0])["you"] not in identities
        sessions = [client.cookies["gifchat_session"] for client in (alice, bob, newcomer)]
    for entry in door.kept():
        key = entry.partition(b"KEY: ")[2].partition(b"\n")[0]
        assert key.startswith((b":/static/", b"gzip:/static/")), key
        for secret in (*sessions, *(identity["user_id"] for identity in identities)):
            assert secret.encode() not in entry


def test_the_checks_of_a_room_hold_for_the_next_request(door: FrontDoor) -> None:
    with door.browser() as owner, door.browser() as guest:
        private = create(owner, password=PASSWORD)
        user = guest.get("/api/v1/session").json()["user_id"]
        for _ in range(2):
            assert 'id="composer"' in owner.get(private).text
            assert 'id="composer"' not in guest.get(private).text
        assert guest.post(f"{private}/password", data={"password": PASSWORD}).status_code == 303
        assert 'id="composer"' in guest.get(private).text
        room_id = private.removeprefix("/room/")
        banned = owner.put(f"/api/v1/rooms/{room_id}/bans/{user}", json={})
        assert banned.is_success, banned.text
        assert guest.get(private).headers["location"].startswith("/?error=")
        assert 'id="composer"' in owner.get(private).text
        assert owner.patch(f"/api/v1/rooms/{room_id}", json={"title": "새 이름"}).is_success
        assert data_of(owner.get(private))["room"]["title"] == "새 이름"
        assert owner.delete(private).text == "ok"
        assert owner.get(private).headers["location"].startswith("/?error=")
        assert room_id not in [room["_id"] for room in data_of(guest.get("/"))["rooms"]]
