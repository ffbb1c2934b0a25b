import gzip
import hashlib
import re
from pathlib import Path

import httpx

from gifchat_web.http.static_files import FOLDER, HashedFiles

VENDORED = FOLDER / "vendor" / "socket.io-client-4.8.4"


async def test_files_under_their_hash_are_cached_for_a_year(alice: httpx.AsyncClient) -> None:
    page = (await alice.get("/room")).text
    [url] = re.findall(r'<script type="module" src="([^"]+)"', page)
    answer = await alice.get(url)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in answer.headers["content-type"]
    again = await alice.get(url, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304
    other = await alice.get(re.sub(r"/static/\w+/", "/static/another/", url))
    assert other.headers["cache-control"] == "no-cache"


async def test_files_are_compressed_for_clients_that_can_read_it(alice: httpx.AsyncClient) -> None:
    for path, media_type in {
        "js/main.js": "text/javascript; charset=utf-8",
        "css/app.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
        "texts/ko.json": "application/json",
    }.items():
        plain = await alice.get(f"/static/x/{path}", headers={"accept-encoding": "identity"})
        packed = await alice.get(f"/static/x/{path}", headers={"accept-encoding": "gzip, br"})
        assert packed.content == plain.content
        assert "content-encoding" not in plain.headers
        for answer in (plain, packed):
            assert answer.headers["content-type"] == media_type
            assert answer.headers["vary"] == "Accept-Encoding"
        if packed.headers.get("content-encoding") == "gzip":
            assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
        else:
            assert len(gzip.compress(plain.content)) >= len(plain.content) or len(plain.content) < 256


async def test_every_start_and_process_serves_the_same_bytes() -> None:
    one, other = HashedFiles(made={"a.json": b"{}"}), HashedFiles(made={"a.json": b"{}"})
    assert one._files == other._files
    assert one.version == other.version


async def test_nothing_else_is_served(alice: httpx.AsyncClient) -> None:
    for path in ("/static/x/js/%2e%2e/%2e%2e/app.py", "/static/x/%2e%2e/app.py", "/static/x/", "/static/x/js"):
        assert (await alice.get(path)).status_code == 404


def test_any_change_changes_the_hash(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    first = HashedFiles(tmp_path).version
    assert HashedFiles(tmp_path).version == first
    (tmp_path / "a.js").write_text("2")
    assert HashedFiles(tmp_path).version != first


def test_every_import_of_a_module_names_a_file() -> None:
    for module in FOLDER.glob("js/**/*.js"):
        for target in re.findall(r'from "([^"]+)"', module.read_text()):
            assert (module.parent / target).is_file(), f"{module.name} imports {target}"


def test_the_vendored_client_matches_its_readme() -> None:
    digest = hashlib.sha256((VENDORED / "socket.io.esm.min.js").read_bytes()).hexdigest()
    assert digest in (VENDORED / "README.md").read_text()
    assert "MIT" in (VENDORED / "LICENSE").read_text()
