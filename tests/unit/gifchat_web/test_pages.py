from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import unquote

import httpx
import pytest

from gifchat_contracts import errors
from gifchat_contracts.errors import ErrorCode, Refused

NOWHERE = "f" * 24
PASSWORD = "비밀 번호&1"


async def create(client: httpx.AsyncClient, **form: str) -> str:
    answer = await client.post("/room", data={"title": "우리 방", "max": "10", **form})
    assert answer.status_code == 302
    return answer.headers["location"]


def error_of(answer: httpx.Response) -> str:
    assert answer.status_code == 302
    location = answer.headers["location"]
    assert location.startswith("/?error=")
    assert location.isascii()
    return unquote(location.removeprefix("/?error="))


async def test_the_list_shows_rooms_and_the_error_of_the_url(alice: httpx.AsyncClient) -> None:
    await create(alice, title="<script>alert(1)</script>")
    page = await alice.get("/", params={"error": "비밀번호가 틀렸습니다."})
    assert page.status_code == 200
    assert f'role="alert">{errors.WRONG_PASSWORD.text("ko")}<' in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text


@pytest.mark.parametrize("value", ["banned", "muted", "존재하지 않는 방입니다.", "허용 인원을 초과했습니다."])
async def test_the_list_explains_every_code_in_the_users_language(alice: httpx.AsyncClient, value: str) -> None:
    code = errors.TABLE.get(value) or {"존": errors.ROOM_NOT_FOUND, "허": errors.ROOM_FULL}[value[0]]
    page = await alice.get("/", params={"error": value}, headers={"accept-language": "en"})
    assert f'role="alert">{code.text("en")}<' in page.text


@pytest.mark.parametrize(
    "value",
    ["", "Your account is locked. Call 010-1234-5678.", "비밀번호가 틀렸습니다.<b>", "BANNED", "banned ", "x" * 300],
)
async def test_a_link_cannot_put_its_own_words_on_the_page(alice: httpx.AsyncClient, value: str) -> None:
    page = await alice.get("/", params={"error": value})
    assert page.status_code == 200
    assert 'role="alert"' not in page.text


async def test_a_room_is_created_from_a_form_and_from_json(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    assert await create(alice) == f"/room/{1:024x}"
    assert await create(alice, max="") == f"/room/{2:024x}"
    answer = await alice.post("/room", json={"title": "json", "max": 3, "password": PASSWORD})
    assert answer.headers["location"] == f"/room/{3:024x}"
    rooms = list(rooms_api.rooms.values())
    assert [(room["title"], room["max"], room["private"]) for room in rooms] == [
        ("우리 방", 10, False),
        ("우리 방", 10, False),
        ("json", 3, True),
    ]


@pytest.mark.parametrize("form", [{"title": ""}, {"max": "1"}, {"max": "many"}, {"max": "9" * 30}])
async def test_an_invalid_form_is_shown_again_with_its_values(alice: httpx.AsyncClient, form: dict[str, str]) -> None:
    answer = await alice.post("/room", data={"title": "typed", "max": "10", **form})
    assert answer.status_code == 422
    assert errors.VALIDATION_FAILED.text("ko") in answer.text
    assert ("typed" in answer.text) == ("title" not in form)


async def test_checks_run_in_the_originals_order_with_its_sentences(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, rooms_api: Any
) -> None:
    url = await create(alice, password=PASSWORD)
    assert error_of(await bob.get(f"/room/{NOWHERE}?password=wrong")) == "존재하지 않는 방입니다."
    assert error_of(await bob.get("/room/not-an-id")) == "존재하지 않는 방입니다."
    rooms_api.rooms[url.removeprefix("/room/")]["members"] = 10
    assert error_of(await bob.get(url, params={"password": "wrong"})) == "비밀번호가 틀렸습니다."
    assert error_of(await bob.get(url, params={"password": PASSWORD})) == "허용 인원을 초과했습니다."


async def test_errors_are_in_the_language_of_the_user(alice: httpx.AsyncClient) -> None:
    english = {"accept-language": "en-GB,en;q=0.9"}
    answer = await alice.get(f"/room/{NOWHERE}", headers=english)
    page = await alice.get(answer.headers["location"], headers=english)
    assert f'role="alert">{errors.ROOM_NOT_FOUND.text("en")}<' in page.text


async def test_a_refusal_that_the_original_did_not_know_is_named_by_its_code(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, rooms_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await create(alice)
    monkeypatch.setattr(rooms_api, "admit", AsyncMock(side_effect=Refused(errors.BANNED)))
    assert error_of(await bob.get(url)) == "banned"


@pytest.mark.parametrize("path", ["/room/", "/room/abc/"])
async def test_redirects_name_no_host(alice: httpx.AsyncClient, path: str) -> None:
    answer = await alice.get(path, headers={"host": "forged.example"})
    assert (answer.status_code, answer.headers["location"]) == (307, path.removesuffix("/"))


async def test_a_password_in_the_url_leads_to_the_clean_url(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    url = await create(alice, password=PASSWORD)
    answer = await bob.get(url, params={"password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, url)
    assert PASSWORD not in answer.text
    assert PASSWORD not in unquote(str(answer.headers))
    assert 'id="composer"' in (await bob.get(url)).text


async def test_a_password_for_an_open_room_leads_to_the_clean_url_too(alice: httpx.AsyncClient) -> None:
    url = await create(alice)
    answer = await alice.get(url, params={"password": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, url)


async def test_a_private_room_asks_for_its_password(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    url = await create(alice, password=PASSWORD)
    asked = await bob.get(url)
    assert asked.status_code == 200
    assert f'action="{url}/password" method="post"' in asked.text
    wrong = await bob.post(f"{url}/password", data={"password": "wrong"})
    assert wrong.status_code == 403
    assert "비밀번호가 틀렸습니다." in wrong.text
    assert f'href="{url}?lang=en"' in wrong.text, "after a POST the language link leads to the page"
    back = await bob.get(f"{url}/password")
    assert (back.status_code, back.headers["location"]) == (303, url), "after a POST a reload leads to the page"
    right = await bob.post(f"{url}/password", data={"password": PASSWORD})
    assert (right.status_code, right.headers["location"]) == (303, url)
    assert 'id="composer"' in (await bob.get(url)).text
    assert 'id="composer"' in (await alice.get(url)).text, "the owner needs no password"


async def test_no_page_holds_a_ticket_or_a_session(alice: httpx.AsyncClient) -> None:
    url = await create(alice)
    page = await alice.get(url)
    assert alice.cookies["gifchat_session"] not in page.text
    assert "ticket" not in page.text.replace("ticket_", "")


async def test_the_routes_for_the_originals_scripts_answer_ok(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    url = await create(alice)
    room_id = url.removeprefix("/room/")
    for answer in (
        await alice.post(f"{url}/chat", data={"chat": "안녕하세요"}),
        await alice.post(f"{url}/chat", json={"chat": "json"}),
        await alice.post(f"{url}/gif", files={"gif": ("x.gif", b"GIF89a", "image/gif")}),
    ):
        assert (answer.status_code, answer.text) == (200, "ok")
    assert [(room, text) for room, _user, text in rooms_api.posts] == [
        (room_id, "안녕하세요"),
        (room_id, "json"),
        (room_id, "0" * 64),
    ]
    [(content_type, length, body)] = rooms_api.uploads
    assert content_type.startswith("multipart/form-data; boundary=")
    assert (length, b"GIF89a" in body) == (str(len(body)), True)
    removed = await alice.delete(url)
    assert (removed.status_code, removed.text) == (200, "ok")
    assert not rooms_api.rooms


async def test_only_the_owner_can_remove_a_room(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient, rooms_api: Any
) -> None:
    url = await create(alice)
    answer = await bob.delete(url)
    assert answer.status_code == 403
    assert errors.NOT_OWNER.text("ko") in answer.text
    assert rooms_api.rooms


@pytest.mark.parametrize("text", ["", " a\r\nb ", "x\r\n" * 1_000])
async def test_only_rooms_api_judges_the_text_of_a_form(alice: httpx.AsyncClient, rooms_api: Any, text: str) -> None:
    url = await create(alice)
    assert (await alice.post(f"{url}/chat", data={"chat": text})).text == "ok"
    assert [posted for _room, _user, posted in rooms_api.posts] == [text]


async def test_a_form_answers_with_the_code_for_its_text(
    alice: httpx.AsyncClient, rooms_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await create(alice)
    monkeypatch.setattr(rooms_api, "post_text", AsyncMock(side_effect=Refused(errors.TEXT_TOO_LONG)))
    answer = await alice.post(f"{url}/chat", data={"chat": "x"}, headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "text_too_long")


@pytest.mark.parametrize("code", [errors.TEXT_EMPTY, errors.TITLE_TOO_LONG])
async def test_the_form_for_a_room_says_what_is_wrong_with_the_title(
    alice: httpx.AsyncClient, rooms_api: Any, monkeypatch: pytest.MonkeyPatch, code: ErrorCode
) -> None:
    monkeypatch.setattr(rooms_api, "create_room", AsyncMock(side_effect=Refused(code)))
    answer = await alice.post("/room", data={"title": "my title", "max": "2"})
    assert answer.status_code == 422
    assert code.text("ko") in answer.text
    assert 'value="my title"' in answer.text


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/x-www-form-urlencoded", b"title=%C7%D1%B1%DB"),
        ("application/x-www-form-urlencoded", b"title=%FF"),
        ("application/x-www-form-urlencoded", b"title=%ED%A0%80"),
        ("application/x-www-form-urlencoded", b"title=\xc7\xd1"),
        ("application/json", '{"title": "한글"}'.encode("euc-kr")),
        ("application/json", '{"title": "한글"}'.encode("utf-16")),
        ("application/json", b'{"title": "\xed\xa0\x80"}'),
    ],
)
async def test_a_form_in_another_encoding_than_utf8_makes_no_room(
    alice: httpx.AsyncClient, rooms_api: Any, kind: str, content: bytes
) -> None:
    assert (await alice.post("/room", headers={"content-type": kind}, content=content)).status_code == 400
    assert not rooms_api.rooms


@pytest.mark.parametrize("query", ["q=%FF", "q=%C7%D1"])
async def test_a_search_in_another_encoding_than_utf8_is_refused(alice: httpx.AsyncClient, query: str) -> None:
    assert (await alice.get(f"/?{query}")).status_code == 400


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "application/json"}, b"[]", 400),
        ({"content-type": "application/json"}, b"{", 400),
        ({"content-type": "application/json"}, b"[" * 60_000, 400),
        ({"content-type": "text/plain"}, b"chat=x", 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"chat=\xff", 400),
        ({"content-type": "application/x-www-form-urlencoded"}, b"chat=" + b"x" * 70_000, 413),
    ],
)
async def test_a_malformed_body_is_refused(
    alice: httpx.AsyncClient, headers: dict[str, str], content: bytes, status: int
) -> None:
    url = await create(alice)
    assert (await alice.post(f"{url}/chat", headers=headers, content=content)).status_code == status


@pytest.mark.parametrize("path", ["/room", "/room/{}/password", "/room/{}/chat"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize(
    "body", ["{}", '{{"title":"a","max":{}}}', '{{"chat":{}}}', '{{"password":{}}}', '{{"x":[{}]}}']
)
async def test_a_form_with_a_number_that_is_not_finite_is_refused(
    alice: httpx.AsyncClient, rooms_api: Any, path: str, number: str, body: str
) -> None:
    url = await create(alice)
    headers = {"content-type": "application/json", "accept": "application/json"}
    asked = len(rooms_api.callers)
    answer = await alice.post(path.format(url.removeprefix("/room/")), content=body.format(number), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(rooms_api.callers) == asked


async def test_a_page_with_a_number_that_is_not_finite_is_not_rendered(
    alice: httpx.AsyncClient, rooms_api: Any
) -> None:
    await create(alice)
    next(iter(rooms_api.rooms.values()))["members"] = float("nan")
    answer = await alice.get("/")
    assert answer.status_code == 500
    assert "NaN" not in answer.text


async def test_a_gif_with_a_large_content_length_is_refused_unread(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    url = await create(alice)
    headers = {"content-type": "multipart/form-data; boundary=x", "content-length": str(11 * 1024 * 1024)}
    answer = await alice.post(f"{url}/gif", headers=headers, content=b"")
    assert (answer.status_code, rooms_api.uploads) == (413, [])
    assert errors.GIF_TOO_LARGE.text("ko") in answer.text


async def test_requests_to_rooms_api_name_the_user(alice: httpx.AsyncClient, rooms_api: Any) -> None:
    await alice.get("/", headers={"accept-language": "en"})
    [caller] = rooms_api.callers
    assert (caller.address, caller.language) == ("203.0.113.9", "en")
    assert caller.session_cookie == alice.cookies["gifchat_session"]


async def test_an_outage_is_a_page_for_people_and_a_problem_for_programs(
    alice: httpx.AsyncClient, rooms_api: Any
) -> None:
    url = await create(alice)
    rooms_api.outage = errors.UNAVAILABLE
    for path in ("/", url):
        page = await alice.get(path)
        assert (page.status_code, page.headers["retry-after"]) == (503, "7")
        assert errors.UNAVAILABLE.text("ko") in page.text
    answer = await alice.post(f"{url}/chat", data={"chat": "x"}, headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:gifchat:error:unavailable",
        "title": errors.UNAVAILABLE.text("ko"),
        "status": 503,
        "detail": errors.UNAVAILABLE.text("ko"),
        "code": "unavailable",
        "action": "retry",
        "retry": True,
        "instance": f"{url}/chat",
    }


async def test_unknown_routes_and_methods_are_refused(alice: httpx.AsyncClient) -> None:
    missing = await alice.get("/nowhere")
    assert missing.status_code == 404
    assert errors.NOT_FOUND.text("ko") in missing.text
    wrong = await alice.put("/room", headers={"accept": "application/json"})
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["allow"] or "GET" in wrong.headers["allow"]


async def test_a_chosen_language_is_remembered(alice: httpx.AsyncClient) -> None:
    assert '<html lang="ko">' in (await alice.get("/")).text
    assert '<html lang="en">' in (await alice.get("/?lang=en")).text
    assert '<html lang="en">' in (await alice.get("/room")).text
    assert '<html lang="en">' in (await alice.get("/?lang=tlh")).text


async def test_a_page_answers_head(alice: httpx.AsyncClient) -> None:
    url = await create(alice)
    for path in ("/", "/room", url):
        assert (await alice.head(path)).status_code == 200
