"""The gateway serves the official client's bundle. `tests/e2e` loads it into a browser."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hatchling.builders.wheel import WheelBuilder

from gifchat_cli.servers.valkey import mark_as_new
from gifchat_realtime_gateway.http.client_bundle import FILES, FOLDER, SCRIPTS, VERSION
from gifchat_testkit.services import running_service

ROOT = Path(__file__).parents[3]
SERVICE = ROOT / "services/realtime-gateway"
ETAG = f'"{VERSION}"'
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture(scope="module")
def http(valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    mark_as_new(valkey_url)
    with (
        running_service(
            "gifchat_realtime_gateway", tmp_path_factory.mktemp("gateway"), REDIS_URL=valkey_url
        ) as gateway,
        httpx.Client(base_url=gateway.url) as client,
    ):
        yield client


@pytest.mark.servers
@pytest.mark.parametrize("name", FILES)
def test_each_file_is_served_like_the_official_server(http: httpx.Client, name: str) -> None:
    answer = http.get(f"/socket.io/{name}", headers=PLAIN)
    assert (answer.status_code, answer.content) == (200, (FOLDER / name).read_bytes())
    kind = "json" if name.endswith(".map") else "javascript"
    assert answer.headers["content-type"] == f"application/{kind}; charset=utf-8"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["cache-control"] == "public, max-age=0"
    assert http.get(f"/socket.io/{name}?v=1", headers=PLAIN).content == answer.content


@pytest.mark.servers
@pytest.mark.parametrize("name", FILES)
def test_a_client_that_accepts_gzip_gets_gzip(http: httpx.Client, name: str) -> None:
    with http.stream("GET", f"/socket.io/{name}", headers={"Accept-Encoding": "br, gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(raw) == (FOLDER / name).read_bytes()
    assert len(raw) == int(answer.headers["content-length"]) < (FOLDER / name).stat().st_size / 2


@pytest.mark.servers
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_returns_the_headers_of_get_without_a_body(http: httpx.Client, name: str, encoding: str) -> None:
    path, headers = f"/socket.io/{name}", {"Accept-Encoding": encoding}
    got, head = http.get(path, headers=headers), http.head(path, headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


@pytest.mark.servers
@pytest.mark.parametrize("known", [ETAG, f"W/{ETAG}", f'"1.0.0", {ETAG}', "*"])
def test_a_matching_etag_gets_304(http: httpx.Client, known: str) -> None:
    answer = http.get("/socket.io/socket.io.js", headers={"If-None-Match": known})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", ETAG)


@pytest.mark.servers
def test_another_etag_gets_the_file(http: httpx.Client) -> None:
    assert http.get("/socket.io/socket.io.js", headers={"If-None-Match": '"4.8.0"'}).status_code == 200


@pytest.mark.servers
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(http: httpx.Client, method: str) -> None:
    answer = http.request(method, "/socket.io/socket.io.js")
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


@pytest.mark.servers
@pytest.mark.parametrize("name", ["", "socket.io.msgpack.min.js", "socket.io.css", "README.md", "socket.io.js/"])
def test_every_other_path_below_goes_to_the_engine(http: httpx.Client, name: str) -> None:
    answer = http.get(f"/socket.io/{name}")
    assert (answer.status_code, answer.json()["code"]) == (400, 5)
    assert http.get(f"/socket.io/{name}?EIO=4&transport=polling").text.startswith('0{"sid":"')


@pytest.mark.servers
def test_polling_works_without_the_trailing_slash(http: httpx.Client) -> None:
    sid = json.loads(http.get("/socket.io?EIO=4&transport=polling").text[1:])["sid"]
    path = f"/socket.io?EIO=4&transport=polling&sid={sid}"
    assert http.post(path, content="40").text == "ok"
    assert http.get(path).text.startswith('40{"sid":"')


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_names_its_version_and_source_map(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert f"Socket.IO v{VERSION}" in text[:100]
    assert text.rstrip().endswith(f"//# sourceMappingURL={name}.map")


def test_the_bundle_the_pages_and_the_tests_use_one_version() -> None:
    [of_the_pages] = (ROOT / "services/web/src/gifchat_web/static/vendor").glob("socket.io-client-*")
    assert of_the_pages.name == FOLDER.name
    module = "socket.io.esm.min.js"
    assert (of_the_pages / module).read_bytes() == (FOLDER / module).read_bytes()
    package = json.loads((ROOT / "tests/e2e/package.json").read_text())
    assert package["dependencies"]["socket.io-client"] == VERSION
    assert set(re.findall(r"socket\.io-client[@ -](\d+\.\d+\.\d+)", (FOLDER / "README.md").read_text())) == {VERSION}


def test_the_wheel_contains_every_file() -> None:
    packed = {file.distribution_path for file in WheelBuilder(str(SERVICE)).recurse_included_files()}
    folder = FOLDER.relative_to(SERVICE / "src")
    assert {str(folder / name) for name in (*FILES, "LICENSE")} <= packed
