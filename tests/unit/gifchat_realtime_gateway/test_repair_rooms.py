"""Gaps, lost last messages and new epochs are repaired with one read per room and node, in order."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gifchat_contracts import keys, limits
from gifchat_contracts.codec import Frame, Kind, encode
from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import Epoch, RoomId, UserId
from gifchat_realtime_gateway.domain.session import Session
from gifchat_realtime_gateway.use_cases.repair_rooms import (
    CHECK_EVERY_S,
    GAP_DELAY_S,
    MAX_BACKOFF_S,
    MAX_EMPTY_READS,
    MAX_MISSING,
    RETRY_AFTER_S,
)
from gifchat_testkit.fakes.rooms_api import StoredRoom
from gifchat_testkit.gateway_nodes import FakeCluster, FakeNode, now_s
from gifchat_testkit.virtual_time import settle

ROOM = RoomId("a" * 24)
ANNE = Identity(UserId("f" * 24), "#ffffff")
MEMBERS = [Identity(UserId(f"{number:024x}"), "#123456") for number in range(8)]
OTHER_EPOCH = Epoch("f" * 16)


class Hosted:
    """A running node that hosts a room with many members."""

    def __init__(self, cluster: FakeCluster, node: FakeNode, stored: StoredRoom) -> None:
        self.cluster, self.node, self.stored = cluster, node, stored
        self.sessions: list[Session] = []

    def say(self, *texts: str) -> list[Frame]:
        return [self.stored.say(text, ANNE) for text in texts]

    def publish(self, *frames: Frame) -> None:
        self.cluster.publish(*frames, to=ROOM)

    def forget_calls(self) -> None:
        self.cluster.api.calls.clear()
        self.cluster.api.called_at_s.clear()

    async def everybody_has(self, *texts: str, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while any(self.texts(session) != list(texts) for session in self.sessions):
                await asyncio.sleep(0.001)

    def texts(self, session: Session) -> list[str]:
        return [payload["chat"] for payload in self.node.received(session, "chat")]


@pytest.fixture
async def hosted(cluster: FakeCluster) -> AsyncIterator[Hosted]:
    stored = cluster.api.create(ROOM, max_members=100)
    async with cluster.node("n1") as node:
        hosted = Hosted(cluster, node, stored)
        for who in MEMBERS:
            session, _ = await node.enter(who, ROOM)
            hosted.sessions.append(session)
        hosted.forget_calls()
        yield hosted


async def test_a_gap_is_filled_by_one_read_for_all_members(hosted: Hosted) -> None:
    one, _two, _three, four, five = hosted.say("1", "2", "3", "4", "5")
    hosted.publish(one, four, five)
    await hosted.everybody_has("1", "2", "3", "4", "5", within_s=GAP_DELAY_S + 0.1)
    assert hosted.cluster.api.calls == {"after": 1}


async def test_messages_out_of_order_cost_no_read(hosted: Hosted) -> None:
    one, two = hosted.say("1", "2")
    hosted.publish(two)
    await asyncio.sleep(GAP_DELAY_S / 2)
    hosted.publish(one)
    await hosted.everybody_has("1", "2", within_s=0.01)
    await asyncio.sleep(10 * GAP_DELAY_S)
    assert hosted.cluster.api.calls == {}


async def test_messages_during_the_read_of_a_gap_follow_it_once(hosted: Hosted) -> None:
    one, two, three = hosted.say("1", "2", "3")
    hosted.cluster.api.hold("after")
    hosted.publish(three)
    await asyncio.sleep(2 * GAP_DELAY_S)
    [four] = hosted.say("4")
    hosted.publish(four, one, two)
    await settle()
    hosted.cluster.api.release()
    await hosted.everybody_has("1", "2", "3", "4", within_s=0.1)


async def test_a_gap_of_several_pages_is_read_page_after_page(hosted: Hosted) -> None:
    texts = [str(number) for number in range(limits.HISTORY_PAGE_MAX + 20)]
    *_, last = hosted.say(*texts)
    hosted.publish(last)
    await hosted.everybody_has(*texts, within_s=GAP_DELAY_S + 0.1)
    assert hosted.cluster.api.calls == {"after": 2}


async def test_a_room_that_missed_too_much_is_restarted(hosted: Hosted) -> None:
    *_, last = hosted.say(*map(str, range(MAX_MISSING + 1)))
    hosted.publish(last)
    await asyncio.sleep(GAP_DELAY_S + 0.1)
    resync = {"room": ROOM, "position": {"epoch": hosted.stored.epoch, "seq": MAX_MISSING + 1}}
    for session in hosted.sessions:
        assert hosted.node.received(session, "resync") == [resync]
        assert hosted.texts(session) == []
    hosted.publish(*hosted.say("after"))
    await hosted.everybody_has("after", within_s=0.1)


async def test_messages_during_a_restart_are_not_lost(hosted: Hosted) -> None:
    *_, last = hosted.say(*map(str, range(MAX_MISSING + 1)))
    hosted.cluster.api.hold("newest")
    hosted.publish(last)
    await asyncio.sleep(2 * GAP_DELAY_S)
    assert hosted.cluster.api.calls == {"after": 1, "newest": 1}
    # The page was read before this message, and no later message reveals the loss.
    hosted.publish(*hosted.say("the last one"))
    await settle()
    hosted.cluster.api.release()
    await hosted.everybody_has("the last one", within_s=2 * CHECK_EVERY_S)


async def test_a_new_epoch_restarts_the_room(hosted: Hosted) -> None:
    hosted.publish(*hosted.say("old"))
    await settle()
    hosted.stored.restart(OTHER_EPOCH)
    hosted.publish(*hosted.say("new"))
    await asyncio.sleep(CHECK_EVERY_S + 0.1)
    resync = {"room": ROOM, "position": {"epoch": OTHER_EPOCH, "seq": 1}}
    for session in hosted.sessions:
        assert hosted.node.received(session, "resync") == [resync]
        assert hosted.texts(session) == ["old"]
    hosted.publish(*hosted.say("newer"))
    await hosted.everybody_has("old", "newer", within_s=0.1)


async def test_an_announced_head_reveals_a_lost_last_message(hosted: Hosted) -> None:
    hosted.say("1")
    hosted.publish(Frame(Kind.HEAD, b"", hosted.stored.epoch, 1))
    await hosted.everybody_has("1", within_s=GAP_DELAY_S + 0.1)
    hosted.forget_calls()
    hosted.publish(Frame(Kind.HEAD, b"", hosted.stored.epoch, 1))
    await asyncio.sleep(1)
    assert hosted.cluster.api.calls == {}


async def test_a_reconnected_feed_checks_all_rooms_in_one_request(hosted: Hosted) -> None:
    others = [RoomId(f"{number:024x}") for number in range(20)]
    for room_id in others:
        hosted.cluster.api.create(room_id)
        await hosted.node.enter(ANNE, room_id)
    hosted.forget_calls()

    hosted.cluster.set_down({"channels"})
    hosted.publish(*hosted.say("1", "2"))
    hosted.cluster.set_down(())
    await hosted.everybody_has("1", "2", within_s=CHECK_EVERY_S)
    assert hosted.cluster.api.calls == {"heads": 1, "after": 1}


async def test_repairs_back_off_while_rooms_api_is_down(hosted: Hosted) -> None:
    _one, two = hosted.say("1", "2")
    hosted.cluster.set_down({"api"})
    hosted.publish(two)
    await asyncio.sleep(30)
    pauses_s = [
        later - earlier
        for earlier, later in zip(hosted.cluster.api.called_at_s, hosted.cluster.api.called_at_s[1:], strict=False)
    ]
    assert len(pauses_s) > 10
    assert pauses_s[0] <= GAP_DELAY_S
    assert all(MAX_BACKOFF_S / 2 <= pause_s <= MAX_BACKOFF_S for pause_s in pauses_s[-5:])
    assert len(set(pauses_s[-5:])) > 1, "jittered"

    hosted.cluster.set_down(())
    await hosted.everybody_has("1", "2", within_s=MAX_BACKOFF_S + 0.1)


async def test_reading_heads_is_retried_until_it_succeeds(hosted: Hosted) -> None:
    hosted.say("1")
    hosted.cluster.set_down({"api"})
    hosted.node.repair.behind([ROOM])
    await asyncio.sleep(5)
    assert 4 <= hosted.cluster.api.calls["heads"] <= 6
    hosted.cluster.set_down(())
    await hosted.everybody_has("1", within_s=RETRY_AFTER_S + 0.1)


async def test_a_gap_right_after_a_repair_is_repaired_too(hosted: Hosted) -> None:
    """A finished repair does not count as a running one, however recently it finished."""
    one, two = hosted.say("1", "2")
    hosted.publish(two)
    room = hosted.node.rooms[ROOM]
    await asyncio.sleep(GAP_DELAY_S)
    for _ in range(100):
        if room.stream.position.seq == 2:
            break
        await asyncio.sleep(0)
    # The repair has just finished.
    _three, four = hosted.say("3", "4")
    hosted.node.router.on_data(keys.room_channel(ROOM), encode(four))
    hosted.node.router.on_data(keys.room_channel(ROOM), encode(one))
    await hosted.everybody_has("1", "2", "3", "4", within_s=1)


async def test_a_node_catches_up_after_it_won_its_seats_back(hosted: Hosted) -> None:
    hosted.cluster.set_down({"seats"})
    await asyncio.sleep(limits.LEASE_TTL_S + 1)
    assert not hosted.node.renew.serves(ROOM)
    hosted.publish(*hosted.say("1"))
    await asyncio.sleep(2)
    for session in hosted.sessions:
        assert hosted.texts(session) == []
    hosted.cluster.set_down(())
    await hosted.everybody_has("1", within_s=limits.LEASE_RENEW_S + 3 * CHECK_EVERY_S)


async def test_the_repair_of_a_removed_room_ends(hosted: Hosted) -> None:
    _one, two = hosted.say("1", "2")
    del hosted.cluster.api.rooms[ROOM]
    hosted.publish(two)
    await asyncio.sleep(5)
    assert hosted.cluster.api.calls["after"] == 1


async def test_repairs_are_cancelled_when_the_node_stops(cluster: FakeCluster) -> None:
    stored = cluster.api.create(ROOM)
    async with cluster.node("n1") as node:
        await node.enter(ANNE, ROOM)
        cluster.set_down({"api"})
        stored.say("1", ANNE)
        cluster.publish(stored.say("2", ANNE), to=ROOM)
        await asyncio.sleep(1)
    stopped_at_s = now_s()
    await asyncio.sleep(10)
    assert all(at_s <= stopped_at_s for at_s in cluster.api.called_at_s)


async def test_a_gap_before_an_event_that_was_never_written_is_dropped(hosted: Hosted) -> None:
    [first] = hosted.say("one")
    hosted.publish(first, Frame(Kind.CHAT, b'["chat",{"seq":900}]', first.epoch, 900))
    await asyncio.sleep(60)
    room = hosted.node.rooms[ROOM]
    assert not room.stream.has_gap
    reads = hosted.cluster.api.calls["after"]
    assert reads <= MAX_EMPTY_READS + 2
    await asyncio.sleep(600)
    assert hosted.cluster.api.calls["after"] == reads
    hosted.publish(*hosted.say("two"))
    await hosted.everybody_has("one", "two", within_s=1)
