"""Open the file of a GIF, or its still, to serve it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif import Format
from gifchat_rooms_api.ports import Blob, BlobStore, Gifs

STILL_EXTENSION = "still.png"


@dataclass(frozen=True, slots=True)
class GifFile:
    """A stored file, open for reading."""

    content_type: str
    size: int
    """Bytes."""
    digest: str
    """The SHA-256 of the content, in hex."""
    blob: Blob

    def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to `stop`; see `ports.Blob`."""
        return self.blob.read(start, stop)


class OpenGif:
    """Opens GIF files by name."""

    def __init__(self, gifs: Gifs, blobs: BlobStore) -> None:
        self._gifs = gifs
        self._blobs = blobs

    async def open(self, gif_id: GifId, extension: str) -> GifFile:
        """Open `<gif_id>.<extension>`. The extension is that of the GIF's format, or `still.png`.

        Raises:
            Refused: `GIF_NOT_FOUND`.
            StoreUnavailableError: the file cannot be read.
        """
        record = await self._gifs.get(gif_id)
        if record is None:
            raise Refused(errors.GIF_NOT_FOUND)
        if extension == STILL_EXTENSION:
            content_type, ref = Format.PNG.content_type, record.still
        elif extension == record.gif.format.value:
            content_type, ref = record.gif.format.content_type, record.file
        else:
            raise Refused(errors.GIF_NOT_FOUND)
        # None if the GIF was removed after its record was read.
        blob = await self._blobs.open(ref.blob_id)
        if blob is None:
            raise Refused(errors.GIF_NOT_FOUND)
        return GifFile(content_type, ref.size, ref.digest, blob)
