"""Open the file or the still of a GIF, to serve it."""

from dataclasses import dataclass

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId
from gifchat_rooms_api.domain.gif import Format
from gifchat_rooms_api.ports import Blob, BlobRef, BlobStore, Gifs


@dataclass(frozen=True, slots=True)
class GifFile:
    """A stored file, open for reading."""

    content_type: str
    ref: BlobRef
    blob: Blob


@dataclass(frozen=True, slots=True)
class OpenGif:
    """Opens GIF files by name."""

    gifs: Gifs
    blobs: BlobStore

    async def open(self, gif_id: GifId, extension: str) -> GifFile:
        """Open `<gif_id>.<extension>`. The extension is that of the GIF's format, or `still.png`.

        Raises:
            Refused: `GIF_NOT_FOUND`.
            StoreUnavailableError: the file cannot be read.
        """
        record = await self.gifs.get(gif_id)
        if record is None:
            raise Refused(errors.GIF_NOT_FOUND)
        if extension == "still.png":
            content_type, ref = Format.PNG.content_type, record.still
        elif extension == record.gif.format.value:
            content_type, ref = record.gif.format.content_type, record.file
        else:
            raise Refused(errors.GIF_NOT_FOUND)
        # None if the GIF was removed after its record was read.
        blob = await self.blobs.open(ref.blob_id)
        if blob is None:
            raise Refused(errors.GIF_NOT_FOUND)
        return GifFile(content_type, ref, blob)
