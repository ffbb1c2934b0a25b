"""A saved session of `/chat`, from which any gateway can put the client back into its rooms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_contracts.position import Position
from gifchat_realtime_gateway.domain.session import Admitted


@dataclass(frozen=True, slots=True)
class SavedRoom:
    """A room that the session was in."""

    admitted: Admitted
    position: Position | None = None
    """Position of the last event written to the session before it ended; None while the session is live."""


@dataclass(frozen=True, slots=True)
class SavedSession:
    """A session as of its last save."""

    sid: str
    who: Identity
    guest: bool
    """Whether the user has no session cookie. Only the private id identifies a guest."""
    node: str
    """Tag of the gateway that saved the session."""
    ended: bool
    rooms: Mapping[RoomId, SavedRoom]

    def as_json(self) -> str:
        """Serialise for storage."""
        rooms = {
            room_id: [
                room.admitted.at.isoformat(),
                room.admitted.access_version,
                room.position.as_json() if room.position else None,
            ]
            for room_id, room in self.rooms.items()
        }
        content = {
            "sid": self.sid,
            "user": [self.who.user_id, self.who.color],
            "guest": self.guest,
            "node": self.node,
            "ended": self.ended,
            "rooms": rooms,
        }
        return json.dumps(content, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse the output of `as_json`.

        Raises:
            ValueError: `text` is not a saved session.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            user_id, color = content["user"]
            rooms = {
                RoomId(room_id): SavedRoom(
                    Admitted(datetime.fromisoformat(at), int(version)), Position.from_json(at_end) if at_end else None
                )
                for room_id, (at, version, at_end) in content["rooms"].items()
            }
            return cls(
                sid=content["sid"],
                who=Identity(UserId(user_id), color),
                guest=content["guest"],
                node=content["node"],
                ended=content["ended"],
                rooms=rooms,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a saved session") from error
