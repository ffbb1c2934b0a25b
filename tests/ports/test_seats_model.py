"""The Lua scripts on a real server give the same answers and seats as the model in memory."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gifchat_contracts.identity import Identity
from gifchat_contracts.ids import RoomId, UserId
from gifchat_testkit.seat_worlds import FakeSeatWorld, RedisSeatWorld, SeatWorld

pytestmark = pytest.mark.servers

ROOMS = [RoomId(digit * 24) for digit in "ab"]
USERS = [Identity(UserId(digit * 24), f"#{digit * 6}") for digit in "12345"]
NODES = ["n1", "n2", "n3"]

rooms, users, nodes = st.sampled_from(ROOMS), st.sampled_from(USERS), st.sampled_from(NODES)
OWNER = USERS[0].user_id
max_members, tickets = st.integers(2, 4), st.sampled_from([None, "t1", "t2"])


class Seats(RuleBasedStateMachine):
    """Every rule runs one step in both worlds. Leases and graces end only when a rule ends them."""

    url: str

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.redis = Redis.from_url(self.url, socket_timeout=5.0)
        self.model, self.real = FakeSeatWorld(), RedisSeatWorld(self.redis)
        self.run(self.flush_both_and_end_recovery())

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def agree(self, method: str, node: str, *args: Any, **options: Any) -> Any:
        """Call the method on the node in both worlds and compare the answers."""
        asked, expected = (
            self.run(getattr(world.node(node), method)(*args, **options)) for world in (self.real, self.model)
        )
        assert self.comparable(asked) == self.comparable(expected)
        return expected

    @staticmethod
    def comparable(answer: Any) -> Any:
        if isinstance(answer, list):
            return sorted(answer, key=repr)
        if getattr(answer, "retry_after_s", None) is not None:
            return answer.outcome, answer.occupancy
        return answer

    def both(self, method: str, *args: Any) -> None:
        for world in (self.real, self.model):
            self.run(getattr(world, method)(*args))

    async def flush_both_and_end_recovery(self) -> None:
        worlds: list[SeatWorld] = [self.real, self.model]
        for world in worlds:
            await world.flush()
            await world.end_recovery()

    @rule(node=nodes, room_id=rooms, who=users, limit=max_members, ticket=tickets)
    def admit(self, node: str, room_id: RoomId, who: Identity, limit: int, ticket: str | None) -> None:
        before = self.others(room_id)
        most = None if who.user_id == OWNER else limit
        self.agree("admit", node, room_id, who, max_members=most, ticket_id=ticket)
        assert self.others(room_id) <= max(before, limit)

    def others(self, room_id: RoomId) -> int:
        """Return the number of members without the owner, who may be above the limit."""
        return len(self.model.store.members[room_id].keys() - {OWNER})

    @rule(node=nodes, room_id=rooms, who=users, guest=st.booleans())
    def leave(self, node: str, room_id: RoomId, who: Identity, guest: bool) -> None:
        self.agree("leave", node, room_id, who.user_id, guest=guest)

    @rule(node=nodes, room_id=rooms, who=users)
    def remove(self, node: str, room_id: RoomId, who: Identity) -> None:
        self.agree("remove", node, room_id, who.user_id)

    @rule(node=nodes)
    def renew_and_restore(self, node: str) -> None:
        for room_id in sorted(self.agree("renew", node)):
            self.agree("restore", node, room_id, self.model.node(node).held(room_id))

    @rule(node=nodes, limit=max_members)
    def renew_late_and_readmit(self, node: str, limit: int) -> None:
        for room_id in sorted(self.agree("renew", node)):
            before, held = self.others(room_id), self.model.node(node).held(room_id)
            self.agree("readmit", node, room_id, held, max_members=limit, owner_id=OWNER)
            assert self.others(room_id) <= max(before, limit)

    @rule(node=nodes)
    def sweep(self, node: str) -> None:
        self.agree("sweep", node)

    @rule(node=nodes)
    def expire_leases(self, node: str) -> None:
        self.both("expire_leases", node)

    @rule()
    def expire_graces(self) -> None:
        self.both("expire_graces")

    @rule(node=nodes)
    def stop(self, node: str) -> None:
        self.agree("release_node", node)

    @rule()
    def flush(self) -> None:
        self.both("flush")

    @precondition(
        lambda self: len(self.model.store.recovered_at_s) < 64 or any(self.model.store.recovered_at_s.values())
    )
    @rule()
    def end_recovery(self) -> None:
        self.both("end_recovery")

    @invariant()
    def same_seats(self) -> None:
        for room_id in ROOMS:
            registered = self.run(self.real.registered(room_id))
            assert registered == self.run(self.model.registered(room_id))
            assert registered.occupancy == (len(registered.members) or None)
        for node in NODES:
            for room_id in ROOMS:
                assert self.real.node(node).held(room_id) == self.model.node(node).held(room_id)

    def teardown(self) -> None:
        self.run(self.real.aclose())
        self.run(self.redis.aclose())
        self.runner.close()


def test_the_lua_scripts_match_the_model(valkey_url: str) -> None:
    Seats.url = valkey_url
    run_state_machine_as_test(
        Seats,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
