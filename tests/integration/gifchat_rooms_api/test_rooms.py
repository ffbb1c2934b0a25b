"""Rooms over HTTP: create, find, edit and remove, and what all answers have in common."""

import asyncio
from typing import Any

import pytest

from gifchat_contracts import errors, keys, limits
from gifchat_contracts.codec import Kind
from gifchat_contracts.ids import RoomId, is_room_id
from gifchat_rooms_api import app as composition
from gifchat_rooms_api.ports import Rate

from .conftest import Api, Rounds, StartApi, User

pytestmark = pytest.mark.servers

MISSING = "65f0c0ffee0123456789abcd"


@pytest.fixture
async def anne(api: Api) -> User:
    return await api.user("anne")


@pytest.fixture
async def bob(api: Api) -> User:
    return await api.user("bob")


async def titles(user: User, **query: Any) -> list[str]:
    answer = await user.http.get("/rooms", params=query)
    assert answer.status_code == 200, answer.text
    return [room["title"] for room in answer.json()["items"]]


async def test_a_new_room_has_defaults_and_a_location(anne: User) -> None:
    answer = await anne.http.post("/rooms", json={"title": "  고양이 GIF  "})
    assert answer.status_code == 201
    room = answer.json()
    assert is_room_id(room["_id"])
    assert answer.headers["location"] == f"/api/v1/rooms/{room['_id']}"
    expected = {
        "title": "고양이 GIF",
        "max": 10,
        "private": False,
        "owner": anne.who.color,
        "owner_id": anne.who.user_id,
        "slow_mode_s": 0,
        "members": 0,
    }
    assert room | expected == room
    assert (await anne.http.get(answer.headers["location"].removeprefix("/api/v1"))).json() == room


async def test_a_password_is_stored_only_as_a_hash(api: Api, anne: User) -> None:
    lobby = await api.listen(keys.LOBBY_CHANNEL)
    room = await anne.room(password="correct horse")
    frame = await lobby.next()
    stored = await api.database["rooms"].find_one({})
    assert stored is not None
    assert (frame.kind, room["private"]) == (Kind.NEW_ROOM, True)
    assert stored["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert b"correct horse" not in frame.body
    assert "correct horse" not in str(stored)
    assert "password" not in str(room)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": 5},
        {"title": {"$gt": ""}},
        {"title": "a", "max": 1},
        {"title": "a", "max": 100_001},
        {"title": "a", "max": "10"},
        {"title": "a", "max": True},
        {"title": "a", "password": "x" * 129},
        {"title": "a", "password": ["x"]},
        {"title": "a", "owner_id": MISSING},
        [],
        None,
    ],
)
async def test_an_invalid_room_is_refused_and_the_problem_says_where(anne: User, body: object) -> None:
    answer = await anne.http.post("/rooms", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert all(each["where"].startswith("body") for each in answer.json()["errors"])
    assert not any("Value error" in each["message"] for each in answer.json()["errors"])


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("", "text_empty"),
        (" \u200b\u3164 ", "text_empty"),
        ("x" * (limits.TITLE_MAX_CHARS + 1), "title_too_long"),
        ("👩‍👩‍👧" * limits.TITLE_MAX_CHARS, "title_too_long"),
        ("x" * 10_000, "title_too_long"),
    ],
)
async def test_a_title_against_the_policy_is_refused_with_its_code(anne: User, title: str, code: str) -> None:
    room = await anne.room()
    for answer in (
        await anne.http.post("/rooms", json={"title": title}),
        await anne.http.patch(f"/rooms/{room['_id']}", json={"title": title}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_title_is_mended_and_found_in_any_normal_form(anne: User) -> None:
    room = await anne.room(title="\u1112\u1161\u11ab\r\n\u202eＧＩＦ\x00")
    assert room["title"] == "한 ＧＩＦ"
    for q in ("한 gif", "\u1112\u1161\u11ab", "GIF", "\u202egif"):
        found = (await anne.http.get("/rooms", params={"q": q})).json()["items"]
        assert [each["_id"] for each in found] == [room["_id"]]


async def test_a_search_for_nothing_visible_finds_all_rooms(anne: User) -> None:
    room = await anne.room()
    assert [each["_id"] for each in (await anne.http.get("/rooms?q=%E2%80%8B")).json()["items"]] == [room["_id"]]
    too_long = await anne.http.get("/rooms", params={"q": "x" * (limits.TITLE_MAX_CHARS + 1)})
    assert (too_long.status_code, too_long.json()["code"]) == (422, "title_too_long")


async def test_a_refusal_does_not_echo_the_input(anne: User) -> None:
    answer = await anne.http.post("/rooms", json={"title": "a", "password": "hunter2" * 20})
    assert "hunter2" not in answer.text


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"[" * 30_000, b'{"title": "\\ud800"}', b'{"title": NaN}'])
async def test_an_unreadable_body_is_not_a_500(anne: User, raw: bytes) -> None:
    answer = await anne.http.post("/rooms", content=raw, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused_with_and_without_a_length(anne: User) -> None:
    async def pieces() -> Any:
        for _ in range(70):
            yield b" " * 1024

    for content in (b" " * 70_000, pieces()):
        answer = await anne.http.post("/rooms", content=content, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("accepted", "title"),
    [
        ("ko-KR,ko;q=0.9,en;q=0.8", errors.ROOM_NOT_FOUND.text("ko")),
        ("en", errors.ROOM_NOT_FOUND.text("en")),
        (None, None),
    ],
)
async def test_problems_are_in_the_clients_language(anne: User, accepted: str | None, title: str | None) -> None:
    answer = await anne.http.get(f"/rooms/{MISSING}", headers={"accept-language": accepted} if accepted else {})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["vary"] == "Accept-Language"
    assert answer.json() == {
        "type": "urn:gifchat:error:room_not_found",
        "title": title or errors.ROOM_NOT_FOUND.text("en"),
        "status": 404,
        "detail": title or errors.ROOM_NOT_FOUND.text("en"),
        "code": "room_not_found",
        "action": "stop",
        "retry": False,
        "instance": f"/api/v1/rooms/{MISSING}",
    }


@pytest.mark.parametrize("room_id", ["1", "x" * 24, MISSING.upper(), "%00", "%24ne", "65f0c0ffee0123456789abc"])
async def test_an_invalid_id_is_422(anne: User, room_id: str) -> None:
    for answer in (
        await anne.http.get(f"/rooms/{room_id}"),
        await anne.http.patch(f"/rooms/{room_id}", json={}),
        await anne.http.delete(f"/rooms/{room_id}"),
        await anne.http.post(f"/rooms/{room_id}/tickets", json={}),
        await anne.http.put(f"/rooms/{MISSING}/bans/{room_id}", json={}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_unknown_routes_and_methods_are_problem_documents(api: Api, anne: User) -> None:
    unknown = await anne.http.get("/nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    method = await anne.http.put("/rooms", json={})
    assert (method.status_code, method.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in method.headers["allow"]


async def test_pages_list_every_room_once_from_newest_to_oldest(anne: User) -> None:
    made = [(await anne.room(title=f"room {number}"))["title"] for number in range(7)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = (await anne.http.get("/rooms", params={"limit": 3, **cursor})).json()
        seen += [room["title"] for room in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    assert page["next_cursor"] is None


async def test_titles_are_searched_literally_in_any_case(anne: User) -> None:
    for title in ("Cats (GIF)", "cat.s", "DOGS", "고양이", "STRASSE", "ﬁsh"):
        await anne.room(title=title)
    assert set(await titles(anne, q="CAT")) == {"Cats (GIF)", "cat.s"}
    assert await titles(anne, q="t.s") == ["cat.s"]
    assert await titles(anne, q="(gif") == ["Cats (GIF)"]
    assert await titles(anne, q="양이") == ["고양이"]
    assert await titles(anne, q="straße") == ["STRASSE"]
    assert await titles(anne, q="FISH") == ["ﬁsh"]
    assert await titles(anne, q=".*") == []
    assert len(await titles(anne, q="  ")) == 6


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"sort": "oldest"},
        {"cursor": "x"},
        {"cursor": "bmV3ZXN0OjE6MQ"},
        {"cursor": "é"},
        {"sort": "members", "cursor": "bmV3ZXN0OjE6NjVmMGMwZmZlZTAxMjM0NTY3ODlhYmNk"},
        {"cursor": "bmV3ZXN0Ojk5OTk5OTk5OTk5OTk5OTk6NjVmMGMwZmZlZTAxMjM0NTY3ODlhYmNk"},
    ],
)
async def test_an_invalid_list_query_is_422(anne: User, query: dict[str, Any]) -> None:
    answer = await anne.http.get("/rooms", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_the_list_shows_current_members(api: Api, anne: User, bob: User) -> None:
    room, other = await anne.room(), await anne.room()
    await api.take_seats(room, anne.who.user_id, bob.who.user_id)
    by_id = {each["_id"]: each["members"] for each in (await anne.http.get("/rooms")).json()["items"]}
    assert by_id == {room["_id"]: 2, other["_id"]: 0}
    assert (await anne.http.get(f"/rooms/{room['_id']}")).json()["members"] == 2


async def test_an_edit_by_the_owner_is_published(api: Api, anne: User) -> None:
    room = await anne.room(title="before", password="secret")
    lobby = await api.listen(keys.LOBBY_CHANNEL)
    channel = await api.listen(keys.room_channel(RoomId(room["_id"])))
    answer = await anne.http.patch(
        f"/rooms/{room['_id']}", json={"title": "after", "max": 50, "password": None, "slow_mode_s": 30}
    )
    assert answer.status_code == 200
    changed = answer.json()
    assert changed == room | {"title": "after", "max": 50, "private": False, "slow_mode_s": 30}
    assert [(await listener.next()).kind for listener in (lobby, channel)] == [Kind.ROOM_CHANGED] * 2
    notice = await channel.next()
    assert (notice.kind, notice.seq) == (Kind.NOTICE, 1)
    assert await titles(anne, q="after") == ["after"]


async def test_omitted_fields_of_an_edit_stay_unchanged(api: Api, anne: User) -> None:
    room = await anne.room(password="secret", max=7)
    gateway = await api.gateway()

    async def access_version() -> int:
        return int((await gateway.get(f"/rooms/{room['_id']}")).json()["access_version"])

    assert (await anne.http.patch(f"/rooms/{room['_id']}", json={})).json() == room
    assert (await anne.http.patch(f"/rooms/{room['_id']}", json={"title": "b"})).json() == room | {"title": "b"}
    assert await access_version() == 1
    await anne.http.patch(f"/rooms/{room['_id']}", json={"password": "other"})
    assert await access_version() == 2
    for wrong in ({"max": 1}, {"title": " "}, {"slow_mode_s": 3_601}, {"password": 5}, {"owner_id": MISSING}):
        assert (await anne.http.patch(f"/rooms/{room['_id']}", json=wrong)).status_code == 422


async def test_only_the_owner_can_edit_and_remove(anne: User, bob: User) -> None:
    room = await anne.room()
    for answer in (
        await bob.http.patch(f"/rooms/{room['_id']}", json={"title": "mine"}),
        await bob.http.delete(f"/rooms/{room['_id']}"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "not_owner")
    assert (await anne.http.get(f"/rooms/{room['_id']}")).json() == room


async def test_a_room_is_removed_with_its_log(api: Api, anne: User) -> None:
    room = await anne.room()
    url = f"/rooms/{room['_id']}"
    await anne.http.post(f"{url}/messages", json={"client_message_id": "k", "text": "hi"})
    lobby = await api.listen(keys.LOBBY_CHANNEL)
    channel = await api.listen(keys.room_channel(RoomId(room["_id"])))
    gone = await anne.http.delete(url)
    assert (gone.status_code, gone.content, gone.headers.get("content-type")) == (204, b"", None)
    for listener in (lobby, channel):
        frame = await listener.next()
        assert (frame.kind, frame.body) == (Kind.ROOM_REMOVED, f'["removeRoom","{room["_id"]}"]'.encode())
    for answer in (
        await anne.http.get(url),
        await anne.http.delete(url),
        await anne.http.patch(url, json={}),
        await anne.http.get(f"{url}/messages"),
        await anne.http.post(f"{url}/tickets", json={}),
        await anne.http.post(f"{url}/kicks", json={"user_id": MISSING}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "room_not_found")
    assert await api.database["messages"].count_documents({}) == 0


async def test_every_change_requires_a_session(api: Api, anne: User) -> None:
    room = await anne.room()
    url = f"/rooms/{room['_id']}"
    stranger = await api.stranger()
    forged = await api.client("http://test/api/v1", cookies={"gifchat_session": "anne"})
    for client in (stranger, forged):
        for method, path, body in (
            ("POST", "/rooms", {"title": "a"}),
            ("PATCH", url, {}),
            ("DELETE", url, None),
            ("POST", f"{url}/tickets", {}),
            ("POST", f"{url}/messages", {"client_message_id": "k", "text": "hi"}),
            ("GET", f"{url}/messages", None),
            ("POST", f"{url}/kicks", {"user_id": MISSING}),
            ("PUT", f"{url}/bans/{MISSING}", {}),
            ("DELETE", f"{url}/mutes/{MISSING}", None),
        ):
            answer = await client.request(method, path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, "session_required"), (method, path)
    assert (await stranger.get("/rooms")).status_code == 200


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([], True),
        (["http://localhost:8080"], True),
        (["null"], False),
        (["https://evil.example"], False),
        (["http://localhost:8080.evil.example"], False),
        (["http://localhost:80800"], False),
        (["HTTP://LOCALHOST:8080"], False),
        ([""], False),
        (["http://localhost:8080"] * 2, False),
        (["http://localhost:8080", "https://evil.example"], False),
        (["https://evil.example", "http://localhost:8080"], False),
    ],
)
async def test_other_sites_cannot_change_anything(anne: User, origins: list[str], allowed: bool) -> None:
    room = await anne.room()
    headers = [("origin", origin) for origin in origins]
    url = f"/rooms/{room['_id']}"
    assert (await anne.http.get(url, headers=headers)).status_code == 200
    for method, path, body in (
        ("POST", "/rooms", {"title": "a"}),
        ("PATCH", url, {}),
        ("POST", f"{url}/tickets", {}),
        ("POST", f"{url}/messages", {"client_message_id": "k", "text": "hi"}),
        ("POST", f"{url}/gifs", None),
        ("POST", f"{url}/kicks", {"user_id": MISSING}),
        ("PUT", f"{url}/mutes/{MISSING}", {}),
        ("DELETE", f"{url}/mutes/{MISSING}", None),
        ("DELETE", url, None),
    ):
        answer = await anne.http.request(method, path, json=body, headers=headers)
        code = answer.json()["code"] if answer.is_error else None
        assert (code == "origin_refused") is not allowed, (method, path, answer.text)


async def created(*users: User) -> list[str]:
    """Let the users create rooms at the same time; return the refusals' codes, and "" for each room."""
    answers = await asyncio.gather(*(user.http.post("/rooms", json={"title": "a room"}) for user in users))
    return sorted("" if answer.status_code == 201 else answer.json()["code"] for answer in answers)


async def test_a_user_has_a_bounded_number_of_rooms(start_api: StartApi) -> None:
    api = await start_api(rooms_per_user=2)
    anne, bob = await api.user("anne"), await api.user("bob")
    room = await anne.room()
    await anne.room()
    assert await created(anne) == ["too_many_rooms"]
    assert await created(bob) == [""]
    assert (await anne.http.delete(f"/rooms/{room['_id']}")).status_code == 204
    assert await created(anne) == [""]


async def test_an_address_has_a_bounded_number_of_rooms(start_api: StartApi) -> None:
    api = await start_api(rooms_per_address=2)
    users = [await api.user(name, "203.0.113.7") for name in ("anne", "bob", "carl")]
    assert [await created(user) for user in users] == [[""], [""], ["too_many_rooms"]]
    assert await created(await api.user("carl", "203.0.113.8")) == [""]


async def test_rooms_created_at_once_stay_within_the_bound(start_api: StartApi) -> None:
    api = await start_api(rooms_per_user=5)
    anne = await api.user("anne")
    lobby = await api.listen(keys.LOBBY_CHANNEL)
    codes = await created(*[anne] * 40)
    rooms = codes.count("")
    assert codes == [""] * rooms + ["too_many_rooms"] * (40 - rooms)
    assert await api.database["rooms"].count_documents({}) == rooms <= 5
    announced = [(await lobby.next()).kind for _ in range(rooms)]
    assert announced == [Kind.NEW_ROOM] * rooms


async def test_a_rooms_address_is_stored_as_a_digest(api: Api, anne: User) -> None:
    await anne.room()
    stored = await api.database["rooms"].find_one({})
    assert stored is not None
    assert len(stored["owner_address"]) == 24
    assert "203.0.113.7" not in str(stored)


async def test_creations_and_edits_share_a_budget(start_api: StartApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "per_minute", lambda name, changes: Rate(name, changes, 3_600.0))
    api = await start_api(room_changes_per_user=3, room_changes_per_address=4)
    anne, bob = await api.user("anne"), await api.user("bob")
    room = await anne.room()
    url = f"/rooms/{room['_id']}"
    for title in ("one", "two"):
        assert (await anne.http.patch(url, json={"title": title})).status_code == 200
    answer = await anne.http.patch(url, json={"password": "three"})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert (await anne.http.get(url)).json()["private"] is False
    assert await created(anne) == ["rate_limited"]
    assert await created(bob, bob) == ["", "rate_limited"], "one address has one budget"
    assert await created(await api.user("bob", "203.0.113.8")) == [""]


async def test_a_room_that_nobody_enters_leaves_the_list(janitor: Rounds, start_api: StartApi) -> None:
    api = await start_api()
    anne = await api.user("anne")
    room = await anne.room(title="empty")
    await anne.room(title="used")
    used = (await anne.http.get("/rooms", params={"q": "used"})).json()["items"][0]
    await api.take_seats(used, anne.who.user_id)
    await janitor.whole()
    api.clock.forward(seconds=59)
    assert await titles(anne) == ["used", "empty"]
    api.clock.forward(seconds=2)
    assert await titles(anne) == ["used"]
    assert (await anne.http.get("/rooms", params={"sort": "members"})).json()["items"][0]["title"] == "used"
    assert (await anne.http.get(f"/rooms/{room['_id']}")).status_code == 200

    await api.take_seats(room, anne.who.user_id)
    await janitor.whole()
    assert await titles(anne) == ["used", "empty"]
    for left in (room, used):
        await api.leave_seats(left)
    await janitor.whole()
    assert await titles(anne) == ["used", "empty"], "a room that somebody entered stays in the list"
