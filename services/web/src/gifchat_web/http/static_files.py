"""Serves scripts, styles and texts under `/static/<hash of all of them>/`.

The hash is a folder in the URL, so modules that import each other by relative paths share it. A file under
its hash never changes.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "static"
_FOR_EVER = "public, max-age=31536000, immutable"


class HashedFiles(StaticFiles):
    """Serves a folder and files generated at startup. Browsers keep a file with the current hash for a year."""

    def __init__(self, folder: Path = FOLDER, made: Mapping[str, bytes] | None = None) -> None:
        """`made`: contents of the generated JSON files, by path."""
        super().__init__(directory=folder)
        self._made = made or {}
        self.version = _hash_of(folder, self._made)

    def url(self, path: str) -> str:
        """Return the URL of a file by its path."""
        return f"/static/{self.version}/{path}"

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the file, or 304, with its cache lifetime."""
        return self._kept(super().file_response(full_path, stat_result, scope, status_code), scope)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the answer for a path: a generated file, or one from the folder."""
        if path in self._made and scope["method"] in ("GET", "HEAD"):
            return self._kept(Response(self._made[path], media_type="application/json"), scope)
        return await super().get_response(path, scope)

    def _kept(self, response: Response, scope: Scope) -> Response:
        current = scope["path_params"].get("version") == self.version
        response.headers["cache-control"] = _FOR_EVER if current else "no-cache"
        return response


def _hash_of(folder: Path, made: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(made.items()):
        digest.update(name.encode() + b"\0" + content + b"\0")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
