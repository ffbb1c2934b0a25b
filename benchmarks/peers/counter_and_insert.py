"""The alternative to group commit: for each message it increments a counter, then inserts the entry.

This is the textbook way, with the same durability: both writes wait for a majority's journal. If the process dies
between the two writes, the seqs have a hole. Running this module starts rooms-api with this class.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ReturnDocument
from pymongo.write_concern import WriteConcern

import gifchat_rooms_api.app
from gifchat_contracts import errors, keys
from gifchat_contracts.errors import Refused
from gifchat_contracts.ids import RoomId
from gifchat_rooms_api.__main__ import main
from gifchat_rooms_api.adapters.mongo_messages import MongoMessages
from gifchat_rooms_api.domain.message import Draft, LogEntry, frame_of
from gifchat_rooms_api.ports import Publisher, Rooms
from gifchat_rooms_api.use_cases.group_commit import Committed, Rule


class CounterAndInsert:
    """Implements the part of `GroupCommit` that messages need."""

    def __init__(self, rooms: Rooms, log: MongoMessages, publisher: Publisher, clock: Callable[[], datetime]) -> None:
        self._rooms = rooms
        self._log = log
        self._publisher = publisher
        self._clock = clock
        self._counters = log._messages.database.get_collection(
            "counters", write_concern=WriteConcern(w="majority", j=True)
        )

    async def append(self, room_id: RoomId, draft: Draft, rule: Rule) -> Committed:
        """See `GroupCommit.append`."""
        room = await self._rooms.get(room_id)
        if room is None:
            raise Refused(errors.ROOM_NOT_FOUND)
        now = self._clock()
        rule(room, now)
        counter = await self._counters.find_one_and_update(
            {"_id": ObjectId(room_id)}, {"$inc": {"seq": 1}}, upsert=True, return_document=ReturnDocument.AFTER
        )
        if counter is None:
            raise RuntimeError("the upsert returned no document")
        entry = LogEntry(int(counter["seq"]), now.replace(microsecond=now.microsecond // 1000 * 1000), draft)
        await self._log.append(room_id, [entry])
        frame = frame_of(room_id, room.epoch, entry)
        self._publisher.publish(keys.room_channel(room_id), frame)
        return Committed(room.epoch, entry, frame.body)

    async def aclose(self, timeout_s: float) -> None:
        """Do nothing: every append waits for its own write."""


if __name__ == "__main__":
    parts: Any = gifchat_rooms_api.app
    parts.GroupCommit = CounterAndInsert
    raise SystemExit(main())
