"""Serves scripts, styles and texts under `/static/<hash of all of them>/`.

The hash is a folder in the URL, so modules that import each other by relative paths share it. A file under its hash
never changes, so nginx stores it after the first request and web does not see the next one.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parents[1] / "static"
_FOR_EVER = "public, max-age=31536000, immutable"
_GZIP_MIN_BYTES = 256
_TYPES = mimetypes.MimeTypes()
# Python's own table depends on its version, and systems add entries.
for _suffix, _type in {".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/json"}.items():
    _TYPES.add_type(_type, _suffix)


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    content: bytes
    etag: str
    gzipped: bytes | None
    """None if compression does not make the file smaller."""


class HashedFiles:
    """Serves a folder and files generated at startup, from memory and compressed once.

    Browsers and nginx keep a file with the current hash for a year.
    """

    def __init__(self, folder: Path = FOLDER, made: Mapping[str, bytes] | None = None) -> None:
        """`made`: the contents of generated files, by path."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths} | dict(made or {})
        self._files = {path: _file(path, content) for path, content in contents.items()}
        self.version = _hash_of(contents)

    def url(self, path: str) -> str:
        """Return the URL of a file by its path."""
        return f"/static/{self.version}/{path}"

    async def answer(self, request: Request) -> Response:
        """Answer a request for the path parameters `version` and `path`: the file, 304 or 404."""
        file = self._files.get(request.path_params["path"])
        if file is None:
            raise HTTPException(404)
        current = request.path_params["version"] == self.version
        headers = {
            "Cache-Control": _FOR_EVER if current else "no-cache",
            "ETag": file.etag,
            "Vary": "Accept-Encoding",
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        if file.gzipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(file.gzipped, 200, headers, file.media_type)
        return Response(file.content, 200, headers, file.media_type)


def _file(path: str, content: bytes) -> _File:
    media_type = _TYPES.guess_type(path)[0] or "text/plain"
    etag = f'W/"{hashlib.sha256(content).hexdigest()[:32]}"'
    # Without a timestamp, every process and every start creates the same bytes.
    gzipped = gzip.compress(content, mtime=0)
    smaller = len(content) >= _GZIP_MIN_BYTES and len(gzipped) < len(content)
    return _File(media_type, content, etag, gzipped if smaller else None)


def _hash_of(contents: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, content in sorted(contents.items()):
        digest.update(path.encode() + b"\0" + content + b"\0")
    return digest.hexdigest()[:16]
