"""Find and open the file or the still of a GIF in a room, to serve it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId, RoomId
from gifchat_rooms_api.domain.gif import Format
from gifchat_rooms_api.ports import Blob, BlobRef, BlobStore, GifAddresses


@dataclass(frozen=True, slots=True)
class GifFile:
    """A stored file whose address is valid."""

    content_type: str
    ref: BlobRef
    shown: bool
    """Whether a message of the room shows it."""


@dataclass(frozen=True, slots=True)
class OpenGif:
    """Finds GIF files by room and name. Finding a file does not read it, so a 304 costs one look-up."""

    addresses: GifAddresses
    blobs: BlobStore
    clock: Callable[[], datetime]

    async def find(self, room_id: RoomId, gif_id: GifId, extension: str) -> GifFile:
        """Find `<gif_id>.<extension>` in a room. The extension is that of the GIF's format, or `still.png`.

        Raises:
            Refused: `GIF_NOT_FOUND` if the address is not valid.
            StoreUnavailableError: the store cannot say.
        """
        address = await self.addresses.find(room_id, gif_id, self.clock())
        if address is not None and extension == "still.png":
            return GifFile(Format.PNG.content_type, address.record.still, address.shown)
        if address is not None and extension == address.record.gif.format.value:
            return GifFile(address.record.gif.format.content_type, address.record.file, address.shown)
        raise Refused(errors.GIF_NOT_FOUND)

    async def open(self, file: GifFile) -> Blob:
        """Open a file that `find` returned.

        Raises:
            Refused: `GIF_NOT_FOUND` if it was removed meanwhile.
            StoreUnavailableError: the file cannot be read.
        """
        blob = await self.blobs.open(file.ref.blob_id)
        if blob is None:
            raise Refused(errors.GIF_NOT_FOUND)
        return blob
