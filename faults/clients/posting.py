"""Single messages posted by a row, with their replies; they are recorded like a writer's messages."""

import asyncio
from typing import Any, Self

import httpx

from faults.clients.load import Load
from faults.clients.person import Person
from faults.clients.reader import Reader
from faults.judge import records
from faults.judge.records import now
from gifchat_contracts.identity import MEMBERSHIP_HEADER

_RETRY_DELAY_S = 0.1


class Poster:
    """Posts as the user of a reader; `with Poster(load, reader, "poster-1") as poster:`."""

    def __init__(self, load: Load, reader: Reader, name: str) -> None:
        """`name` must be unique: the records are kept under it."""
        self.room = reader.room
        self._reader = reader
        self._recorder = load.recorder(name)
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.close()

    async def once(
        self, key: str, text: str, *, person: Person | None = None, timeout_s: float = 10.0
    ) -> dict[str, Any] | None:
        """Make one attempt; return the reply of a 201, or None for any other outcome.

        `person`: the same user with other connections, for example through a proxy.
        """
        number = self._numbers[key] = self._numbers.get(key, 0) + 1
        self._recorder.write(records.Attempt(t=now(), room=self.room, key=key, number=number))
        try:
            answer = await (person or self._reader.person).http.post(
                f"/api/v1/rooms/{self.room}/messages",
                json={"client_message_id": key, "text": text},
                headers={MEMBERSHIP_HEADER: self._reader.membership or ""},
                timeout=timeout_s,
            )
            body: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            self._not_acked(key, 0, type(error).__name__)
            return None
        if answer.status_code != httpx.codes.CREATED:
            self._not_acked(key, answer.status_code, str(body.get("code", "")))
            return None
        self._recorder.write(records.Acked(t=now(), room=self.room, key=key, epoch=body["epoch"], seq=body["seq"]))
        return body

    async def until_acked(self, key: str, text: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """Retry until the message is acknowledged, as all our clients do.

        Raises:
            TimeoutError: it was not acknowledged within `timeout_s`.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                if (reply := await self.once(key, text)) is not None:
                    return reply
                await asyncio.sleep(_RETRY_DELAY_S)

    def _not_acked(self, key: str, status: int, code: str) -> None:
        self._recorder.write(records.NotAcked(t=now(), room=self.room, key=key, status=status, code=code))
