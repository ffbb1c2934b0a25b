"""GIFs: taking one in, finding one for a message, serving one, and letting go of those that nobody shows."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import GifId, UserId
from gifchat_rooms_api.domain.gif import IN_FLIGHT, StoredGif, examine, stored_gif
from gifchat_rooms_api.domain.message import Gif
from gifchat_rooms_api.ports import GifDecoder, GifFile, GifStore, Rate, RateLimits

UPLOADS_OF_USER = Rate("upload-user", burst=20, every_s=2.0)
UPLOADS_FROM_ADDRESS = Rate("upload-address", burst=200, every_s=0.2)
"""Decoding is the most work that a stranger can ask for; the line in front of it is everybody's."""


class Gifs:
    """Keeps each GIF once, however often it is sent."""

    def __init__(
        self, store: GifStore, decoder: GifDecoder, rate_limits: RateLimits, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._decoder = decoder
        self._rate_limits = rate_limits
        self._clock = clock

    async def count_upload(self, user_id: UserId, address: str) -> None:
        """Count an upload before anything of it is read.

        Raises:
            Refused: `RATE_LIMITED`.
        """
        for rate, whom in ((UPLOADS_OF_USER, user_id), (UPLOADS_FROM_ADDRESS, address)):
            wait_s = await self._rate_limits.take(rate, whom)
            if wait_s > 0:
                raise Refused(errors.RATE_LIMITED, wait_s)

    async def upload(self, data: bytes) -> StoredGif:
        """Check what somebody sent, take its metadata away, and keep it.

        Raises:
            Refused: `GIF_WRONG_TYPE`, `GIF_TOO_MANY_PIXELS`, `GIF_BROKEN`, `UNAVAILABLE`.
            StoreUnavailableError: see `GifStore`.
        """
        picture = await asyncio.to_thread(examine, data)
        gif = stored_gif(picture)
        if picture.orientation == 1 and (known := await self._store.use(gif.gif_id, self._clock())):
            return known
        decoded = await self._decoder.decode(picture)
        if decoded.turned is not None:
            picture = await asyncio.to_thread(examine, decoded.turned)
            gif = stored_gif(picture)
        await self._store.put(gif, picture.data, decoded.still, self._clock())
        return gif

    async def for_message(self, gif_id: GifId) -> Gif | None:
        """The GIF as a message shows it, kept from now on until the message refers to it; None where there is none.

        Raises:
            StoreUnavailableError: see `GifStore`.
        """
        gif = await self._store.use(gif_id, self._clock())
        return None if gif is None else Gif(gif.gif_id, gif.file, gif.width, gif.height)

    async def open(self, gif_id: GifId, extension: str) -> GifFile:
        """The file `<gif_id>.<extension>`; the extension is the format's own, or `still.png`.

        Raises:
            Refused: `GIF_NOT_FOUND`.
            StoreUnavailableError: see `GifStore`.
        """
        if extension == "still.png":
            file = await self._store.open_still(gif_id)
        else:
            file = await self._store.open(gif_id, extension)
        if file is None:
            raise Refused(errors.GIF_NOT_FOUND)
        return file

    async def remove_unreferenced(self, unused_since: datetime) -> int:
        """Remove some of the GIFs that no message shows and that were not used since; returns how many.

        Whoever posts a GIF first marks it as used and then stores the message: so nothing goes that was used less than
        `IN_FLIGHT` ago, whatever `unused_since` is.

        Raises:
            StoreUnavailableError: see `GifStore`.
        """
        now = self._clock()
        in_flight_since = now - IN_FLIGHT
        return await self._store.remove_unreferenced(min(unused_since, in_flight_since), in_flight_since, now)
