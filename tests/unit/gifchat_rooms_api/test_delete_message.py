import asyncio
import json

import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import Refused
from gifchat_contracts.identity import Identity
from gifchat_rooms_api.ports import StoreUnavailableError
from gifchat_testkit.fakes.message_log import ReplyLost, Unreachable

from .conftest import ANNE, OWNER, ROOM, World, anyone


async def test_a_deletion_redacts_the_message_and_adds_an_entry(world: World) -> None:
    posted = json.loads(await world.post_message.post_text(ROOM, ANNE, "k1", "secret", anyone))
    await world.delete_message.delete(ROOM, OWNER.user_id, 1)
    (chat_event, chat), (deletion_event, deletion) = world.events
    assert (chat_event, deletion_event) == ("chat", "chatDeleted")
    without_text = {name: value for name, value in posted.items() if name != "chat"}
    assert chat == without_text | {"deleted": True}
    assert isinstance(deletion, dict)
    assert (deletion["seq"], deletion["target_seq"], deletion["target_id"]) == (2, 1, posted["_id"])
    assert json.loads(await world.post_message.post_text(ROOM, ANNE, "k1", "secret", anyone)) == chat


async def test_repeated_and_concurrent_deletions_add_one_entry(world: World) -> None:
    await world.post_message.post_text(ROOM, ANNE, "k1", "secret", anyone)
    await asyncio.gather(*(world.delete_message.delete(ROOM, OWNER.user_id, 1) for _ in range(5)))
    await world.delete_message.delete(ROOM, OWNER.user_id, 1)
    assert [event for event, _ in world.events] == ["chat", "chatDeleted"]


async def test_the_next_deletion_completes_one_that_stopped_halfway(world: World) -> None:
    await world.post_message.post_text(ROOM, ANNE, "k1", "secret", anyone)
    world.log.faults.extend([None, ReplyLost(0)])
    with pytest.raises(Refused) as refused:
        await world.delete_message.delete(ROOM, OWNER.user_id, 1)
    assert refused.value.code is errors.OUTCOME_UNKNOWN
    await world.delete_message.delete(ROOM, OWNER.user_id, 1)
    assert [event for event, _ in world.events] == ["chat", "chatDeleted"]


async def test_only_the_owner_can_delete_and_only_messages(world: World) -> None:
    await world.post_message.post_text(ROOM, ANNE, "k1", "mine", anyone)

    async def code_of_delete(user: Identity, seq: int) -> str:
        with pytest.raises(Refused) as refused:
            await world.delete_message.delete(ROOM, user.user_id, seq)
        return refused.value.code.code

    assert await code_of_delete(ANNE, 1) == "not_owner"
    assert await code_of_delete(OWNER, 2) == "message_not_found"
    world.log.faults.append(Unreachable())
    with pytest.raises(StoreUnavailableError):
        await world.delete_message.delete(ROOM, OWNER.user_id, 1)
    assert [event for event, _ in world.events] == ["chat"]
    world.room = None
    assert await code_of_delete(OWNER, 1) == "room_not_found"
