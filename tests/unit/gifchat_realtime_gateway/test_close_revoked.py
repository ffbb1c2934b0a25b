"""Connections of signed-out sessions are found without blocking the others."""

import asyncio

from gifchat_contracts.identity import user_id_of
from gifchat_realtime_gateway.use_cases.close_revoked import CONNECTIONS_PER_TURN, PERIOD_S, CloseRevoked
from gifchat_testkit.virtual_time import settle


class Connections:
    """Connections by id, with the ids of their sessions."""

    def __init__(self, sessions: dict[str, str]) -> None:
        self.sessions = sessions
        self.searches = 0
        self.done: list[tuple[str, str]] = []

    def with_sessions(self) -> list[tuple[str, str]]:
        self.searches += 1
        return list(self.sessions.items())

    def close_revoked(self, connection: str) -> None:
        del self.sessions[connection]
        self.done.append(("closed", connection))

    def tell(self, connection: str) -> None:
        self.done.append(("told", connection))


async def test_only_the_sessions_connections_close_after_they_were_told() -> None:
    connections = Connections({"a1": "anne", "b": "bob", "a2": "anne"})
    revoke = CloseRevoked(connections)
    revoke.tell = connections.tell
    running = asyncio.create_task(revoke.run())
    revoke.revoke(user_id_of("anne"))
    await settle()
    assert connections.done == [("told", "a1"), ("closed", "a1"), ("told", "a2"), ("closed", "a2")]
    assert user_id_of("anne") in revoke.revoked
    assert user_id_of("bob") not in revoke.revoked
    running.cancel()


async def test_many_revocations_cost_one_search_in_a_period() -> None:
    connections = Connections({f"c{number}": f"session {number}" for number in range(50)})
    revoke = CloseRevoked(connections)
    running = asyncio.create_task(revoke.run())
    for number in range(25):
        revoke.revoke(user_id_of(f"session {number}"))
    await settle()
    for number in range(25, 50):
        revoke.revoke(user_id_of(f"session {number}"))
        revoke.revoke(user_id_of(f"session {number}"))
    await asyncio.sleep(PERIOD_S)
    assert (connections.searches, len(connections.sessions)) == (2, 0)
    await asyncio.sleep(5 * PERIOD_S)
    assert connections.searches == 2
    running.cancel()


async def test_a_search_lets_others_run_in_between() -> None:
    connections = Connections({f"c{number}": f"session {number}" for number in range(3 * CONNECTIONS_PER_TURN)})
    connections.sessions["last"] = "anne"
    revoke = CloseRevoked(connections)
    running = asyncio.create_task(revoke.run())
    revoke.revoke(user_id_of("anne"))
    turns = 0
    while not connections.done:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 3
    running.cancel()
