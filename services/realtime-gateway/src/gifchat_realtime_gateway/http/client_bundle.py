"""Serve the official browser client at the official server's paths: `/socket.io/socket.io.js` and its variants."""

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "4.8.4"
FOLDER = Path(__file__).parent / "vendor" / f"socket.io-client-{VERSION}"
SCRIPTS = ("socket.io.js", "socket.io.min.js", "socket.io.esm.min.js")
FILES = (*SCRIPTS, *(f"{script}.map" for script in SCRIPTS))

_ETAG = f'"{VERSION}"'
_HEADERS = {"ETag": _ETAG, "Cache-Control": "public, max-age=0", "Vary": "Accept-Encoding"}


class ClientBundle:
    """ASGI middleware that serves the files of the bundle and passes on every other request."""

    def __init__(self, app: ASGIApp) -> None:
        """Read and compress the files."""
        self._app = app
        self._routes = {f"/socket.io/{name}": Route(f"/socket.io/{name}", _endpoint(FOLDER / name)) for name in FILES}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" else None
        await (self._app if route is None else route.handle)(scope, receive, send)


def _endpoint(file: Path) -> Callable[[Request], Awaitable[Response]]:
    plain = file.read_bytes()
    compressed = gzip.compress(plain, mtime=0)
    media_type = f"application/{'json' if file.suffix == '.map' else 'javascript'}; charset=utf-8"

    async def serve(request: Request) -> Response:
        if _matches(request.headers.getlist("if-none-match")):
            return Response(status_code=304, headers=_HEADERS)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(compressed, headers=_HEADERS | {"Content-Encoding": "gzip"}, media_type=media_type)
        return Response(plain, headers=_HEADERS, media_type=media_type)

    return serve


def _matches(if_none_match: list[str]) -> bool:
    """Compare weakly (RFC 9110, 8.8.3.2): a proxy that compresses the answer weakens its ETag."""
    tags = ",".join(if_none_match).split(",")
    return any(tag.strip().removeprefix("W/") in (_ETAG, "*") for tag in tags)
