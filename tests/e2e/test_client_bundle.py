"""Pages load the official client through nginx from `/socket.io/socket.io.js`, like the original's pages."""

from typing import Any

import httpx
import pytest

from gifchat_realtime_gateway.http.client_bundle import FILES, FOLDER, VERSION
from gifchat_testkit.browser import CHROMIUM, Window, Windows
from gifchat_testkit.cluster import EmbeddedCluster

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

CONNECT = """(options) => new Promise((resolve, reject) => {
    const socket = io.connect(`${location.origin}/room`, options);
    const last = options.transports.at(-1);
    socket.on("connect_error", reject);
    socket.on("connect", () => {
        const engine = socket.io.engine;
        const done = () => { resolve(engine.transport.name); socket.disconnect(); };
        if (engine.transport.name === last) done(); else engine.on("upgrade", done);
    });
})"""
TRANSPORTS = [["polling"], ["websocket"], ["polling", "websocket"]]


async def open_page(window: Window, script: str) -> None:
    """Open a page without sockets, and load the client into it as the original's pages do."""
    await window.go("/room")
    await window.page.add_script_tag(url=f"/socket.io/{script}")


async def connect(window: Window, **options: Any) -> str:
    """Connect to the lobby with the page's `io`. Returns the final transport."""
    return str(await window.page.evaluate(CONNECT, {"path": "/socket.io", **options}))


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("script", ["socket.io.js", "socket.io.min.js"])
async def test_a_page_connects_with_the_client_that_the_server_serves(windows: Windows, script: str) -> None:
    window = await windows.open()
    await open_page(window, script)
    for transports in TRANSPORTS:
        assert await connect(window, transports=transports) == transports[-1]


@pytest.mark.browser
@needs_chromium
async def test_a_module_connects_with_the_client_that_the_server_serves(windows: Windows) -> None:
    window = await windows.open()
    await window.go("/room")
    await window.page.evaluate("import('/socket.io/socket.io.esm.min.js').then((module) => { window.io = module.io; })")
    assert await connect(window, transports=["websocket"]) == "websocket"


@pytest.mark.browser
@needs_chromium
async def test_a_client_without_the_trailing_slash_connects(windows: Windows) -> None:
    window = await windows.open()
    await open_page(window, "socket.io.js")
    asked: list[str] = []
    window.page.on("request", lambda request: asked.append(request.url))
    for transports in TRANSPORTS:
        assert await connect(window, transports=transports, addTrailingSlash=False) == transports[-1]
    assert asked
    assert all("/socket.io?" in url for url in asked)


@pytest.mark.parametrize("name", FILES)
async def test_nginx_passes_on_the_files_unchanged(cluster: EmbeddedCluster, name: str) -> None:
    async with httpx.AsyncClient(base_url=cluster.url) as client:
        for encoding in ("identity", "gzip"):
            answer = await client.get(f"/socket.io/{name}", headers={"Accept-Encoding": encoding})
            assert answer.headers.get("content-encoding", "identity") == encoding
            assert (answer.status_code, answer.content) == (200, (FOLDER / name).read_bytes())
            again = await client.get(f"/socket.io/{name}", headers={"If-None-Match": answer.headers["etag"]})
            assert again.status_code == 304
            assert VERSION in answer.headers["etag"]
            assert (await client.head(f"/socket.io/{name}")).status_code == 200
