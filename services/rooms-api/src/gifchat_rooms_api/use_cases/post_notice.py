"""Post a notice into a room's log about a change by the owner."""

from collections.abc import Callable
from dataclasses import dataclass

from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.domain.message import Draft, SlowModeChange, notice_key
from gifchat_rooms_api.use_cases.check_access import owner_rule
from gifchat_rooms_api.use_cases.group_commit import GroupCommit


@dataclass(frozen=True, slots=True)
class PostNotice:
    """Posts notices through the group commit, so that gateways can recover them like messages."""

    commit: GroupCommit
    new_entry_id: Callable[[], str]

    async def post_slow_mode(self, room_id: RoomId, owner_id: UserId, slow_mode_s: int) -> None:
        """Tell the room that its slow mode is now `slow_mode_s` seconds.

        Raises:
            Refused: see `GroupCommit.append`. A retry after `OUTCOME_UNKNOWN` may post a second notice.
        """
        entry_id = self.new_entry_id()
        draft = Draft(entry_id, owner_id, notice_key(entry_id), SlowModeChange(slow_mode_s))
        await self.commit.append(room_id, draft, owner_rule(owner_id))
