"""Tickets, and access for reading and posting, over HTTP on real seats, grants and limits."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from gifchat_chassis.session_cookie import TokenSigner
from gifchat_contracts import identity, keys, limits
from gifchat_contracts.ids import RoomId, UserId
from gifchat_rooms_api.adapters import redis_occupancy
from gifchat_rooms_api.use_cases import issue_ticket
from gifchat_rooms_api.use_cases.issue_ticket import ATTEMPTS_PER_ADDRESS, ATTEMPTS_PER_USER

from .conftest import PASSWORD, SECRET, Api, StartApi, User

pytestmark = pytest.mark.servers

NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def no_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop refills. Redis refills buckets by its own clock, so a slow test would get attempts back."""
    for name in ("ATTEMPTS_PER_ADDRESS", "ATTEMPTS_PER_USER"):
        monkeypatch.setattr(issue_ticket, name, replace(getattr(issue_ticket, name), refill_s=3_600.0))


@pytest.fixture
async def anne(api: Api) -> User:
    return await api.user("anne")


@pytest.fixture
async def bob(api: Api) -> User:
    return await api.user("bob")


async def ask(user: User, room: dict[str, Any], password: str | None = None) -> httpx.Response:
    body = {} if password is None else {"password": password}
    return await user.http.post(f"/rooms/{room['_id']}/tickets", json=body)


async def code(user: User, room: dict[str, Any], password: str | None = None) -> str | None:
    answer = await ask(user, room, password)
    assert answer.status_code == 201 or answer.headers["content-type"] == "application/problem+json"
    return answer.json().get("code") if answer.is_error else None


def content_of(ticket: str) -> dict[str, Any]:
    content: dict[str, Any] = TokenSigner([SECRET], identity.TICKET_SALT).read(ticket, limits.TICKET_TTL_S)
    return content


async def test_a_ticket_is_for_one_user_and_one_room_for_a_short_time(anne: User, bob: User) -> None:
    room = await anne.room()
    answer = await ask(bob, room)
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["room"] == room
    ticket = content_of(answer.json()["ticket"])
    assert (ticket["r"], ticket["u"], ticket["v"]) == (room["_id"], bob.who.user_id, 1)
    assert content_of((await ask(bob, room)).json()["ticket"])["j"] != ticket["j"]


async def test_an_open_room_needs_no_body(anne: User) -> None:
    room = await anne.room()
    assert (await anne.http.post(f"/rooms/{room['_id']}/tickets")).status_code == 201


async def test_a_private_room_requires_its_password_once(api: Api, anne: User, bob: User) -> None:
    room = await anne.room(password=PASSWORD)
    assert await code(bob, room) == "password_required"
    assert await code(bob, room, "") == "password_required"
    assert await code(bob, room, "wrong") == "wrong_password"
    assert await code(bob, room) == "password_required"
    assert await code(bob, room, PASSWORD) is None
    assert await code(bob, room) is None
    grant = keys.grant(RoomId(room["_id"]), bob.who.user_id)
    assert limits.GRANT_TTL_S - 60 < await api.redis.ttl(grant) <= limits.GRANT_TTL_S
    assert await code(await api.user("carol"), room) == "password_required"


async def test_the_owner_needs_no_password(anne: User) -> None:
    assert await code(anne, await anne.room(password=PASSWORD)) is None


async def test_a_new_password_voids_earlier_tickets_and_grants(anne: User, bob: User) -> None:
    room = await anne.room(password=PASSWORD)
    before = content_of((await ask(bob, room, PASSWORD)).json()["ticket"])
    await anne.http.patch(f"/rooms/{room['_id']}", json={"password": "another"})
    assert await code(bob, room) == "password_required"
    assert await code(bob, room, PASSWORD) == "wrong_password"
    after = content_of((await ask(bob, room, "another")).json()["ticket"])
    assert (before["v"], after["v"]) == (1, 2)


@pytest.mark.usefixtures("no_refills")
async def test_correct_and_wrong_attempts_per_user_and_room_are_limited(anne: User, bob: User) -> None:
    room, other = await anne.room(password=PASSWORD), await anne.room(password=PASSWORD)
    codes = [await code(bob, room, "wrong") for _ in range(ATTEMPTS_PER_USER.burst)]
    assert codes == ["wrong_password"] * ATTEMPTS_PER_USER.burst
    refused = await ask(bob, room, PASSWORD)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(refused.headers["retry-after"]) <= issue_ticket.ATTEMPTS_PER_USER.refill_s
    assert await code(bob, other, PASSWORD) is None


@pytest.mark.usefixtures("no_refills")
async def test_attempts_per_address_are_limited_across_users_and_rooms(api: Api, anne: User) -> None:
    rooms = [await anne.room(password=PASSWORD) for _ in range(2)]
    guessers = [await api.user(f"guesser {number}", "2001:db8::1") for number in range(ATTEMPTS_PER_ADDRESS.burst + 1)]
    codes = [await code(user, rooms[number % 2], "wrong") for number, user in enumerate(guessers)]
    assert codes == ["wrong_password"] * ATTEMPTS_PER_ADDRESS.burst + ["too_many_attempts"]
    neighbour = await api.user("neighbour", "2001:db8::ffff:2")
    elsewhere = await api.user("elsewhere", "2001:db8:0:1::1")
    assert await code(neighbour, rooms[0], PASSWORD) == "too_many_attempts"
    assert await code(elsewhere, rooms[0], PASSWORD) is None


@pytest.mark.usefixtures("no_refills")
async def test_concurrent_attempts_are_limited(anne: User, bob: User) -> None:
    room = await anne.room(password=PASSWORD)
    codes = await asyncio.gather(*(code(bob, room, "wrong") for _ in range(3 * ATTEMPTS_PER_USER.burst)))
    assert sorted(map(str, codes)) == (
        ["too_many_attempts"] * (2 * ATTEMPTS_PER_USER.burst) + ["wrong_password"] * ATTEMPTS_PER_USER.burst
    )


async def test_the_owner_gets_a_ticket_for_a_full_room(api: Api, anne: User) -> None:
    room = await anne.room(max=2)
    await api.take_seats(room, UserId("b" * 24), UserId("c" * 24))
    assert await code(anne, room) is None


async def test_a_full_room_admits_only_seated_users(api: Api, anne: User, bob: User) -> None:
    room = await anne.room(max=2)
    await api.take_seats(room, anne.who.user_id, UserId("c" * 24))
    answer = await ask(bob, room)
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (409, "room_full", True)
    seated = await ask(anne, room)
    assert (seated.status_code, seated.json()["room"]["members"]) == (201, 2)
    await anne.http.patch(f"/rooms/{room['_id']}", json={"max": 3})
    assert await code(bob, room) is None


async def test_a_banned_user_gets_no_ticket_until_the_ban_ends(api: Api, anne: User, bob: User) -> None:
    room = await anne.room(password=PASSWORD)
    await anne.http.put(f"/rooms/{room['_id']}/bans/{bob.who.user_id}", json={"seconds": 60})
    assert await code(bob, room, "whatever") == "banned"
    api.clock.forward(seconds=61)
    assert await code(bob, room, PASSWORD) is None


async def test_reading_and_posting_require_a_seat(
    api: Api, anne: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_occupancy, "SEEN_S", 0.0)
    room = await anne.room()
    await api.settle(room)
    url = f"/rooms/{room['_id']}/messages"

    async def codes(headers: dict[str, str], key: str = "k") -> list[str | None]:
        answers = [
            await bob.http.get(url, headers=headers),
            await bob.http.post(url, json={"client_message_id": key, "text": "hi"}, headers=headers),
        ]
        return [answer.json().get("code") if answer.is_error else None for answer in answers]

    assert await codes({}) == ["not_a_member"] * 2
    assert await codes(bob.membership(room)) == ["not_a_member"] * 2, "a membership outlived the seat"
    await api.take_seats(room, bob.who.user_id)
    assert await codes({}) == [None, None]
    await api.leave_seats(room)
    assert await codes(bob.membership(room), "later") == ["not_a_member"] * 2


async def test_a_membership_is_enough_while_the_seats_are_being_registered_again(
    api: Api, anne: User, bob: User
) -> None:
    room, other = await anne.room(), await anne.room()
    await api.redis.delete(keys.generation(keys.partition_of(RoomId(room["_id"]))))
    url = f"/rooms/{room['_id']}/messages"
    for wrong in (
        {},
        bob.membership(other),
        anne.membership(room),
        bob.membership(room, access_version=2),
        {identity.MEMBERSHIP_HEADER: "forged"},
    ):
        answer = await bob.http.get(url, headers=wrong)
        assert (answer.status_code, answer.json()["code"]) == (503, "admission_unavailable")
    assert (await bob.http.get(url, headers=bob.membership(room))).status_code == 200


async def test_the_owner_can_read_and_post_without_joining(anne: User) -> None:
    url = f"/rooms/{(await anne.room(password=PASSWORD))['_id']}/messages"
    assert (await anne.http.post(url, json={"client_message_id": "k", "text": "hi"})).status_code == 201
    assert (await anne.http.get(url)).json()["head"] == 1


async def test_passwords_and_limits_work_without_redis(start_api: StartApi) -> None:
    api: Api = await start_api(redis_url=NOWHERE)
    anne, bob = await api.user("anne"), await api.user("bob")
    room = await anne.room(password=PASSWORD)
    assert await code(bob, room, PASSWORD) is None
    assert await code(bob, room) == "password_required", "an unreadable grant does not count"
    codes = [await code(bob, room, "wrong") for _ in range(ATTEMPTS_PER_USER.burst)]
    assert codes == ["wrong_password"] * (ATTEMPTS_PER_USER.burst - 1) + ["too_many_attempts"]
    url = f"/rooms/{room['_id']}/messages"
    unknown = await bob.http.get(url)
    assert (unknown.status_code, unknown.json()["code"]) == (503, "admission_unavailable")
    assert (await bob.http.get(url, headers=bob.membership(room))).status_code == 200
