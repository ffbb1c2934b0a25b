"""Scripts and styles under `/static/<hash of all of them>/`.

The hash is a folder of the URL, so that modules which import each other by relative paths share it, and what a browser
once loaded under it never changes.
"""

import hashlib
import os
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "static"
_FOR_EVER = "public, max-age=31536000, immutable"


class HashedFiles(StaticFiles):
    """Files that may be kept for ever if the URL has their hash, and else must be asked for again."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder)
        self.version = _hash_of(folder)

    def url(self, path: str) -> str:
        """The URL of a file, by its path in the folder."""
        return f"/static/{self.version}/{path}"

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304, with how long it may be kept."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        current = scope["path_params"].get("version") == self.version
        response.headers["cache-control"] = _FOR_EVER if current else "no-cache"
        return response


def _hash_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
