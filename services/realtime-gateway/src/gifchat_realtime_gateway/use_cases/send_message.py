"""Forward what members send over a socket: messages to rooms-api, typing events to the room."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from gifchat_contracts import errors, keys, limits, socket_events
from gifchat_contracts.codec import Frame, Kind
from gifchat_contracts.errors import Refused
from gifchat_contracts.events import TypingPayload, body
from gifchat_contracts.ids import RoomId
from gifchat_contracts.socket_events import SendGif, SendText
from gifchat_realtime_gateway.domain.hosted_room import HostedRoom
from gifchat_realtime_gateway.domain.refused_addresses import RefusedAddresses
from gifchat_realtime_gateway.domain.room_record import RoomRecord
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.ports import (
    EncodedMessage,
    HistoryUnavailableError,
    MessageRelay,
    Publisher,
    PublishFailedError,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class SendMessage:
    """Accepts messages from members whose seat this node can rely on."""

    relay: MessageRelay
    publisher: Publisher
    rooms: Mapping[RoomId, HostedRoom]
    serves: Callable[[RoomId], bool]
    """Whether this node can rely on its seats in a room."""
    record: Callable[[HostedRoom], Awaitable[RoomRecord]]
    """See `HostRooms.record`."""
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    now: Callable[[], datetime]
    refused: RefusedAddresses

    async def send(self, session: Session, message: SendText | SendGif) -> EncodedMessage:
        """Post the message. All members, including the sender, get it through the room's channel.

        Raises:
            Refused: `NOT_A_MEMBER`, `RECOVERING`, or the refusal of rooms-api. If rooms-api refuses the whole address,
                this node refuses its next messages for a while without a request.
        """
        if message.room_id not in session.rooms:
            raise Refused(errors.NOT_A_MEMBER)
        if not self.serves(message.room_id):
            raise Refused(errors.RECOVERING)
        wait_s = self.refused.wait_s(message.room_id, session.address, self.clock())
        if wait_s > 0:
            raise Refused(errors.RATE_LIMITED, wait_s)
        try:
            return await self.relay.relay(message, session.who, session.address)
        except Refused as refusal:
            if refusal.code is errors.RATE_LIMITED and refusal.whole_address:
                self.refused.add(message.room_id, session.address, refusal.retry_after_s or 0.0, self.clock())
            raise

    async def typing(self, session: Session, room_id: RoomId) -> None:
        """Tell the other members, at most once a second and only in small rooms. Best effort.

        A muted member's typing is not shown, because that member cannot send the message.
        """
        room = self.rooms.get(room_id)
        if room is None or room_id not in session.rooms or not self.serves(room_id):
            return
        if room.occupancy > limits.PRESENCE_ONE_BY_ONE_MEMBERS or not session.may_tell_typing(self.clock()):
            return
        try:
            record = await self.record(room)
        except (Refused, HistoryUnavailableError) as error:
            _log.debug("typing_not_published", error=str(error))
            return
        if record.muted(session.who.user_id, self.now()):
            return
        payload: TypingPayload = {"room": room_id, "user": session.who.color, "user_id": session.who.user_id}
        frame = Frame(Kind.TYPING, body(socket_events.TYPING, payload), subject=session.who.user_id)
        try:
            await self.publisher.publish(keys.room_channel(room_id), frame)
        except PublishFailedError as error:
            _log.debug("typing_not_published", error=str(error))
