"""`gifchat_rooms_api.ports.BlobStore` in memory."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from gifchat_rooms_api.ports import Blob, BlobId, StoreUnavailableError

PIECE_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class FakeBlob:
    """`gifchat_rooms_api.ports.Blob` over bytes."""

    data: bytes

    async def read(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """See the port."""
        if stop > len(self.data):
            raise StoreUnavailableError("the blob is too short")
        for at in range(start, stop, PIECE_BYTES):
            yield self.data[at : min(at + PIECE_BYTES, stop)]


class FakeBlobs:
    """Keeps blobs in a dictionary."""

    def __init__(self) -> None:
        self.blobs: dict[BlobId, bytes] = {}

    async def put(self, blob_id: BlobId, data: bytes) -> None:
        """See the port."""
        if blob_id in self.blobs:
            raise ValueError(f"blob id {blob_id} is used twice")
        self.blobs[blob_id] = data

    async def open(self, blob_id: BlobId) -> Blob | None:
        """See the port."""
        data = self.blobs.get(blob_id)
        return None if data is None else FakeBlob(data)

    async def delete(self, blob_id: BlobId) -> None:
        """See the port."""
        self.blobs.pop(blob_id, None)
