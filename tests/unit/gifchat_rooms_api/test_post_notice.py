from gifchat_contracts.codec import Kind
from gifchat_rooms_api.use_cases.post_notice import PostNotice

from .conftest import OWNER, ROOM, World


async def test_every_notice_is_an_entry_of_its_own(world: World) -> None:
    post_notice: PostNotice = world.post_notice
    for slow_mode_s in (30, 30, 0):
        await post_notice.post_slow_mode(ROOM, OWNER.user_id, slow_mode_s)
    assert [event for event, _ in world.events] == ["notice"] * 3
    assert [frame.kind for frame in world.published] == [Kind.NOTICE] * 3
