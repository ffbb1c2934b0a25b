"""A session that was signed out is refused by every replica, and stays refused."""

import asyncio
import time
from typing import Any

import httpx

from gifchat_chassis.revocations import KEPT_S
from gifchat_contracts import keys
from gifchat_contracts.codec import Kind
from gifchat_contracts.identity import SESSION_TTL_S

from .conftest import Api, StartApi, User

WITHIN_S = 5.0
"""A session is refused everywhere within this time."""
NO_ROOM = "f" * 24


async def refused(user: User) -> bool:
    answer = await user.http.post(f"/rooms/{NO_ROOM}/tickets", json={})
    assert answer.status_code in (404, 401)
    return answer.status_code == 401 and answer.json()["code"] == "session_revoked"


async def until_refused(user: User) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not await refused(user):
            await asyncio.sleep(0.02)


async def test_a_signed_out_session_is_refused_at_once_and_others_are_not(api: Api) -> None:
    anne, bob = await api.user("anne"), await api.user("bob")
    room = await anne.room()
    assert (await anne.http.delete("/session")).status_code == 204
    assert await refused(anne)
    answers = [
        await anne.http.post(f"/rooms/{room['_id']}/messages", json={"client_message_id": "k", "text": "hello"}),
        await anne.http.get(f"/rooms/{room['_id']}/messages"),
        await anne.http.post(f"/rooms/{room['_id']}/tickets", json={}),
        await anne.http.delete(f"/rooms/{room['_id']}"),
        await anne.http.delete("/session"),
    ]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(401, "session_revoked")}
    assert not await refused(bob)


async def test_other_replicas_and_later_ones_refuse_it_too(start_api: StartApi) -> None:
    first, second = await start_api(), await start_api()
    anne, elsewhere = await first.user("anne"), await second.user("anne")
    assert not await refused(elsewhere)
    await anne.http.delete("/session")
    await until_refused(elsewhere)
    later: Api = await start_api()
    assert await refused(await later.user("anne")), "it is known before the replica is ready"


async def test_gateways_are_told_and_can_read_it_for_as_long_as_a_cookie_may_be_valid(api: Api) -> None:
    anne = await api.user("anne")
    gateway = await api.gateway()
    listener = await api.listen(keys.REVOCATIONS_CHANNEL)
    before_ms = int(time.time() * 1_000) - 60_000
    await anne.http.delete("/session")
    frame = await listener.next()
    assert (frame.kind, frame.subject, frame.body) == (Kind.SESSION_REVOKED, anne.who.user_id, b"")

    answer = (await gateway.get("/revocations", params={"since_ms": before_ms})).json()
    [[user_id, at_ms]] = answer["revoked"]
    assert user_id == anne.who.user_id
    assert before_ms < at_ms <= time.time() * 1_000 + 60_000
    assert (await gateway.get("/revocations", params={"since_ms": at_ms + 1})).json() == {"revoked": []}
    assert (await (await api.stranger()).get("http://test/internal/v1/revocations")).status_code == 401
    assert (await gateway.get("/revocations", params={"since_ms": -1})).status_code == 422

    index: dict[str, Any] = (await api.database["revoked_sessions"].index_information())["at_1"]
    assert index["expireAfterSeconds"] == KEPT_S > SESSION_TTL_S
    [document] = [each async for each in api.database["revoked_sessions"].find()]
    assert set(document) == {"_id", "at"}
    assert "anne" not in str(document)


async def test_revoking_again_keeps_the_first_time(start_api: StartApi) -> None:
    first, second = await start_api(revocation_read_seconds=4.0), await start_api(revocation_read_seconds=4.0)
    answers = await asyncio.gather(*[(await api.user("anne")).http.delete("/session") for api in (first, second)])
    assert all(answer.status_code in (204, 401) for answer in answers)
    assert await first.database["revoked_sessions"].count_documents({}) == 1


async def test_sign_outs_of_one_address_are_limited(start_api: StartApi) -> None:
    api: Api = await start_api(sign_outs_per_address=2, sign_out_refill=3_600.0)
    people = [await api.user(f"person {number}", "203.0.113.90") for number in range(3)]
    answers: list[httpx.Response] = [await person.http.delete("/session") for person in people]
    assert [answer.status_code for answer in answers] == [204, 204, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert not await refused(people[-1])
    other = await api.user("another", "203.0.113.91")
    assert (await other.http.delete("/session")).status_code == 204


async def test_without_a_session_there_is_nothing_to_sign_out(api: Api) -> None:
    answer = await (await api.stranger()).delete("/session")
    assert (answer.status_code, answer.json()["code"]) == (401, "session_required")


async def test_private_answers_are_not_stored(api: Api) -> None:
    anne = await api.user("anne")
    room = await anne.room()
    path = f"/rooms/{room['_id']}"
    for answer in (
        await anne.http.get("/rooms"),
        await anne.http.get(path),
        await anne.http.get(f"{path}/messages"),
        await anne.http.post(f"{path}/tickets", json={}),
        await anne.http.post(f"{path}/messages", json={"client_message_id": "k", "text": "hello"}),
        await anne.http.delete(f"{path}/messages/1"),
        await (await api.gateway()).get(path),
    ):
        assert answer.is_success, answer.text
        assert answer.headers.get_list("cache-control") == ["no-store"]
